"""Inference one iteration at a time, for whoever needs more than its scores."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from iodine import config, distributions

tfd = tfp.distributions


class Decoded(NamedTuple):
  """One decode of a batch, as NumPy arrays."""

  mean: np.ndarray  # [B, K, Z], of the posterior
  stddev: np.ndarray  # [B, K, Z]
  kl: np.ndarray  # [B, K, Z], nats
  z: np.ndarray  # [B, K, Z], the sample that was decoded
  means: np.ndarray  # [B, K, H, W, C]
  mask_logits: np.ndarray  # [B, K, H, W, 1]
  masks: np.ndarray  # [B, K, H, W, 1]
  nll: np.ndarray  # [B], nats

  @property
  def reconstruction(self):
    """Mean of the mixture: [B, H, W, C]."""
    return np.sum(self.masks * self.means, axis=1)


class Inference:
  """Runs inference without keeping earlier iterations; compiled once for all batches.

  An image's results are a function of (seed, its index) and, as those of `evaluation.Evaluator`
  with the same seed, do not depend on its batch (but see `batch_mean_gradients`).

  Args:
    model: Iodine.
    num_iterations: T, the model's by default.
    num_slots: K, the model's by default.
  """

  def __init__(self, model, num_iterations=None, num_slots=None):
    self._model = model
    self._latent = distributions.LatentGaussian(model.config.latent_scale)
    self.num_slots = model.config.num_slots if num_slots is None else num_slots
    config.check_slots(self.num_slots)
    num_iterations = model.config.num_iterations if num_iterations is None else num_iterations
    config.check_iterations(num_iterations)
    self.num_decodes = num_iterations + int(model.config.final_decode)
    self._step = tf.function(self._iteration, reduce_retracing=True)

  def __call__(self, images, seed=0, first_index=0):
    """The last decode of images [B, H, W, C] (or [B, T, H, W, C], one frame an iteration)."""
    for decoded in self._iterate(images, seed, first_index):
      last = decoded
    return Decoded(*(value.numpy() for value in last))

  def iterations(self, images, seed=0, first_index=0):
    """Every decode: Decoded with a leading [D]."""
    steps = list(self._iterate(images, seed, first_index))
    return Decoded(*(np.stack(values) for values in zip(*steps, strict=True)))

  def _iterate(self, images, seed, first_index):
    params, state = self._model.initial(len(images), self.num_slots)
    seed, first = tf.constant([seed, 1], tf.int32), tf.constant(first_index)
    for t in range(self.num_decodes):
      decoded, params, state = self._step(images, seed, tf.constant(t), first, params, state)
      yield decoded

  def _iteration(self, images, seed, iteration, first_index, params, state):
    model = self._model
    frame = images if images.shape.rank == 4 else images[:, iteration]
    noise = model.noise(seed, iteration, tf.shape(frame)[0], self.num_slots, first_index)
    decode = model.decode(frame, params, noise)
    prior = self._latent.prior(model.config.latent_size, params.dtype)
    decoded = Decoded(
      mean=decode.posterior.loc,
      stddev=decode.posterior.scale,
      kl=tfd.kl_divergence(decode.posterior, prior),
      z=decode.z,
      means=decode.mixture.means,
      mask_logits=decode.mixture.mask_logits,
      masks=decode.mixture.masks,
      nll=decode.nll,
    )
    return decoded, *model.refine(frame, params, decode, state)
