"""IODINE: iterative amortised inference of slots (Greff et al. 2019)."""

import functools
import math
from typing import NamedTuple

import sonnet as snt
import tensorflow as tf
import tensorflow_probability as tfp

from iodine import auxiliary, decoders, distributions, precision, refinement
from iodine.config import IodineConfig
from iodine.noise import Noise
from iodine.outputs import Latents, SlotOutput
from iodine.reshaping import fold_slots
from iodine.slot_model import SlotModel, State
from iodine.unroll import Frame, Timeline

tfd = tfp.distributions


class Decode(NamedTuple):
  """One decode of Algorithm 1 and all that the next update needs of it."""

  params: tf.Tensor  # [B, K, 2 Z]
  posterior: tfd.Normal  # [B, K, Z]
  z: tf.Tensor  # [B, K, Z]
  mixture: distributions.SpatialMixture
  nll: tf.Tensor  # [B]
  kl: tf.Tensor  # [B, K, Z]
  terms: dict[str, tf.Tensor]  # [B] each: `SlotOutput.terms`
  grads: auxiliary.Gradients


class Iodine(SlotModel):
  """The model: decoder, refinement core and trainable initial posterior (paper, Sec. 2).

  Args:
    config: what it is made of.
  """

  STEP_OPTIONS = ("mixed",)

  def __init__(self, config: IodineConfig, name: str = "iodine"):
    super().__init__(config, name)
    core, released = config.refinement, config.released
    compute_dtype = precision.compute_dtype(config.precision)
    self.decoder = _make_decoder(config, compute_dtype)
    self.auxiliary = auxiliary.AuxiliaryInputs(
      config.image_size[2],
      core.inputs,
      core.coordinates,
      log_space=released.log_space_inputs,
      capacity=released.capacity_channels,
      name="auxiliary",
    )
    self.refinement = refinement.RefinementCore(
      2 * config.latent_size,
      core.channels,
      core.kernel,
      core.stride,
      core.mlp_sizes,
      core.lstm_size,
      core.activate_mlp_output,
      core.update,
      dtype=self.dtype,
      compute_dtype=compute_dtype,
      name="refinement",
    )
    self._latent = distributions.LatentGaussian(released.latent_scale)
    # variables, so that training can anneal them and a checkpoint knows where they were
    likelihood = config.likelihood
    self.sigma = tf.Variable(likelihood.sigma, trainable=False, dtype=self.dtype, name="sigma")
    self.kl_weight = tf.Variable(
      likelihood.kl_weight, trainable=False, dtype=self.dtype, name="kl_weight"
    )

  @snt.once
  def _initialize(self):
    prior_params = self._latent.prior_params(self.config.latent_size, self.dtype)
    self.initial_params = tf.Variable(prior_params, name="initial_params")  # [2 Z]

  def timeline(self, num_iterations) -> Timeline:
    """T decodes with weights 1/T, ..., 1 (Algorithm 1), or the released code's T + 1 from 0.

    Of a sequence, decode d has seen the frames before d. Under `next_step` it is scored against
    frame d (A.1: next-step prediction), whose error feeds the update; under `reconstruction`
    against the last frame that it has seen.
    """
    first = 0 if self.config.released.final_decode else 1
    lag = 0 if self.config.objective == "next_step" else 1
    num_decodes = num_iterations + 1 - first
    if isinstance(num_iterations, tf.Tensor):
      weights = tf.range(first, num_iterations + 1) / num_iterations
    else:
      weights = tf.constant(
        [t / num_iterations for t in range(first, num_iterations + 1)], self.dtype
      )
    return Timeline(num_decodes, weights, target_lag=lag)

  def iterations_of(self, num_frames: int) -> int:
    """T whose decodes are scored against every frame, see docs/sequences.md."""
    # under `reconstruction` the decode of a frame comes behind its update
    behind = int(self.config.objective == "reconstruction")
    return max(num_frames + behind - int(self.config.released.final_decode), 1)

  def weights(self) -> dict[str, tf.Variable]:
    """sigma and the KL's weight."""
    return {"sigma": self.sigma, "kl_weight": self.kl_weight}

  @property
  def latent_terms(self) -> tuple[str, ...]:
    """The KL, and the masks' entropy where it has a weight."""
    return tuple(self._term_weights)

  @property
  def free_settings(self) -> frozenset[str]:
    """The deconvolutional decoder's first map is as large as the image asks for."""
    deconv = self.config.decoder.kind == "deconv"
    return self.config.FREE - {"image_size"} if deconv else self.config.FREE

  def start(self, batch_size, num_slots, noise: Noise) -> State:
    """The posterior's parameters [B, K, 2 Z] before any update, and the LSTM's [B, K, U] if any."""
    del noise  # slots differ by the sample that is decoded first
    self._initialize()
    size = [batch_size, num_slots, 2 * self.config.latent_size]
    state = {"params": tf.broadcast_to(self.initial_params, size)}
    memory = self.refinement.initial_state(batch_size * num_slots)
    if memory:
      units = [batch_size, num_slots, self.config.refinement.lstm_size]
      state |= {
        "hidden": tf.reshape(memory.hidden, units),
        "cell": tf.reshape(memory.cell, units),
      }
    return state

  def step(self, frame: Frame, state: State, noise: Noise, *, update=True, saved=None, mixed=False):
    """Decodes and scores the posterior, and updates it: see `SlotModel.step`.

    With `mixed` one component on the mixed image stands in place of Eq. 1
    (`distributions.SpatialMixture.mixed_log_prob`), for the first steps of a training.
    """
    shape = tf.shape(state["params"])
    drawn = self.noise(noise, shape[0], shape[1])
    decode = self.decode(frame.input, state["params"], drawn, saved, mixed)
    output = self._output(decode, frame, mixed)
    next_state = self.refine(frame.input, state, decode) if update else {}
    return output, next_state, decode.grads

  def decode(self, images, params, noise, grads=None, mixed=False) -> Decode:
    """Samples, decodes and scores one posterior.

    Args:
      images: [B, H, W, C].
      params: lambda [B, K, 2 Z].
      noise: standard normal [B, K, Z].
      grads: auxiliary.Gradients where they are known, which spares their computation.
      mixed: see `step`.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(params)
      posterior = self._latent.posterior(params)
      z = posterior.loc + posterior.scale * noise
      means, mask_logits = self.decoder(z, tuple(images.shape[1:3]))
      mixture = self._mixture(images, means, mask_logits)
      nll = _nll(mixture, mixed)  # [B]
      prior = self._latent.prior(self.config.latent_size, params.dtype)
      kl = tfd.kl_divergence(posterior, prior)  # [B, K, Z]
      terms = self._terms(kl, mixture)
      loss = tf.reduce_sum(self._loss(nll, terms, images))
    if grads is None:
      grads = auxiliary.Gradients(*tape.gradient(loss, [params, means, mask_logits]))
      if self.config.refinement.mask_gradient == "mask":
        grads = grads._replace(mask_logits=mixture.mask_gradient)
    grads = auxiliary.Gradients(*map(tf.stop_gradient, grads))
    return Decode(params, posterior, z, mixture, nll, kl, terms, grads)

  def refine(self, images, state: State, decode: Decode) -> State:
    """One update of the posterior (Eq. 3)."""
    params = state["params"]
    inputs = self.auxiliary(images, params, decode.mixture, self._scaled(decode.grads))
    memory = ()
    if "hidden" in state:
      memory = snt.LSTMState(*(fold_slots(state[name]) for name in ("hidden", "cell")))
    delta, memory = self.refinement(inputs, fold_slots(params), memory)
    next_state = {"params": params + tf.reshape(delta, tf.shape(params))}
    if "hidden" in state:
      for name, value in (("hidden", memory.hidden), ("cell", memory.cell)):
        value = tf.reshape(value, tf.shape(state[name]))
        next_state[name] = tf.ensure_shape(value, state[name].shape)
    return next_state

  def nll_of(self, images, output: SlotOutput) -> tf.Tensor:
    """Nats of images [B, H, W, C] under a decode that may have been of others: [B]."""
    return _nll(self._mixture(images, output.means, output.mask_logits), mixed=False)

  def noise(self, noise: Noise, batch_size, num_slots) -> tf.Tensor:
    """Standard normal [B, K, Z], drawn in float32 whatever the dtype."""
    return tf.cast(noise.normal(batch_size, [num_slots, self.config.latent_size]), self.dtype)

  def sample_prior(self, batch_size, num_slots, noise: Noise) -> tf.Tensor:
    """Latents [B, K, Z] drawn from the prior."""
    prior = self._latent.prior(self.config.latent_size, self.dtype)
    return prior.loc + prior.scale * self.noise(noise, batch_size, num_slots)

  def _mixture(self, images, means, mask_logits):
    kind = self.config.likelihood.kind
    return distributions.SpatialMixture(images, means, mask_logits, kind, self.sigma)

  def _output(self, decode, frame, mixed):
    mixture, nll = decode.mixture, decode.nll
    if frame.target is not frame.input:
      scored = self._mixture(frame.target, mixture.means, mixture.mask_logits)
      nll = _nll(scored, mixed)
    posterior = decode.posterior
    return SlotOutput(
      means=mixture.means,
      mask_logits=mixture.mask_logits,
      masks=mixture.masks,
      nll=nll,
      terms=decode.terms,
      loss=self._loss(nll, decode.terms, frame.target),
      latents=Latents(posterior.loc, posterior.scale, decode.z, decode.kl, decode.params),
    )

  @property
  def _term_weights(self):
    """By the loss's terms; made when asked for, since a checkpoint would track an attribute."""
    entropy = self.config.mask_entropy_weight
    return {"kl": self.kl_weight, **({"entropy": entropy} if entropy else {})}

  def _terms(self, kl, mixture):
    """What stands in the loss beside the likelihood, before any weight: dict of [B]."""
    terms = {"kl": tf.reduce_sum(tf.reduce_sum(kl, axis=-1), axis=-1)}
    if "entropy" in self._term_weights:
      terms["entropy"] = tf.reduce_sum(mixture.mask_entropy, axis=[1, 2, 3, 4])
    return terms

  def _loss(self, nll, terms, images):
    """[B]

    Of smaller images the likelihood, a sum over pixels, is a smaller one, as is the masks' entropy;
    the KL is not, so that its weight is in proportion.
    """
    share = math.prod(images.shape[1:3]) / math.prod(self.config.image_size[:2])
    for name, weight in self._term_weights.items():
      if name == "kl" and share != 1:
        weight = weight * share  # not in place: it is a variable
      nll += weight * terms[name]
    return nll

  def _scaled(self, grads):
    if not self.config.released.batch_mean_gradients:
      return grads
    # the batch of all replicas together, so that the result does not depend on their number
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return auxiliary.Gradients(*[g / tf.cast(tf.shape(g)[0] * replicas, g.dtype) for g in grads])


def _nll(mixture, mixed):
  """Nats an image: [B]."""
  log_prob = mixture.mixed_log_prob if mixed else mixture.log_prob  # [B, 1, H, W, 1]
  return -tf.reduce_sum(log_prob, axis=[1, 2, 3, 4])


def _make_decoder(config, compute_dtype):
  decoder = config.decoder
  constant = 5.0 if config.released.capacity_channels else None
  options = {"constant": constant, "compute_dtype": compute_dtype, "name": "decoder"}
  if decoder.kind == "deconv":
    make = decoders.DeconvDecoder
  elif decoder.kind == "modulated":
    make = functools.partial(decoders.ModulatedDecoder, upsampling=decoder.upsampling)
  else:
    make = functools.partial(
      decoders.SpatialBroadcastDecoder,
      upsampling=decoder.upsampling,
      full_channels=decoder.full_channels,
    )
  return make(config.image_size, decoder.channels, decoder.kernel, **options)
