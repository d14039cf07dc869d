"""Every key of the commands beside the model's and the training's: type, bounds and meaning.

The keys of a command are those of one or several `Settings`, all by their flat names; those of
`data` begin with "data.", as on the command line.
"""

import ast
import os
import pathlib
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import BeforeValidator, Field, WrapValidator

from iodine.config import Count
from iodine.settings import Settings

Whole = Annotated[int, Field(ge=0)]  # 0, 1, 2, ...
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _name(value: Any) -> Any:
  """A file is a text: 3 of `run: 3` in a YAML file is the folder called 3."""
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  return str(value) if isinstance(value, int | float) else value


def names_in(value: Any) -> Any:
  """A list of names from the command line, where [runs/3,runs/4] arrives as a text.

  What exists under exactly the name that was given is that name, brackets and commas included.
  """
  if not isinstance(value, str):
    return [_name(v) for v in value] if isinstance(value, list | tuple) else _name(value)
  if not (value[:1] in "[(" and value[-1:] in "])") or pathlib.Path(value).exists():
    return [value] if value else []
  try:
    parts = ast.literal_eval(value)  # ['a,b', "c"]
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    parts = value[1:-1].split(",")
  parts = parts if isinstance(parts, list | tuple) else [parts]
  parts = [part.strip(" '\"") if isinstance(part, str) else _name(part) for part in parts]
  return [part for part in parts if part != ""]


def _several(value: Any) -> Any:
  """3 as [3], where numbers are listed."""
  return [value] if isinstance(value, int | float) else value


def _in_list(value: Any) -> Any:
  value = names_in(value)
  return [value] if isinstance(value, str) else value


def _paths(value: Any, check: Any) -> Any:
  """One text, of which `paths.find` makes a list where it is one, or a list of them."""
  if not isinstance(value, str | int | float | list | tuple | os.PathLike):
    raise ValueError(f"a path or a list of paths is wanted, got {value!r}")
  return [_name(v) for v in value] if isinstance(value, list | tuple) else _name(value)


Name = Annotated[str, BeforeValidator(_name), Field(min_length=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_in_list)]
Paths = Annotated[str | tuple[str, ...], WrapValidator(_paths)]  # see `paths.find`
Counts = Annotated[tuple[Count, ...], BeforeValidator(_several), Field(min_length=1)]
Places = Annotated[tuple[Whole, ...], BeforeValidator(_several), Field(min_length=1)]
Size = tuple[Count, Count]
Which = Literal["best", "last"]  # of a run's checkpoints


class DataSettings(Settings):
  """Which scenes; see `datasets.load`.

  Attributes:
    name: a data set of `datasets.get_spec`.
    path: a file or a list of files instead of the data set's own name under `dir`.
    dir: the folder of the data set's file.
    generate: generate a missing data set first, if that takes minutes only.
    image_size: (H, W) to resize to; the data set's training size by default.
    num_frames: of videos, a window of so many frames, which training begins where seed, step and
      place in the batch say, and evaluation at the first; all by default.
    num_train: records for training, from the file's first on; by default all but those behind.
    num_validation: records behind them; 0 validates nothing.
    num_test: records behind these; 0 scores nothing at the end.
    min_objects: visible objects of a scene at least, the background not counted.
    max_objects: visible objects at most.
    grayscale: one channel, the mean of the three, as the released code.
    cache: keep the split parsed in memory; "auto" if it takes less than a quarter of it.
    on_error: at a damaged record "raise", or "skip" and count it.
    legacy_resize: resize as TensorFlow 1 did, without half-pixel centres: what checkpoints of the
      original have learned on.
  """

  model_config = pydantic.ConfigDict(alias_generator=lambda name: f"data.{name}")

  name: Name = "tetrominoes"
  path: Names | None = None
  dir: Name = "data"
  generate: bool = False
  image_size: Size | None = None
  num_frames: Count | None = None
  num_train: Whole | None = None
  num_validation: Whole = 320
  num_test: Whole = 320
  min_objects: Whole | None = None
  max_objects: Whole | None = None
  grayscale: bool = False
  cache: Annotated[bool, WrapValidator(lambda v, check: v if v == "auto" else check(v))] = "auto"
  on_error: Literal["raise", "skip"] = "raise"
  legacy_resize: bool = False

  @pydantic.model_validator(mode="after")
  def _filter(self) -> Self:
    check_objects(self.min_objects, self.max_objects)
    return self


def check_objects(low: Any, high: Any) -> None:
  """Raises ValueError where no number of objects is within the limits."""
  if isinstance(low, int) and isinstance(high, int) and low > high:
    raise ValueError(f"data.min_objects must be at most data.max_objects, got {low} and {high}")


