import numpy as np
import pytest
import tensorflow as tf

from iodine import coordinates
from iodine.decoders import (
  BroadcastConv2D,
  DeconvDecoder,
  ModulatedDecoder,
  SpatialBroadcastDecoder,
)


@pytest.mark.parametrize(("size", "kernel"), [((9, 7), 5), ((8, 8), 3), ((5, 12), 5), ((2, 3), 5)])
def test_broadcast_conv_equals_the_plain_convolution(size, kernel):
  z = np.random.default_rng(0).normal(size=[3, 4])
  conv = BroadcastConv2D(6, kernel)
  actual = conv(tf.constant(z), size)
  conv.b.assign(tf.range(6.0, dtype=tf.float64))
  actual = conv(tf.constant(z), size)
  full = np.concatenate(
    [
      np.broadcast_to(z[:, None, None], [3, *size, 4]),
      np.broadcast_to(coordinates.linear(*size), [3, *size, 2]),
    ],
    axis=-1,
  )
  expected = tf.nn.conv2d(full, conv.w, 1, "SAME") + conv.b
  np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_broadcast_conv_has_the_plain_convolutions_gradients():
  z = tf.constant(np.random.default_rng(1).normal(size=[2, 3]))
  weights = np.random.default_rng(2).normal(size=[2, 6, 7, 4])
  conv = BroadcastConv2D(4, 5)
  conv(z, (6, 7))

  def plain(z):
    grid = tf.broadcast_to(tf.constant(coordinates.linear(6, 7)), [2, 6, 7, 2])
    full = tf.concat([tf.broadcast_to(z[:, None, None], [2, 6, 7, 3]), grid], axis=-1)
    return tf.nn.conv2d(full, conv.w, 1, "SAME") + conv.b

  gradients = []
  for function in (lambda z: conv(z, (6, 7)), plain):
    with tf.GradientTape() as tape:
      tape.watch(z)
      loss = tf.reduce_sum(function(z) * weights)
    gradients.append(tape.gradient(loss, [z, conv.w, conv.b]))
  for actual, expected in zip(*gradients, strict=True):
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)


def test_an_even_kernel_is_refused():
  with pytest.raises(ValueError, match="odd, got 4"):
    BroadcastConv2D(2, 4)


@pytest.mark.parametrize("image_size", [(14, 11, 3), (32, 32, 1)])
@pytest.mark.parametrize("make", [
  lambda size: SpatialBroadcastDecoder(size, (4, 5), 3),
  lambda size: SpatialBroadcastDecoder(size, (4,), 5, constant=5.0),
  lambda size: SpatialBroadcastDecoder(size, (4, 5), 3, upsampling=2),
  lambda size: DeconvDecoder(size, channels=(4, 4, 4, 4), mlp_size=8),
  lambda size: ModulatedDecoder(size, (4, 5), 1),
  lambda size: ModulatedDecoder(size, (4,), 3, constant=5.0, upsampling=2),
])  # fmt: skip
def test_shapes_and_independent_slots(make, image_size):
  decoder = make(image_size)
  z = tf.random.stateless_normal([2, 3, 4], [0, 1])
  decoded = decoder(z)
  assert decoded.means.shape == [2, 3, *image_size]
  assert decoded.mask_logits.shape == [2, 3, *image_size[:2], 1]
  alone = decoder(z[1:, 2:])
  np.testing.assert_allclose(decoded.means[1, 2], alone.means[0, 0], atol=1e-5)


