"""Writes a run's model as a SavedModel: python -m experiments.export with run=runs/3

It lies in runs/3/saved_model, or where `out` says; docs/serving.md tells how to use it. For a model
that others are to have,

  python -m experiments.export with run=runs/3 bundle=models/tetrominoes

writes a folder with the SavedModel, the run's configuration, its curves and its test scores.
"""

from typing import Self

import pydantic

from experiments.support import bundles
from experiments.support.cli import Command, Refusal, run_folder
from experiments.support.settings import Name, Size, Which
from iodine.config import Precision
from iodine.settings import Settings


class ExportSettings(Settings):
  """What is exported, and where to.

  Attributes:
    run: the run's folder, runs/3.
    checkpoint: "best" or "last".
    out: the SavedModel's folder, saved_model in the run's by default.
    image_size: (H, W) of the images that it shall take, the run's by default.
    bundle: a folder to write instead: saved_model/, config.json, metrics.json, test/.
    precision: in which the SavedModel computes, whatever the training had (docs/scaling.md).
  """

  run: Name | None = None
  checkpoint: Which = "best"
  out: Name | None = None
  image_size: Size | None = None
  bundle: Name | None = None
  precision: Precision = "float32"

  @pydantic.model_validator(mode="after")
  def _one_place(self) -> Self:
    if self.out is not None and self.bundle is not None:
      raise ValueError(
        "a bundle has its own place for the SavedModel: give out or bundle, not both"
      )
    if self.image_size is not None and self.bundle is not None:
      raise ValueError("a bundle has its run's image size: give out with image_size, not bundle")
    return self


command = Command("export", ExportSettings, storage=run_folder("export"))


@command.main
def export(_run, _config):
  """Writes the SavedModel and says what it is."""
  if _config["run"] is None:
    raise Refusal("say which run: with run=runs/3")
  run, which = _config["run"], _config["checkpoint"]
  precision = _config["precision"]
  if _config["bundle"] is None:
    size = _config["image_size"]
    path, metadata = bundles.export_run(run, _config["out"], which, size, precision)
  else:
    path, metadata = bundles.bundle_run(run, _config["bundle"], which, precision)
  print(bundles.sentence(metadata))
  print(f"SavedModel: {path}")
  return str(path)


if __name__ == "__main__":
  command.run_commandline()
