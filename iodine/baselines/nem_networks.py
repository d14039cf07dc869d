"""The networks of N-EM, RNN-NEM and R-NEM: a slot's input and memory to its prediction.

Each maps (inputs [B, K, H, W, C], hidden [B, K, n]) to (means [B, K, H, W, C], hidden [B, K, n]).
All slots share the weights.
"""

from collections.abc import Sequence

import sonnet as snt
import tensorflow as tf

from iodine import precision
from iodine.baselines import layers
from iodine.baselines.layers import Normed
from iodine.reshaping import crop, fold_slots, unfold_slots

_KERNEL = 4  # of all convolutions
# Pixel 2 i + p of the doubled image sees its pixels 2 i + p - 1 to 2 i + p + 2: for p = 0 these are
# copies of i - 1, i, i, i + 1, for p = 1 of i, i, i + 1, i + 1. [phase p, place of i - 1 to i + 1,
# row of the filter]
_ROWS_OF_PHASE = [
  [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]],
  [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]],
]


def _glorot() -> snt.initializers.Initializer:
  """TensorFlow 1's default, which the published runs started from."""
  return snt.initializers.VarianceScaling(scale=1.0, mode="fan_avg", distribution="uniform")


def _linear(size: int, name: str, compute_dtype: tf.DType | None = None) -> snt.Linear:
  return precision.Linear(size, compute_dtype, name=name, w_init=_glorot())


def _halving_conv(channels: int, name: str, compute_dtype: tf.DType | None) -> snt.Conv2D:
  return precision.Conv2D(channels, _KERNEL, 2, compute_dtype, name=name, w_init=_glorot())


class DoublingConv2D(precision.Conv2D):
  """A 4 x 4 convolution of the image doubled by nearest neighbours, without doubling it.

  Of four neighbours in the doubled image two or three are copies of one pixel, so that the four
  pixels which come of one are convolutions of 3 x 3 each, made of sums of the filter's rows and
  columns: 36 products instead of 64, on a quarter of the image. The numbers are the same.

  Args:
    channels: d.
    compute_dtype: of the convolution, or None; see `iodine.precision`.
  """

  def __init__(self, channels: int, name: str, compute_dtype: tf.DType | None = None):
    super().__init__(channels, _KERNEL, 1, compute_dtype, name=name, w_init=_glorot())

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    """[N, H, W, c] -> [N, 2 H, 2 W, d], of the type of x."""
    self._initialize(x)
    rows = tf.constant(_ROWS_OF_PHASE, self.w.dtype)
    filters = tf.einsum("pas,qbt,stcd->abcpqd", rows, rows, self.w)  # [3, 3, c, 2, 2, d]
    filters = tf.reshape(filters, [3, 3, x.shape[-1], -1])
    low, filters = (precision.lower(tensor, self._compute_dtype) for tensor in (x, filters))
    net = tf.cast(tf.nn.conv2d(low, filters, 1, "SAME"), x.dtype)
    return tf.nn.depth_to_space(net, 2) + self.b


