"""Likelihood, leave-one-out likelihood and KL against float64 NumPy."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from iodine.distributions import LatentGaussian, SpatialMixture, leave_one_out_logsumexp

tfd = tfp.distributions


@pytest.fixture
def scene():
  rng = np.random.default_rng(0)
  images = rng.uniform(size=[2, 5, 4, 3])
  means = rng.normal(size=[2, 3, 5, 4, 3])
  logits = rng.normal(size=[2, 3, 5, 4, 1])
  return images, means, logits


@pytest.mark.parametrize(
  ("component", "sigma", "density"),
  [("normal", 0.3, scipy.stats.norm.pdf), ("logistic", 0.2, scipy.stats.logistic.pdf)],
)
def test_likelihood_is_equation_1(scene, component, sigma, density):
  images, means, logits = scene
  masks = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  densities = density(images[:, None], means, sigma).prod(-1, keepdims=True)
  expected = np.log((masks * densities).sum(1, keepdims=True))
  mixture = SpatialMixture(*map(tf.constant, scene), component, sigma)
  np.testing.assert_allclose(mixture.log_prob, expected, rtol=1e-12)
  np.testing.assert_allclose(mixture.masks, masks, rtol=1e-12)
  posterior = densities / densities.sum(1, keepdims=True)
  np.testing.assert_allclose(mixture.mask_posterior, posterior, rtol=1e-9)


@pytest.mark.parametrize(
  ("component", "density"), [("normal", tfd.Normal), ("logistic", tfd.Logistic)]
)
def test_mask_gradient_is_that_of_masks_which_need_not_sum_to_one(scene, component, density):
  images, means, logits = map(tf.constant, scene)
  masks = tf.nn.softmax(logits, axis=1)
  with tf.GradientTape() as tape:
    tape.watch(masks)
    densities = tf.reduce_prod(density(means, 0.3).prob(images[:, None]), -1, keepdims=True)
    nll = -tf.reduce_sum(tf.math.log(tf.reduce_sum(masks * densities, axis=1)))
  mixture = SpatialMixture(images, means, logits, component, 0.3)
  np.testing.assert_allclose(mixture.mask_gradient, tape.gradient(nll, masks), rtol=1e-9)


def test_mask_gradient_stays_finite_where_a_slot_without_mask_is_right():
  images = tf.zeros([1, 1, 1, 3])
  means = tf.stack([images, images + 9])[:, 0][None]  # [1, 2, 1, 1, 3]
  mixture = SpatialMixture(images, means, tf.constant([-300.0, 300])[None, :, None, None, None])
  gradient = mixture.mask_gradient[:, 0]
  assert np.isfinite(tf.square(gradient)).all()
  assert float(tf.squeeze(gradient)) < -1e17


def test_the_mixed_image_has_one_component(scene):
  images, means, logits = scene
  masks = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  mixed = (masks * means).sum(1, keepdims=True)
  expected = scipy.stats.norm.logpdf(images[:, None], mixed, 0.3).sum(-1, keepdims=True)
  mixture = SpatialMixture(*map(tf.constant, scene), "normal", 0.3)
  np.testing.assert_allclose(mixture.mixed_log_prob, expected, rtol=1e-12)


def test_the_tfp_distribution_is_the_same_mixture(scene):
  images, means, logits = map(tf.constant, scene)
  mixture = SpatialMixture(images, means, logits, "normal", 0.3)
  slots_last = [0, 2, 3, 1, 4]
  distribution = tfd.Independent(
    tfd.MixtureSameFamily(
      tfd.Categorical(logits=tf.transpose(logits, slots_last)[..., 0]),
      tfd.Independent(tfd.Normal(tf.transpose(means, slots_last), tf.constant(0.3, tf.float64)), 1),
    ),
    reinterpreted_batch_ndims=2,
  )
  assert distribution.event_shape == [5, 4, 3]
  np.testing.assert_allclose(
    distribution.log_prob(images), tf.reduce_sum(mixture.log_prob, [1, 2, 3, 4]), rtol=1e-12
  )
  expected = tf.reduce_sum(mixture.masks * means, axis=1)
  np.testing.assert_allclose(distribution.mean(), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 40.0])
@pytest.mark.parametrize("num_slots", [2, 3, 7])
def test_leave_one_out_against_the_quadratic_oracle(scale, num_slots):
  rng = np.random.default_rng(1)
  images = rng.uniform(size=[2, 6, 5, 3])
  means = rng.uniform(size=[2, num_slots, 6, 5, 3])
  logits = rng.uniform(-scale, scale, size=[2, num_slots, 6, 5, 1])
  component = scipy.stats.norm.logpdf(images[:, None], means, 0.3).sum(-1, keepdims=True)
  expected = []
  for k in range(num_slots):
    keep = [j for j in range(num_slots) if j != k]
    log_masks = scipy.special.log_softmax(logits[:, keep], axis=1)
    expected.append(scipy.special.logsumexp(log_masks + component[:, keep], axis=1))
  expected = np.stack(expected, axis=1)
  for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 2e-4)):
    mixture = SpatialMixture(
      *[tf.constant(x.astype(dtype)) for x in (images, means, logits)], "normal", 0.3
    )
    np.testing.assert_allclose(
      mixture.leave_one_out_log_prob, expected, rtol=tolerance, atol=tolerance * 10
    )


def test_leave_one_out_does_not_cancel_where_one_slot_owns_a_pixel():
  x = tf.constant([[80.0], [-40.0], [-41.0]])[None]  # float32: exp(-120) is lost beside 1
  rest = leave_one_out_logsumexp(x)[0, :, 0]
  np.testing.assert_allclose(rest[0], np.logaddexp(-40.0, -41.0), rtol=1e-6)
  np.testing.assert_allclose(rest[1:], 80.0, rtol=1e-6)


def test_leave_one_out_with_equal_terms():
  rest = leave_one_out_logsumexp(tf.zeros([1, 4, 1]))
  np.testing.assert_allclose(rest, np.log(3.0), rtol=1e-6)


@pytest.mark.parametrize(
  ("scale", "prior_stddev"), [("stddev", 1.0), ("variance", np.sqrt(np.log(2.0)))]
)
def test_kl_and_prior(scale, prior_stddev):
  latent = LatentGaussian(scale)
  params = np.random.default_rng(2).normal(size=[2, 3, 8])
  posterior, prior = latent.posterior(tf.constant(params)), latent.prior(4, tf.float64)
  softplus = np.log1p(np.exp(params[..., 4:]))
  stddev = softplus if scale == "stddev" else np.sqrt(softplus)
  np.testing.assert_allclose(posterior.stddev(), stddev, atol=1.1e-5)
  np.testing.assert_allclose(prior.stddev(), prior_stddev, rtol=1e-12)
  mean, stddev = params[..., :4], posterior.stddev().numpy()
  ratio = (stddev**2 + mean**2) / prior_stddev**2
  expected = 0.5 * (ratio - 1) - np.log(stddev / prior_stddev)
  np.testing.assert_allclose(tfd.kl_divergence(posterior, prior), expected, rtol=1e-9)
  at_prior = latent.posterior(latent.prior_params(4, tf.float64))
  np.testing.assert_allclose(tfd.kl_divergence(at_prior, prior), 0.0, atol=1e-14)


@pytest.mark.parametrize("scale", ["stddev", "variance"])
def test_the_scale_has_a_floor(scale):
  latent = LatentGaussian(scale)
  posterior = latent.posterior(tf.constant([0.0, -110.0]))
  assert float(posterior.stddev()[0]) > 0
  assert np.isfinite(tfd.kl_divergence(posterior, latent.prior(1)))


def test_unknown_choices_are_refused(scene):
  with pytest.raises(ValueError, match="'cauchy'"):
    SpatialMixture(*map(tf.constant, scene), "cauchy")
  with pytest.raises(ValueError, match="'precision'"):
    LatentGaussian("precision")
