"""Which scenes stand in which batch: a pure function of the seed."""

import numpy as np
import tensorflow as tf

from datasets.options import Order


class Batches:
  """The batches of n examples in an order.

  Attributes:
    order: the `Order`.
    n: how many examples there are.
    batch_size: of this input pipeline.
    global_batch: of all of them together.
    batches: of an epoch.
  """

  def __init__(self, order: Order, n: int, batch_size: int):
    self.order, self.n, self.batch_size = order, n, batch_size
    self.global_batch = batch_size * order.num_input_pipelines
    whole, rest = divmod(n, self.global_batch)
    self.batches = whole if order.drop_remainder or not rest else whole + 1

  @property
  def static_size(self) -> int | None:
    """The size of every batch; None where the last may be smaller."""
    return self.batch_size if self.order.drop_remainder else None

  def steps(self) -> tuple[int, int]:
    """The numbers of the first batch and of the one behind the last."""
    epochs = self.order.num_epochs
    last = np.iinfo(np.int64).max if epochs is None else epochs * self.batches
    return self.order.start_batch, last

  def positions(self, step):
    """(epoch, positions in the epoch, places in the global batch) of a batch.

    Args:
      step: int64 [], the batch's number over epochs; an int for NumPy.

    Returns:
      int64 [], int64 [B], int64 [B].
    """
    arange = tf.range if tf.is_tensor(step) else np.arange
    epoch, batch = step // self.batches, step % self.batches
    start = batch * self.global_batch
    pipeline, count = self.order.input_pipeline_id, self.order.num_input_pipelines
    if self.order.drop_remainder:
      places = pipeline * self.batch_size + arange(self.batch_size, dtype="int64")
    else:
      smaller = tf.minimum if tf.is_tensor(step) else min
      size = smaller(self.n - start, self.global_batch)
      places = arange(size * pipeline // count, size * (pipeline + 1) // count)
    return epoch, start + places, places

  def examples(self, step):
    """int64 [B], numbers in [0, n) of the examples of a batch; `step` as for `positions`."""
    epoch, positions, _ = self.positions(step)
    if not self.order.shuffle or self.n == 1:
      return positions
    low, high = tf.cast(epoch % 2**31, tf.int32), tf.cast(epoch // 2**31, tf.int32)
    seed = tf.stack([tf.constant(self.order.seed % 2**31, tf.int32), low, high])
    if not self.order.drop_remainder:  # the last part may be empty, which the operation refuses
      positions = tf.concat([positions, tf.zeros([1], tf.int64)], axis=0)
    seeds = tf.broadcast_to(seed, [tf.shape(positions)[0], 3])
    found = tf.random_index_shuffle(positions, seeds, max_index=tf.cast(self.n - 1, tf.int64))
    return found if self.order.drop_remainder else found[:-1]

  def first_frames(self, step, choices: int):
    """Where the window of each video of a batch begins, int32 [B] in [0, choices).

    It depends on the seed, the step and the place in the global batch, so that it does not matter
    how many pipelines share a batch.
    """
    _, _, places = self.positions(step)
    if not self.order.shuffle:
      return tf.zeros_like(places, tf.int32)
    seed = tf.stack([tf.constant(self.order.seed, tf.int64), step])
    starts = tf.random.stateless_uniform([self.global_batch], seed, maxval=choices, dtype=tf.int32)
    return tf.gather(starts, places)

  def window_order(self, epoch: int, window: int) -> np.ndarray:
    """As `examples` for a whole epoch, int64 [n], none coming more than `window` early."""
    if not self.order.shuffle:
      return np.arange(self.n)
    rng = np.random.default_rng((self.order.seed, epoch))
    picks = rng.random(self.n)
    buffer, order = list(range(min(window, self.n))), np.empty(self.n, np.int64)
    for position in range(self.n):
      i = int(picks[position] * len(buffer))
      order[position] = buffer[i]
      following = position + window
      if following < self.n:
        buffer[i] = following
      else:
        buffer[i] = buffer[-1]
        buffer.pop()
    return order
