"""What a model makes of clips: predictions of each frame, and what it has found once it saw it.

A decode of the frames before t predicts frame t. The decode after it has seen frame t as well: this
is the frame's reconstruction, with the masks after the update (paper, A.1 and Fig. 12).
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from iodine import unroll
from iodine.errors import UserError
from iodine.noise import Noise, as_seed
from iodine.slot_model import SlotModel


class Decoded(NamedTuple):
  """Decodes that belong to the frames of clips."""

  reconstruction: np.ndarray  # [B, T, H, W, C]
  means: np.ndarray  # [B, T, K, H, W, C]
  masks: np.ndarray  # [B, T, K, H, W, 1]
  mse: np.ndarray  # [B, T]
  nll: np.ndarray  # [B, T], nats a frame


class Tracked(NamedTuple):
  """Clips as a model sees them."""

  predicted: Decoded  # each frame from those before it
  updated: Decoded  # each frame from those up to it


class Tracker:
  """Runs a model along clips; compiled once for all batches.

  A clip's results are a function of (seed, its index) and do not depend on its batch.

  Args:
    model: a SlotModel that iterates.
    num_slots: K, the model's by default.
    pace: how often frames are looked at; the model's by default. If the first one is n times, its
      prediction has seen it n - 1 times.

  Raises:
    UserError: the model does not iterate, has read the frame that it predicts (NEM), is to make
      several starts, or K is too small.
  """

  def __init__(
    self,
    model: SlotModel,
    num_slots: int | None = None,
    pace: unroll.Pace | None = None,
  ):
    if not model.ITERATES:
      raise UserError(
        f"clips need a model that iterates, a frame an iteration: this is {model.config.model}"
      )
    if model.READS_FIRST:
      raise UserError(
        "clips need a model whose decode predicts the next frame before it reads it: "
        f"{model.config.model} reads it first"
      )
    model.check_counts(None, num_slots)
    if model.config.num_starts > 1:
      raise UserError(
        f"a clip is followed from one start: expected num_starts 1, got {model.config.num_starts}"
      )
    self._model, self._num_slots = model, num_slots
    self._pace = pace or model.pace
    self._run = tf.function(self._decodes, reduce_retracing=True, autograph=False)

  def __call__(self, clips, seed: int = 0, first_index: int = 0) -> Tracked:
    """Follows clips from their first frame to their last.

    Args:
      clips: float [B, T, H, W, C].
      seed: of the posterior samples.
      first_index: place of the first clip in the data set.

    Returns:
      Tracked.

    Raises:
      UserError: these are no clips, or of another size than the model's.
    """
    clips = self._model.check_images(clips)
    if clips.shape.rank != 5:
      raise UserError(f"expected clips [B, T, H, W, C], got {clips.shape}")
    means, masks, reconstruction, nll = self._run(clips, as_seed(seed), tf.constant(first_index))
    arrays = [np.moveaxis(x.numpy(), 0, 1) for x in (reconstruction, means, masks)]  # [B, T + 1..]
    frames = clips.numpy()
    return Tracked(
      _decoded([x[:, :-1] for x in arrays], frames, nll[0]),
      _decoded([x[:, 1:] for x in arrays], frames, nll[1]),
    )

  def _decodes(self, clips, seed, first_index):
    """means, masks, reconstructions [T + 1, B, ...] and the two nll [2][T, B]."""
    pace = self._pace
    # Behind the iterations on a frame stands a decode that has seen it, the next one's prediction.
    behind = pace.iterations(tf.range(tf.shape(clips)[1]) + 1)  # [T]
    shown = tf.concat([[pace.first - 1], behind], axis=0)  # [T + 1]
    # The last frame once more, for the decode behind it; its own score is not looked at.
    clips = tf.concat([clips, clips[:, -1:]], axis=1)

    def keep(output, frame, d):
      ahead_and_seen = (unroll.frame_at(clips, pace, d - lag) for lag in (0, 1))
      scores = tf.stack([self._model.nll_of(image, output) for image in ahead_and_seen])
      return output.means, output.masks, output.reconstruction, scores

    more = 1 - int(self._model.timeline(1).num_decodes)  # decodes beside T: `final_decode` has one
    kept = unroll.fold(
      self._model,
      clips,
      keep,
      num_iterations=behind[-1] + 1 + more,
      num_slots=self._num_slots,
      noise=Noise(seed, tf.constant(0), first_index),
      pace=pace,
    ).kept
    means, masks, reconstruction, scores = (tf.gather(value, shown) for value in kept)
    return means, masks, reconstruction, (scores[:-1, 0], scores[1:, 1])


def _decoded(arrays, frames, nll):
  reconstruction, means, masks = arrays
  mse = np.mean(np.square(reconstruction - frames), axis=(2, 3, 4))
  return Decoded(reconstruction, means, masks, mse, nll.numpy().T)
