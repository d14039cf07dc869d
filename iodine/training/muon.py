"""Muon: gradient descent whose step for a matrix has all its singular values near one."""

import math

import tensorflow as tf

from iodine.training.adam import Adam

# Of the Newton-Schulz iteration (Jordan et al. 2024): after five of them all singular values but
# the smallest lie between 0.7 and 1.2, which is near enough.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_SMALLEST = 1e-7  # of a norm that is divided by: a gradient of zero moves nothing
_RMS = 0.2  # of a step's entries, in units of the rate: about Adam's (Liu et al. 2025)


class Muon(Adam):
  """Muon for matrices and convolutions, Adam for vectors.

  "Muon: an optimizer for hidden layers in neural networks" (Jordan et al. 2024), with the scale of
  "Muon is scalable for LLM training" (Liu et al. 2025), by which one learning rate serves both
  parts. A convolution [k, k, c, d] is a matrix of k k c rows and d columns. Keras 3 has one of this
  name, which leaves convolutions to Adam, and they are nearly all that these models have.

  Args:
    learning_rate: a number or a schedule.
    momentum: of the gradients of matrices; Nesterov's.
    options: Adam's, for vectors.
  """

  def __init__(self, learning_rate, momentum: float = 0.95, name: str = "Muon", **options):
    super().__init__(learning_rate, name=name, **options)
    self.momentum = momentum

  def update_step(self, gradient, variable):
    """One variable's update; see `tf_keras.optimizers.Optimizer`."""
    if variable.shape.rank < 2:
      super().update_step(gradient, variable)
      return
    average = self._momentums[self._index_dict[self._var_key(variable)]]
    average.assign_add((gradient - average) * (1 - self.momentum))
    ahead = gradient * (1 - self.momentum) + average * self.momentum
    matrix = tf.reshape(ahead, [-1, variable.shape[-1]])
    scale = _RMS * math.sqrt(max(matrix.shape))
    rate = tf.cast(self.learning_rate, variable.dtype)
    variable.assign_sub(rate * scale * tf.reshape(orthogonalized(matrix), variable.shape))

  def get_config(self):
    """The arguments, by which Keras makes it anew."""
    return {**super().get_config(), "momentum": self.momentum}


def orthogonalized(matrix: tf.Tensor) -> tf.Tensor:
  """U V^T of a matrix U S V^T [m, n], nearly: all but the smallest of S come to 0.7 to 1.2."""
  if matrix.shape[0] > matrix.shape[1]:  # the Gram matrix of the shorter side
    return tf.transpose(_iterated(tf.transpose(matrix)))
  return _iterated(matrix)


@tf.function(autograph=False, reduce_retracing=True)  # traced for matrices of all sizes at once
def _iterated(x):
  a, b, c = _COEFFICIENTS
  x /= tf.norm(x) + _SMALLEST
  for _ in range(_ITERATIONS):
    gram = tf.matmul(x, x, transpose_b=True)
    x = a * x + tf.matmul(b * gram + c * tf.matmul(gram, gram), x)
  return x