def test_upsampling_writes_squares_of_pixels():
  z = np.random.default_rng(3).normal(size=[1, 2, 4])
  decoder = SpatialBroadcastDecoder((8, 11, 3), (5,), 3, upsampling=3)
  decoded = decoder(tf.constant(z))
  assert decoded.means.shape == [1, 2, 8, 11, 3]
  low = tf.nn.elu(decoder.broadcast_conv(tf.constant(z[0]), (3, 4)))  # [2, 3, 4, 5]
  low = decoder.convs[-1](low).numpy().reshape([2, 3, 4, 3, 3, 4])  # then row, column, channel
  for row, column in np.ndindex(8, 11):
    expected = low[:, row // 3, column // 3, row % 3, column % 3]
    np.testing.assert_array_equal(decoded.mask_logits[0, :, row, column], expected[:, :1])
    np.testing.assert_array_equal(decoded.means[0, :, row, column], expected[:, 1:])


@pytest.mark.parametrize("decoder", [SpatialBroadcastDecoder, ModulatedDecoder])
@pytest.mark.parametrize("upsampling", [1, 3])
def test_variables_of_one_image_size_serve_all(upsampling, decoder):
  z = tf.random.stateless_normal([2, 3, 4], [0, 1])
  options = {"channels": (4, 5), "kernel_size": 3, "upsampling": upsampling}
  large, small = (decoder((*size, 3), **options) for size in ((14, 11), (7, 8)))
  assert large(z).means.shape == (2, 3, 14, 11, 3)
  small(z)
  for ours, theirs in zip(small.variables, large.variables, strict=True):
    ours.assign(theirs)
  for ours, theirs in zip(large(z, (7, 8)), small(z), strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_the_deconvolutional_decoder_has_one_image_size():
  decoder = DeconvDecoder((8, 12, 3), channels=(4, 4), mlp_size=8)
  z = tf.random.stateless_normal([2, 3, 4], [0, 1])
  for ours, theirs in zip(decoder(z, (8, 12)), decoder(z), strict=True):
    np.testing.assert_array_equal(ours, theirs)
  with pytest.raises(ValueError, match=r"is of \(8, 12\), not of \(12, 8\)"):
    decoder(z, (12, 8))


def test_the_papers_sizes():
  deconv = DeconvDecoder((128, 128, 3))
  deconv(tf.zeros([1, 1, 64]))
  shapes = {tuple(v.shape) for v in deconv.trainable_variables}
  assert {(64, 512), (512, 512), (5, 5, 64, 8), (5, 5, 64, 64), (5, 5, 64, 4)} <= shapes


def test_coordinates():
  grid = coordinates.linear(3, 5, order="xy")
  np.testing.assert_allclose(grid[0, :, 0], [-1, -0.5, 0, 0.5, 1])
  np.testing.assert_allclose(grid[:, 0, 1], [-1, 0, 1])
  cosine = coordinates.cosine(3, 5)
  assert cosine.shape == (3, 5, 8)
  x = np.linspace(0, 1, 5)
  np.testing.assert_allclose(cosine[0, :, 2], np.cos(np.pi * x), atol=1e-12)  # i = 1, j = 0


def test_sub_pixel_filters_begin_the_same_for_all_positions():
  """Each filter writes s x s pixels, alike until training tells them apart: no dots (ICNR)."""
  decoder = SpatialBroadcastDecoder((9, 12, 3), [8, 8], 3, upsampling=3)
  z = tf.random.stateless_normal([2, 2, 4], seed=[0, 1])
  means, logits = decoder(z)
  for image in (means, logits):
    blocks = image.numpy().reshape([4, 3, 3, 4, 3, -1])  # [N, H/s, s, W/s, s, c]
    assert np.ptp(blocks, axis=(2, 4)).max() < 1e-6
    assert np.ptp(blocks, axis=(1, 3)).max() > 1e-3
  by_position = decoder.convs[-1].w.numpy().reshape([3, 3, 8, 9, 4])
  for channel in range(4):  # channels do differ
    assert np.ptp(by_position[..., 0, :], axis=-1).max() > 0.01, channel


def test_the_modulated_decoder_is_a_network_over_coordinates():
  """Its numbers are those of the equations, computed pixel by pixel."""
  decoder = ModulatedDecoder((4, 5, 2), [3, 4], 1, mlp_size=6)
  z = np.random.default_rng(0).normal(size=[1, 2, 3])
  decoder(tf.constant(z))
  for i, variable in enumerate(decoder.variables):
    variable.assign(np.random.default_rng(i).normal(size=variable.shape))
  named = {v.name.split("/", 1)[1].split(":")[0]: v.numpy() for v in decoder.variables}

  def linear(x, name):
    w = named[f"{name}/w"]
    return x @ w.reshape(w.shape[-2:]) + named[f"{name}/b"]

  def elu(x):
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)

  means, logits = decoder(tf.constant(z))
  for slot, row, column in np.ndindex(2, 4, 5):
    y, x = 2 * np.linspace(-1, 1, 4)[row], 2 * np.linspace(-1, 1, 5)[column]
    hidden = elu(linear(z[0, slot], "hidden"))
    of_y, of_x, offset = np.split(linear(hidden, "affine"), 3)
    net = y * of_y + x * of_x + offset
    net = (1 + np.tanh(linear(hidden, "gain_1"))) * linear(elu(net), "conv_1")
    net = linear(elu(net), "conv_2")
    np.testing.assert_allclose(logits[0, slot, row, column], net[:1], rtol=1e-9)
    np.testing.assert_allclose(means[0, slot, row, column], net[1:], rtol=1e-9)


def test_a_modulated_decoder_of_one_pixel_draws_the_same_at_every_size():
  """Pixels at the same places of an image and of one with half the step are the same."""
  decoder = ModulatedDecoder((5, 6, 3), [4, 4], 1)
  z = tf.random.stateless_normal([2, 3, 4], [0, 1])
  for small, large in zip(decoder(z), decoder(z, (9, 11)), strict=True):
    np.testing.assert_allclose(small, large[:, :, ::2, ::2], atol=1e-5)


def test_modulated_decodings_grow_no_faster_than_the_latents():
  """Refinement feeds on what was decoded: were the gains unbounded, latents would run away."""
  decoder = ModulatedDecoder((5, 6, 3), [8, 8, 8, 8], 1)
  z = tf.random.stateless_normal([2, 3, 4], [0, 1])
  largest = [np.abs(decoder(scale * z).means).max() for scale in (1e2, 1e4)]
  assert largest[1] < 200 * largest[0]


def test_full_channels_put_a_convolution_behind_the_sub_pixel_one():
  """ELU and a plain convolution of what `upsampling` writes, at the image's own size."""
  decoder = SpatialBroadcastDecoder((7, 8, 3), [8, 8], 3, upsampling=3, full_channels=5)
  z = tf.random.stateless_normal([2, 2, 4], seed=[0, 1])
  means, logits = decoder(z)
  assert means.shape == (2, 2, 7, 8, 3)
  assert logits.shape == (2, 2, 7, 8, 1)
  last = next(v for v in decoder.variables if v.shape == (3, 3, 5, 4))
  bias = next(v for v in decoder.variables if v.shape == (4,))
  bias.assign([0.1, 0.2, 0.3, 0.4])
  low = decoder.broadcast_conv(tf.reshape(z, [4, 4]), (3, 3))
  for conv in decoder.convs:
    low = conv(tf.nn.elu(low))  # [4, 3, 3, 5 * 9]
  full = low.numpy().reshape([4, 3, 3, 3, 3, 5]).swapaxes(2, 3).reshape([4, 9, 9, 5])[:, :7, :8]
  expected = (tf.nn.conv2d(tf.nn.elu(full), last, 1, "SAME") + bias).numpy()
  means, logits = decoder(z)
  np.testing.assert_allclose(logits.numpy().reshape([4, 7, 8, 1]), expected[..., :1], atol=1e-5)
  np.testing.assert_allclose(means.numpy().reshape([4, 7, 8, 3]), expected[..., 1:], atol=1e-5)
