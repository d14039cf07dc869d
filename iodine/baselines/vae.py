"""A variational autoencoder of whole images with a broadcast decoder (Watters et al. 2019).

The paper's Figs. 5 and 6 set it beside IODINE: one latent for a scene, however many objects it has.
"""

from typing import ClassVar, Literal

import pydantic
import tensorflow as tf
import tensorflow_probability as tfp

from iodine import precision
from iodine.baselines import layers
from iodine.config import Count, LikelihoodConfig, ModelConfig, Sizes, check_odd
from iodine.decoders import SpatialBroadcastDecoder
from iodine.distributions import SpatialMixture
from iodine.noise import Noise
from iodine.outputs import Latents, SlotOutput
from iodine.slot_model import SlotModel, State
from iodine.unroll import Frame

tfd = tfp.distributions


class VaeConfig(ModelConfig):
  """Every choice about the VAE; the defaults are for scenes of one object.

  Attributes:
    latent_size: Z; for scenes of K objects the presets take K times IODINE's.
    encoder_channels: of the ReLU convolutions of stride 2.
    encoder_kernel: their size.
    encoder_size: of the ReLU layer behind them.
    decoder_channels: of the broadcast decoder's ELU convolutions.
    decoder_kernel: their size, odd.
    likelihood: see `LikelihoodConfig`; its `kl_weight` is beta.
  """

  model: Literal["vae"] = "vae"
  num_slots: Literal[1] = 1
  num_iterations: Literal[1] = 1
  latent_size: Count = 10
  encoder_channels: Sizes = (64, 64, 64, 64)
  encoder_kernel: Count = 4
  encoder_size: Count = 256
  decoder_channels: Sizes = (64, 64)
  decoder_kernel: Count = 3
  likelihood: LikelihoodConfig = LikelihoodConfig()

  @pydantic.field_validator("decoder_kernel")
  @classmethod
  def _odd(cls, kernel: int) -> int:
    check_odd("decoder_kernel", kernel)
    return kernel

  # The encoder reads every pixel of its last map, so the image's size is part of the model.
  FREE: ClassVar[frozenset[str]] = (ModelConfig.FREE - {"image_size"}) | {"sigma", "kl_weight"}


class Vae(SlotModel):
  """One slot that holds the whole image, in one step: `masks` are 1.

  The decoder is IODINE's, so that the two differ in nothing but the slots; its mask logit has no
  effect and gets no gradient.

  Args:
    config: what it is made of.
  """

  MIN_SLOTS = MAX_SLOTS = 1
  ITERATES = False

  def __init__(self, config: VaeConfig, name: str = "vae"):
    super().__init__(config, name)
    dtype = precision.compute_dtype(config.precision)
    self.encoder = layers.ConvEncoder(
      config.encoder_channels,
      config.encoder_kernel,
      config.encoder_size,
      2 * config.latent_size,
      dtype,
    )
    self.decoder = SpatialBroadcastDecoder(
      config.image_size,
      config.decoder_channels,
      config.decoder_kernel,
      compute_dtype=dtype,
      name="decoder",
    )
    likelihood = config.likelihood
    self.sigma = tf.Variable(likelihood.sigma, trainable=False, dtype=self.dtype, name="sigma")
    self.kl_weight = tf.Variable(
      likelihood.kl_weight, trainable=False, dtype=self.dtype, name="kl_weight"
    )

  def weights(self) -> dict[str, tf.Variable]:
    """sigma and beta."""
    return {"sigma": self.sigma, "kl_weight": self.kl_weight}

  def start(self, batch_size, num_slots, noise: Noise) -> State:
    """{}: it remembers nothing."""
    return {}

  def step(self, frame: Frame, state: State, noise: Noise, *, update=True, saved=None):
    """Encodes, samples and decodes: see `SlotModel.step`."""
    params = self.encoder(frame.input)[:, None]  # [B, 1, 2 Z], mean and log variance
    mean, log_variance = tf.split(params, 2, axis=-1)
    posterior = tfd.Normal(mean, tf.exp(log_variance / 2))
    z = mean + posterior.scale * self.noise(noise, tf.shape(mean)[0])  # [B, 1, Z]
    means, mask_logits = self.decoder(z)
    mixture = SpatialMixture(
      frame.target, means, mask_logits, self.config.likelihood.kind, self.sigma
    )
    nll = -tf.reduce_sum(mixture.log_prob, axis=[1, 2, 3, 4])  # [B]
    kl = tfd.kl_divergence(posterior, tfd.Normal(tf.zeros([], z.dtype), tf.ones([], z.dtype)))
    total = tf.reduce_sum(kl, axis=[1, 2])  # [B]
    output = SlotOutput(
      means=means,
      mask_logits=mask_logits,
      masks=mixture.masks,
      nll=nll,
      terms={"kl": total},
      loss=nll + self.kl_weight * total,
      latents=Latents(mean, posterior.scale, z, kl, params),
    )
    return output, state if update else {}, None

  def noise(self, noise: Noise, batch_size) -> tf.Tensor:
    """Standard normal [B, 1, Z]."""
    return tf.cast(noise.normal(batch_size, [1, self.config.latent_size]), self.dtype)
