"""What the experiments on finished runs share: which runs, which scenes, where results go.

An experiment is a CONFIG of `settings`, a main function that opens its runs, and a Results:

  CONFIG = settings(num_images=8)
  ex = make_experiment("decompositions", CONFIG)

  @main(ex)
  def decompositions(_run, _config):
    subject = open_run(_config)
    results = Results(_run)
    results.figure("decompositions", ...)
    return results.done()
"""

import copy
import glob
import math
import pathlib
from typing import NamedTuple

import numpy as np

import datasets
from datasets import pipeline
from experiments import configs, evaluate, grid, runs
from experiments.experiment import Refusal, run_directory
from experiments.progress import Progress
from experiments.tables import Table
from iodine import Iodine, evaluation, latents, plotting
from iodine.training import write_json


def settings(**own):
  """The configuration of an experiment on runs: that of `evaluate`, and `own` keys.

  `run=runs/3` is one run; `runs=[runs/3,runs/4]` are several, `runs=sweeps/slots` all of a
  sweep, `runs=runs/*` all in a folder.
  """
  config = copy.deepcopy({**evaluate.CONFIG, "runs": None, "seed": 0, **own})
  config["data"]["name"] = "run"  # another data set with images of the same size
  return config


def storage(name):
  """Where an experiment records: under its run, or beside the first of several."""

  def folder(updates):
    paths = _paths(updates)
    if not paths:
      return f"runs/{name}"
    return str(paths[0] / name if len(paths) == 1 else paths[0].parent / name)

  return folder


class Subject(NamedTuple):
  """A run with its model, and the data it is to be looked at with."""

  folder: str
  config: dict
  model: Iodine
  step: int
  data: dict

  @property
  def spec(self):
    return runs.dataset_spec(self.data)

  @property
  def dataset(self):
    """The data set's name, with the image size where that is not the data set's own."""
    height, width, _ = self.model.config.image_size
    spec, name = self.spec, self.config.get("preset") or self.data["name"]
    if runs.dataset_spec(self.config["data"]).name != spec.name:
      name = spec.name
    elif name in configs.PRESETS:
      spec = datasets.get_spec(configs.PRESETS[name]["data"]["name"])
    own = spec.training_size or (spec.image_size or (height, width))[:2]
    return name if (height, width) == tuple(own) else f"{name} ({height} x {width})"

  def evaluator(self, config, num_iterations=None, num_slots=None):
    """Evaluator with a configuration's T, K and seed, where no others are given."""
    return evaluation.Evaluator(
      self.model,
      config["num_iterations"] if num_iterations is None else num_iterations,
      config["num_slots"] if num_slots is None else num_slots,
      self.spec.num_background,
      config["seed"],
    )


def open_runs(config):
  """Restores the runs that a configuration names.

  Args:
    config: of an experiment, with the keys of `settings`.

  Returns:
    list of Subject.

  Raises:
    Refusal: no run is named; a run or its checkpoint is missing; the data has images of another
      size; the split would hold records that the run was trained on.
  """
  paths = _paths(config)
  if not paths:
    raise Refusal("say which run: with run=runs/3, or several: with runs=[runs/3,runs/4]")
  if config["split"] not in ("validation", "test"):
    raise Refusal(
      "evaluation never looks at training records: split is validation or test, "
      f"got {config['split']!r}"
    )
  changes = {k: v for k, v in config["data"].items() if v != "run"}
  return [_open(path, config["checkpoint"], changes) for path in paths]


def open_run(config):
  """The one run of an experiment that is about one; see `open_runs`."""
  subjects = open_runs(config)
  if len(subjects) > 1:
    raise Refusal(f"this experiment is about one run, got {len(subjects)}")
  return subjects[0]


def same_data(subjects):
  """Raises Refusal where runs that are to be compared have different data."""
  for subject in subjects[1:]:
    if subject.dataset != subjects[0].dataset:
      raise Refusal(
        f"{subjects[0].folder} is about {subjects[0].dataset}, {subject.folder} about "
        f"{subject.dataset}: compare runs on the same data set"
      )


