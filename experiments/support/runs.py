"""Finished or stopped runs: their data, configuration and model."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

import datasets
from datasets import files, generate
from experiments.support.errors import Refusal
from experiments.support.settings import DataSettings
from iodine import serving
from iodine.build import build_model, make_config
from iodine.config import ModelConfig
from iodine.slot_model import SlotModel
from iodine.training import make_strategy, num_cores, restore, split_cpu

CHECKPOINTS = "checkpoints"
SAVED_MODEL = "saved_model"
Data = Mapping[str, Any]  # the `data` of a configuration
DATA = {key.partition(".")[2]: value for key, value in DataSettings().flat().items()}  # defaults


def dataset_spec(data: Data) -> datasets.DatasetSpec:
  """The spec of a `data` configuration."""
  return datasets.get_spec(data["name"])


def objects(data: Data) -> datasets.Filter:
  """Which numbers of objects a `data` configuration's scenes have; the data set's own included."""
  asked = datasets.Filter(data["min_objects"], data["max_objects"])
  return asked.for_spec(dataset_spec(data))


def image_size(data: Data) -> tuple[int, int, int]:
  """(H, W, C) of what the pipeline yields for a `data` configuration.

  Of images of one's own the file has to tell: DataError if it is not there.
  """
  spec = dataset_spec(data)
  stored = spec.image_size or _check(data)["image_shape"][-3:]
  height, width = data["image_size"] or spec.training_size or stored[:2]
  return height, width, 1 if data["grayscale"] else stored[2]


FILE_KEYS = ("path", "image_size")
SPLIT_KEYS = ("num_train", "num_validation", "num_test", "min_objects", "max_objects")
# What an image shows.
SCENE_KEYS = (
  "name", "image_size", "num_frames", "grayscale", "min_objects", "max_objects", "legacy_resize",
)  # fmt: skip


def check_data(data: Data) -> None:
  """Raises datasets.DataError if the file is missing, damaged or of another kind.

  With data["generate"] a missing file is generated first, unless that means rendering.
  """
  if data["generate"]:
    _generate_if_missing(data)
  _check(data)


def resized(data: Data, size: tuple[int, int]) -> Data:
  """The same files with images of another (H, W), where there may be files of that size too."""
  path = files.find_files(dataset_spec(data), data["path"], data["dir"], data["image_size"])
  return {**data, "path": path, "image_size": size}


def num_frames(data: Data) -> int:
  """How many frames the clips of a `data` configuration have."""
  return data["num_frames"] or _check(data)["image_shape"][0]


def _check(data):
  options = {k: data.get(k) for k in (*FILE_KEYS, "num_frames")}
  options["on_error"] = data.get("on_error", "raise")
  return datasets.check(dataset_spec(data), data_dir=data["dir"], **options)


def num_scenes(data: Data) -> int:
  """How many scenes the splits of a `data` configuration take; the data set's own for training."""
  num_train = data["num_train"] or dataset_spec(data).num_train
  return num_train + data["num_validation"] + data["num_test"]


def _generate_if_missing(data):
  spec = dataset_spec(data)
  try:
    files.find_files(spec, data["path"], data["dir"], data["image_size"])
  except datasets.DataError:
    if data["path"] is None and spec.generator and not spec.rendered:
      generate.generate(spec, num_scenes(data), data["dir"], workers=os.cpu_count())


def describe_data(data: Data) -> str:
  """A sentence or two on the file and its splits."""
  groups, options = _grouped({k: data[k] for k in (*FILE_KEYS, *SPLIT_KEYS, "on_error")})
  size = groups.pop("form").image_size
  del groups["order"]
  return datasets.describe(
    dataset_spec(data), data_dir=data["dir"], image_size=size, **groups, **options
  )


def _grouped(options):
  """The groups of options that `datasets.load` takes, out of flat ones, and the options left."""
  kinds = {
    "splits": datasets.Splits,
    "filter": datasets.Filter,
    "order": datasets.Order,
    "form": datasets.Form,
  }
  groups = {}
  for group, kind in kinds.items():
    names = [field.name for field in dataclasses.fields(kind) if field.name in options]
    groups[group] = kind(**{name: options[name] for name in names})
    options = {k: v for k, v in options.items() if k not in names}
  return groups, options


def load_data(data: Data, split: str, batch_size: int, **kwargs) -> tf.data.Dataset:
  """tf.data.Dataset of scene batches for a `data` configuration.

  Args:
    data: the configuration.
    split: "train", "validation", "test" or "all".
    batch_size: of this input pipeline.
    **kwargs: fields of `datasets.Splits`, `Filter`, `Order` and `Form`, and what `datasets.load`
      takes besides them.
  """
  own = {k: v for k, v in data.items() if k not in ("name", "dir", "generate", "seed")}
  groups, options = _grouped({**own, **kwargs})
  return datasets.load(
    dataset_spec(data),
    data_dir=data["dir"],
    split=split,
    batch_size=batch_size,
    **groups,
    **options,
  )


def model_config(config: Mapping[str, Any]) -> ModelConfig:
  """The model's settings in a run's configuration."""
  return make_config({**config, "image_size": image_size(config["data"])})


