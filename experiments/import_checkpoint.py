"""Reads a checkpoint of the original program (TensorFlow 1) into a run folder of ours.

  python -m experiments.import_checkpoint --checkpoint PATH --config tetrominoes --out DIR

Afterwards DIR stands for a run: `python -m experiments.evaluate with run=DIR`; DIR/saved_model is
its SavedModel (docs/serving.md). Every variable of the checkpoint but the optimizer's, the step and
the factor regressor's is accounted for.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from experiments.support import bundles, config_files, presets, runs
from experiments.support.errors import sentence
from experiments.support.training import command
from iodine import released
from iodine.build import build_model
from iodine.files import write_json
from iodine.slot_model import SlotModel
from iodine.training import CheckpointError, Checkpoints


def released_config(preset: str) -> dict[str, Any]:
  """The configuration of a `released` run of a preset, its images resized as in the original."""
  updates = {"data.legacy_resize": True, "seed": 0}
  return config_files.nested(command.schema.resolve([preset, "released"], updates).values)


def import_checkpoint(
  checkpoint: str | os.PathLike, preset: str, out: str | os.PathLike
) -> tuple[SlotModel, int]:
  """Writes config.json, checkpoints/ and saved_model/ from an original checkpoint.

  Args:
    checkpoint: its prefix (model.ckpt-1000) or the folder it lies in.
    preset: a name in presets.SCENES.
    out: the folder to make.

  Returns:
    (model, step).

  Raises:
    CheckpointError: it cannot be read, or does not fit the preset; `out` is a run already.
  """
  out = pathlib.Path(out)
  if (out / runs.CHECKPOINTS).exists():
    raise CheckpointError(f"{out} holds a run already: give another --out")
  try:
    reader = tf.train.load_checkpoint(str(checkpoint))
    shapes = reader.get_variable_to_shape_map()
    variables = {name: reader.get_tensor(name) for name in shapes}
  except Exception as error:  # TensorFlow raises many kinds for a file it cannot read
    reason = str(error).splitlines()[0]
    raise CheckpointError(f"{checkpoint} is no checkpoint that can be read: {reason}") from error
  step = int(variables.get("global_step", 0))
  config = released_config(preset)
  model = build_model(runs.model_config(config))
  model.create_variables()
  try:
    released.assign(model, variables)
  except ValueError as error:
    raise CheckpointError(f"{checkpoint} is no {preset} checkpoint: {error}") from error
  state = {
    "model": model,
    "step": tf.Variable(step, dtype=tf.int64),
    "best_score": tf.Variable(float("-inf")),
  }
  path = Checkpoints(out / runs.CHECKPOINTS, state, model.config).save()
  write_json(out / "config.json", {**config, "imported_from": str(checkpoint)})
  print(f"{len(model.trainable_variables)} variables of step {step}: {path}")
  bundles.export_model(model, config, step, out / runs.SAVED_MODEL)
  print(f"SavedModel: {out / runs.SAVED_MODEL}")
  return model, step


def main(argv: Sequence[str] | None = None) -> None:
  """The command line."""
  parser = argparse.ArgumentParser(
    prog="python -m experiments.import_checkpoint", description=__doc__.splitlines()[0]
  )
  parser.add_argument("--checkpoint", required=True, help="its prefix, or the folder it lies in")
  names = sorted(presets.SCENES)
  what = f"what it was trained as: {', '.join(names)}"
  parser.add_argument("--config", required=True, choices=names, metavar="PRESET", help=what)
  parser.add_argument("--out", required=True, help="the run folder to make")
  args = parser.parse_args(argv)
  try:
    import_checkpoint(args.checkpoint, args.config, args.out)
  except Exception as error:
    told = sentence(error)
    if told is None:
      raise
    print(f"import_checkpoint: {told}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
  main()