def _paths(config):
  """The folders that `run` and `runs` name."""
  named = []
  for value in (config.get("run"), config.get("runs")):
    value = names_in(value)
    if value is not None and not isinstance(value, list | tuple):
      raise Refusal(f"a run is named by its folder, as run=runs/3, got {value!r}")
    named += value or []
  paths = []
  for name in named:
    found = sorted(glob.glob(name), key=_natural) if set(name) & set("*?") else [name]
    found = [pathlib.Path(p) for p in found]
    if any((p / grid.INDEX).is_file() for p in found):  # a sweep stands for its runs
      found = [run for p in found for run in (grid.done_runs(p) or [p])]
    elif name not in map(str, found):  # of a pattern, the training runs only
      found = [p for p in found if (p / runs.CHECKPOINTS).is_dir()]
    if not found:
      raise Refusal(f"there is no run in {name}")
    paths += found
  return list(dict.fromkeys(paths))


def names_in(value):
  """A list of names from the command line, where Sacred leaves [runs/3,runs/4] a string."""
  if not isinstance(value, str):
    return value
  parts = [part.strip(" '\"") for part in value.strip("[]() ").split(",")]
  return [part for part in parts if part]


def _natural(path):
  return [(not part.isdigit(), int(part) if part.isdigit() else 0, part)
          for part in pathlib.Path(path).parts]  # fmt: skip


def _open(path, which, changes):
  config, model, step = runs.load_run(path, which)
  # keys that are younger than the run have their defaults; scenes made anew would be others
  data = {**configs.DATA, **config["data"], **changes, "generate": False}
  if data["name"] != config["data"]["name"] and "path" not in changes:
    data["path"] = None
  size, expected = _size(data), tuple(model.config.image_size)
  if size is not None and size != expected:
    raise Refusal(
      f"{path} was trained on {config['data']['name']} with images of {_by(expected)}, "
      f"{data['name']} has {_by(size)}"
    )
  runs.check_data(data)
  _check_unseen(path, config["data"], data)
  return Subject(str(path), config, model, step, data)


def _size(data):
  """As runs.image_size; None where only the file tells."""
  return None if runs.dataset_spec(data).image_size is None else tuple(runs.image_size(data))


def _by(size):
  return " x ".join(map(str, size))


def _check_unseen(path, trained, asked):
  """Raises Refusal where changed splits would take in records that the run has learned from."""
  if any(trained[k] != asked[k] for k in ("name", "path", "dir")):
    return  # another file
  counts = ("num_train", "num_validation", "num_test")
  if all(trained[k] == asked[k] for k in counts):
    return
  options = {"data_dir": asked["dir"], "image_size": asked["image_size"]}
  source = pipeline.Source(runs.dataset_spec(asked), asked["path"], **options)

  def ranges(data):
    wanted = [data[k] for k in counts]
    count = source.count(None if wanted[0] is None else sum(wanted))
    return datasets.split_ranges(count, *wanted)

  seen, held_out = ranges(trained)["train"], ranges(asked)
  if min(held_out["validation"].start, held_out["test"].start) < seen.stop:
    raise Refusal(
      f"with {', '.join(f'{k}={asked[k]}' for k in counts)} the held-out splits would hold records "
      f"that {path} was trained on: it learned from the first {seen.stop:,}"
    )


def scenes(subject, config, split=None, num_images=None, **data):
  """Batches of held-out scenes, with a progress bar.

  Args:
    subject: a Subject.
    config: the experiment's configuration: split, num_images and batch_size.
    split: instead of the configuration's.
    num_images: instead of the configuration's.
    **data: changes to the subject's data, as max_objects.

  Yields:
    scene batches, in the order of the file.
  """
  split = split or config["split"]
  num_images = num_images or config["num_images"]
  data = {**subject.data, **data}
  progress = Progress(math.ceil(num_images / config["batch_size"]), unit="batch")
  try:
    batches = evaluate.held_out(data, split, num_images, config["batch_size"])
    for i, batch in enumerate(batches):
      yield batch
      progress.update(i + 1)
  finally:
    progress.close()


def score(subject, config, num_iterations=None, num_slots=None, **data):
  """Scores by image and decode, as iodine.evaluation.Evaluator gives them: dict of [N, D]."""
  evaluator = subject.evaluator(config, num_iterations, num_slots)
  return evaluator(scenes(subject, config, **data))


