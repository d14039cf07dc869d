"""Compiled inference on batches of held-out images, in NumPy."""

import tensorflow as tf

from iodine import unroll
from iodine.noise import Noise
from iodine.outputs import SlotOutput
from iodine.slot_model import SlotModel


class Inference:
  """Runs inference; compiled once for all batches.

  An image's results are a function of (seed, its index) and, as those of `evaluation.Evaluator`
  with the same seed, do not depend on its batch (but see `ReleasedConfig.batch_mean_gradients`).

  Args:
    model: a SlotModel.
    num_iterations: T, the model's by default (all frames of a sequence).
    num_slots: K, the model's by default.

  Raises:
    UserError: K or T is too small.
  """

  def __init__(
    self, model: SlotModel, num_iterations: int | None = None, num_slots: int | None = None
  ):
    model.check_counts(num_iterations, num_slots)
    self._model, self._num_iterations, self._num_slots = model, num_iterations, num_slots
    self._run = tf.function(self._infer, reduce_retracing=True, autograph=False)

  def __call__(self, images, seed: int = 0, first_index: int = 0) -> SlotOutput:
    """The last decode of images [B, H, W, C] (or sequences [B, T, H, W, C]): NumPy, [B]."""
    return self._run(images, _seed(seed), tf.constant(first_index), False)[0].numpy()

  def iterations(self, images, seed: int = 0, first_index: int = 0) -> SlotOutput:
    """Every decode: NumPy, [D, B]; `loss` is that of each decode."""
    return self._run(images, _seed(seed), tf.constant(first_index), True)[1].numpy()

  def _infer(self, images, seed, first_index, keep_all):
    found = unroll.fold(
      self._model,
      images,
      keep=lambda output, frame, d: output if keep_all else (),
      num_iterations=self._num_iterations,
      num_slots=self._num_slots,
      noise=Noise(seed, tf.constant(0), first_index),
    )
    return found.last, found.kept


def _seed(seed):
  return tf.constant([seed, 1], tf.int32)
