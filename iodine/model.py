"""IODINE: iterative amortised inference of slots (Greff et al. 2019)."""

import functools
from typing import NamedTuple

import sonnet as snt
import tensorflow as tf
import tensorflow_probability as tfp

from iodine import auxiliary, config, decoders, distributions, precision, refinement

tfd = tfp.distributions


class IodineOutput(NamedTuple):
  """What inference computed, at each of D decodes (D = T; T + 1 with `final_decode`)."""

  params: tf.Tensor  # [D, B, K, 2 Z], posterior parameters lambda
  posterior_mean: tf.Tensor  # [D, B, K, Z]
  posterior_stddev: tf.Tensor  # [D, B, K, Z]
  z: tf.Tensor  # [D, B, K, Z], the sample that was decoded
  means: tf.Tensor  # [D, B, K, H, W, C]
  mask_logits: tf.Tensor  # [D, B, K, H, W, 1]
  masks: tf.Tensor  # [D, B, K, H, W, 1]
  nll: tf.Tensor  # [D, B], nats an image
  kl: tf.Tensor  # [D, B, K], nats a slot
  loss_weights: tf.Tensor  # [D], t / T
  kl_weight: tf.Tensor  # [], of the KL in the loss

  @property
  def reconstruction(self):
    """Mean of the mixture: [D, B, H, W, C]."""
    return tf.reduce_sum(self.masks * self.means, axis=2)

  @property
  def loss(self):
    """Eq. 4 for each image: [B]."""
    per_decode = self.nll + self.kl_weight * tf.reduce_sum(self.kl, axis=-1)  # [D, B]
    return tf.reduce_sum(self.loss_weights[:, None] * per_decode, axis=0)


class Decode(NamedTuple):
  """One decode of Algorithm 1 and all that the next update needs of it."""

  posterior: tfd.Normal  # [B, K, Z]
  z: tf.Tensor  # [B, K, Z]
  mixture: distributions.SpatialMixture
  nll: tf.Tensor  # [B]
  kl: tf.Tensor  # [B, K]
  grads: auxiliary.Gradients