def collect(subject, config, split=None, num_images=None):
  """Latents of held-out scenes: iodine.latents.Latents."""
  return latents.collect(
    subject.model,
    scenes(subject, config, split, num_images),
    config["num_iterations"],
    config["num_slots"],
    subject.spec.num_background,
    config["seed"],
  )


def factor_kinds(subject, collected, names=None):
  """Kinds of the factors to look at, all by default: dict name -> datasets.Factor.

  Raises:
    Refusal: the data has no true masks, no factors, or not those that are named.
  """
  known = {k: v for k, v in subject.spec.factors.items() if k in collected.factors}
  if collected.slots is None:
    raise Refusal(f"{subject.data['name']} has no true masks, by which objects find their slots")
  if not known:
    raise Refusal(f"{subject.data['name']} has no factors to predict")
  for name in names or ():
    if name not in known:
      raise Refusal(f"{subject.data['name']} has no factor {name!r}; there are: {', '.join(known)}")
  return {name: known[name] for name in names or known if len(known[name].shape) < 2}


PANELS = {"ari_fg": "ARI-FG", "mse": "MSE", "kl": "KL (nats)"}  # of the paper's curves


def pooled(curves, label, scores):
  """Adds scores [N, X] to the curve of a label; runs with the same label are pooled by image."""
  own = curves.setdefault(label, {})
  for metric, values in scores.items():
    own[metric] = np.concatenate([own[metric], values]) if metric in own else values


class Results:
  """Collects what an experiment writes into its run's folder."""

  def __init__(self, run):
    self._run = run
    self.folder = run_directory(run)
    self.files = []

  def figure(self, name, figure):
    """Saves a figure as PNG and PDF."""
    self.files.append(evaluate.save(figure, self.folder / name))

  def json(self, name, values):
    """Saves numbers as JSON, and in Sacred's info."""
    path = self.folder / f"{name}.json"
    write_json(path, values)
    self._run.info[name] = values
    self.files.append(str(path))

  def table(self, name, columns, rows, latex=False):
    """Prints a table and saves it as CSV, text, and if wanted LaTeX; returns the Table."""
    table = Table(columns, rows)
    self._write(name, table, ("csv", "txt", "tex") if latex else ("csv", "txt"))
    print(table.text())
    return table

  def csv(self, name, columns, rows):
    """Saves a table that is too long to print."""
    self._write(name, Table(columns, rows), ("csv",))

  def curves(self, name, curves, xlabel, x, mark=None):
    """Medians and quartiles over images: a figure, and every number of it as CSV.

    Args:
      name: of the files.
      curves: dict from a label to a dict from a metric to [N, X]; NaN is left out.
      xlabel: what x is.
      x: [X], whole numbers.
      mark: see plotting.quantile_curves.
    """
    rows = []
    for label, scores in curves.items():
      for metric, values in scores.items():
        for at, column in zip(x, np.asarray(values).T, strict=True):
          column = column[np.isfinite(column)]
          numbers = [*np.quantile(column, (0.25, 0.5, 0.75)), column.mean()] if len(column) else []
          numbers = [float(v) for v in numbers] or [None] * 4
          rows.append([label, metric, at, *numbers, len(column)])
    columns = [
      "label",
      "metric",
      xlabel.lower(),
      "lower quartile",
      "median",
      "upper quartile",
      "mean",
    ]
    self._write(name, Table([*columns, "images"], rows), ("csv",))
    panels = {
      title: {label: scores[metric] for label, scores in curves.items()}
      for metric, title in PANELS.items()
    }
    options = {"xlabel": xlabel, "mark": mark, "integer_x": True}
    self.figure(name, plotting.quantile_curves(panels, list(x), **options))

  def done(self):
    """Prints where everything lies; returns the folder."""
    print("\n".join(["written:", *self.files]), flush=True)
    return str(self.folder)

  def _write(self, name, table, suffixes):
    forms = {"csv": table.csv, "txt": lambda: table.text() + "\n", "tex": table.latex}
    for suffix in suffixes:
      path = self.folder / f"{name}.{suffix}"
      path.write_text(forms[suffix](), encoding="utf-8")
      if suffix != "txt":
        self.files.append(str(path))
