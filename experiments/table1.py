"""The paper's Table 1: python -m experiments.table1 with 'runs=[runs/3,runs/4,runs/5]'

ARI-FG of every data set and model, mean and standard deviation over seeds on 320 held-out images,
beside the paper's numbers: as text, CSV, LaTeX and a picture. Runs that are named, and those of
`folder`, are sorted into their cells by what they were trained on; the other cells say so.

  python -m experiments.table1 with train=True budget=quick seeds=3 folder=sweeps/table1

generates what data there is none of and trains every cell, each run in a process of its own; the
same command goes on where it was stopped. `data_sets=[shapes]` and `models=[r_nem,monet]` train
some of the cells, words='batch_size=16' changes all trainings, share=0.5 halves their steps. CLEVR
is rendered for budget=quick, or where num_scenes says how many scenes.
"""

import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

import datasets
from datasets import files, generate, generators
from experiments.support import grid, runs, training
from experiments.support.cli import Command, Refusal
from experiments.support.grid import Job
from experiments.support.paper import SCORES, TABLE1, TITLES, method
from experiments.support.results import Results
from experiments.support.settings import ChangedData, Name, Names, StudySettings
from experiments.support.subjects import find_runs, names_of, open_run, score
from experiments.support.tables import Spread, Table
from iodine import evaluation, plotting
from iodine.config import Count
from iodine.settings import hint

METHODS = {"iodine": "IODINE", "r_nem": "R-NEM", "rnn_nem": "RNN-NEM", "monet": "MONet"}
# The paper's cells; beside them RNN-NEM on the data it was made for, and MONet on Tetrominoes. NEMs
# model binary images, MONet's Gaussians do not.
CELLS = {
  "clevr6": ("iodine", "monet"),
  "multi_dsprites": ("iodine", "monet"),
  "multi_dsprites_binarized": ("iodine", "r_nem"),
  "shapes": ("iodine", "r_nem", "rnn_nem"),
  "tetrominoes": ("iodine", "monet"),
}
HELD_OUT = 320  # images (Sec. 4.1)
# what a share shortens
SCHEDULE = ("num_steps", "warmup_steps", "anneal_steps", "learning_rate_decay_steps")


class Table1Settings(StudySettings):
  """See `StudySettings`.

  Attributes:
    folder: of the runs that are trained here; those that are done count among `runs`.
    train: train the cells that are not done.
    budget: "quick" for two CPU cores, or the "paper"'s.
    share: of the budget's steps, all schedules shortened alike; 0.5 takes half the time.
    seeds: how many, 1, 2, ...
    data_sets: rows to train.
    models: columns to train.
    words: further names and keys of every training, "num_steps=500 batch_size=8".
    num_scenes: of each data set, held-out ones included; by default as many as its preset takes,
      and where they are rendered for budget=quick 8,640.
    processes: trainings at a time.
  """

  folder: Name = "sweeps/table1"
  train: bool = False
  budget: Literal["quick", "paper"] = "quick"
  share: Annotated[float, Field(gt=0, le=1)] = 1.0
  seeds: Count = 3
  data_sets: Names = tuple(CELLS)
  models: Names = tuple(METHODS)
  words: str = ""
  num_scenes: Count | None = None
  processes: Count = 1


command = Command(
  "table1", Table1Settings, ChangedData, storage=lambda config: f"{config['folder']}/table1"
)


class Scored(NamedTuple):
  """A finished run in its cell."""

  preset: str
  method: str
  dataset: str
  folder: str
  step: int
  summary: dict[str, float]


@command.main
def table1(_run, _config):
  """Trains what is left where that is wanted, scores, and writes the table; returns its folder."""
  results = Results(_run)
  if _config["train"]:
    train(_config)
  folders = [*find_runs(_config), *grid.done_runs(_config["folder"])]
  if not folders and not _config["train"]:
    raise Refusal(
      "say which runs: with runs=[runs/3,runs/4], or train them: with train=True budget=quick"
    )
  write(results, [scored(folder, _config) for folder in dict.fromkeys(folders)])
  return results.done()


