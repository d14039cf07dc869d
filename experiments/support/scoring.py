"""The scores of a run and the figures that go with them: at the end of training, in `evaluate`."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from experiments.support import clips, held_out, runs
from experiments.support.held_out import Learned
from experiments.support.results import save
from iodine import evaluation, inference, plotting, tracking
from iodine.files import write_json
from iodine.outputs import SlotOutput
from iodine.slot_model import SlotModel


class Scored(NamedTuple):
  """A model, the data it is looked at with, and how.

  Attributes:
    model: the model.
    data: the `data` of a configuration.
    split: "test" or "validation".
    learned: what the model has learned from.
    num_iterations: T, the model's by default.
    num_slots: K, the model's by default.
    seed: of the samples.
  """

  model: SlotModel
  data: Mapping[str, Any]
  split: str
  learned: Sequence[Learned]
  num_iterations: int | None = None
  num_slots: int | None = None
  seed: int = 0

  @property
  def num_background(self) -> int:
    """How many of the first true masks are background."""
    return runs.dataset_spec(self.data).num_background


def evaluate_run(
  run: str | os.PathLike,
  out: str | os.PathLike,
  which: str = "best",
  split: str = "test",
  num_images: int = 320,
  num_iterations: int | None = None,
  num_slots: int | None = None,
  batch_size: int = 16,
  data: Mapping[str, Any] | None = None,
  seed: int = 0,
  num_starts: int | None = None,
) -> dict[str, Any]:
  """Scores a run's checkpoint and writes metrics.json and its figures into `out`/`split`.

  Args:
    run: its folder, or a bundle's.
    out: where the results go.
    which: "best" or "last" checkpoint.
    split: "test" or "validation".
    num_images: at most.
    num_iterations: T, the run's by default; of no matter to models that decode once.
    num_slots: K, the run's by default.
    batch_size: images at a time.
    data: keys of the run's `data` to change.
    seed: of the posterior samples.
    num_starts: inferences of an image, of which the best is kept; the run's by default.

  Returns:
    dict: `summary` (means at the last iteration), `figures` and `metrics` (paths).

  Raises:
    UserError: there is no such run; the split would hold records that it was trained on.
    datasets.DataError: the data is missing, damaged or another.
  """
  config, model, step = runs.load_run(run, which, data, num_starts)
  data = runs.changed_data(config["data"], data or {})
  learned = held_out.learned(run)
  subject = Scored(model, data, split, learned, num_iterations, num_slots, seed)
  held_out.check(learned, data, [split])
  starts = model.config.num_starts
  best = f", the best of {starts} starts each" if starts > 1 else ""
  checkpoint = "" if runs.is_bundle(run) else f"{which} checkpoint, "  # a bundle has only one
  print(f"{run}, {checkpoint}step {step}: up to {num_images} images of the {split} split{best}")
  followed = {}
  if clips.is_video(data) and model.ITERATES:  # first, for it may refuse
    tracked = clips.score(
      model, scenes(subject, num_images, batch_size), subject.num_background, num_slots, seed
    )
    followed = {"clips": {name: found.summary() for name, found in tracked.items()}}
  scores = score(subject, num_images, batch_size)
  summary = {**evaluation.summarize(scores), "step": step, **followed}
  out = pathlib.Path(out) / split  # Sacred has a metrics.json of its own in `out`
  out.mkdir(parents=True, exist_ok=True)
  metrics = out / "metrics.json"
  curves = {
    name: {str(q): np.nanquantile(values, q, axis=0).tolist() for q in (0.25, 0.5, 0.75)}
    for name, values in scores.items()
    if np.isfinite(values).any()  # some need true masks
  }
  write_json(metrics, {"run": str(run), "split": split, **summary, "quantiles": curves})
  figures = _scenes_drawn(subject)
  if model.ITERATES:
    figures["iterations"] = plotting.curves_per_iteration(
      ari=scores["ari_fg"], mse=scores["mse"], kl=scores["kl"]
    )
  return {
    "summary": summary,
    "metrics": str(metrics),
    "figures": [save(figure, out / name) for name, figure in figures.items()],
  }


def score(subject: Scored, num_images: int, batch_size: int) -> dict[str, np.ndarray]:
  """Scores by image and decode; see iodine.evaluation.Evaluator."""
  evaluator = evaluation.Evaluator(
    subject.model, subject.num_iterations, subject.num_slots, subject.num_background, subject.seed
  )
  return evaluator(scenes(subject, num_images, batch_size))


def scenes(subject: Scored, num_images: int, batch_size: int) -> tf.data.Dataset:
  """The first scenes of the subject's split; see held_out.scenes."""
  return held_out.scenes(subject.data, subject.split, num_images, batch_size, subject.learned)