class RunSettings(Settings):
  """A training run beside its model and optimisation.

  Attributes:
    preset: the data set's preset that it was made from.
    resume_from: a run's folder, runs/3: go on where it stopped, as a new run.
    init_from: a run's folder or a shipped model's, models/tetrominoes: begin with its variables, as
      far as they fit, on whatever data, at any image size, with a step of zero.
    init_checkpoint: of that run, its "best", or its "last", which has learned longest.
    strategy: "auto", all GPUs, else one CPU; "mirrored", all devices; "cpu"; "multi_worker", those
      of all machines in TF_CONFIG.
    num_devices: of this machine's devices, all by default.
    cpu_devices: without a GPU, make so many devices of the CPU: faster for small images.
    log_every: steps between the metrics that are recorded; 0 never, here and below.
    image_every: steps between decompositions in TensorBoard.
    validate_every: steps between scores on the validation split.
    num_validation_images: that are scored.
    checkpoint_every: steps between checkpoints; the end is always saved.
    keep_checkpoints: the last so many, and the best.
    best_by: what tells the best checkpoint: "ari_fg", which needs true masks (without any the
      likelihood is taken, once sigma has its last value), or "nll", which does without labels.
    on_nan: a loss or gradient that is not finite updates nothing; then "stop" the run, "skip" the
      step, or "rewind" to the last checkpoint and go on with other data and noise.
    max_rewinds: how often.
  """

  preset: Name = "tetrominoes"
  resume_from: Name | None = None
  init_from: Name | None = None
  init_checkpoint: Which = "best"
  strategy: Literal["auto", "mirrored", "multi_worker", "cpu"] = "auto"
  num_devices: Count | None = None
  cpu_devices: Count = 1
  log_every: Whole = 50
  image_every: Whole = 1000
  validate_every: Whole = 1000
  num_validation_images: Count = 64
  checkpoint_every: Whole = 1000
  keep_checkpoints: Count = 3
  best_by: Literal["ari_fg", "nll"] = "ari_fg"
  on_nan: Literal["stop", "skip", "rewind"] = "stop"
  max_rewinds: Whole = 3


def _changed(kind: Any) -> Any:
  """A type, or "run": as in the run."""
  return Annotated[
    kind, WrapValidator(lambda value, check: value if value == "run" else check(value))
  ]


class ChangedData(Settings):
  """Keys of a run's `data` to change where it is looked at; "run" leaves them.

  Attributes: see `DataSettings`.
  """

  model_config = pydantic.ConfigDict(alias_generator=lambda name: f"data.{name}")

  path: _changed(Names | None) = "run"
  dir: _changed(Name) = "run"
  num_frames: _changed(Count | None) = "run"
  min_objects: _changed(Whole | None) = "run"
  max_objects: _changed(Whole | None) = "run"
  num_train: _changed(Whole | None) = "run"
  num_validation: _changed(Whole) = "run"
  num_test: _changed(Whole) = "run"
  legacy_resize: _changed(bool) = "run"
  image_size: _changed(Size | None) = "run"

  @pydantic.model_validator(mode="after")
  def _filter(self) -> Self:
    check_objects(self.min_objects, self.max_objects)
    return self


class OtherData(ChangedData):
  """The same, and another data set with images of the same size.

  Attributes:
    name: of the data set.
  """

  name: _changed(Name) = "run"


class ChosenRun(Settings):
  """A run that is looked at.

  Attributes:
    run: its folder, runs/3.
    checkpoint: "best" or "last".
    num_iterations: T, the run's by default; of no matter to models that decode once.
    num_slots: K, the run's by default.
    num_starts: inferences of each image, from other samples, of which the one with the lowest
      negative ELBO is kept: in so many times the time more objects are found; the run's by default.
    batch_size: images at a time.
    seed: of the posterior samples.
  """

  run: Name | None = None
  checkpoint: Which = "best"
  num_iterations: Count | None = None
  num_slots: Count | None = None
  num_starts: Count | None = None
  batch_size: Count = 16
  seed: Seed = 0


class EvaluateSettings(ChosenRun):
  """How a run is scored; see `ChosenRun`.

  Attributes:
    split: "test" or "validation".
    num_images: 320 in the paper (Sec. 4.1).
  """

  split: Literal["test", "validation"] = "test"
  num_images: Count = 320


class StudySettings(EvaluateSettings):
  """A study of one run or of several; see `EvaluateSettings`.

  Attributes:
    runs: [runs/3,runs/4]; sweeps/slots, all of a sweep; runs/*, all in a folder.
  """

  runs: Paths | None = None


class GridSettings(Settings):
  """Many training runs in one folder.

  Attributes:
    folder: where the runs go.
    train: names and keys of the training, "clevr6 num_steps=100000".
    seeds: one run for each.
    processes: at a time.
  """

  folder: Name | None = None
  train: str = "tetrominoes quick"
  seeds: Annotated[tuple[Seed, ...], BeforeValidator(_several), Field(min_length=1)] = (1, 2, 3)
  processes: Count = 1
