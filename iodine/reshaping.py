"""Slots folded into the batch, where networks treat them alike, and images cut to size."""

import tensorflow as tf


def fold_slots(x: tf.Tensor) -> tf.Tensor:
  """[B, K, ...] -> [B*K, ...]"""
  return tf.reshape(x, [-1, *x.shape[2:]])


def unfold_slots(x: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
  """[B*K, ...] -> [B, K, ...], B and K those of `like`."""
  num_slots = like.shape[1]
  shape = [-1, tf.shape(like)[1] if num_slots is None else num_slots, *x.shape[1:]]
  return tf.ensure_shape(tf.reshape(x, shape), [like.shape[0], num_slots, *x.shape[1:]])


def crop(x: tf.Tensor, height: int, width: int) -> tf.Tensor:
  """The upper left part: [N, >= H, >= W, c] -> [N, H, W, c]."""
  # not by indexing, whose gradient, StridedSliceGrad, is several times slower
  return tf.slice(x, [0, 0, 0, 0], [-1, height, width, -1])