def strategy(config: Mapping[str, Any]) -> tf.distribute.Strategy:
  """The distribution strategy of a run's configuration; comes before TensorFlow's first operation.

  Raises:
    UserError: as `iodine.training.make_strategy`.
  """
  name, num_devices, parts = (config[k] for k in ("strategy", "num_devices", "cpu_devices"))
  if name != "multi_worker":
    os.environ.pop("TF_CONFIG", None)  # TensorFlow would read it, and it is not about this run
  parts = min(parts, num_cores())
  splits = name == "auto" and num_devices is None and config["batch_size"] % parts == 0
  splits = splits and not config["jit"]  # XLA compiles for one device
  if splits and parts > 1 and not tf.config.list_physical_devices("GPU"):
    return make_strategy("mirrored", split_cpu(parts))
  return make_strategy(name, num_devices)


def load_config(folder: str | os.PathLike) -> dict[str, Any]:
  """The configuration of the run in `folder`; raises Refusal where there is none."""
  folder = pathlib.Path(folder)
  path = folder / "config.json"
  if folder.name == CHECKPOINTS and (folder.parent / "config.json").is_file():
    raise Refusal(f"{folder} holds a run's checkpoints; the run is {folder.parent}")
  try:
    config = json.loads(path.read_bytes().decode("utf-8-sig"))
  except (FileNotFoundError, NotADirectoryError):
    raise Refusal(f"there is no run in {folder}: {path} does not exist") from None
  except ValueError as error:
    raise Refusal(f"{path} is damaged: {error}") from error
  if not isinstance(config, dict):
    raise Refusal(f"{path} is damaged: it holds no configuration")
  return config


def training_config(folder: str | os.PathLike) -> dict[str, Any]:
  """The configuration of a training run, with the defaults of the data's keys that are younger.

  Raises:
    Refusal: there is none in `folder`, or it is of another command.
  """
  config = load_config(folder)
  if "num_slots" not in config or "name" not in config.get("data", {}):
    raise Refusal(f"{folder} is no training run")
  return {**config, "data": {**DATA, **config["data"]}}


def load_run(
  folder: str | os.PathLike,
  which: str = "best",
  changes: Mapping[str, Any] | None = None,
  num_starts: int | None = None,
  precision: str = "float32",
) -> tuple[dict[str, Any], SlotModel, int]:
  """Restores a run's model.

  Args:
    folder: the run's, as runs/3; or a bundle's (`experiments.export`), which has a SavedModel only.
    which: "best" or "last" checkpoint.
    changes: keys of its `data` that are to be others: the model is made for images of that size,
      on which no variable of most models depends.
    num_starts: of the model's inference (`ModelConfig`), the run's by default.
    precision: in which it computes (`ModelConfig`), whatever the training had: what one machine has
      units for another emulates, several times more slowly.

  Returns:
    (config dict, model, step).

  Raises:
    UserError: there is no such run, no checkpoint that can be read, or one whose model cannot take
      such images.
  """
  config = training_config(folder)
  size = _other_size(folder, config["data"], changes or {})
  if is_bundle(folder):
    loaded = serving.load(folder)
    return config, loaded.restore(size, num_starts, precision), loaded.metadata["step"]
  model = build_model(model_config(config).adapted(size, num_starts, precision))
  model.create_variables()
  step = tf.Variable(0, dtype=tf.int64, trainable=False)
  state = {"model": model, "step": step}
  taken, damaged = restore(state, model, pathlib.Path(folder) / CHECKPOINTS, which)
  for path in damaged:
    print(f"{path} is damaged; took {taken}")
  return config, model, int(step.numpy())


def changed_data(data: Data, changes: Mapping[str, Any]) -> Data:
  """A run's `data` with keys that are to be others where it is looked at.

  The files of another folder or data set are not those that the run's `path` names. Nothing is
  generated: scenes made anew would be others.
  """
  elsewhere = {"path": None} if {"name", "dir"} & set(changes) else {}
  return {**data, **elsewhere, **changes, "generate": False}


def _other_size(folder, data, changes):
  """(H, W) of changed data whose images are not as large as the run's; else None."""
  if not {"name", "image_size"} & set(changes):
    return None
  trained, seen = image_size(data), image_size(changed_data(data, changes))
  if seen[2] != trained[2]:
    raise Refusal(
      f"{folder} was trained on {data['name']} with images of {trained[2]} channels, the images of "
      f"{changes.get('name', data['name'])} have {seen[2]}"
    )
  return None if seen[:2] == trained[:2] else seen[:2]


def initialise(model: SlotModel, folder: str | os.PathLike, which: str = "best") -> str:
  """Sets a model's trainable variables to those of a run or bundle that have their name and shape.

  Args:
    model: whose variables exist.
    folder: of the run or bundle.
    which: "best" or "last" checkpoint of a run.

  Returns:
    a sentence on what did and did not fit.

  Raises:
    UserError: there is no such run, or nothing of it fits.
  """
  _, source, step = load_run(folder, which)
  known = {variable.name: variable for variable in source.trainable_variables}
  misfits = []
  for variable in model.trainable_variables:
    other = known.get(variable.name)
    if other is None or other.shape != variable.shape:
      misfits.append(variable.name.removesuffix(":0"))
    else:
      variable.assign(other)
  total = len(model.trainable_variables)
  if len(misfits) == total:
    raise Refusal(f"init_from={folder}: no variable of that model fits this one")
  told = f"begins with {total - len(misfits)} of {total} variables of {folder}, step {step}"
  return f"{told}; as new: {', '.join(misfits)}" if misfits else told


def is_bundle(folder: str | os.PathLike) -> bool:
  """Whether a folder has a SavedModel in place of checkpoints."""
  folder = pathlib.Path(folder)
  return not (folder / CHECKPOINTS).is_dir() and (folder / SAVED_MODEL).is_dir()
