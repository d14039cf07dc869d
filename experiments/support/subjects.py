"""What the studies of finished runs share: which runs, which scenes.

A study is a Settings class, a Command, a main function that opens its runs, and a Results:

  class DecompositionSettings(StudySettings):
    num_images: Count = 8

  command = Command("decompositions", DecompositionSettings, OtherData, storage=beside("..."))

  @command.main
  def decompositions(_run, _config):
    subject, results = open_run(_config), Results(_run)
    results.figure("decompositions", ...)
    return results.done()
"""

import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

import datasets
from experiments.support import grid, held_out, paper, paths, presets, runs
from experiments.support.errors import Refusal
from experiments.support.held_out import Learned
from experiments.support.progress import Progress
from iodine import evaluation
from iodine.slot_model import SlotModel

Config = Mapping[str, Any]


def beside(name: str) -> Callable[[Config], str]:
  """A storage: a folder under the run that a study is about, or beside the first of several."""

  def folder(config):
    paths = find_runs(config)
    if not paths:
      raise Refusal("say which run: with run=runs/3, or several: with runs=[runs/3,runs/4]")
    for path in paths:
      runs.training_config(path)  # before anything is written there
    return str(paths[0] / name if len(paths) == 1 else paths[0].parent / name)

  return folder


class Subject(NamedTuple):
  """A run with its model, and the data it is to be looked at with."""

  folder: str
  config: dict[str, Any]
  model: SlotModel
  step: int
  data: dict[str, Any]
  learned: Sequence[Learned] = ()

  @property
  def spec(self) -> datasets.DatasetSpec:
    """Of the data."""
    return runs.dataset_spec(self.data)

  @property
  def preset(self) -> str:
    """Name of the preset whose data these are, or of the data set."""
    return names_of(self.config, self.data, self.model.config.image_size)[0]

  @property
  def dataset(self) -> str:
    """The data set's name, with the image size where that is not the data set's own."""
    return names_of(self.config, self.data, self.model.config.image_size)[1]

  @property
  def method(self) -> str:
    """What the paper's tables call the model."""
    return paper.method(self.config)

  def need(self, *parts: Literal["latents", "iterations", "slots", "images"]) -> None:
    """Raises Refusal where a study is about what the model, or its data, have not."""
    if "images" in parts and self.spec.num_frames is not None:
      raise Refusal(f"{self.data['name']} holds clips, which experiments.tracking looks at")
    model = self.model
    lacking = {
      "latents": (model.latent_size is None, "which has no latents to look at"),
      "iterations": (not model.ITERATES, "which decodes once: it has no iterations to look at"),
      "slots": (model.MAX_SLOTS == 1, "whose one slot is the whole scene: it parts no objects"),
    }
    for part in lacking.keys() & set(parts):
      lacks, why = lacking[part]
      if lacks:
        raise Refusal(f"the model of {self.folder} is {self.method}, {why}")

  @property
  def num_decodes(self) -> int:
    """How often training decodes an image: T, or T + 1 with `final_decode`."""
    return int(self.model.timeline(self.model.config.num_iterations).num_decodes)

  def evaluator(
    self, config: Config, num_iterations: int | None = None, num_slots: int | None = None
  ) -> evaluation.Evaluator:
    """Evaluator with a configuration's T, K and seed, where no others are given."""
    return evaluation.Evaluator(
      self.model,
      config["num_iterations"] if num_iterations is None else num_iterations,
      config["num_slots"] if num_slots is None else num_slots,
      self.spec.num_background,
      config["seed"],
    )


def names_of(config: Config, data: Config, image_size: Sequence[int]) -> tuple[str, str]:
  """The preset or data set that scenes are of, and the same with the image size if it is unusual.

  Args:
    config: of the run.
    data: its `data`, perhaps changed.
    image_size: (H, W, C) of the model.
  """
  height, width, _ = image_size
  spec, name = runs.dataset_spec(data), config.get("preset") or data["name"]
  of_preset = datasets.get_spec(presets.SCENES.get(name, {}).get("data.name", spec.name))
  changed = runs.dataset_spec(config["data"]).name != spec.name
  if changed or spec.image_size is None or _scenes_of(spec) != _scenes_of(of_preset):
    name = spec.name  # whatever the preset, these scenes are no other data set's
  if name in presets.SCENES:
    spec = datasets.get_spec(presets.SCENES[name]["data.name"])
  own = spec.training_size or (spec.image_size or (height, width))[:2]
  return name, name if (height, width) == tuple(own) else f"{name} ({height} x {width})"