def jobs(config: Mapping[str, Any]) -> list[Job]:
  """Every training of the cells that are asked for.

  Raises:
    Refusal: there is no such data set or model, or none of the cells.
  """
  for key, known in (("data_sets", CELLS), ("models", METHODS)):
    for name in config[key]:
      if name not in known:
        raise Refusal(
          f"{key}: there is no {name!r}{hint(name, known)}; there are: {', '.join(known)}"
        )
  found = []
  for preset, models in CELLS.items():
    for model in models:
      if preset not in config["data_sets"] or model not in config["models"]:
        continue
      names = [preset, model] if model != "iodine" else [preset]
      names += ["quick"] if config["budget"] == "quick" else []
      updates = _data(preset, config) | _shortened(names, config)
      found += [
        Job(f"{preset},{model}", seed, updates, tuple(names))
        for seed in range(1, config["seeds"] + 1)
      ]
  if not found:
    raise Refusal(
      f"Table 1 has no cell of {', '.join(config['data_sets'])} and {', '.join(config['models'])}"
    )
  return found


def _shortened(names, config):
  """A share of the steps that a training would take, and of its schedules."""
  if config["share"] == 1:
    return {}
  own = training.command.configure([*names, *grid.train_words(config["words"], "words")])
  share = config["share"]
  stages = [{**stage, "until": math.ceil(share * stage["until"])} for stage in own["curriculum"]]
  steps = {key: math.ceil(share * own[key]) for key in SCHEDULE}
  return {**steps, "curriculum": stages} if stages else steps


def _data(preset, config):
  """What a training changes of a preset's data."""
  own = config["data"]["dir"]
  changes = {} if own == "run" else {"data.dir": own}
  if config["num_scenes"] is None:
    return changes
  held_out = min(HELD_OUT, config["num_scenes"] // 4)
  changes |= {"data.num_train": None, "data.num_validation": held_out, "data.num_test": held_out}
  if preset == "clevr6":  # scenes of three to six objects only, and not the released file's
    changes |= {"data.name": "clevr6", "data.min_objects": None, "data.max_objects": None}
  return changes


def train(config: Mapping[str, Any]) -> None:
  """Generates the data and trains the cells that are not done, with a table after each run."""
  todo = jobs(config)
  base = grid.train_words(config["words"], "words")
  for job in {job.names[0]: job for job in todo}.values():
    data = training.command.configure(job.words(base))["data"]
    lacking = generate_missing(data, config["budget"], config["num_scenes"])
    if lacking:
      print(f"{job.names[0]} is not trained: {lacking}", flush=True)
      todo = [other for other in todo if other.names[0] != job.names[0]]
  if not todo:
    return
  shared = {"folder": config["folder"], "train": config["words"], "processes": config["processes"]}
  show = lambda index: print(progress(todo, index, config["folder"]).text(), flush=True)
  grid.run_jobs(shared, todo, after=show, allow_failures=True)


def generate_missing(data: Mapping[str, Any], budget: str, num_scenes: int | None) -> str | None:
  """Generates a data set's file where there is none; returns why it cannot, or None."""
  spec = runs.dataset_spec(data)
  try:
    files.find_files(spec, data["path"], data["dir"], data["image_size"])
    return None
  except datasets.DataError as error:
    lacking = str(error)
  if not spec.generator:
    return lacking
  parameters = {}
  if spec.rendered:
    if num_scenes is None and budget != "quick":
      return (
        f"there is no file in {data['dir']}, and rendering one takes long; num_scenes=2000 for "
        "instance does"
      )
    try:
      generators.generator_of(spec)
    except datasets.DataError as error:
      return str(error)
    if budget == "quick":
      parameters["quality"] = "quick"
    if data["image_size"] is not None:  # a fraction of the time
      parameters["image_size"] = tuple(data["image_size"])
  number = num_scenes or runs.num_scenes(data)
  print(f"{spec.name}: generating {number:,} scenes", flush=True)
  workers = max(2, os.cpu_count() or 2)  # rendering must not happen in a process with TensorFlow
  generate.generate(spec, number, data["dir"], workers=workers, **parameters)
  return None


def progress(todo: Sequence[Job], index: Mapping[str, Any], folder: str) -> Table:
  """How many runs of each cell are done, and their mean ARI-FG so far."""
  rows = {}
  for job in todo:
    preset, model = job.group.split(",")
    rows.setdefault(preset, {}).setdefault(model, []).append(job.name)
  columns = [model for model in METHODS if any(model in row for row in rows.values())]

  def cell(names):
    entries = {name: index[name] for name in names}
    done = [name for name, entry in entries.items() if entry["status"] == "done"]
    said = f"{len(done)}/{len(names)} done"
    found = [recorded(pathlib.Path(folder) / name / entries[name]["run"]) for name in done]
    values = [summary["ari_fg"] for summary in found if summary]
    said += f", {sum(values) / len(values):.3f}" if values else ""
    failed = sum(entry["status"] == "failed" for entry in entries.values())
    return said + (f", {failed} failed" if failed else "")

  return Table(
    ["", *(METHODS[model] for model in columns)],
    [
      [TITLES[preset], *(cell(row[model]) if model in row else None for model in columns)]
      for preset, row in rows.items()
    ],
  )


def recorded(folder: str | os.PathLike) -> dict[str, Any] | None:
  """The scores that training ended with, on the test split: None where there are none."""
  path = pathlib.Path(folder) / "test" / "metrics.json"
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError):
    return None


