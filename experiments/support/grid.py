"""Many training runs, each a process and a Sacred run of its own, in one folder.

  folder/index.json     what each job is, its state and its run
  folder/<job>/1        the run; 2, 3, ... where it was stopped and gone on with

A job that is done is not repeated; one that was stopped goes on from its last checkpoint.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.support import curves, interrupts, runs, training
from experiments.support.errors import ROOT, Refusal
from experiments.support.results import Results
from experiments.support.tables import Spread
from iodine import plotting
from iodine.files import write_json

COMMAND = (sys.executable, "-m", "experiments.train")
INDEX = "index.json"
POLL = 0.2  # seconds
SCORES = {"ari_fg": "ARI-FG", "ari": "ARI", "mse": "MSE", "kl": "KL"}
CURVES = {
  "Loss (nats)": "train.loss",
  "ARI-FG": "validation.ari_fg",
  "MSE": "validation.mse",
  "KL (nats)": "validation.kl",
}


def storage(name: str) -> Callable[[Mapping[str, Any]], str]:
  """Where a command on a folder of runs records."""

  def folder(config):
    if config["folder"] is None:
      raise Refusal("say where the runs go: with folder=sweeps/slots")
    return f"{config['folder']}/{name}"

  return folder


class Job(NamedTuple):
  """A training run to be.

  Attributes:
    group: what its seeds have in common.
    seed: of the training.
    updates: keys that differ from those that all jobs share.
    names: presets and modifiers that stand before what all jobs share.
  """

  group: str
  seed: int
  updates: dict[str, Any]
  names: tuple[str, ...] = ()

  @property
  def name(self) -> str:
    return re.sub(r"[^\w=.,+-]+", "_", f"{self.group},seed={self.seed}")

  def words(self, base: Sequence[str]) -> list[str]:
    """The words behind `with`."""
    updates = {**self.updates, "seed": self.seed}
    return [*self.names, *base, *(f"{key}={value!r}" for key, value in updates.items())]


Index = dict[str, dict[str, Any]]


def run_jobs(
  config: Mapping[str, Any],
  jobs: Sequence["Job"],
  *,
  after: Callable[[Index], None] = lambda index: None,
  allow_failures: bool = False,
) -> dict[str, list[pathlib.Path]]:
  """Runs the jobs that are not done.

  Args:
    config: with the keys of `GridSettings`.
    jobs: Jobs.
    after: called with the index when a job has ended.
    allow_failures: say which runs failed, and why, and return those that are done.

  Returns:
    dict from a group to the folders of its runs, in the order of the jobs.

  Raises:
    Refusal: a word of the training is misspelt; the folder holds other jobs by these names; a run
      failed (after the others have run).
    datasets.DataError: a file is missing or damaged (where no failures are allowed).
  """
  if not config["folder"]:
    raise Refusal("say where the runs go: with folder=sweeps/slots")
  folder = pathlib.Path(config["folder"])
  base = train_words(config["train"])
  data = {job.name: training.command.configure(job.words(base))["data"] for job in jobs}
  index = read_index(folder)
  for job in jobs:
    known = index.get(job.name)
    if known is not None and known["words"] != job.words(base):
      raise Refusal(
        f"{folder / job.name} was begun with {shlex.join(known['words'])}, not with "
        f"{shlex.join(job.words(base))}: take another folder"
      )
  if not allow_failures:
    _check_data(data, index)
  for job in jobs:
    index.setdefault(job.name, {"words": job.words(base), "status": "waiting", "run": None})
  folder.mkdir(parents=True, exist_ok=True)
  _refresh(folder, index, jobs)
  todo = [job for job in jobs if index[job.name]["status"] != "done"]
  print(f"runs: {len(jobs)}, {len(jobs) - len(todo)} of them done before", flush=True)
  with interrupts.requests() as request:
    failed = _run(folder, index, todo, config["processes"], request, after)
    if request.signum is not None:
      raise interrupts.Stopped(
        request.signum, f"stopped; the same command goes on with what is left in {folder}"
      )
  if failed and not allow_failures:
    raise Refusal(
      f"{len(failed)} of {len(jobs)} runs failed, {failed[0]} first: {_why(folder / failed[0])}"
    )
  for name in failed:
    print(f"{name} failed: {_why(folder / name)}")
  groups = {}
  for job in jobs:
    if job.name not in failed:
      groups.setdefault(job.group, []).append(folder / job.name / index[job.name]["run"])
  return groups


def _check_data(data, index):
  """Each data set once that a job needs which is not done."""
  checked = []
  for name, own in data.items():
    if index.get(name, {}).get("status") != "done" and own not in checked:
      runs.check_data(own)
      checked.append(own)


def train_words(text: str, key: str = "train") -> list[str]:
  """The words of a training, of a key; raises Refusal where a quote is not closed."""
  try:
    return shlex.split(text)
  except ValueError as error:
    raise Refusal(f"{key}={text!r} cannot be split into words: {error}") from error


def read_index(folder: str | os.PathLike) -> Index:
  """What a folder of runs holds: dict from a job's name to words, status and run."""
  path = pathlib.Path(folder) / INDEX
  try:
    return json.loads(path.read_text())
  except FileNotFoundError:
    return {}
  except ValueError as error:
    raise Refusal(f"{path} is damaged: {error}") from error


