"""What the baselines' networks are made of beside Sonnet's layers."""

from collections.abc import Callable

import sonnet as snt
import tensorflow as tf


def double(x: tf.Tensor) -> tf.Tensor:
  """Nearest-neighbour upsampling: [N, H, W, c] -> [N, 2 H, 2 W, c], each pixel four times."""
  return tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)


def halve(x: tf.Tensor) -> tf.Tensor:
  """Nearest-neighbour downsampling: the pixels 0, 2, 4, ... of [N, H, W, c].

  TensorFlow 2's `tf.image.resize` would take 1, 3, 5, ...
  """
  return x[:, ::2, ::2]


def crop(x: tf.Tensor, height: int, width: int) -> tf.Tensor:
  """The upper left part: [N, >= H, >= W, c] -> [N, H, W, c]."""
  return tf.slice(x, [0, 0, 0, 0], [-1, height, width, -1])


def flatten(x: tf.Tensor) -> tf.Tensor:
  """[N, ...] -> [N, n]"""
  return tf.reshape(x, [-1, x.shape[1:].num_elements()])


def fold(x: tf.Tensor) -> tf.Tensor:
  """[B, K, ...] -> [B*K, ...]"""
  return tf.reshape(x, [-1, *x.shape[2:]])


def unfold(x: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
  """[B*K, ...] -> [B, K, ...], B and K those of `like`."""
  num_slots = like.shape[1]
  shape = [-1, tf.shape(like)[1] if num_slots is None else num_slots, *x.shape[1:]]
  return tf.ensure_shape(tf.reshape(x, shape), [like.shape[0], num_slots, *x.shape[1:]])


class Normed(snt.Module):
  """A layer, layer norm over all axes but the first where asked for, and an activation.

  The norm's epsilon is 1e-12, TensorFlow 1's, and it matters: a relational NEM norms its own bias,
  which is small at first, where nothing has happened yet.

  Args:
    layer: what is applied first.
    activation: what is applied last.
    norm: whether to norm in between.
  """

  def __init__(
    self, layer: snt.Module, activation: Callable, norm: bool = True, name: str | None = None
  ):
    super().__init__(name=name)
    self.layer, self._activation = layer, activation
    self.norm = layer_norm() if norm else None

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    """[N, ..., c] -> [N, ..., d], d the layer's."""
    x = self.layer(x)
    return self._activation(x if self.norm is None else self.norm(x))


def layer_norm() -> snt.LayerNorm:
  """Over all axes but the first, with scale and offset a channel; epsilon as in `Normed`."""
  return snt.LayerNorm(slice(1, None), create_scale=True, create_offset=True, eps=1e-12)
