"""What changes while training runs: the learning rate, sigma, the KL's weight."""

import tensorflow as tf
import tf_keras

from iodine.training.config import TrainingConfig


class Schedule(tf_keras.optimizers.schedules.LearningRateSchedule):
  """Learning rate at a step: warm-up times one of Keras's schedules."""

  def __init__(self, config: TrainingConfig):
    super().__init__()
    self._config = config
    schedules = tf_keras.optimizers.schedules
    if config.learning_rate_schedule == "exponential":
      self._decay = schedules.ExponentialDecay(
        config.learning_rate, config.learning_rate_decay_steps, config.learning_rate_decay
      )
    elif config.learning_rate_schedule == "cosine":
      self._decay = schedules.CosineDecay(config.learning_rate, config.num_steps)
    elif config.learning_rate_schedule == "trapezoidal":
      last = config.num_steps / 5
      left = lambda step: (config.num_steps - tf.cast(step, tf.float32)) / last
      self._decay = lambda step: config.learning_rate * tf.clip_by_value(left(step), 0.0, 1.0)
    else:
      self._decay = lambda step: tf.constant(config.learning_rate)

  def __call__(self, step):
    rate = self._decay(step)
    if not self._config.warmup_steps:
      return rate
    return rate * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1) / self._config.warmup_steps)

  def get_config(self):
    return self._config.flat()


def annealed(start: float, end: float, step: tf.Tensor, num_steps: int) -> tf.Tensor:
  """A number on its geometric way from `start` to `end`, where it is at `num_steps`: float32 []."""
  done = tf.minimum(tf.cast(step, tf.float32) / num_steps, 1.0)
  return start * (end / start) ** done
