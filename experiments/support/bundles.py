"""SavedModels of runs, and bundles: all that goes with a model that is given to others."""

import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.support import curves, held_out, runs
from experiments.support.errors import Refusal
from iodine import serving
from iodine.files import write_json
from iodine.slot_model import SlotModel

Metadata = dict[str, Any]


def export_run(
  run: str | os.PathLike,
  out: str | os.PathLike | None = None,
  which: str = "best",
  image_size: Sequence[int] | None = None,
  precision: str = "float32",
) -> tuple[pathlib.Path, Metadata]:
  """Writes the SavedModel of a run's checkpoint.

  Args:
    run: the run's folder.
    out: the SavedModel's, `run`/saved_model by default; an older SavedModel there is replaced.
    which: "best" or "last" checkpoint.
    image_size: (H, W) of the images that it shall take, the run's by default.
    precision: in which it computes; see `runs.load_run`.

  Returns:
    (path, metadata).

  Raises:
    Refusal: there is no such run, or `out` holds something that is no SavedModel.
  """
  changes = {} if image_size is None else {"image_size": list(image_size)}
  config, model, step = runs.load_run(run, which, changes, precision=precision)
  out = pathlib.Path(run) / runs.SAVED_MODEL if out is None else pathlib.Path(out)
  scores = test_scores(run, step) if image_size is None else None
  config = {**config, "data": {**config["data"], **changes}}
  return out, export_model(model, config, step, out, scores)


def export_model(
  model: SlotModel,
  config: Mapping[str, Any],
  step: int,
  out: str | os.PathLike,
  scores: Mapping[str, Any] | None = None,
) -> Metadata:
  """Writes a SavedModel with the metadata of a run's configuration; returns the metadata."""
  out = pathlib.Path(os.path.abspath(out))  # "." has no name
  taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
  if taken and not (out / "saved_model.pb").is_file():
    raise Refusal(f"{out} exists and is no SavedModel: give another folder")
  # Written beside it and moved into place, so that an interruption leaves the older one.
  partial = out.with_name(f".{out.name}.partial")
  shutil.rmtree(partial, ignore_errors=True)
  described = serving.export(model, partial, metadata(config, step, scores))
  if out.exists():
    shutil.rmtree(out)
  partial.rename(out)
  return described


def metadata(
  config: Mapping[str, Any], step: int, scores: Mapping[str, Any] | None = None
) -> Metadata:
  """What a SavedModel tells beside the model's own: data set, how its images were made, scores."""
  data = config["data"]
  spec = runs.dataset_spec(data)
  height, width, _ = runs.image_size(data)
  objects = runs.objects(data)
  known = {k: v for k, v in (scores or {}).items() if v == v}  # JSON has no NaN
  return {
    "data_set": spec.name,
    "num_background": spec.num_background,
    "stored_size": list(spec.image_size[:2]) if spec.image_size else None,
    "crop": list(spec.crop) if spec.crop else None,  # top, bottom, left, right of a stored image
    "size": [height, width],  # what the crop was resized to
    "binary": spec.binary,  # resized to the nearest pixel
    "grayscale": bool(data["grayscale"]),
    "num_frames": data.get("num_frames") or spec.num_frames,  # of a clip in training
    "legacy_resize": bool(data["legacy_resize"]),
    "objects": [objects.min_objects, objects.max_objects],
    "step": step,
    **{name: known.get(name) for name in ("ari_fg", "mse", "num_images")},
  }


def stored_channels(metadata: Mapping[str, Any]) -> int:
  """How many channels a picture is read with; a model's one may be the mean of three."""
  return 3 if metadata.get("grayscale") else metadata["image_size"][2]


def test_scores(run: str | os.PathLike, step: int) -> dict[str, Any] | None:
  """The scores of a run's own test split at `step`: dict, or None where there are none."""
  path = pathlib.Path(run) / "test" / "metrics.json"
  try:
    scores = json.loads(path.read_text())
  except (FileNotFoundError, ValueError):
    return None
  return scores if scores.get("step") == step else None


def bundle_run(
  run: str | os.PathLike,
  folder: str | os.PathLike,
  which: str = "best",
  precision: str = "float32",
) -> tuple[pathlib.Path, Metadata]:
  """Writes `folder` with all that goes with a model when it is given to others.

  saved_model/, the run's config.json, and as far as it has them test/metrics.json (where these are
  the scores of the step that is exported) and metrics.json: its curves, joined to those of the runs
  it was resumed from. Of paths of this machine only the last part is kept. The folder stands for a
  run: `experiments.evaluate with run=FOLDER` scores it.

  Returns:
    (path of the SavedModel, metadata).

  Raises:
    Refusal: there is no such run, or `folder` is one itself.
  """
  run, folder = pathlib.Path(run), pathlib.Path(folder)
  if (folder / runs.CHECKPOINTS).exists():
    raise Refusal(f"{folder} holds a training run: give another folder for the bundle")
  path, described = export_run(run, folder / runs.SAVED_MODEL, which, precision=precision)
  folder.mkdir(parents=True, exist_ok=True)
  config = json.loads((run / "config.json").read_text())
  write_json(folder / "config.json", {**_without_places(config), "resume_from": None})
  scores, report = test_scores(run, described["step"]), folder / "test" / "metrics.json"
  report.unlink(missing_ok=True)  # of an earlier bundle
  if scores is not None:
    report.parent.mkdir(exist_ok=True)
    write_json(report, _without_places(scores))
  entries = [
    entry._replace(data=_without_places(entry.data), run=pathlib.Path(entry.run).name)
    for entry in held_out.learned(run)
  ]
  held_out.write(folder, entries)
  recorded = curves.read(run)
  (folder / "metrics.json").unlink(missing_ok=True)  # of an earlier bundle
  if recorded:
    curves.write(folder, recorded)
  return path, described


def _without_places(value):
  if isinstance(value, dict):
    return {k: _without_places(v) for k, v in value.items()}
  if isinstance(value, list):
    return [_without_places(v) for v in value]
  return pathlib.Path(value).name if isinstance(value, str) and os.path.isabs(value) else value


def sentence(metadata: Mapping[str, Any]) -> str:
  """The metadata in one line."""
  size = " x ".join(map(str, metadata["image_size"]))
  score, kind = metadata["ari_fg"], metadata["model"].get("model", "iodine").upper()
  return (
    f"{kind} for {metadata['data_set']}, {size}, K {metadata['num_slots']}, "
    f"T {metadata['num_iterations']}, step {metadata['step']}, "
    + ("not evaluated" if score is None else f"ARI-FG {score:.3f} on held-out images")
  )
