"""Scores of a model on held-out images, iteration by iteration (paper, Sec. 4.1 and Fig. 8)."""

import numpy as np
import tensorflow as tf

from iodine import config, metrics

METRICS = ("ari_fg", "ari", "covering", "mse", "nll", "kl")


class Evaluator:
  """Runs inference one iteration at a time: memory does not grow with their number.

  An image's scores depend on (seed, its place in the data set) and not on its batch, except in
  a model configured with `batch_mean_gradients`.

  Args:
    model: Iodine.
    num_iterations: decodes to score; the model's T (or T + 1, with `final_decode`) by default.
    num_slots: K, the model's by default.
    num_background: how many of the first true masks are background.
    seed: of the posterior samples.
  """

  def __init__(self, model, num_iterations=None, num_slots=None, num_background=1, seed=0):
    self._model = model
    self._num_slots = model.config.num_slots if num_slots is None else num_slots
    config.check_slots(self._num_slots)
    num_iterations = model.config.num_iterations if num_iterations is None else num_iterations
    config.check_iterations(num_iterations)
    self.num_decodes = num_iterations + int(model.config.final_decode)
    self._num_background = num_background
    self._seed = tf.constant([seed, 1], tf.int32)
    self._step = tf.function(self._iteration, reduce_retracing=True)

  def __call__(self, batches, first_index=0):
    """Scores scenes.

    Args:
      batches: iterable of scene batches: `image` [B, H, W, C], and `mask` [B, L, H, W, 1] if any.
      first_index: place of the first scene in the data set.

    Returns:
      dict of float64 [N, D], by image and decode: ari_fg, ari and covering, each object once (NaN
      without true masks, ari_fg and covering also without foreground), mse, nll (nats an image),
      kl (nats, summed over slots).

    Raises:
      ValueError: there is no image.
    """
    scores = [self._score(batch, first) for batch, first in _with_position(batches, first_index)]
    if not scores:
      raise ValueError("there is no image to evaluate: the split or its filter is empty")
    return {name: np.concatenate([s[name] for s in scores]).astype(np.float64) for name in METRICS}

  def _score(self, batch, first_index):
    batch = {key: batch[key] for key in ("image", "mask") if key in batch}
    params, state = self._model.initial(len(batch["image"]), self._num_slots)
    first = tf.constant(first_index)
    rows = []
    for t in range(self.num_decodes):
      values, params, state = self._step(batch, tf.constant(t), first, params, state)
      rows.append({name: value.numpy() for name, value in values.items()})
    return {name: np.stack([row[name] for row in rows], axis=1) for name in METRICS}

  def _iteration(self, batch, iteration, first_index, params, state):
    """Decodes, scores, and updates the posterior for the next iteration."""
    model, images = self._model, batch["image"]
    if images.shape.rank == 5:
      images = images[:, iteration]
    noise = model.noise(self._seed, iteration, tf.shape(images)[0], self._num_slots, first_index)
    decode = model.decode(images, params, noise)
    masks = decode.mixture.masks
    reconstruction = tf.reduce_sum(masks * decode.mixture.means, axis=1)
    unknown = tf.fill(tf.shape(decode.nll), np.float32(np.nan))
    true_mask = batch.get("mask")
    if true_mask is not None and true_mask.shape.rank == 6:
      true_mask = true_mask[:, iteration]
    values = {
      "ari_fg": metrics.ari_fg(true_mask, masks, self._num_background)
      if true_mask is not None
      else unknown,
      "ari": metrics.ari(true_mask, masks) if true_mask is not None else unknown,
      "covering": metrics.segmentation_covering(true_mask, masks, self._num_background)
      if true_mask is not None
      else unknown,
      "mse": metrics.mse(images, reconstruction),
      "nll": decode.nll,
      "kl": tf.reduce_sum(decode.kl, axis=-1),
    }
    return values, *model.refine(images, params, decode, state)


def _with_position(batches, first=0):
  for batch in batches:
    yield batch, first
    first += int(batch["image"].shape[0])


def summarize(scores):
  """Means over images at the last decode: dict of floats, and `num_images`, `num_foreground`.

  ARI-FG and covering leave out the images without foreground; `num_foreground` counts those that
  have some.
  """
  last = {name: values[:, -1] for name, values in scores.items()}
  defined = np.isfinite(last["ari_fg"])
  summary = {}
  for name, values in last.items():
    if name in ("ari_fg", "covering"):
      values = values[np.isfinite(values)]
    summary[name] = float(np.mean(values)) if len(values) else float("nan")
  summary["num_images"] = len(defined)
  summary["num_foreground"] = int(defined.sum())
  return summary