def scored(folder: str | os.PathLike, config: Mapping[str, Any]) -> Scored:
  """A run's scores: those that training ended with, unless others are asked for."""
  own = runs.training_config(folder)
  usual = StudySettings().flat()
  known = recorded(folder)
  if (
    known is None
    or any(config[k] != usual[k] for k in usual if k not in ("run", "runs"))
    or any(value not in ("run", own["data"].get(key)) for key, value in config["data"].items())
  ):
    subject = open_run({**config, "run": str(folder), "runs": None})
    print(f"{folder}, step {subject.step}, {subject.dataset}", flush=True)
    known = {**evaluation.summarize(score(subject, config)), "step": subject.step}
    preset, dataset = subject.preset, subject.dataset
  else:
    preset, dataset = names_of(own, own["data"], runs.image_size(own["data"]))
  summary = {k: float("nan") if known[k] is None else known[k] for k in SCORES}
  summary["num_images"] = known["num_images"]
  return Scored(preset, method(own), dataset, str(folder), known["step"], summary)


def write(results: Results, found: Sequence[Scored]) -> None:
  """Writes the table in all forms, every run's scores, and the numbers as JSON."""
  cells, numbers = {}, {}
  for run in found:
    cells.setdefault(run.preset, {}).setdefault(run.method, []).append(run)
  presets = [*TITLES, *(p for p in cells if p not in TITLES)]
  methods = list(dict.fromkeys([*METHODS.values(), *(run.method for run in found)]))
  ours = {
    preset: {m: Spread.over([run.summary["ari_fg"] for run in own]) for m, own in row.items()}
    for preset, row in cells.items()
  }
  rows = []
  for run in found:
    scores = (run.summary[k] for k in SCORES)
    rows.append([run.dataset, run.method, run.folder, run.step, run.summary["num_images"], *scores])
  if rows:
    columns = ["data", "model", "run", "step", "images", *SCORES.values()]
    results.table("scores", columns, rows, latex=True)
    print()
  in_paper = [m for m in methods if any(m in row for row in TABLE1.values())]
  columns = [c for m in methods for c in ([m, f"{m} (paper)"] if m in in_paper else [m])]

  def cell(preset, name):
    value = ours.get(preset, {}).get(name)
    if value is None and name in _trainable(preset):
      return "not trained"
    return value

  def line(preset):
    for name in methods:
      yield cell(preset, name)
      if name in in_paper:
        yield TABLE1.get(preset, {}).get(name)

  table = [[TITLES.get(preset, preset), *line(preset)] for preset in presets]
  results.table("table1", ["ARI-FG", *columns], table, latex=True)
  for run in found:
    numbers.setdefault(run.preset, {}).setdefault(run.method, {})[run.folder] = {
      "data": run.dataset, "step": run.step, **run.summary
    }  # fmt: skip
  results.json("table1", {"runs": numbers, "ari_fg": {
    p: {m: s._asdict() for m, s in row.items()} for p, row in ours.items()
  }})  # fmt: skip
  for dataset in dict.fromkeys(run.dataset for run in found if run.dataset != run.preset):
    print(f"the paper's numbers are for images of the data set's own size, ours for {dataset}")
  results.figure("table1", plotting.score_table(
    {TITLES.get(p, p): {m: "-" if (v := cell(p, m)) is None else None if v == "not trained" else v
                        for m in methods} for p in presets},
    {TITLES[p]: row for p, row in TABLE1.items()},
  ))  # fmt: skip


def _trainable(preset):
  """What the models of a row that can be trained are called."""
  return [METHODS[model] for model in CELLS.get(preset, ())]


if __name__ == "__main__":
  command.run_commandline()
