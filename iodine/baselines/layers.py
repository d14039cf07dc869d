"""What the baselines' networks are made of beside Sonnet's layers."""

from collections.abc import Callable, Sequence

import sonnet as snt
import tensorflow as tf

from iodine import precision


def double(x: tf.Tensor) -> tf.Tensor:
  """Nearest-neighbour upsampling: [N, H, W, c] -> [N, 2 H, 2 W, c], each pixel four times."""
  return tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)


def halve(x: tf.Tensor) -> tf.Tensor:
  """Nearest-neighbour downsampling: the pixels 0, 2, 4, ... of [N, H, W, c].

  TensorFlow 2's `tf.image.resize` would take 1, 3, 5, ...
  """
  return x[:, ::2, ::2]


def flatten(x: tf.Tensor) -> tf.Tensor:
  """[N, ...] -> [N, n]"""
  return tf.reshape(x, [-1, x.shape[1:].num_elements()])


class ConvEncoder(snt.Module):
  """Convolutions of stride 2, a ReLU layer, and a linear one to a posterior's parameters.

  Args:
    channels: of the ReLU convolutions.
    kernel: their size.
    size: of the ReLU layer.
    output_size: 2 Z.
    compute_dtype: of all but the linear layer, or None; see `iodine.precision`.
  """

  def __init__(
    self,
    channels: Sequence[int],
    kernel: int,
    size: int,
    output_size: int,
    compute_dtype: tf.DType | None = None,
    name: str = "encoder",
  ):
    super().__init__(name=name)
    self.convs = [
      precision.Conv2D(c, kernel, stride=2, compute_dtype=compute_dtype, name=f"conv_{i}")
      for i, c in enumerate(channels)
    ]
    self.hidden = precision.Linear(size, compute_dtype=compute_dtype, name="hidden")
    self.output = snt.Linear(output_size, name="output")

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    """[N, H, W, c] -> [N, 2 Z]."""
    net = x
    for conv in self.convs:
      net = tf.nn.relu(conv(net))
    net = tf.nn.relu(self.hidden(flatten(net)))
    return self.output(tf.cast(net, x.dtype))


class Normed(snt.Module):
  """A layer, layer norm over all axes but the first, and an activation.

  The norm's epsilon is 1e-12, TensorFlow 1's, and it matters: a relational NEM norms its own bias,
  which is small at first, where nothing has happened yet.

  Args:
    layer: what is applied first; what it computes in a low precision is normed in full.
    activation: what is applied last.
  """

  def __init__(
    self, layer: snt.Module, activation: Callable[[tf.Tensor], tf.Tensor], name: str | None = None
  ):
    super().__init__(name=name or layer.name)  # the layer's, so that each variable has its own
    self.layer, self._activation = layer, activation
    self.norm = layer_norm()

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    """[N, ..., c] -> [N, ..., d], d the layer's."""
    return self._activation(self.norm(tf.cast(self.layer(x), self.layer.w.dtype)))


def layer_norm() -> snt.LayerNorm:
  """Over all axes but the first, with scale and offset a channel; epsilon as in `Normed`."""
  return snt.LayerNorm(slice(1, None), create_scale=True, create_offset=True, eps=1e-12)
