"""Scores of a model on held-out images, iteration by iteration (paper, Sec. 4.1 and Fig. 8)."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from iodine import metrics, starts, unroll
from iodine.errors import UserError
from iodine.noise import Noise, as_seed
from iodine.slot_model import SlotModel

METRICS = ("ari_fg", "ari", "covering", "mse", "nll", "kl")


class Evaluator:
  """Scores every decode of an inference: memory does not grow with their number.

  An image's scores depend on (seed, its place in the data set) and not on its batch, except in
  a model configured with `batch_mean_gradients`.

  Args:
    model: a SlotModel.
    num_iterations: T, the model's by default (all frames of a sequence).
    num_slots: K, the model's by default.
    num_background: how many of the first true masks are background.
    seed: of the posterior samples.

  Raises:
    UserError: K or T is too small.
  """

  def __init__(
    self,
    model: SlotModel,
    num_iterations: int | None = None,
    num_slots: int | None = None,
    num_background: int = 1,
    seed: int = 0,
  ):
    model.check_counts(num_iterations, num_slots)
    self._model, self._num_iterations, self._num_slots = model, num_iterations, num_slots
    self._num_background = num_background
    self._seed = as_seed(seed)
    self._run = unroll.Compiled(self._decodes)

  def __call__(
    self, batches: Iterable[Mapping[str, Any]], first_index: int = 0
  ) -> dict[str, np.ndarray]:
    """Scores scenes; of several starts (`ModelConfig.num_starts`) each image's best.

    Args:
      batches: iterable of scene batches: `image` [B, H, W, C], and `mask` [B, L, H, W, 1] if any;
        of sequences [B, T, H, W, C] and [B, T, L, H, W, 1].
      first_index: place of the first scene in the data set.

    Returns:
      dict of float64 [N, D], by image and decode: ari_fg, ari and covering, each object once (NaN
      without true masks, ari_fg and covering also without foreground), mse, nll (nats an image),
      kl (nats, summed over slots; NaN for a model without a posterior).

    Raises:
      UserError: there is no image, or one that the model does not take (`SlotModel.check_images`).
    """
    scores = [self._score(batch, first) for batch, first in _with_position(batches, first_index)]
    if not scores:
      raise UserError("there is no image to evaluate: the split or its filter is empty")
    return {name: np.concatenate([s[name] for s in scores]).astype(np.float64) for name in METRICS}

  def _score(self, batch, first_index):
    batch = {key: batch[key] for key in ("image", "mask") if key in batch}
    batch["image"] = self._model.check_images(batch["image"])

    def run(number):
      seed = starts.start_seed(self._seed, number)
      energy, scores = self._run(batch["image"], batch, seed, tf.constant(first_index))
      return energy.numpy(), {name: value.numpy() for name, value in scores.items()}

    scores = starts.best_start(run, self._model.config.num_starts, axis=1)
    return {name: value.T for name, value in scores.items()}  # [D, B] -> [B, D]

  def _decodes(self, batch, seed, first_index):
    model, true_mask = self._model, batch.get("mask")

    def keep(output, frame, d):
      mask = true_mask
      if mask is not None and mask.shape.rank == 6:
        mask = timeline.target(mask, d)
      return _scores(output, frame.target, mask, self._num_background)

    timeline = unroll.timeline_of(model, batch["image"], self._num_iterations)
    found = unroll.fold(
      model,
      batch["image"],
      keep,
      num_iterations=self._num_iterations,
      num_slots=self._num_slots,
      noise=Noise(seed, tf.constant(0), first_index),
    )
    return model.energy(found.last.nll, found.last.terms), found.kept


def _scores(output, image, true_mask, num_background):
  """Of one decode, by name: [B] each."""
  unknown = tf.fill(tf.shape(output.nll), np.float32(np.nan))
  scores = dict.fromkeys(METRICS, unknown)
  if true_mask is not None:
    scores |= {
      "ari_fg": metrics.ari_fg(true_mask, output.masks, num_background),
      "ari": metrics.ari(true_mask, output.masks),
      "covering": metrics.segmentation_covering(true_mask, output.masks, num_background),
    }
  scores |= {"mse": metrics.mse(image, output.reconstruction), "nll": output.nll}
  if "kl" in output.terms:
    scores["kl"] = output.terms["kl"]
  return scores


def _with_position(batches, first=0):
  for batch in batches:
    yield batch, first
    first += int(batch["image"].shape[0])


def summarize(scores: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Means over images at the last decode: dict of floats, and `num_images`, `num_foreground`.

  ARI, ARI-FG and covering leave out the images where they are not defined, without foreground or
  with masks that are all nobody's; `num_foreground` counts those that have a foreground.
  """
  last = {name: values[:, -1] for name, values in scores.items()}
  defined = np.isfinite(last["ari_fg"])
  summary = {}
  for name, values in last.items():
    if name in ("ari", "ari_fg", "covering"):
      values = values[np.isfinite(values)]
    summary[name] = float(np.mean(values)) if len(values) else float("nan")
  summary["num_images"] = len(defined)
  summary["num_foreground"] = int(defined.sum())
  return summary
