"""The VAE against NumPy, and what it refuses."""

import numpy as np
import pytest
import tensorflow as tf

from iodine.baselines import Vae, VaeConfig
from iodine.errors import ConfigError, UserError
from iodine.noise import Noise

CONFIG = VaeConfig(
  image_size=(9, 8, 3),
  dtype="float64",
  latent_size=3,
  encoder_channels=(4, 5),
  encoder_size=7,
  decoder_channels=(6,),
  sigma=0.2,
  kl_weight=0.7,
)


@pytest.fixture(scope="module")
def model():
  model = Vae(CONFIG)
  model.create_variables()
  rng = np.random.RandomState(0)
  for variable in model.trainable_variables:
    variable.assign(rng.randn(*variable.shape) / 4)
  return model


@pytest.fixture(scope="module")
def images():
  return np.random.RandomState(1).uniform(size=[2, 9, 8, 3])


def convolved(x, w, b):
  """4 x 4 of stride 2, TensorFlow's SAME padding, ReLU: [N, H, W, c]."""
  size = [-(-n // 2) for n in x.shape[1:3]]
  padding = [max((m - 1) * 2 + 4 - n, 0) for m, n in zip(size, x.shape[1:3], strict=True)]
  x = np.pad(x, [(0, 0), *[(p // 2, p - p // 2) for p in padding], (0, 0)])
  out = np.empty([len(x), *size, w.shape[-1]])
  for i in range(size[0]):
    for j in range(size[1]):
      patch = x[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
      out[:, i, j] = np.tensordot(patch, w, 3) + b
  return np.maximum(out, 0)


def test_a_step_is_the_textbook_s(model, images):
  output = model(tf.constant(images), seed=[3, 4]).at(0).numpy()
  values = [v.numpy() for v in model.encoder.trainable_variables]
  by_rank = {rank: [v for v in values if v.ndim == rank] for rank in (1, 2, 4)}
  net = images
  for w, b in zip(by_rank[4], by_rank[1][:2], strict=True):
    net = convolved(net, w, b)
  net = net.reshape(2, -1)
  hidden = np.maximum(net @ by_rank[2][0] + by_rank[1][2], 0)
  mean, log_variance = np.split(hidden @ by_rank[2][1] + by_rank[1][3], 2, axis=-1)
  noise = Noise(tf.constant([3, 4]), tf.constant(0)).normal(2, [1, 3]).numpy()[:, 0]
  z = mean + np.exp(log_variance / 2) * noise
  np.testing.assert_allclose(output.latents.z[:, 0], z, rtol=1e-10)
  means = model.decoder(tf.constant(z[:, None])).means.numpy()
  np.testing.assert_allclose(output.means, means, rtol=1e-9, atol=1e-12)
  error = (images - means[:, 0]) / 0.2
  nll = np.sum(error**2 / 2 + np.log(0.2) + np.log(2 * np.pi) / 2, axis=(1, 2, 3))
  np.testing.assert_allclose(output.nll, nll, rtol=1e-9)
  kl = np.sum(mean**2 + np.exp(log_variance) - log_variance - 1, axis=-1) / 2
  np.testing.assert_allclose(output.terms["kl"], kl, rtol=1e-9)
  np.testing.assert_allclose(output.loss, nll + 0.7 * kl, rtol=1e-9)
  np.testing.assert_array_equal(output.masks, np.ones([2, 1, 9, 8, 1]))
  np.testing.assert_allclose(output.reconstruction, means[:, 0], rtol=1e-9, atol=1e-12)


def test_every_weight_but_the_mask_logit_s_learns(model, images):
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean(model(tf.constant(images), seed=[3, 4]).loss)
  last = model.decoder.convs[-1]
  gradients = tape.gradient(loss, [*model.trainable_variables, last.b])
  for variable, gradient in zip(model.trainable_variables, gradients, strict=False):
    assert np.any(gradient.numpy() != 0), variable.name
  np.testing.assert_allclose(gradients[-1][0], 0, atol=1e-9)


def test_several_slots_are_refused(model):
  with pytest.raises(ConfigError, match="num_slots must be one of 1, got 4"):
    VaeConfig(num_slots=4)
  with pytest.raises(UserError, match="num_slots must be at most 1, got 3"):
    model(tf.zeros([1, 9, 8, 3], tf.float64), num_slots=3)


def test_an_even_kernel_is_refused():
  with pytest.raises(ConfigError, match="decoder_kernel must be odd, got 4"):
    VaeConfig(decoder_kernel=4)
