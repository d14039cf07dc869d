"""A convolution whose input channels differ in what they need: exact, and with less to compute.

Of the 17 channels that the refinement network reads for images in colour, all slots share six, and
no gradient flows back through eleven. A plain convolution of their concatenation convolves the
shared ones K times, and computes the gradient of every channel.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from iodine import precision


class Channels(NamedTuple):
  """The channels of an image [N, H, W, c], in groups, where N = B K and c = c1 + c2 + c3.

  Channel i of the image is `scale[i] * channel + offset[i]`, the affine part of the layer norms. It
  goes into the filters, so that its gradient needs none of the input's.
  """

  fixed: tf.Tensor  # [B*K, H, W, c1], no gradient flows back
  free: tf.Tensor  # [B*K, H, W, c2]
  shared: tf.Tensor  # [B, H, W, c3], the same for all slots of an image; no gradient flows back
  order: np.ndarray  # int [c], where in the image each channel of [fixed | free | shared] is
  scale: tf.Tensor  # [c], in the image's order
  offset: tf.Tensor  # [c], in the image's order

  @property
  def dtype(self):
    return self.scale.dtype


class SplitConv2D(precision.Conv2D):
  """Convolves an image as a whole, or `Channels` to the same numbers up to rounding."""

  def __call__(self, x):
    """x [N, H, W, c] or Channels of it -> [N, H', W', output_channels]."""
    if not isinstance(x, Channels):
      return super().__call__(x)
    self._initialize(tf.zeros([1, 1, 1, len(x.order)], x.dtype))
    w = tf.convert_to_tensor(self.w)  # [k, k, c, d]
    height, width = x.fixed.shape[1:3]
    # zero padding comes behind the affine part, so an offset is an image with a border of its own
    offset = tf.einsum("hwcd,c->hwd", w, x.offset)[:, :, None]  # [k, k, 1, d]
    common = self._convolve(tf.ones([1, height, width, 1], x.dtype), offset)  # [1, H', W', d]
    common += tf.cast(self.b, common.dtype)
    w = tf.gather(w * x.scale[:, None], x.order, axis=2)
    num_fixed, num_free, num_shared = (part.shape[-1] for part in x[:3])
    of_slots, of_shared = tf.split(w, [num_fixed + num_free, num_shared], axis=2)
    if num_shared:
      common += self._convolve(x.shared, of_shared)  # [B, H', W', d]
    batch, rows = tf.shape(x.shared)[0], tf.shape(x.fixed)[0]
    common = tf.broadcast_to(common, [batch, *common.shape[1:]])
    if not num_fixed + num_free:
      return tf.repeat(common, rows // batch, axis=0)
    net = self._partial(x.fixed, x.free, of_slots)
    slots = tf.reshape(net, [batch, rows // batch, *net.shape[1:]])  # [B, K, H', W', d]
    return tf.reshape(slots + common[:, None], [rows, *net.shape[1:]])

  def _convolve(self, x, w):
    x, w = (precision.lower(tensor, self._compute_dtype) for tensor in (x, w))
    return tf.nn.conv2d(x, w, self.stride, "SAME")

  def _partial(self, fixed, free, w):
    """Convolution of [fixed | free] without the gradient of `fixed`: [N, H', W', d]."""
    parts = [part for part in (tf.stop_gradient(fixed), free) if part.shape[-1]]
    filters = tf.split(w, [part.shape[-1] for part in parts], axis=2)
    # One each, for the gradient of one would be that of all channels. A gradient of our own
    # (tf.custom_gradient) would be registered for good, and with it every graph and export.
    return tf.add_n([self._convolve(*pair) for pair in zip(parts, filters, strict=True)])
