"""MONet (Burgess et al. 2019): masks from a recursive attention network, a VAE for each of them."""

import math
from typing import Annotated, ClassVar, Literal

import tensorflow as tf
import tensorflow_probability as tfp
from pydantic import Field

from iodine import precision
from iodine.baselines import layers
from iodine.baselines.monet_networks import AttentionNetwork, ComponentDecoder
from iodine.config import Count, ModelConfig, Positive, Sizes
from iodine.distributions import MIN_STDDEV
from iodine.noise import Noise
from iodine.outputs import Latents, SlotOutput
from iodine.reshaping import fold_slots, unfold_slots
from iodine.slot_model import SlotModel, State
from iodine.unroll import Frame

tfd = tfp.distributions

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class MonetConfig(ModelConfig):
  """Every choice about MONet; the defaults are its paper's.

  Attributes:
    latent_size: Z, of each slot.
    attention_channels: of the U-Net's blocks from the image's resolution down, each at half of the
      one before; None: log2(size) - 1 blocks, the first half of 32 channels and the rest of 64, as
      two public programs have it (no paper says).
    attention_sizes: of the layers between the way down and the way up.
    encoder_channels: of the component VAE's ReLU convolutions, 3 x 3 of stride 2.
    encoder_size: of the ReLU layer behind them.
    decoder_channels: of the broadcast decoder's unpadded 3 x 3 ReLU convolutions.
    sigma: of the pixels in all slots but the first; where training anneals it, its last value, and
      `sigma_background` keeps its ratio to it.
    sigma_background: of the pixels in the first slot.
    kl_weight: beta, of the latents' KL.
    mask_kl_weight: gamma, of the KL between the attention's masks and the decoded ones.
    stop_gradients: none through the scope into the U-Net and through the masks into the encoder, as
      one public program has it; another, and the paper's formulas, have all gradients.
    mask_floor: in the masks' KL no mask is smaller (and both are made to sum to one again); 1e-5 in
      a public program, 0 in the formula.
  """

  model: Literal["monet"] = "monet"
  num_iterations: Literal[1] = 1
  latent_size: Count = 16
  attention_channels: Sizes | None = None
  attention_sizes: tuple[Count, ...] = (128, 128)
  encoder_channels: Sizes = (32, 32, 64, 64)
  encoder_size: Count = 256
  decoder_channels: Sizes = (32, 32, 32, 32)
  sigma: Positive = 0.11
  sigma_background: Positive = 0.09
  kl_weight: Positive = 0.5
  mask_kl_weight: NonNegative = 0.5
  stop_gradients: bool = False
  mask_floor: Annotated[float, Field(ge=0, lt=0.1)] = 0.0

  # The encoder and the U-Net read every pixel of their smallest maps.
  FREE: ClassVar[frozenset[str]] = (ModelConfig.FREE - {"image_size"}) | {
    "sigma",
    "sigma_background",
    "kl_weight",
    "mask_kl_weight",
    "stop_gradients",
    "mask_floor",
  }

  @property
  def unet_channels(self) -> tuple[int, ...]:
    """`attention_channels`, chosen by the image's size where they are not given."""
    if self.attention_channels is not None:
      return self.attention_channels
    blocks = max(round(math.log2(min(self.image_size[:2]))) - 1, 2)
    return (32,) * (blocks // 2) + (64,) * (blocks - blocks // 2)


class Monet(SlotModel):
  """K masks, one after the other out of what the ones before left over, and a VAE of each.

  `SlotOutput.masks` are the attention's, which the likelihood uses; what `decoder` gives are the
  means and mask logits that a VAE made of the latents, for samples and traversals. Images of any
  size: an odd map is halved upwards and cropped on its way back.

  Args:
    config: what it is made of.
  """

  ITERATES = False

  def __init__(self, config: MonetConfig, name: str = "monet"):
    super().__init__(config, name)
    dtype = precision.compute_dtype(config.precision)
    self.attention = AttentionNetwork(
      config.unet_channels, config.attention_sizes, compute_dtype=dtype
    )
    self.encoder = layers.ConvEncoder(
      config.encoder_channels, 3, config.encoder_size, 2 * config.latent_size, dtype
    )
    self.decoder = ComponentDecoder(config.image_size, config.decoder_channels, compute_dtype=dtype)
    self.sigma = tf.Variable(config.sigma, trainable=False, dtype=self.dtype, name="sigma")
    self.kl_weight = tf.Variable(
      config.kl_weight, trainable=False, dtype=self.dtype, name="kl_weight"
    )

  @property
  def latent_terms(self) -> tuple[str, ...]:
    """KL of the latents, and of the masks."""
    return ("kl", "mask_kl")

  def weights(self) -> dict[str, tf.Variable]:
    """sigma and beta."""
    return {"sigma": self.sigma, "kl_weight": self.kl_weight}

  def start(self, batch_size, num_slots, noise: Noise) -> State:
    """The log of the first scope, [B, K, 1]: it is everything, and K says how often to part it."""
    return {"log_scope": tf.zeros([batch_size, num_slots, 1], self.dtype)}

  def step(self, frame: Frame, state: State, noise: Noise, *, update=True, saved=None):
    """Attends, encodes, samples and decodes: see `SlotModel.step`."""
    images = self.scaled(frame.input)
    log_masks = self.attend(images, state["log_scope"])  # [B, K, H, W, 1]
    params = self.encode(images, log_masks)  # [B, K, 2 Z]
    posterior = self.posterior(params)
    z = posterior.loc + posterior.scale * self.noise(noise, tf.shape(params))  # [B, K, Z]
    means, mask_logits = self.decoder(z)
    nll = -tf.reduce_sum(self.log_prob(frame.target, means, log_masks), axis=[1, 2, 3])  # [B]
    kl = self.latent_kl(posterior, z)  # [B, K, Z]
    terms = {
      "kl": tf.reduce_sum(kl, axis=[1, 2]),
      "mask_kl": self.mask_kl(log_masks, mask_logits),
    }
    output = SlotOutput(
      means=means,
      mask_logits=log_masks,
      masks=tf.exp(log_masks),
      nll=nll,
      terms=terms,
      loss=nll + self.kl_weight * terms["kl"] + self.config.mask_kl_weight * terms["mask_kl"],
      latents=Latents(posterior.loc, posterior.scale, z, kl, params),
    )
    return output, state if update else {}, None

  def attend(self, images: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Log masks [B, K, H, W, 1] of images [B, H, W, C]; K is the second size of `like`."""

    def split(log_scope):
      """The scope's part that the attention takes, and what it leaves."""
      read = tf.stop_gradient(log_scope) if self.config.stop_gradients else log_scope
      logit = self.attention(tf.concat([images, read], axis=-1))  # [B, H, W, 1]
      return log_scope + tf.math.log_sigmoid(logit), log_scope + tf.math.log_sigmoid(-logit)

    log_scope = tf.zeros_like(images[..., :1])  # [B, H, W, 1]
    num_slots = like.shape[1]
    if num_slots is not None:
      log_masks = []
      for _ in range(num_slots - 1):
        log_mask, log_scope = split(log_scope)
        log_masks.append(log_mask)
      return tf.stack([*log_masks, log_scope], axis=1)

    def body(slot, log_scope, log_masks):
      log_mask, log_scope = split(log_scope)
      return slot + 1, log_scope, log_masks.write(slot, log_mask)

    last = tf.shape(like)[1] - 1
    log_masks = tf.TensorArray(self.dtype, size=last + 1, element_shape=log_scope.shape)
    _, log_scope, log_masks = tf.while_loop(
      lambda slot, *_: slot < last, body, [tf.constant(0), log_scope, log_masks]
    )
    log_masks = log_masks.write(last, log_scope).stack()  # [K, B, H, W, 1]
    return tf.transpose(log_masks, [1, 0, 2, 3, 4])

  def encode(self, images: tf.Tensor, log_masks: tf.Tensor) -> tf.Tensor:
    """Posterior parameters [B, K, 2 Z] of images [B, H, W, C] seen through each mask."""
    read = tf.stop_gradient(log_masks) if self.config.stop_gradients else log_masks
    size = tf.concat([tf.shape(log_masks)[:-1], [images.shape[-1]]], axis=0)
    inputs = tf.concat([tf.broadcast_to(images[:, None], size), read], axis=-1)
    inputs = tf.ensure_shape(inputs, [*log_masks.shape[:-1], images.shape[-1] + 1])
    return unfold_slots(self.encoder(fold_slots(inputs)), like=log_masks)

  def log_prob(self, images: tf.Tensor, means: tf.Tensor, log_masks: tf.Tensor) -> tf.Tensor:
    """log sum_k m_k prod_c N(x_c; mu_kc, sigma_k^2) of every pixel: [B, H, W, 1]."""
    components = tfd.Normal(means, self.sigmas(tf.shape(means)[1]))
    log_components = tf.reduce_sum(components.log_prob(images[:, None]), axis=-1, keepdims=True)
    return tf.reduce_logsumexp(log_masks + log_components, axis=1)

  def sigmas(self, num_slots) -> tf.Tensor:
    """Of each slot, the first being the background: [K, 1, 1, 1]."""
    background = self.sigma * (self.config.sigma_background / self.config.sigma)
    others = tf.fill([num_slots - 1], tf.convert_to_tensor(self.sigma))
    return tf.concat([background[None], others], axis=0)[:, None, None, None]

  def mask_kl(self, log_masks: tf.Tensor, mask_logits: tf.Tensor) -> tf.Tensor:
    """KL of the attention's masks from the decoded ones, summed over pixels: [B]."""
    decoded = mask_logits - tf.reduce_logsumexp(mask_logits, axis=1, keepdims=True)
    if self.config.mask_floor > 0:
      log_masks, decoded = (self._floored(tf.exp(x)) for x in (log_masks, decoded))
    return tf.reduce_sum(tf.exp(log_masks) * (log_masks - decoded), axis=[1, 2, 3, 4])

  def _floored(self, masks):
    masks = tf.maximum(masks, tf.constant(self.config.mask_floor, masks.dtype))
    return tf.math.log(masks / tf.reduce_sum(masks, axis=1, keepdims=True))

  def scaled(self, images: tf.Tensor) -> tf.Tensor:
    """The images as attention and encoder read them: from -1 to 1."""
    return 2 * images - 1

  def posterior(self, params: tf.Tensor) -> tfd.Normal:
    """params [..., 2 Z] = [mean | raw scale] -> tfd.Normal with batch shape [..., Z]."""
    mean, raw = tf.split(params, 2, axis=-1)
    return tfd.Normal(mean, tf.maximum(tf.nn.softplus(raw), MIN_STDDEV))

  def latent_kl(self, posterior: tfd.Normal, z: tf.Tensor) -> tf.Tensor:
    """KL of each latent from N(0, 1): [B, K, Z]."""
    return tfd.kl_divergence(posterior, tfd.Normal(tf.zeros([], z.dtype), tf.ones([], z.dtype)))

  def noise(self, noise: Noise, shape) -> tf.Tensor:
    """Standard normal [B, K, Z]; `shape` begins with B and K."""
    return tf.cast(noise.normal(shape[0], [shape[1], self.config.latent_size]), self.dtype)