def _scenes_of(spec):
  """What data sets of the same scenes have in common, at whatever size or selection."""
  return (spec.generator, spec.variant) if spec.generator else spec.stored_name


def told_apart(subjects: Sequence[Subject]) -> list[str]:
  """What stands before the label of each: its method, where there is more than one."""
  several = len({subject.method for subject in subjects}) > 1
  return [f"{subject.method}, " if several else "" for subject in subjects]


def open_runs(config: Config, with_data: bool = True) -> list[Subject]:
  """Restores the runs that a configuration names.

  Args:
    config: of a study, with the keys of `StudySettings` and `ChangedData`.
    with_data: whether scenes of the data will be looked at; else they need not be there.

  Raises:
    UserError: no run is named; a run or its checkpoint is missing; the data has images of another
      size; the split would hold records that the run was trained on.
    datasets.DataError: the data is missing or damaged.
  """
  paths = find_runs(config)
  if not paths:
    raise Refusal("say which run: with run=runs/3, or several: with runs=[runs/3,runs/4]")
  changes = {k: v for k, v in config["data"].items() if v != "run"}
  splits = [config["split"]] if "split" in config else ["validation", "test"]
  splits = splits if with_data else []
  return [_open(path, config, changes, splits) for path in paths]


def open_run(config: Config, with_data: bool = True) -> Subject:
  """The one run of a study that is about one; see `open_runs`."""
  subjects = open_runs(config, with_data)
  if len(subjects) > 1:
    raise Refusal(f"this experiment is about one run, got {len(subjects)}")
  return subjects[0]


def same_data(subjects: Sequence[Subject]) -> None:
  """Raises Refusal where runs that are to be compared have different data."""
  for subject in subjects[1:]:
    if subject.dataset != subjects[0].dataset:
      raise Refusal(
        f"{subjects[0].folder} is about {subjects[0].dataset}, {subject.folder} about "
        f"{subject.dataset}: compare runs on the same data set"
      )


def find_runs(config: Config) -> list[pathlib.Path]:
  """The folders that `run` and `runs` name; Refusal where one names none.

  What exists under exactly the name that is given is taken; see `paths.find`.
  """
  found = []
  if config.get("run") is not None:
    found.append(pathlib.Path(paths.name(config["run"], "run")))
  runs_ = config.get("runs")
  if runs_ is not None:
    named = paths.find(runs_, "runs", "run")
    sweeps = [p for p in named if (p / grid.INDEX).is_file()]
    named = [run for p in named for run in ((p in sweeps and grid.done_runs(p)) or [p])]
    if set(str(runs_)) & set("*?"):  # of a pattern, the training runs only
      named = [p for p in named if (p / runs.CHECKPOINTS).is_dir() or runs.is_bundle(p)]
    if not named:
      raise Refusal(f"there is no run in {runs_}")
    found += named
  return list(dict.fromkeys(found))


def _open(path, config, changes, splits):
  own, model, step = runs.load_run(path, config["checkpoint"], changes, config["num_starts"])
  data = runs.changed_data(own["data"], changes)
  learned = held_out.learned(path)
  if splits:
    runs.check_data(data)
    held_out.check(learned, data, splits)
  return Subject(str(path), own, model, step, data, learned)


def scenes(
  subject: Subject,
  config: Config,
  split: str | None = None,
  num_images: int | None = None,
  **data: Any,
) -> Iterator[dict[str, Any]]:
  """Batches of held-out scenes, with a progress bar.

  Args:
    subject: a Subject.
    config: the study's configuration: split, num_images and batch_size.
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
    batches = held_out.scenes(data, split, num_images, config["batch_size"], subject.learned)
    for i, batch in enumerate(batches):
      yield batch
      progress.update(i + 1)
  finally:
    progress.close()


def score(
  subject: Subject,
  config: Config,
  num_iterations: int | None = None,
  num_slots: int | None = None,
  evaluator: evaluation.Evaluator | None = None,
  **data: Any,
) -> dict[str, np.ndarray]:
  """Scores by image and decode, as iodine.evaluation.Evaluator gives them: dict of [N, D].

  Args:
    subject: a Subject.
    config: the study's configuration.
    num_iterations: T, instead of the configuration's.
    num_slots: K, instead of the configuration's.
    evaluator: one of the subject's that is there already: it need not be traced again.
    **data: changes to the subject's data.
  """
  evaluator = evaluator or subject.evaluator(config, num_iterations, num_slots)
  return evaluator(scenes(subject, config, **data))
