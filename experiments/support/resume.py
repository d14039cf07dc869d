"""Going on from another run: its state, its best checkpoint, its curves."""

import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

from sacred.run import Run

from experiments.support import held_out, runs
from experiments.support.errors import Refusal
from iodine.files import write_json
from iodine.training import Trainer

HISTORY = "validation.json"
History = dict[int, float]


def with_checkpoint(folder: str | os.PathLike) -> pathlib.Path:
  """The run in `folder`; where it was stopped before its first checkpoint, the one it resumed.

  Raises:
    Refusal: neither has one; it is a bundle.
  """
  path = parent = pathlib.Path(folder)
  while not any((parent / runs.CHECKPOINTS).glob("*.index")):
    if runs.is_bundle(parent):
      raise Refusal(
        f"{parent} is a model without its optimizer's state: begin a new run with "
        f"init_from={parent}"
      )
    known = (parent / "config.json").is_file()
    origin = runs.load_config(parent).get("resume_from") if known else None
    if origin is None:
      raise Refusal(f"{path} has no checkpoints to resume from")
    parent = pathlib.Path(origin)
  if parent != path:
    print(f"{path} has no checkpoint of its own yet; goes on from {parent}, where it came from")
  return parent


def resume(
  run: Run,
  trainer: Trainer,
  config: Mapping[str, Any],
  parent: pathlib.Path,
  directory: pathlib.Path,
) -> History:
  """Restores the trainer from a run, and takes over what goes on in the new one.

  Returns:
    the scores of the validations up to the checkpoint, by step.
  """
  source = parent / runs.CHECKPOINTS
  for path in trainer.restore(source):
    print(f"{path} is damaged; took the one before")
  history = {trainer.steps_done: float("nan")}  # nothing is to be scored again
  if not _same_scores(parent, config, directory):
    trainer.best_score.assign(float("-inf"))  # of other scenes, or by another measure
  else:
    known = read_history(parent)
    history = history if known is None else until(known, trainer.steps_done)
    _take_best(trainer, history, source / "best", directory / runs.CHECKPOINTS / "best")
  if trainer.is_chief and (parent / "tensorboard").is_dir():  # so that the curves join
    shutil.copytree(parent / "tensorboard", directory / "tensorboard")
  trainer.checkpoints.save()  # last: whoever finds a checkpoint here finds all of the above
  run.info["resumed_from"] = {"run": str(parent), "step": trainer.steps_done}
  return history


def check(config: Mapping[str, Any], parent: str | os.PathLike) -> None:
  """Raises Refusal where a run cannot go on from its parent: the optimizer is another."""
  before = runs.training_config(parent).get("optimizer", config["optimizer"])
  if before != config["optimizer"]:
    raise Refusal(
      f"{parent} was trained with optimizer={before}, whose state is none of "
      f"optimizer={config['optimizer']}: leave it as it was, or begin a new run with "
      f"init_from={parent}"
    )


def _same_scores(parent, config, directory):
  """Whether the new run's validations and its parent's give scores that compare."""
  before = runs.training_config(parent)
  same = all(before["data"][k] == config["data"][k] for k in (*runs.SCENE_KEYS, "num_validation"))
  for key in ("num_validation_images", "best_by", "num_slots", "num_iterations", "num_starts"):
    same &= before.get(key, config[key]) == config[key]
  theirs, own = (held_out.learned(folder)[-1] for folder in (parent, directory))
  if theirs.fingerprint is not None:  # else it is older than these
    same &= (theirs.fingerprint, theirs.stop) == (own.fingerprint, own.stop)
  if config["best_by"] == "nll" or config["data"]["name"] == "images":  # perhaps without true masks
    same &= before.get("sigma") == config.get("sigma")
  return same


def _take_best(trainer, history, source, target):
  """Takes over the parent's best checkpoint, the one to beat, unless it lies in steps to come."""
  restore_best_score(trainer, history)
  step = trainer.steps_done
  files = [path for path in source.glob("best-*.*") if int(path.stem.split("-")[1]) <= step]
  if trainer.is_chief and files:
    target.mkdir(parents=True)
    for path in files:
      shutil.copy(path, target)


def read_history(folder: str | os.PathLike) -> History | None:
  """The scores by which a run chose its best checkpoint, by step; None where none are kept."""
  try:
    values = json.loads((pathlib.Path(folder) / HISTORY).read_text())
    return {int(step): float(score) for step, score in values.items()}
  except (OSError, ValueError, AttributeError, TypeError):
    return None


def write_history(folder: str | os.PathLike, history: History) -> None:
  """Keeps the scores of the validations so far in a run's folder."""
  write_json(pathlib.Path(folder) / HISTORY, history)


def until(history: History, step: int) -> History:
  """The validations up to a step."""
  return {at: score for at, score in history.items() if at <= step}


def restore_best_score(trainer: Trainer, history: History) -> None:
  """The best score so far: a checkpoint does not know that of its own, later validation."""
  best = [score for score in history.values() if score == score]
  if best:
    trainer.best_score.assign(max([float(trainer.best_score.numpy()), *best]))
