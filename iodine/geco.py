"""GECO: the KL's weight from a target for the error (Rezende and Viola 2018; not in the paper).

Instead of a weight one says how well images shall be explained. While the negative log-likelihood
is above the target the KL weighs ever less, below it ever more.
"""

import math

import tensorflow as tf

DECAY = 0.99  # of the moving average, Rezende and Viola's and EfficientMORL's


class Geco(tf.Module):
  """Follows the constraint "negative log-likelihood at most `target`" with the KL's weight.

  Rezende and Viola minimise KL + lambda (NLL - target) and multiply lambda by
  exp(rate * average(NLL - target)) after every update. We minimise NLL + w KL, so w = 1 / lambda.

  Args:
    target: nats per pixel and channel; see `target_for_mse`.
    rate: of the weight's logarithm, per update and nat.
    bounds: lowest and highest weight.

  Raises:
    ValueError: `rate` is not positive, or the bounds are not 0 < lowest <= highest.
  """

  def __init__(self, target, rate=0.01, bounds=(1e-3, 1.0), name="geco"):
    super().__init__(name=name)
    lowest, highest = bounds
    if rate <= 0:
      raise ValueError(f"GECO's rate must be positive, got {rate}")
    if not 0 < lowest <= highest:
      raise ValueError(f"GECO's bounds must be 0 < lowest <= highest, got {lowest}, {highest}")
    self._target, self._rate, self._bounds = target, rate, (lowest, highest)
    # of NLL - target; not a number until the first update
    self.average = tf.Variable(float("nan"), trainable=False, name="average")

  def update(self, nll, weight: tf.Tensor) -> tf.Tensor:
    """The KL's weight after an update.

    Args:
      nll: float32 [], nats per pixel and channel of the last decode, the batch's mean.
      weight: float32 [], the KL's weight so far.

    Returns:
      float32 [].
    """
    violation = tf.cast(nll, tf.float32) - self._target
    before = self.average
    average = tf.where(tf.math.is_nan(before), violation, DECAY * before + (1 - DECAY) * violation)
    self.average.assign(average)
    return tf.clip_by_value(weight * tf.exp(-self._rate * average), *self._bounds)


def target_for_mse(mse: float, sigma: float) -> float:
  """The NLL per pixel and channel of a Gaussian of width `sigma` at a mean squared error.

  A mixture whose masks are hard has the same, with `mse` that of the slot that is seen.

  Raises:
    ValueError: `mse` is negative or `sigma` not positive.
  """
  if mse < 0 or sigma <= 0:
    raise ValueError(f"expected mse >= 0 and sigma > 0, got {mse} and {sigma}")
  return math.log(sigma) + 0.5 * math.log(2 * math.pi) + mse / (2 * sigma**2)
