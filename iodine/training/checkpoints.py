"""Checkpoints: written whole or not at all, read with their checksums, or refused."""

import contextlib
import glob
import json
import math
import os
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from iodine.build import make_config
from iodine.errors import UserError
from iodine.files import write_json
from iodine.slot_model import SlotModel
from iodine.tf_paths import literal

# What a run may have that the one it goes on from had not: it begins anew.
OPTIONAL = ("loss_scale", "geco", "parted")
OPTIMIZER = "optimizer"  # its kind, beside the model's settings


class CheckpointError(UserError):
  """No checkpoint that can be read, or one of another configuration."""


class Checkpoints:
  """Saves and restores a Trainer: the last few checkpoints, the best one, and the configuration.

  TensorFlow writes a checkpoint under a temporary name and moves it into place, and so do we with
  `config.json`; a kill at any moment leaves the ones before intact.
  """

  def __init__(self, directory, state, config, keep=3):
    self.directory = pathlib.Path(directory)
    self._config = config
    self._optimizer = {OPTIMIZER: state["optimizer"].name} if "optimizer" in state else {}
    self._step, self._best_score = state["step"], state["best_score"]
    self._checkpoint = tf.train.Checkpoint(**state)
    self._last = tf.train.CheckpointManager(
      self._checkpoint, literal(self.directory), max_to_keep=keep, step_counter=state["step"]
    )
    self._best = tf.train.CheckpointManager(
      self._checkpoint,
      literal(self.directory / "best"),
      max_to_keep=1,
      step_counter=state["step"],
      checkpoint_name="best",
    )

  def save(self):
    """Writes a checkpoint; returns its path."""
    return self._save(self._last)

  def save_best(self, score):
    """Writes a checkpoint if `score` is the highest so far, or the first that has a checkpoint.

    Returns:
      its path or None; None too where the score is not a number.
    """
    folder = self.directory / "best"
    none_yet = math.isfinite(score) and not any(folder.glob("best-*.index"))
    if not (score > float(self._best_score.numpy()) or none_yet):
      return None
    self._best_score.assign(score)
    best = pathlib.Path(self._save(self._best))
    for other in folder.glob("best-*.*"):  # a parent's, which the manager does not know
      if not other.name.startswith(f"{best.name}."):
        other.unlink(missing_ok=True)
    return str(best)

  def _save(self, manager):
    try:
      self.directory.mkdir(parents=True, exist_ok=True)
      write_json(self.directory / "config.json", {**self._config.flat(), **self._optimizer})
      saved = manager.save(checkpoint_number=self._step.numpy())
      folder = self.directory / "best" if manager is self._best else self.directory
      return str(folder / pathlib.Path(saved).name)
    except (OSError, tf.errors.OpError) as error:
      self._remove_unfinished(manager)
      reason = re.sub(r"^\{\{.*?\}\} ", "", str(error)).splitlines()[0]  # name of a graph node
      raise CheckpointError(
        f"cannot write a checkpoint to {self.directory}: {reason}; the ones before are intact"
      ) from error

  def _remove_unfinished(self, manager):
    """Takes away what a failed write left: on a full disk, the room for the run's record."""
    name = "best" if manager is self._best else "ckpt"
    prefix = os.path.join(manager.directory, f"{name}-{self._step.numpy()}")
    shutil.rmtree(f"{prefix}_temp", ignore_errors=True)
    with contextlib.suppress(Exception):  # TensorFlow raises many kinds for a file it cannot read
      _verify(prefix)
      return  # whole: only the folder's list of them was not written
    for path in glob.glob(f"{glob.escape(prefix)}.*"):
      with contextlib.suppress(OSError):
        os.remove(path)


def restore(
  state: Mapping[str, Any], model: SlotModel, directory: str | os.PathLike, which: str = "last"
) -> tuple[str, list[str]]:
  """Restores what a checkpoint of a folder holds.

  Args:
    state: what to restore into, by the names of a Trainer's state, `model` among them.
    model: its settings must be the ones that were saved, but for those that no variable depends on.
    directory: a run's checkpoint folder.
    which: "last" or "best" (the last one where no best was kept, or where it is damaged).

  Returns:
    (path, list of paths that came before it and were damaged).

  Raises:
    CheckpointError: none there, none readable, another configuration (the differing keys), or a
      training cannot go on from it: it has no optimizer's state, or another optimizer's.
  """
  directory = pathlib.Path(directory)
  check_config(model, directory / "config.json", state.get("optimizer"))
  candidates = _saved(directory / "best") if which == "best" else []
  candidates += _saved(directory)
  damaged = []
  for path in candidates:
    try:
      _verify(path)
    except Exception:  # TensorFlow raises many kinds for a file it cannot read
      damaged.append(path)
      continue
    known = {name.split("/")[0] for name, _ in tf.train.list_variables(literal(path))}
    if "optimizer" in state and "optimizer" not in known:
      raise CheckpointError(
        f"{path} has no optimizer's state, so that no training goes on from it: begin a new run "
        "with init_from"
      )
    present = {name: p for name, p in state.items() if name in known or name not in OPTIONAL}
    status = tf.train.Checkpoint(**present).restore(literal(path))
    status.assert_existing_objects_matched().expect_partial()
    return path, damaged
  if damaged:
    raise CheckpointError(f"no checkpoint in {directory} can be read; damaged: {damaged}")
  raise CheckpointError(f"no checkpoint in {directory}: the run stopped before it wrote one")


def _saved(directory):
  """Checkpoint paths of a folder, newest first; by their files, for the state file may be old."""
  paths = [p.with_suffix("") for p in pathlib.Path(directory).glob("*.index")]
  return [str(p) for p in sorted(paths, key=lambda p: int(p.name.rsplit("-", 1)[1]), reverse=True)]


def _verify(path):
  """Reads every tensor, which checks its checksum."""
  reader = tf.train.load_checkpoint(literal(path))
  for name in reader.get_variable_to_shape_map():
    reader.get_tensor(name)


def check_config(model: SlotModel, path: pathlib.Path, optimizer=None) -> None:
  """Raises CheckpointError with the differing keys if `path` holds another model's settings.

  Or another optimizer's name, where it has one and an optimizer is to go on.
  """
  try:
    saved = json.loads(path.read_text())
  except FileNotFoundError:
    return
  except ValueError as error:
    raise CheckpointError(f"{path} is damaged: {error}") from error
  kind = saved.pop(OPTIMIZER, None)
  if None not in (kind, optimizer) and kind != optimizer.name:
    raise CheckpointError(
      f"the checkpoint in {path.parent} has the state of another optimizer, {kind}, so that no "
      f"training with {optimizer.name} goes on from it: begin a new run with init_from"
    )
  saved, ours = make_config(saved).flat(), model.config.flat()
  differing = [
    f"{key}: {saved.get(key)} saved, {ours.get(key)} now"
    for key in sorted(saved.keys() | ours.keys())
    if key not in model.free_settings and saved.get(key) != ours.get(key)
  ]
  channels = [settings["image_size"][-1] for settings in (saved, ours)]
  if "image_size" in model.free_settings and channels[0] != channels[1]:
    differing.append(f"image channels: {channels[0]} saved, {channels[1]} now")
  if differing:
    raise CheckpointError(
      f"the checkpoint in {path.parent} belongs to another configuration: {'; '.join(differing)}"
    )
