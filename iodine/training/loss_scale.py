"""Small gradients in float16."""

import tensorflow as tf


class LossScale(tf.Module):
  """Factor on the loss that keeps small float16 gradients above zero (Micikevicius et al. 2018).

  An overflow halves it, and `growth_steps` updates without one double it.
  """

  def __init__(self, initial=2.0**10, growth_steps=2000):
    super().__init__(name="loss_scale")
    self._growth_steps = growth_steps
    self.value = tf.Variable(initial, trainable=False, dtype=tf.float32, name="value")
    self.good_steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="good_steps")

  def update(self, finite):
    """Takes note of a step whose gradients were finite or not."""
    good = tf.where(finite, self.good_steps + 1, 0)
    grows = good >= self._growth_steps
    kept = tf.where(grows, 2 * self.value, self.value)
    self.value.assign(tf.where(finite, kept, tf.maximum(self.value / 2, 1.0)))
    self.good_steps.assign(tf.where(grows, tf.zeros_like(good), good))
