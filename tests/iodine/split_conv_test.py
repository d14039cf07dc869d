"""The split convolution against the plain one of all channels."""

import numpy as np
import pytest
import tensorflow as tf

from iodine.precision import Conv2D
from iodine.split_conv import Channels, SplitConv2D

BATCH, SLOTS, SIZE = 2, 3, (7, 6)


def channels(rng, num_fixed, num_free, num_shared, dtype=np.float64):
  """Random Channels, and (order, scale, offset) of the image that they stand for."""
  count = num_fixed + num_free + num_shared
  draw = lambda rows, c: tf.constant(rng.normal(size=(rows, *SIZE, c)).astype(dtype))
  scale, offset = rng.normal(size=(2, count)).astype(dtype)
  return Channels(
    fixed=draw(BATCH * SLOTS, num_fixed),
    free=draw(BATCH * SLOTS, num_free),
    shared=draw(BATCH, num_shared),
    order=rng.permutation(count),
    scale=tf.constant(scale),
    offset=tf.constant(offset),
  )


def whole(x):
  """The image [N, H, W, c] that `x` stands for."""
  parts = tf.concat([x.fixed, x.free, tf.repeat(x.shared, SLOTS, axis=0)], axis=-1)
  image = tf.gather(parts, np.argsort(x.order), axis=-1)
  return image * x.scale + x.offset


def gradients(conv, x, image, weights):
  with tf.GradientTape() as tape:
    tape.watch([x.free, x.scale, x.offset, x.fixed])
    net = conv(image(x))
    loss = tf.reduce_sum(net * weights)
  return net, tape.gradient(loss, [conv.w, conv.b, x.free, x.scale, x.offset, x.fixed])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sizes", [(6, 5, 4), (6, 5, 0), (6, 0, 3), (0, 5, 3)])
def test_equals_plain_convolution_and_its_gradients(sizes, stride):
  rng = np.random.default_rng(0)
  x = channels(rng, *sizes)
  conv = SplitConv2D(8, 3, stride=stride)
  shape = conv(whole(x)).shape  # which also makes the variables
  weights = tf.constant(rng.normal(size=shape))
  conv.b.assign(rng.normal(size=8))
  net, (*ours, of_fixed) = gradients(conv, x, lambda x: x, weights)
  plain, (*theirs, _) = gradients(conv, x, whole, weights)
  np.testing.assert_allclose(net, plain, atol=1e-12)
  for name, a, b in zip(("w", "b", "free", "scale", "offset"), ours, theirs, strict=True):
    if name == "free" and not sizes[1]:
      assert a is None
    elif b is not None or a is not None:
      np.testing.assert_allclose(a, b, atol=1e-10, err_msg=name)
  assert of_fixed is None or not np.any(of_fixed)


def test_channels_that_are_all_shared():
  x = channels(np.random.default_rng(1), 0, 0, 4)
  conv = SplitConv2D(5, 3, stride=2)
  plain = conv(whole(x))
  np.testing.assert_allclose(conv(x), plain, atol=1e-12)
  np.testing.assert_allclose(conv(x)[0], conv(x)[SLOTS - 1])


def test_creates_the_variables_of_the_plain_convolution():
  x = channels(np.random.default_rng(2), 6, 5, 6, np.float32)
  made = []
  for layer, image in ((SplitConv2D, x), (Conv2D, whole(x))):
    conv = layer(8, 5, stride=2, name="conv_0")
    conv(image)
    made.append([(v.name, tuple(v.shape), v.dtype) for v in conv.variables])
  assert made[0] == made[1]


def test_low_precision_stays_near():
  x = channels(np.random.default_rng(3), 6, 5, 6, np.float32)
  conv = SplitConv2D(8, 3, compute_dtype=tf.bfloat16)
  net = conv(x)
  assert net.dtype == tf.bfloat16
  exact = tf.nn.conv2d(whole(x), conv.w, 1, "SAME") + conv.b
  np.testing.assert_allclose(tf.cast(net, tf.float32), exact, atol=0.02 * np.abs(exact).max())
