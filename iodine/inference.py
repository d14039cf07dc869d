"""Compiled inference on batches of held-out images, in NumPy."""

import tensorflow as tf

from iodine import starts, unroll
from iodine.noise import Noise, as_seed
from iodine.outputs import SlotOutput
from iodine.slot_model import SlotModel


class Inference:
  """Runs inference; compiled as `unroll.Compiled` says.

  An image's results are a function of (seed, its index) and, as those of `evaluation.Evaluator`
  with the same seed, do not depend on its batch (but see `ReleasedConfig.batch_mean_gradients`).

  Args:
    model: a SlotModel.
    num_iterations: T, the model's by default (all frames of a sequence).
    num_slots: K, the model's by default.
    num_starts: inferences, of which each image's best is kept; the model's by default.

  Raises:
    UserError: K or T is too small; when called, the images are not what the model takes.
  """

  def __init__(
    self,
    model: SlotModel,
    num_iterations: int | None = None,
    num_slots: int | None = None,
    num_starts: int | None = None,
  ):
    model.check_counts(num_iterations, num_slots)
    self._num_starts = model.config.num_starts if num_starts is None else num_starts
    self._model, self._num_iterations, self._num_slots = model, num_iterations, num_slots
    self._run = unroll.Compiled(self._infer)

  def __call__(self, images, seed: int = 0, first_index: int = 0) -> SlotOutput:
    """The last decode of images [B, H, W, C] (or sequences [B, T, H, W, C]): NumPy, [B]."""
    return self._best(images, seed, first_index, keep_all=False)

  def iterations(self, images, seed: int = 0, first_index: int = 0) -> SlotOutput:
    """Every decode: NumPy, [D, B]; `loss` is that of each decode."""
    return self._best(images, seed, first_index, keep_all=True)

  def _best(self, images, seed, first_index, keep_all):
    images, first_index = self._model.check_images(images), tf.constant(first_index)

    def run(number):
      own = starts.start_seed(as_seed(seed), number)
      last, kept = self._run(images, images, own, first_index, keep_all)
      energy = self._model.energy(last.nll, last.terms).numpy()
      return energy, (kept if keep_all else last).numpy()

    return starts.best_start(run, self._num_starts, axis=int(keep_all))

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