def decompose(subject: Scored, num_images: int) -> tuple[dict[str, Any], SlotOutput]:
  """The first scenes of a split, and every decode of them, [D, B]."""
  batch = next(iter(scenes(subject, num_images, num_images)))
  infer = inference.Inference(subject.model, subject.num_iterations, subject.num_slots)
  return batch, infer.iterations(batch["image"], subject.seed)


def _scenes_drawn(subject):
  """Figures of the first scenes, by name."""
  if clips.is_video(subject.data) and subject.model.ITERATES:
    return {"sequence": draw_clip(subject)[0]}
  batch, output = decompose(subject, 6)
  figures = {"decomposition": _decomposition(subject, batch, output)}
  if subject.model.ITERATES:
    figures["refinement"] = _refinement(batch, output)
  return figures


def draw_clip(subject: Scored) -> tuple[Figure, np.ndarray]:
  """The first clip as a figure and as the pictures of an animation; see `clips.draw`."""
  frames, true_masks = next(clips.clips_of(scenes(subject, 1, 1)))
  tracked = tracking.Tracker(subject.model, subject.num_slots)(frames[None], subject.seed)
  return clips.draw(frames, true_masks, tracked, subject.num_background)


def draw_decomposition(subject: Scored, num_images: int) -> Figure:
  """Image, true masks, reconstruction, masks and slots of the first scenes."""
  return _decomposition(subject, *decompose(subject, num_images))


def _decomposition(subject, batch, output):
  last = output.at(-1)
  shown = {key: batch[key].numpy() for key in ("image", "mask") if key in batch}
  if clips.is_video(subject.data):  # a model that does not iterate looks at the first frame alone
    shown = {key: value[:, 0] for key, value in shown.items()}
  return plotting.decomposition(
    shown["image"],
    shown.get("mask"),
    last.reconstruction,
    last.masks,
    last.means,
    num_background=subject.num_background,
  )


def _refinement(batch, output):
  """The first scene over the iterations."""
  return plotting.refinement(
    batch["image"][0].numpy(),
    output.masks[:, 0],
    output.means[:, 0],
    output.reconstruction[:, 0],
  )


def sentence(summary: Mapping[str, float]) -> str:
  """The scores in one line."""
  if "clips" in summary:
    return _sentence_of_clips(summary["clips"])
  ari = f"ARI-FG {summary['ari_fg']:.3f}, " if summary["num_foreground"] else ""
  kl = f", KL {summary['kl']:.1f} nats" if np.isfinite(summary["kl"]) else ""
  return (
    f"{ari}MSE {summary['mse']:.5f}{kl} "
    f"({summary['num_images']} images, {summary['num_foreground']} with foreground)"
  )


def _sentence_of_clips(found):
  predicted, updated = found[clips.PREDICTED], found[clips.UPDATED]
  ari = ""
  if updated["num_foreground"]:
    ari = (
      f"joint ARI-FG {updated['clip_ari_fg']:.3f}, by frame {updated['frame_ari_fg']:.3f}, "
      f"stability {updated['stability']:.3f}, "
    )
  return (
    f"{ari}MSE {updated['mse']:.5f}, of predictions {predicted['mse']:.5f} "
    f"({updated['num_clips']} clips, {updated['num_foreground']} with foreground)"
  )