class Iodine(snt.Module):
  """The model: decoder, refinement core, trainable initial posterior, and the unrolled inference.

  Args:
    model_config: ModelConfig.

  `images` everywhere: float [B, H, W, C] in [0, 1], or [B, T, H, W, C] for a sequence, one frame
  an iteration.
  """

  def __init__(self, model_config, name="iodine"):
    super().__init__(name=name)
    self.config = cfg = model_config
    self.dtype = tf.as_dtype(cfg.dtype)
    compute_dtype = precision.compute_dtype(cfg.precision)
    if cfg.decoder == "deconv":
      self.decoder = decoders.DeconvDecoder(
        cfg.image_size, compute_dtype=compute_dtype, name="decoder"
      )
    else:
      self.decoder = decoders.SpatialBroadcastDecoder(
        cfg.image_size,
        cfg.decoder_channels,
        cfg.decoder_kernel,
        constant=5.0 if cfg.capacity_channels else None,
        compute_dtype=compute_dtype,
        upsampling=cfg.decoder_upsampling,
        full_channels=cfg.decoder_full_channels,
        name="decoder",
      )
    self.auxiliary = auxiliary.AuxiliaryInputs(
      cfg.image_size,
      cfg.inputs,
      cfg.coordinate_type,
      log_space=cfg.log_space_inputs,
      capacity=cfg.capacity_channels,
      name="auxiliary",
    )
    self.refinement = refinement.RefinementCore(
      2 * cfg.latent_size,
      cfg.encoder_channels,
      cfg.encoder_kernel,
      cfg.encoder_stride,
      cfg.mlp_sizes,
      cfg.lstm_size,
      cfg.activate_mlp_output,
      dtype=self.dtype,
      compute_dtype=compute_dtype,
      name="refinement",
    )
    self._latent = distributions.LatentGaussian(cfg.latent_scale)
    # variables, so that training can anneal them and a checkpoint knows where they were
    self.sigma = tf.Variable(cfg.sigma, trainable=False, dtype=self.dtype, name="sigma")
    self.kl_weight = tf.Variable(cfg.kl_weight, trainable=False, dtype=self.dtype, name="kl_weight")

  @snt.once
  def _initialize(self):
    prior_params = self._latent.prior_params(self.config.latent_size, self.dtype)
    self.initial_params = tf.Variable(prior_params, name="initial_params")  # [2 Z]

  def __call__(
    self, images, *, num_iterations=None, num_slots=None, seed=None, first_index=0, mixed=False
  ):
    """Unrolled inference.

    Args:
      images: see the class.
      num_iterations: T, the configuration's by default (a sequence's length for a sequence).
      num_slots: K, the configuration's by default.
      seed: int32 [2]; None draws one. The noise of an image at an iteration is a function of
        (seed, iteration, first_index + its row), of nothing else: not of the batch size.
      mixed: one component on the mixed image in place of Eq. 1
        (`distributions.SpatialMixture.mixed_log_prob`), for the first steps of a training.
      first_index: index of the batch's first image in whatever the images are counted in.

    Returns:
      IodineOutput.

    Raises:
      ValueError: the images' rank or size differs from the configuration's, K < 2 or T < 1.
    """
    images = self._check(images)
    num_slots = self.config.num_slots if num_slots is None else num_slots
    config.check_slots(num_slots)
    if images.shape.rank == 5:
      num_iterations = images.shape[1] if num_iterations is None else num_iterations
      if images.shape[1] < num_iterations:
        raise ValueError(f"{num_iterations} iterations need as many frames, got {images.shape[1]}")
    num_iterations = self.config.num_iterations if num_iterations is None else num_iterations
    config.check_iterations(num_iterations)

    seed = new_seed() if seed is None else seed
    first_weight = 0 if self.config.final_decode else 1
    params, state = self.initial(tf.shape(images)[0], num_slots)
    iterate = functools.partial(self._iterate, mixed=mixed)
    iterate = rematerialised(iterate) if self.config.recompute else iterate
    all_params, records = [], []
    for t in range(first_weight, num_iterations + 1):
      frame = images if images.shape.rank == 4 else images[:, max(t - 1, 0)]
      noise = self.noise(seed, len(records), tf.shape(params)[0], num_slots, first_index)
      all_params.append(params)
      if t < num_iterations:
        (record, params, state), _ = iterate(frame, params, noise, state)
      else:
        record = _record(self.decode(frame, params, noise, mixed=mixed))
      records.append(record)
    weights = [t / num_iterations for t in range(first_weight, num_iterations + 1)]
    return IodineOutput(
      params=tf.stack(all_params),
      loss_weights=tf.constant(weights, self.dtype),
      kl_weight=tf.identity(self.kl_weight),
      **{name: tf.stack([record[name] for record in records]) for name in records[0]},
    )

  def _iterate(self, images, params, noise, state, saved=None, mixed=False):
    """Decode and update: ((what IodineOutput keeps of it, next params, next state), grads).

    `saved` are the grads of an earlier call with the same arguments.
    """
    decode = self.decode(images, params, noise, saved, mixed)
    return (_record(decode), *self.refine(images, params, decode, state)), decode.grads

  def create_variables(self):
    """Creates all variables, which otherwise come with the first call; returns them."""
    blank = tf.zeros([1, *self.config.image_size], self.dtype)
    self(blank, num_iterations=2, num_slots=2, seed=[0, 0])
    return self.trainable_variables

  def initial(self, batch_size, num_slots):
    """The posterior parameters [B, K, 2 Z] before any update, and the core's state."""
    self._initialize()
    params = tf.broadcast_to(
      self.initial_params, [batch_size, num_slots, 2 * self.config.latent_size]
    )
    return params, self.refinement.initial_state(batch_size * num_slots)

  def decode(self, images, params, noise, grads=None, mixed=False):
    """Samples, decodes and scores one posterior: images [B, H, W, C], noise [B, K, Z] -> Decode.

    `grads` are the auxiliary.Gradients where they are known, which spares their computation; for
    `mixed` see the call.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(params)
      posterior = self._latent.posterior(params)
      z = posterior.loc + posterior.scale * noise
      means, mask_logits = self.decoder(z)
      mixture = distributions.SpatialMixture(
        images, means, mask_logits, self.config.likelihood, self.sigma
      )
      log_prob = mixture.mixed_log_prob if mixed else mixture.log_prob  # [B, 1, H, W, 1]
      nll = -tf.reduce_sum(log_prob, axis=[1, 2, 3, 4])  # [B]
      prior = self._latent.prior(self.config.latent_size, params.dtype)
      kl = tf.reduce_sum(tfd.kl_divergence(posterior, prior), axis=-1)  # [B, K]
      loss = tf.reduce_sum(nll) + self.kl_weight * tf.reduce_sum(kl)
    if grads is None:
      grads = auxiliary.Gradients(*tape.gradient(loss, [params, means, mask_logits]))
      if self.config.mask_gradient == "mask":
        grads = grads._replace(mask_logits=mixture.mask_gradient)
    return Decode(
      posterior, z, mixture, nll, kl, auxiliary.Gradients(*map(tf.stop_gradient, grads))
    )

  def refine(self, images, params, decode, state):
    """One update of the posterior (Eq. 3): next params [B, K, 2 Z] and state."""
    inputs = self.auxiliary(images, params, decode.mixture, self._scaled(decode.grads))
    delta, state = self.refinement(inputs, state)
    return params + tf.reshape(delta, tf.shape(params)), state

  def _scaled(self, grads):
    if not self.config.batch_mean_gradients:
      return grads
    # the batch of all replicas together, so that the result does not depend on their number
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return auxiliary.Gradients(*[g / tf.cast(tf.shape(g)[0] * replicas, g.dtype) for g in grads])

  def noise(self, seed, iteration, batch_size, num_slots, first_index=0):
    """Standard normal [B, K, Z], drawn in float32 whatever the dtype.

    Rows are cut from one counter-based stream, so that row i depends on i but not on B.
    """
    seed = tf.random.experimental.stateless_fold_in(seed, iteration)
    shape = [first_index + batch_size, num_slots, self.config.latent_size]
    rows = tf.random.stateless_normal(shape, seed, alg="philox")[first_index:]
    return tf.cast(rows, self.dtype)

  def _check(self, images):
    images = tf.convert_to_tensor(images)
    expected = tuple(self.config.image_size)
    if images.dtype != self.dtype:
      raise ValueError(
        f"expected {self.dtype.name} images in [0, 1], got {images.dtype.name}"
        + (": divide by 255" if images.dtype.is_integer else "")
      )
    if images.shape.rank not in (4, 5) or tuple(images.shape[-3:]) != expected:
      wanted = ", ".join(map(str, expected))
      raise ValueError(f"expected images [B, {wanted}] or [B, T, {wanted}], got {images.shape}")
    return images


def _record(decode):
  """What IodineOutput keeps of a decode, by its field names."""
  return {
    "posterior_mean": decode.posterior.loc,
    "posterior_stddev": decode.posterior.scale,
    "z": decode.z,
    "means": decode.mixture.means,
    "mask_logits": decode.mixture.mask_logits,
    "masks": decode.mixture.masks,
    "nll": decode.nll,
    "kl": decode.kl,
  }


def rematerialised(function):
  """`function` with its activations computed anew in the backward pass instead of kept.

  `tf.recompute_grad` runs the forward pass with all tapes stopped, ours for the posterior's
  gradient among them; hence this one. In a graph it is a function of its own, traced and optimised
  once however often it is called, for graphs take memory too.

  Args:
    function: (*args, saved=None) -> (results, saved), nests of tensors: what it says is `saved` is
      kept, and given back to it in the backward pass; it has no gradient.

  Returns:
    (*args) -> (results, saved).
  """

  def wrapped(*args):
    structure = []

    @tf.custom_gradient
    def forward(*tensors):
      packed = tf.nest.pack_sequence_as(args, tensors)
      structure[:] = function(*packed)
      _, saved = structure

      def backward(*upstream, variables=()):
        with tf.GradientTape() as tape:
          tape.watch(tensors)
          again = tf.nest.flatten(function(*packed, saved=saved)[0])
        gradients = tape.gradient(
          again,
          [*tensors, *variables],
          output_gradients=upstream[: len(again)],
          unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return gradients[: len(tensors)], gradients[len(tensors) :]

      return tf.nest.flatten(structure), backward

    return tf.nest.pack_sequence_as(structure, forward(*tf.nest.flatten(args)))

  if tf.executing_eagerly():
    return wrapped
  return tf.function(wrapped, autograph=False, experimental_attributes={"_noinline": True})


def new_seed():
  """A seed [2] from TensorFlow's global generator."""
  return tf.random.uniform([2], tf.int32.min, tf.int32.max, tf.int32)