def done_runs(folder: str | os.PathLike) -> list[pathlib.Path]:
  """Folders of the finished runs in a folder of runs."""
  return [
    pathlib.Path(folder) / name / entry["run"]
    for name, entry in read_index(folder).items()
    if entry["status"] == "done"
  ]


def _run(folder, index, todo, processes, request, after):
  """Runs jobs, so many at a time; returns the names of those that failed."""
  todo, running, failed = list(todo), {}, []
  try:
    while (todo or running) and request.signum is None:
      while todo and len(running) < processes:
        job = todo.pop(0)
        print(f"{job.name}: started, {len(todo)} more to come", flush=True)
        running[job.name] = (job, _start(folder, index, job))
      time.sleep(POLL)
      for name, (job, process) in list(running.items()):
        if process.poll() is None:
          continue
        del running[name]
        _refresh(folder, index, [job])
        print(f"{name}: {index[name]['status']}", flush=True)
        if index[name]["status"] != "done":
          failed.append(name)
        after(index)
  finally:
    for _, process in running.values():
      with contextlib.suppress(ProcessLookupError):
        process.terminate()  # training saves
    for _, process in running.values():
      process.wait()
    _refresh(folder, index, [job for job, _ in running.values()])
  return failed


def _start(folder, index, job):
  """Starts a job's process, from its last checkpoint if there is one."""
  own = folder / job.name
  own.mkdir(parents=True, exist_ok=True)
  words = index[job.name]["words"]
  begun = [run for run in _numbered(own) if any((run / runs.CHECKPOINTS).glob("*.index"))]
  if begun:
    words = [f"resume_from={begun[-1].resolve()}"]
  log = (own / "output.txt").open("a")
  with log:
    return subprocess.Popen(
      [*COMMAND, "-F", str(own.resolve()), "with", *words],
      cwd=pathlib.Path.cwd(),
      env=_environment(),
      stdout=log,
      stderr=subprocess.STDOUT,
    )


def _environment():
  """Ours, with the code on the path wherever we stand."""
  path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
  return {**os.environ, "PYTHONPATH": path}


def _refresh(folder, index, jobs):
  """Reads the state of jobs off their runs, and writes the index."""
  for job in jobs:
    entry = index[job.name]
    numbered = _numbered(folder / job.name)
    entry["status"], entry["run"] = "waiting", None
    if numbered:
      states = {"COMPLETED": "done", "FAILED": "failed"}
      entry["status"] = states.get(_status(numbered[-1]), "stopped")
      entry["run"] = numbered[-1].name
  write_json(folder / INDEX, index)


def _numbered(folder):
  found = [path for path in folder.glob("[0-9]*") if path.name.isdigit()]
  return sorted(found, key=lambda path: int(path.name))


def _status(run):
  try:
    return json.loads((run / "run.json").read_text())["status"]
  except (OSError, ValueError, KeyError):
    return None


def _why(folder):
  """The last line that a failed job printed."""
  lines = (folder / "output.txt").read_text(errors="replace").split("\n")
  said = [line for line in lines if line.strip() and "INFO" not in line]
  return said[-1].strip() if said else f"see {folder / 'output.txt'}"


def summaries(groups: Mapping[str, Sequence[pathlib.Path]]) -> dict[str, dict[str, Any]]:
  """What training found on the test split: dict from a group to dicts by run folder."""
  found = {}
  for group, folders in groups.items():
    for folder in folders:
      info = json.loads((folder / "info.json").read_text())
      if "test" not in info:
        raise Refusal(f"{folder} was not scored: it has no test split (data.num_test=0)")
      found.setdefault(group, {})[str(folder)] = info["test"]
  return found


def tabulate(results: Results, groups: Mapping[str, Sequence[pathlib.Path]]) -> None:
  """Writes scores by group, mean and standard deviation over seeds, as table, JSON and bars."""
  found = summaries(groups)
  spreads = {
    group: {k: Spread.over([s[k] for s in by_run.values()]) for k in SCORES}
    for group, by_run in found.items()
  }
  results.table(
    "scores",
    ["runs", "number", *SCORES.values()],
    [[group, len(found[group]), *spreads[group].values()] for group in found],
    latex=True,
  )
  results.json("runs", found)
  ari = {group: spread["ari_fg"] for group, spread in spreads.items()}
  results.figure("scores", plotting.ranking(ari, xlabel="ARI-FG"))


def draw_curves(results: Results, name: str, groups: Mapping[str, Sequence[pathlib.Path]]) -> None:
  """A figure of the loss and the validation scores of groups of runs: median and range of seeds."""
  records = {group: [curves.read(f) for f in folders] for group, folders in groups.items()}
  steps, panels = {}, {}
  for axis, curve in CURVES.items():
    found = curves.aligned(records, curve)
    if found is not None:
      steps[axis], panels[axis] = found
  if panels:
    results.figure(name, plotting.learning_curves(steps, panels))
