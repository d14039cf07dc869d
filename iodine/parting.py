"""A clock that runs while slots are parted: what annealing may wait for."""

import tensorflow as tf

DECAY = 0.98  # of the moving average: 50 steps


class PartedClock(tf.Module):
  """Counts the updates at which the masks' entropy was below a threshold, on average.

  Sharpening the pixels' sigma before slots have parted the image keeps them from it: each paints
  one colour everywhere, and what is in which slot is decided pixel by pixel. When they part depends
  on the data and the seed; their masks tell: log K nats a pixel while all slots share everything.

  Args:
    threshold: nats a pixel.
  """

  def __init__(self, threshold, name="parted_clock"):
    super().__init__(name=name)
    self._threshold = threshold
    self.average = tf.Variable(float("nan"), trainable=False, name="average")
    self.steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="steps")

  def update(self, entropy: tf.Tensor) -> None:
    """Takes the mean entropy of an update's masks, float [] in nats a pixel."""
    entropy, before = tf.cast(entropy, tf.float32), self.average
    average = tf.where(tf.math.is_nan(before), entropy, DECAY * before + (1 - DECAY) * entropy)
    self.average.assign(average)
    self.steps.assign_add(tf.cast(average < self._threshold, tf.int64))