class GradientNetwork(snt.Module):
  """N-EM proper: a step of gradient descent on what a one-layer decoder predicts.

  theta' = theta + lr s'(theta) (inputs W), means = s(s(theta') W^T), s the sigmoid (Greff et al.
  2017, Eq. 8).

  Args:
    hidden_size: n.
    compute_dtype: of the products with W, or None; see `iodine.precision`.
  """

  def __init__(
    self,
    hidden_size: int,
    compute_dtype: tf.DType | None = None,
    name: str = "gradient_network",
  ):
    super().__init__(name=name)
    self._hidden_size, self._compute_dtype = hidden_size, compute_dtype

  @snt.once
  def _initialize(self, inputs):
    shape = [inputs.shape[1], self._hidden_size]
    self.w = tf.Variable(_glorot()(shape, inputs.dtype), name="w")
    # the original draws it around zero, so that it may start in the wrong direction
    self.rate = tf.Variable(tf.ones([1, 1], inputs.dtype), name="rate")

  def __call__(self, inputs: tf.Tensor, hidden: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """See the module."""
    flat = layers.flatten(fold_slots(inputs))  # [B*K, H*W*C]
    self._initialize(flat)
    active = tf.sigmoid(fold_slots(hidden))
    gradient = active * (1 - active) * self._matmul(flat)
    theta = fold_slots(hidden) + self.rate * gradient  # [B*K, n]
    means = tf.sigmoid(self._matmul(tf.sigmoid(theta), transpose_b=True))  # [B*K, H*W*C]
    means = tf.reshape(means, [-1, *inputs.shape[2:]])
    return unfold_slots(means, inputs), unfold_slots(theta, inputs)

  def _matmul(self, x, **options):
    low, w = (precision.lower(tensor, self._compute_dtype) for tensor in (x, self.w))
    return tf.cast(tf.matmul(low, w, **options), x.dtype)


class RecurrentNetwork(snt.Module):
  """An encoder, a cell and a decoder.

  Args:
    image_size: (H, W, C).
    cell: (features [B*K, e], hidden [B, K, n]) -> (output [B*K, n], hidden [B*K, n]).
    encoder_channels: of the convolutions of stride 2 before the cell; () feeds it the pixels.
    encoder_size: of the layer between them and the cell.
    decoder_size: of the layer behind the cell.
    decoder_channels: of the smallest map and of the convolutions behind each doubling but the last;
      () makes the decoder one layer.
    compute_dtype: of all but the last layer, or None; see `iodine.precision`.
  """

  def __init__(
    self,
    image_size: tuple[int, int, int],
    cell: snt.Module,
    encoder_channels: Sequence[int],
    encoder_size: int,
    decoder_size: int,
    decoder_channels: Sequence[int],
    compute_dtype: tf.DType | None = None,
    name: str = "recurrent_network",
  ):
    super().__init__(name=name)
    self._image_size = tuple(image_size)
    height, width, channels = self._image_size
    self.cell = cell
    self.encoder = [
      Normed(_halving_conv(c, f"encoder_{i}", compute_dtype), tf.nn.elu)
      for i, c in enumerate(encoder_channels)
    ]
    if encoder_channels:
      features = _linear(encoder_size, "features", compute_dtype)
      self.encoder += [layers.flatten, Normed(features, tf.nn.elu)]
    if not decoder_channels:
      self.decoder = [_linear(height * width * channels, "output")]
      return
    scale = 2 ** len(decoder_channels)
    start = (-(-height // scale), -(-width // scale), decoder_channels[0])
    self.decoder = [
      Normed(_linear(decoder_size, "hidden", compute_dtype), tf.nn.relu),
      Normed(_linear(start[0] * start[1] * start[2], "map", compute_dtype), tf.nn.relu),
      snt.Reshape(start),
    ]
    for i, c in enumerate(decoder_channels[1:]):
      conv = DoublingConv2D(c, f"decoder_{i}", compute_dtype)
      self.decoder.append(Normed(conv, tf.nn.relu))
    self.decoder.append(DoublingConv2D(channels, "output"))

  def __call__(self, inputs: tf.Tensor, hidden: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """See the module."""
    net = fold_slots(inputs)  # [B*K, H, W, C]
    for layer in self.encoder:
      net = layer(net)
    net, new_hidden = self.cell(layers.flatten(net), hidden)  # [B*K, n]
    for layer in self.decoder:
      net = layer(net)
    height, width, channels = self._image_size
    if net.shape.rank == 4:
      net = crop(net, height, width)  # [B*K, H, W, C]
    means = tf.sigmoid(tf.reshape(net, [-1, height, width, channels]))
    return unfold_slots(means, inputs), unfold_slots(new_hidden, inputs)


class _Cell(snt.Module):
  """What both cells end with: h' = sigmoid(a), which recurs; the output is sigmoid(LN(a))."""

  def __init__(self, hidden_size: int, norm: bool, compute_dtype: tf.DType | None, name: str):
    super().__init__(name=name)
    self.linear = _linear(hidden_size, "linear", compute_dtype)
    self.norm = layers.layer_norm() if norm else None

  def _finish(self, net):
    a = tf.cast(self.linear(net), net.dtype)
    return tf.sigmoid(a if self.norm is None else self.norm(a)), tf.sigmoid(a)


class RecurrentCell(_Cell):
  """RNN-NEM's: a = [features, h] W + b, each slot for itself.

  Args:
    hidden_size: n.
    norm: whether the output is layer-normed; the memory never is.
    compute_dtype: of the linear layer, or None; see `iodine.precision`.
  """

  def __init__(
    self,
    hidden_size: int,
    norm: bool,
    compute_dtype: tf.DType | None = None,
    name: str = "recurrent_cell",
  ):
    super().__init__(hidden_size, norm, compute_dtype, name)

  def __call__(self, features: tf.Tensor, hidden: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """See `RecurrentNetwork`."""
    return self._finish(tf.concat([features, fold_slots(hidden)], axis=-1))


class RelationalCell(_Cell):
  """R-NEM's: a slot's memory, what the others do to it, and its features (its Eqs. 3 to 5).

  Args:
    hidden_size: n.
    sizes: of encoder, core, context and attention.
    compute_dtype: of the linear layers but the attention's last, or None; see `iodine.precision`.
  """

  def __init__(
    self,
    hidden_size: int,
    sizes: Sequence[int],
    compute_dtype: tf.DType | None = None,
    name: str = "relational_cell",
  ):
    super().__init__(hidden_size, True, compute_dtype, name)
    normed = lambda size, name, act: Normed(_linear(size, name, compute_dtype), act)
    encoder, core, context, attention = sizes
    self.encoder = normed(encoder, "encoder", tf.nn.relu)
    self.core = normed(core, "core", tf.nn.relu)
    self.context = normed(context, "context", tf.nn.relu)
    self.attention = normed(attention, "attention", tf.tanh)
    self.attention_logit = _linear(1, "attention_logit")

  def __call__(self, features: tf.Tensor, hidden: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """See `RecurrentNetwork`."""
    state = self.encoder(fold_slots(hidden))  # [B*K, s]
    effect = fold_slots(self.effects(unfold_slots(state, hidden))[0])  # [B*K, u]
    return self._finish(tf.concat([state, effect, features], axis=-1))

  def effects(self, states: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What all others do to each slot, summed, and the attention paid to each of them.

    Args:
      states: [B, K, s].

    Returns:
      [B, K, u], and [B, K, K, 1] of which the diagonal counts for nothing.
    """
    batch, slots = tf.unstack(tf.shape(states)[:2])
    pairs = [batch, slots, slots, states.shape[-1]]
    focus = tf.broadcast_to(states[:, :, None], pairs)
    others = tf.broadcast_to(states[:, None], pairs)
    net = tf.reshape(tf.concat([focus, others], axis=-1), [-1, 2 * states.shape[-1]])
    net = self.core(net)  # [B*K*K, c]
    context = self.context(net)  # [B*K*K, u]
    attention = tf.sigmoid(self.attention_logit(self.attention(net)))  # [B*K*K, 1]
    apart = 1 - tf.eye(slots, dtype=states.dtype)  # [K, K]
    context = tf.reshape(context, [batch, slots, slots, context.shape[-1]])
    attention = tf.reshape(attention, [batch, slots, slots, 1])
    effects = tf.reduce_sum(apart[:, :, None] * attention * context, axis=2)
    return tf.ensure_shape(effects, [*states.shape[:2], context.shape[-1]]), attention
