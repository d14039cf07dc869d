"""The grouped inputs against their plain concatenation."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from iodine import Iodine, IodineConfig
from iodine.auxiliary import ALL_INPUTS, SPATIAL_INPUTS
from iodine.noise import Noise

SMALL = IodineConfig(
  image_size=(8, 9, 3),
  num_slots=3,
  num_iterations=2,
  latent_size=4,
  decoder_channels=(6, 6),
  encoder_channels=(6, 6),
  mlp_sizes=(8,),
  lstm_size=0,
  dtype="float64",
)
SEED = tf.constant([3, 5], tf.int32)


@pytest.fixture(scope="module")
def images():
  return tf.constant(np.random.default_rng(0).uniform(size=(2, 8, 9, 3)))


def decoded(images, **changes):
  """A model whose layer norms have scales and offsets, its first posterior, and what it decodes."""
  model = Iodine(SMALL.replace(**changes))
  model.create_variables()
  rng = np.random.default_rng(1)
  for norm in model.auxiliary.norms.values():
    norm.scale.assign(rng.normal(size=norm.scale.shape))
    norm.offset.assign(rng.normal(size=norm.offset.shape))
  params = model.start(2, 3, Noise(SEED, 0))["params"]
  return model, params, model.decode(images, params, model.noise(Noise(SEED, 0), 2, 3))


def whitened(x, rows):
  """Layer norm of each row, without scale and offset."""
  x = np.reshape(x, (rows, -1))
  return (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)


def test_likelihood_inputs_are_densities(images):
  """p(x|z), p(x|z without k) and the masks' posterior as the paper has them, by SciPy."""
  model, params, decode = decoded(images, sigma=0.7)  # narrower, they were lost beside the epsilon
  for norm in model.auxiliary.norms.values():
    norm.scale.assign(tf.ones_like(norm.scale))
    norm.offset.assign(tf.zeros_like(norm.offset))
  found = model.auxiliary.normalised(images, params, decode.mixture, decode.grads)
  masks = scipy.special.softmax(decode.mixture.mask_logits.numpy(), axis=1)
  density = scipy.stats.norm.pdf(images[:, None], decode.mixture.means, 0.7)
  density = density.prod(axis=-1, keepdims=True)  # [B, K, H, W, 1]
  whole = (masks * density).sum(axis=1, keepdims=True)
  expected = density / density.sum(axis=1, keepdims=True)
  np.testing.assert_allclose(found["mask_posterior"], expected, rtol=1e-9)
  without = (whole - masks * density) / (1 - masks)
  for name, values, rows in (("likelihood", whole, 2), ("leave_one_out", without, 6)):
    got = np.reshape(found[name], (rows, -1))
    np.testing.assert_allclose(got, whitened(values, rows), rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize(
  "changes",
  [
    {},
    {"capacity_channels": True, "log_space_inputs": True, "coordinate_type": "cosine"},
    {"inputs": ("means", "mask_logits", "posterior")},
    {"inputs": ("image", "coordinates")},
    {"inputs": ("leave_one_out", "grad_mask", "likelihood", "image")},
  ],
  ids=["all", "released", "free only", "shared only", "fixed"],
)
def test_grouped_channels_stand_for_the_concatenation(images, changes):
  """The network reads the same from `Channels` as from the concatenation of `normalised`."""
  model, params, decode = decoded(images, **changes)
  names = [name for name in model.auxiliary.names if name in SPATIAL_INPUTS]
  inputs = model.auxiliary.normalised(images, params, decode.mixture, decode.grads)
  parts = [tf.broadcast_to(inputs[name], [2, 3, 8, 9, inputs[name].shape[-1]]) for name in names]
  if changes.get("capacity_channels"):
    parts.append(tf.fill([2, 3, 8, 9, 1], tf.constant(0.5, tf.float64)))
  plain = tf.reshape(tf.concat(parts, axis=-1), [6, 8, 9, -1])
  grouped = model.auxiliary(images, params, decode.mixture, decode.grads).spatial
  assert sorted(grouped.order) == list(range(plain.shape[-1]))
  encode = model.refinement.encode
  np.testing.assert_allclose(encode(grouped), encode(plain), rtol=1e-10, atol=1e-12)


def test_the_slots_share_six_channels_and_six_of_the_others_have_a_gradient(images):
  model, params, decode = decoded(images)
  grouped = model.auxiliary(images, params, decode.mixture, decode.grads).spatial
  assert grouped.shared.shape == (2, 8, 9, 6)  # image, likelihood, coordinates
  assert grouped.free.shape == (6, 8, 9, 6)  # means, mask, mask logits, mask posterior
  assert grouped.fixed.shape == (6, 8, 9, 5)  # gradients, leave-one-out
  assert set(ALL_INPUTS) == set(model.auxiliary.names)


def test_gradients_reach_the_norms_through_the_filters(images):
  """Their scale and offset go into the filters: central differences of the network's output."""
  model, params, decode = decoded(images)
  norm = model.auxiliary.norms["grad_means"]

  def loss():
    inputs = model.auxiliary(images, params, decode.mixture, decode.grads)
    return tf.reduce_sum(model.refinement.encode(inputs.spatial) ** 2)

  with tf.GradientTape() as tape:
    value = loss()
  for variable, gradient in zip(
    (norm.scale, norm.offset), tape.gradient(value, [norm.scale, norm.offset]), strict=True
  ):
    before, step = variable.numpy(), np.array([1e-5, 0, 0])
    variable.assign(before + step)
    above = loss()
    variable.assign(before - step)
    below = loss()
    variable.assign(before)
    np.testing.assert_allclose(gradient[0], (above - below) / 2e-5, rtol=1e-6)
