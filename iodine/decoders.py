"""Slot decoders: z [B, K, Z] -> means and mask logits (paper, Sec. 2.1 and Appendix C)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine import coordinates, precision
from iodine.reshaping import crop

_SPREAD = 2.0  # of the coordinates of `ModulatedDecoder`, from -2 to 2: edges are steeper


class Decoded(NamedTuple):
  means: tf.Tensor  # [B, K, H, W, C]
  mask_logits: tf.Tensor  # [B, K, H, W, 1]


class SpatialBroadcastDecoder(snt.Module):
  """Broadcasts each slot's latent over the image, appends coordinates, and convolves.

  Args:
    image_size: (H, W, C).
    channels: output channels of the ELU convolutions; a linear one of C + 1 channels follows.
    kernel_size: of all convolutions, size-preserving.
    constant: value of one more channel appended to z (the released code's 5.0), or None.
    compute_dtype: of the convolutions between the first and the last, or None; see
      `iodine.precision`.
    upsampling: s > 1 broadcasts over ceil(H / s) x ceil(W / s) instead, and the linear convolution
      writes s x s pixels for each of its own (sub-pixel convolution, Shi et al. 2016; not in the
      paper), cropped to H x W: about s^2 times fewer operations.
    full_channels: c > 0: that convolution writes c channels for each pixel instead, and a last one,
      behind an ELU, makes the C + 1 of them at H x W, where neighbours from different blocks meet.
  """

  def __init__(
    self,
    image_size,
    channels,
    kernel_size,
    constant=None,
    compute_dtype=None,
    upsampling=1,
    full_channels=0,
    name=None,
  ):
    super().__init__(name=name)
    self._image_size = tuple(image_size)
    self._constant = constant
    self._compute_dtype = compute_dtype
    self._upsampling = upsampling
    image_channels = self._image_size[2]
    self.broadcast_conv = BroadcastConv2D(channels[0], kernel_size)
    self.convs = [
      precision.Conv2D(c, kernel_size, compute_dtype=compute_dtype, name=f"conv_{i + 1}")
      for i, c in enumerate(channels[1:])
    ]
    outputs = full_channels or image_channels + 1
    self.convs.append(
      snt.Conv2D(
        outputs * upsampling**2,
        kernel_size,
        w_init=SubPixelInitializer(upsampling),
        name=f"conv_{len(channels)}",
      )
    )
    self._last = None
    if full_channels:
      self._last = snt.Conv2D(image_channels + 1, kernel_size, name=f"conv_{len(channels) + 1}")

  def __call__(self, z, size=None):
    """z [B, K, Z] -> Decoded. Each slot is decoded by itself: slots meet in the softmax only.

    Args:
      z: latents.
      size: (H, W) of the images, on which no variable depends; those of `image_size` by default.
    """
    height, width = size or self._image_size[:2]
    low = _low(height, width, self._upsampling)
    num_slots, latent_size = tf.shape(z)[1], z.shape[2]
    flat = tf.reshape(z, [-1, latent_size])  # [B*K, Z]
    flat = _with_constant(flat, self._constant)  # [B*K, Z] or Z + 1
    net = self.broadcast_conv(flat, low)  # [B*K, H/s, W/s, c]
    for conv in self.convs[:-1]:
      net = precision.lower(net, self._compute_dtype)
      net = conv(tf.nn.elu(net))  # [B*K, H/s, W/s, c]
    net = self.convs[-1](tf.cast(tf.nn.elu(net), z.dtype))  # [B*K, H/s, W/s, (C+1) s^2]
    net = _sub_pixels(net, self._upsampling, height, width)  # [B*K, H, W, C+1]
    if self._last:
      net = self._last(tf.nn.elu(net))  # [B*K, H, W, C+1]
    return _split_slots(net, num_slots, z.shape[1], (height, width, self._image_size[2]))


class ModulatedDecoder(snt.Module):
  """Each slot's latent chooses the functions of the coordinates that its image is made of.

  Not in the paper. Its decoder adds the latent to the coordinates and has ELUs multiply them, which
  what turns (sides of a square, the tip of a heart) asks for: u = x cos(a) + y sin(a). Here every
  channel begins as an affine function of the coordinates whose three coefficients come from the
  latent, and every further layer's channels have gains between 0 and 2 that come from it (after
  FiLM, Perez et al. 2018). With kernels of one pixel it is a network over coordinates (CPPN,
  Stanley 2007), which makes each pixel by itself and knows no border.

  Args:
    image_size: (H, W, C).
    channels: of the ELU layers, the first of which is the affine one; a linear convolution of
      C + 1 channels follows.
    kernel_size: of all convolutions, size-preserving.
    constant: value of one more channel appended to z (the released code's 5.0), or None.
    compute_dtype: of the convolutions but for the last, or None; see `iodine.precision`.
    upsampling: as `SpatialBroadcastDecoder`'s.
    mlp_size: of the hidden layer between the latent and what it chooses.
  """

  def __init__(
    self,
    image_size: Sequence[int],
    channels: Sequence[int],
    kernel_size: int,
    constant: float | None = None,
    compute_dtype: tf.DType | None = None,
    upsampling: int = 1,
    mlp_size: int = 64,
    name: str | None = None,
  ):
    super().__init__(name=name)
    self._image_size = tuple(image_size)
    self._constant = constant
    self._compute_dtype = compute_dtype
    self._upsampling = upsampling
    first, *others = channels
    self._hidden = snt.Linear(mlp_size, name="hidden")
    self._affine = snt.Linear(3 * first, name="affine")  # of y, of x, and the offset
    self._convs = [
      precision.Conv2D(c, kernel_size, compute_dtype=compute_dtype, name=f"conv_{i}")
      for i, c in enumerate(others, 1)
    ]
    self._gains = [snt.Linear(c, name=f"gain_{i}") for i, c in enumerate(others, 1)]
    self._last = snt.Conv2D(
      (self._image_size[2] + 1) * upsampling**2,
      kernel_size,
      w_init=SubPixelInitializer(upsampling),
      name=f"conv_{len(channels)}",
    )

  def __call__(self, z: tf.Tensor, size: tuple[int, int] | None = None) -> Decoded:
    """z [B, K, Z] -> Decoded. Each slot is decoded by itself: slots meet in the softmax only.

    Args:
      z: latents.
      size: (H, W) of the images, on which no variable depends; those of `image_size` by default.
    """
    height, width = size or self._image_size[:2]
    num_slots = tf.shape(z)[1]
    flat = _with_constant(tf.reshape(z, [-1, z.shape[2]]), self._constant)  # [B*K, Z] or Z + 1
    hidden = tf.nn.elu(self._hidden(flat))  # [B*K, m]
    grid = coordinates.linear(*_low(height, width, self._upsampling), order="yx")
    grid = tf.constant(_SPREAD * grid[None], z.dtype)  # [1, H/s, W/s, 2]
    of_y, of_x, offset = tf.split(self._affine(hidden)[:, None, None], 3, axis=-1)
    net = of_y * grid[..., :1] + of_x * grid[..., 1:] + offset  # [B*K, H/s, W/s, c]
    for conv, gain in zip(self._convs, self._gains, strict=True):
      # bounded: else the layers multiply up, and latents at images unlike those of training grow
      # from iteration to iteration
      gains = precision.lower(1 + tf.tanh(gain(hidden))[:, None, None], self._compute_dtype)
      net = precision.lower(net, self._compute_dtype)
      net = gains * conv(tf.nn.elu(net))  # [B*K, H/s, W/s, c]
    net = self._last(tf.cast(tf.nn.elu(net), z.dtype))  # [B*K, H/s, W/s, (C+1) s^2]
    net = _sub_pixels(net, self._upsampling, height, width)  # [B*K, H, W, C+1]
    return _split_slots(net, num_slots, z.shape[1], (height, width, self._image_size[2]))


class SubPixelInitializer(snt.initializers.Initializer):
  """The same filter for all s x s positions of a sub-pixel convolution (Aitken et al. 2017).

  Filters of their own would draw a pattern of s x s dots over the image from the first step on. The
  filters are Sonnet's default ones; for s = 1 there is no difference.

  Args:
    upsampling: s.
  """

  def __init__(self, upsampling):
    self._copies = upsampling**2

  def __call__(self, shape, dtype):
    """shape [k, k, c, s^2 d] -> filters; `tf.nn.depth_to_space` keeps the d channels together."""
    *fan_in, outputs = shape
    stddev = 1 / np.sqrt(np.prod(fan_in))
    filters = snt.initializers.TruncatedNormal(stddev=stddev)
    return tf.tile(filters([*fan_in, outputs // self._copies], dtype), [1, 1, 1, self._copies])


class BroadcastConv2D(snt.Module):
  """SAME convolution of [z broadcast over H x W | linear coordinates], at a fraction of the cost.

  The convolution of a constant image is constant but for the zero-padded border. So z is convolved
  on a (2r+1)-square, r the kernel's radius, whose middle row and column then repeat; the
  coordinates are convolved once for all slots. The numbers are those of the plain convolution.

  Args:
    output_channels: channels out.
    kernel_size: odd.
  """

  def __init__(self, output_channels, kernel_size, name=None):
    super().__init__(name=name)
    if kernel_size % 2 == 0:
      raise ValueError(f"the decoder's kernel size must be odd, got {kernel_size}")
    self._output_channels = output_channels
    self._kernel_size = kernel_size

  @snt.once
  def _initialize(self, z):
    size = self._kernel_size
    shape = [size, size, z.shape[-1] + 2, self._output_channels]
    stddev = 1 / np.sqrt(np.prod(shape[:-1]))
    self.w = tf.Variable(snt.initializers.TruncatedNormal(stddev=stddev)(shape, z.dtype), name="w")
    self.b = tf.Variable(tf.zeros([self._output_channels], z.dtype), name="b")

  def __call__(self, z, output_size):
    """z [N, Z], (H, W) -> [N, H, W, c], before any activation."""
    self._initialize(z)
    height, width = output_size
    latent_size, size = z.shape[-1], self._kernel_size
    w = tf.convert_to_tensor(self.w)
    square = tf.broadcast_to(
      z[:, None, None, :],
      [tf.shape(z)[0], min(size, height), min(size, width), latent_size],
    )
    of_z = tf.nn.conv2d(square, w[:, :, :latent_size], strides=1, padding="SAME")
    of_z = _repeat_middle(of_z, height, axis=1)
    of_z = _repeat_middle(of_z, width, axis=2)  # [N, H, W, c]
    grid = coordinates.linear(height, width, order="yx")
    grid = tf.constant(grid[None], z.dtype)  # [1, H, W, 2]
    of_grid = tf.nn.conv2d(grid, w[:, :, latent_size:], strides=1, padding="SAME") + self.b
    return of_z + of_grid


def _repeat_middle(x, length, axis):
  """Stretches an axis of odd size 2r+1 to `length` by repeating its middle entry."""
  size = x.shape[axis]
  if size == length:
    return x
  before, middle, after = tf.split(x, [size // 2, 1, size // 2], axis=axis)
  # not tf.tile, whose gradient transposes integers: without AVX-512 oneDNN would complain of that
  shape = [tf.shape(x)[0], *x.shape[1:]]
  shape[axis] = length - size + 1
  return tf.concat([before, tf.broadcast_to(middle, shape), after], axis=axis)


class DeconvDecoder(snt.Module):
  """MLP and transposed convolutions, no coordinates: the ablation of Sec. 4.3 (Appendix C).

  The paper's sizes (MLP 512, 512 to 8 x 8 x 8, four strides of 2) are for 128 x 128; for other
  images and numbers of layers the first map is as small as the strides ask for, with 8 channels,
  and the result is cropped.

  Args:
    image_size: (H, W, C).
    channels: of the transposed convolutions with stride 2; the last also of the ELU convolution
      behind them. A linear one of C + 1 channels follows.
    kernel_size: of all of them.
    mlp_size: of the hidden layer.
    constant: value of one more channel appended to z (the released code's 5.0), or None.
    compute_dtype: of all but the MLP and the last convolution, or None; see `iodine.precision`.
  """

  def __init__(
    self,
    image_size: Sequence[int],
    channels: Sequence[int] = (64, 64, 64, 64),
    kernel_size: int = 5,
    mlp_size: int = 512,
    constant: float | None = None,
    compute_dtype: tf.DType | None = None,
    name: str | None = None,
  ):
    super().__init__(name=name)
    self._image_size = tuple(image_size)
    self._constant = constant
    height, width, image_channels = self._image_size
    factor = 2 ** len(channels)
    self._start = (-(-height // factor), -(-width // factor), 8)
    self._mlp = snt.nets.MLP([mlp_size, int(np.prod(self._start))], activation=tf.nn.elu)
    self._deconvs = [
      precision.Conv2DTranspose(
        c, kernel_size, stride=2, compute_dtype=compute_dtype, name=f"deconv_{i}"
      )
      for i, c in enumerate(channels)
    ]
    self._conv = precision.Conv2D(
      channels[-1], kernel_size, compute_dtype=compute_dtype, name="conv"
    )
    self._output = snt.Conv2D(image_channels + 1, kernel_size, name="output")

  def __call__(self, z: tf.Tensor, size: tuple[int, int] | None = None) -> Decoded:
    """z [B, K, Z] -> Decoded.

    Args:
      z: latents.
      size: (H, W) of the images: those of `image_size`, on which the variables depend.
    """
    if size not in (None, self._image_size[:2]):
      raise ValueError(f"the deconvolutional decoder is of {self._image_size[:2]}, not of {size}")
    num_slots = tf.shape(z)[1]
    flat = _with_constant(tf.reshape(z, [-1, z.shape[2]]), self._constant)  # [B*K, Z] or Z + 1
    net = tf.nn.elu(self._mlp(flat))  # [B*K, h*w*8]
    net = tf.reshape(net, [-1, *self._start])  # [B*K, h, w, 8]
    for deconv in self._deconvs:
      net = tf.nn.elu(deconv(net))  # [B*K, 2h, 2w, c]
    net = crop(net, *self._image_size[:2])  # [B*K, H, W, c]
    net = tf.nn.elu(self._conv(net))  # [B*K, H, W, c]
    net = self._output(tf.cast(net, z.dtype))  # [B*K, H, W, C+1]
    return _split_slots(net, num_slots, z.shape[1], self._image_size)


def _low(height, width, upsampling):
  """Height and width at which a decoder works that writes blocks of pixels."""
  return -(-height // upsampling), -(-width // upsampling)


def _sub_pixels(net, upsampling, height, width):
  """[N, H/s, W/s, c s^2] -> [N, H, W, c]: the blocks side by side, those at the edge cropped."""
  if upsampling == 1:
    return net
  return crop(tf.nn.depth_to_space(net, upsampling), height, width)


def _with_constant(flat, constant):
  """One more channel of a constant behind z [N, Z], if there is one."""
  if constant is None:
    return flat
  return tf.pad(flat, [[0, 0], [0, 1]], constant_values=constant)


def _split_slots(net, num_slots, static_num_slots, image_size):
  """Channel 0 is the mask logit, the others the means: [B*K, H, W, C+1] -> Decoded."""
  height, width, channels = image_size
  slots = num_slots if static_num_slots is None else static_num_slots
  net = tf.reshape(net, tf.stack([-1, slots, height, width, channels + 1]))
  net = tf.ensure_shape(net, [None, static_num_slots, height, width, channels + 1])
  # not by indexing: see `reshaping.crop`
  mask_logits, means = tf.split(net, [1, channels], axis=-1)
  return Decoded(means, mask_logits)
