"""Random numbers as a function of (seed, iteration, example): of nothing else, at constant cost."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from iodine.errors import UserError

MOST = 2**31 - 1  # int32
SECOND = 1  # second half of a seed that is one number
_BLOCK = 4  # numbers that Philox makes at each value of its counter


class Noise(NamedTuple):
  """Where the random numbers of one step of inference come from.

  Row i of a batch gets numbers of its own, those of example `first_index + i`, whatever the batch
  size: a run is the same for one replica or eight, and an image's result does not depend on the
  images beside it.

  Attributes:
    seed: int32 [2].
    iteration: int32 [], of the unrolled inference.
    first_index: int32 [], of the batch's first example in whatever the examples are counted in.
    shared: every row gets the numbers of example `first_index`, so that a picture gets the same
      slots alone and anywhere in a batch.
  """

  seed: tf.Tensor
  iteration: tf.Tensor
  first_index: tf.Tensor | int = 0
  shared: bool = False

  def stream(self, number: int) -> "Noise":
    """Other numbers for the same step, where it needs several independent draws."""
    return self._replace(seed=tf.random.experimental.stateless_fold_in(self.seed, number))

  def normal(self, batch_size, row_shape) -> tf.Tensor:
    """Standard normal, float32 [batch_size, *row_shape]."""
    return self._draw(tf.raw_ops.StatelessRandomNormalV2, batch_size, row_shape)

  def uniform(self, batch_size, row_shape) -> tf.Tensor:
    """Uniform in [0, 1), float32 [batch_size, *row_shape]."""
    return self._draw(tf.raw_ops.StatelessRandomUniformV2, batch_size, row_shape)

  def _draw(self, operation, batch_size, row_shape):
    seed = tf.random.experimental.stateless_fold_in(self.seed, self.iteration)
    mixed = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    rows = 1 if self.shared else batch_size
    row_size = _product(row_shape)
    # Example i's numbers begin at i * row_size of one stream: the counter is set to the block that
    # holds its first, instead of drawing all that come before.
    start = tf.cast(self.first_index, tf.int64) * tf.cast(row_size, tf.int64)
    block = tf.cast(tf.stack([start // _BLOCK, 0]), tf.uint64)
    size = _product([rows, row_size])
    numbers = operation(
      shape=[size + _BLOCK - 1],
      key=mixed.key,
      counter=mixed.counter + block,
      alg=tf.constant(1, tf.int32),  # Philox
      dtype=tf.float32,
    )
    numbers = tf.slice(numbers, [start % _BLOCK], [tf.cast(size, tf.int64)])
    numbers = tf.reshape(numbers, tf.stack([rows, *row_shape]))
    if self.shared:
      numbers = tf.broadcast_to(numbers, tf.stack([batch_size, *row_shape]))
    return numbers


def _product(numbers):
  """A number where all are known, so that shapes stay static, else a tensor."""
  known = [tf.get_static_value(number) for number in numbers]
  if None in known:
    return tf.reduce_prod(tf.stack(numbers))
  return int(np.prod(known))


def as_seed(seed) -> tf.Tensor:
  """A seed int32 [2]; a number n stands for [n, 1], as in an evaluation.

  Raises:
    UserError: it is neither one whole number nor two, or beyond int32.
  """
  if tf.is_symbolic_tensor(seed):  # of a graph, where there are no values to look at
    return tf.stack([seed, SECOND]) if seed.shape.rank == 0 else seed
  seed = np.asarray([seed, SECOND] if np.ndim(seed) == 0 else seed)
  if seed.shape != (2,) or seed.dtype.kind not in "iu":
    raise UserError(f"seed must be an int or two of them, got {seed.tolist()}")
  if (abs(seed.astype(object)) > MOST).any():
    raise UserError(f"seed must be from {-MOST} to {MOST}, got {seed.tolist()}")
  return tf.constant(seed, tf.int32)


def new_seed() -> tf.Tensor:
  """A seed int32 [2] from TensorFlow's global generator."""
  return tf.random.uniform([2], tf.int32.min, tf.int32.max, tf.int32)
