"""Latent posterior and prior, and the pixel likelihood (paper, Eqs. 1 and 2)."""

import functools

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions

MIN_STDDEV = 1e-5
_MAX_LOG_GRADIENT = 40.0


class LatentGaussian:
  """Turns posterior parameters lambda = [mean | raw scale] into a diagonal Gaussian.

  Args:
    scale: "stddev" (the paper: std = softplus(raw), prior N(0, 1)) or "variance" (the released
      code: softplus(raw) is the variance, and the prior is what raw = 0 gives, N(0, ln 2)).

  Raises:
    ValueError: `scale` is neither.
  """

  def __init__(self, scale="stddev"):
    if scale not in ("stddev", "variance"):
      raise ValueError(f'latent_scale must be "stddev" or "variance", got {scale!r}')
    self._scale = scale

  def posterior(self, params):
    """params [..., 2 Z] -> tfd.Normal with batch shape [..., Z]."""
    mean, raw = tf.split(params, 2, axis=-1)
    if self._scale == "variance":
      # a floor that changes no number above it: softplus(-110) is 0 in float32, the KL infinite
      variance = tf.maximum(tf.nn.softplus(raw), tf.constant(MIN_STDDEV**2, raw.dtype))
      return tfd.Normal(mean, tf.sqrt(variance))
    return tfd.Normal(mean, tf.nn.softplus(raw) + MIN_STDDEV)

  def prior(self, latent_size, dtype=tf.float32):
    """tfd.Normal with batch shape [Z]."""
    return self.posterior(self.prior_params(latent_size, dtype))

  def prior_params(self, latent_size, dtype=tf.float32):
    """The parameters [2 Z] at which the posterior equals the prior."""
    mean = tf.zeros([latent_size], dtype)
    raw = mean
    if self._scale == "stddev":
      raw += tfp.math.softplus_inverse(tf.constant(1.0 - MIN_STDDEV, dtype))
    return tf.concat([mean, raw], axis=0)


class SpatialMixture:
  """Mixture over slots at every pixel: p(x_i|z) = sum_k m_ik prod_c p(x_ic|mu_ikc) (Eq. 1).

  All terms that the model reads, the log-likelihood, the slot posterior and the leave-one-out
  likelihood, share one evaluation of the components, in log space and at least in float32.

  Args:
    images: [B, H, W, C].
    means: [B, K, H, W, C], component means.
    mask_logits: [B, K, H, W, 1].
    component: "normal" (the paper) or "logistic" (the released code).
    sigma: scale of the components, in units of the image's [0, 1].
  """

  def __init__(self, images, means, mask_logits, component="normal", sigma=0.1):
    if component not in COMPONENTS:
      raise ValueError(f"likelihood must be one of {sorted(COMPONENTS)}, got {component!r}")
    self.means = means
    self.mask_logits = mask_logits
    self._component, self._sigma = component, sigma
    self._images = images[:, None]  # [B, 1, H, W, C]
    self.log_masks = _log_softmax(mask_logits)  # [B, K, H, W, 1]
    self.log_components = tf.reduce_sum(
      self._components.log_prob(self._images), axis=-1, keepdims=True
    )  # [B, K, H, W, 1]
    self._log_joint = self.log_masks + self.log_components  # [B, K, H, W, 1]
    self.log_prob = tf.reduce_logsumexp(self._log_joint, axis=1, keepdims=True)  # [B, 1, H, W, 1]

  @property
  def _components(self):
    return COMPONENTS[self._component](
      self.means, tf.convert_to_tensor(self._sigma, self.means.dtype)
    )

  @functools.cached_property
  def masks(self):
    """[B, K, H, W, 1], probabilities over slots."""
    return tf.exp(self.log_masks)

  @functools.cached_property
  def mask_entropy(self):
    """Of the masks, nats at each pixel: [B, 1, H, W, 1], at most log K."""
    return -tf.reduce_sum(self.masks * self.log_masks, axis=1, keepdims=True)

  @functools.cached_property
  def mask_posterior(self):
    """p(m_k | x, mu) under equal masks, [B, K, H, W, 1] (paper, Appendix C)."""
    return tf.exp(_log_softmax(self.log_components))

  @functools.cached_property
  def mixed_log_prob(self):
    """log prod_c p(x_c | sum_k m_k mu_kc), one component on the mixed image: [B, 1, H, W, 1].

    Not Eq. 1: slots do not explain a pixel each for itself but all together, so that a wrong colour
    costs what it is off by, and not at most log K (EfficientMORL's, Emami et al. 2021).
    """
    mixed = tf.reduce_sum(self.masks * self.means, axis=1, keepdims=True)
    sigma = tf.convert_to_tensor(self._sigma, mixed.dtype)
    return tf.reduce_sum(
      COMPONENTS[self._component](mixed, sigma).log_prob(self._images), axis=-1, keepdims=True
    )

  @functools.cached_property
  def mask_gradient(self):
    """Gradient of -log p(x|z) at the masks, each for itself: -N_k / sum_j m_j N_j, [B, K, H, W, 1].

    It goes down to -1 / m_k, where that at the mask logits is between -1 and 1; beyond -e^40, of
    which a layer norm could not take the square, it is cut.
    """
    return -tf.exp(tf.minimum(self.log_components - self.log_prob, _MAX_LOG_GRADIENT))

  @functools.cached_property
  def leave_one_out_log_prob(self):
    """log p(x | z without slot k), masks renormalised over the others: [B, K, H, W, 1]."""
    return leave_one_out_logsumexp(self._log_joint) - leave_one_out_logsumexp(self.log_masks)


COMPONENTS = {"normal": tfd.Normal, "logistic": tfd.Logistic}


def _log_softmax(x):
  """Over slots; tf.nn.log_softmax would transpose them to the last axis and back."""
  return x - tf.reduce_logsumexp(x, axis=1, keepdims=True)


def leave_one_out_logsumexp(x, axis=1):
  """logsumexp over all other entries along `axis`, for each entry; shape as x, O(K).

  log(S - e_k) is safe wherever e_k is not the largest term, for then e_k <= S / 2; the largest
  term's own remainder is summed directly. So nothing cancels, however sharp the masks are.
  """
  size = tf.shape(x)[axis]
  largest = tf.one_hot(
    tf.argmax(x, axis=axis), size, on_value=True, off_value=False, axis=axis, dtype=tf.bool
  )
  lowest = tf.constant(x.dtype.min, x.dtype)
  others = tf.reduce_logsumexp(tf.where(largest, lowest, x), axis=axis, keepdims=True)
  total = tf.reduce_logsumexp(x, axis=axis, keepdims=True)
  share = tf.where(largest, lowest, x - total)  # log of e_k / S
  return tf.where(largest, others, total + tf.math.log1p(-tf.exp(share)))
