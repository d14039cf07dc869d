"""N-EM, RNN-NEM and R-NEM: expectation maximisation by a network.

Greff et al. 2017, "Neural Expectation Maximization"; van Steenkiste et al. 2018, "Relational Neural
Expectation Maximization". They part binary images: a pixel is Bernoulli in each slot, the E-step
shares it out among the slots, and a recurrent network does the M-step.
"""

from typing import Annotated, ClassVar, Literal, Self

import pydantic
import tensorflow as tf
from pydantic import Field

from iodine import precision
from iodine.baselines import nem_networks
from iodine.config import Count, ImageSize, ModelConfig
from iodine.noise import Noise
from iodine.outputs import SlotOutput
from iodine.slot_model import SlotModel, State
from iodine.unroll import Frame, Timeline

_EPSILON = 1e-6  # of the E-step and of the clipped logarithms

Channels = tuple[Count, ...]


class NemConfig(ModelConfig):
  """Every choice about an NEM; the defaults are RNN-NEM's on static Shapes.

  Attributes:
    cell: "recurrent" (RNN-NEM), "relational" (R-NEM), or "gradient" (N-EM proper, whose one weight
      matrix encodes and decodes).
    hidden_size: units of a slot's memory.
    cell_norm: layer norm of the recurrent cell's output; the relational one always has it.
    relation_sizes: of R-NEM's encoder, core, context and attention layers.
    encoder_channels: of the convolutions, 4 x 4 of stride 2, before the cell; [] feeds it pixels.
    encoder_size: of the layer between the convolutions and the cell.
    decoder_size: of the first layer behind the cell.
    decoder_channels: of the smallest map and of the convolutions, 4 x 4 behind nearest-neighbour
      doubling, but the last; [] decodes with one layer.
    flip_probability: of a pixel of the input, at each step anew; what is scored has no noise.
    inter_weight: of the term that keeps a slot from predicting the pixels that are not its own.
    loss_steps: "last", that step's loss alone (static images), "sum" or "mean" of all (R-NEM).
    stop_gamma: no gradient through the responsibilities (sequences and R-NEM).
  """

  model: Literal["nem"] = "nem"
  image_size: ImageSize = (28, 28, 1)
  num_slots: Annotated[int, Field(ge=2)] = 4
  num_iterations: Count = 15
  cell: Literal["recurrent", "relational", "gradient"] = "recurrent"
  hidden_size: Count = 250
  cell_norm: bool = False
  relation_sizes: tuple[Count, Count, Count, Count] = (250, 250, 250, 100)
  encoder_channels: Channels = ()
  encoder_size: Count = 512
  decoder_size: Count = 512
  decoder_channels: Channels = ()
  flip_probability: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
  inter_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
  loss_steps: Literal["last", "sum", "mean"] = "last"
  stop_gamma: bool = False

  BINARY: ClassVar[bool] = True
  FREE: ClassVar[frozenset[str]] = (ModelConfig.FREE - {"image_size"}) | {
    "flip_probability",
    "inter_weight",
    "loss_steps",
    "stop_gamma",
  }

  @pydantic.model_validator(mode="after")
  def _combination(self) -> Self:
    if self.image_size[-1] != 1:
      raise ValueError(
        "an NEM models binary images, each pixel as a Bernoulli (the paper, too, compares with "
        "R-NEM on Shapes and binarised Multi-dSprites only): expected image_size of 1 channel, got "
        f"{self.image_size[-1]}"
      )
    if self.cell == "gradient" and (self.encoder_channels or self.decoder_channels):
      raise ValueError(
        "cell=gradient encodes and decodes with one matrix: expected encoder_channels=[] and "
        f"decoder_channels=[], got {list(self.encoder_channels)} and {list(self.decoder_channels)}"
      )
    return self


class Nem(SlotModel):
  """Recurrent EM: D = T decodes, each of which has read the (noisy) frame before its target.

  Of a sequence, step t reads frame t and is scored against frame t + 1; an image stands still.
  There are no latents. `SlotOutput.means` are the Bernoulli parameters mu, `masks` the
  responsibilities gamma; `nll` is that of the mixture with equal weights, and the loss is the
  clustering loss intra + `inter_weight` x inter, an image's sum over pixels and slots.

  Args:
    config: what it is made of.
  """

  READS_FIRST = True

  def __init__(self, config: NemConfig, name: str = "nem"):
    super().__init__(config, name)
    self.network = _make_network(config)

  @property
  def latent_terms(self) -> tuple[str, ...]:
    """The two parts of the clustering loss."""
    return ("intra", "inter")

  @staticmethod
  def energy(nll, terms):
    """The clustering loss, for there is no posterior; see `SlotModel.energy`."""
    return terms["intra"] + terms["inter"]

  def timeline(self, num_iterations) -> Timeline:
    """T decodes; what of a sequence is scored is the next frame."""
    kind, dtype = self.config.loss_steps, self.dtype
    if kind == "last":
      weights = tf.one_hot(num_iterations - 1, num_iterations, dtype=dtype)
    elif kind == "sum":
      weights = tf.ones([num_iterations], dtype)
    else:
      weights = tf.fill([num_iterations], 1 / tf.cast(num_iterations, dtype))
    return Timeline(num_iterations, weights, target_lag=-1)

  def iterations_of(self, num_frames: int) -> int:
    """One less than frames, for the last is only predicted."""
    return max(num_frames - 1, 1)

  def start(self, batch_size, num_slots, noise: Noise) -> State:
    """Responsibilities [B, K, H, W, 1] at random, all else zero: means, memory [B, K, n]."""
    gamma = self.initial_gamma(noise, batch_size, num_slots)
    size = self.config.image_size
    return {
      "gamma": gamma,
      "means": tf.zeros([batch_size, num_slots, *size], self.dtype),
      "hidden": tf.zeros([batch_size, num_slots, self.config.hidden_size], self.dtype),
    }

  def step(self, frame: Frame, state: State, noise: Noise, *, update=True, saved=None):
    """M-step by the network, E-step on the target: see `SlotModel.step`."""
    flips = self.flips(noise, tf.shape(frame.input)[0])  # [B, H, W, C]
    noisy = frame.input + flips - 2 * frame.input * flips
    inputs = state["gamma"] * (noisy[:, None] - state["means"])  # [B, K, H, W, C]
    means, hidden = self.network(inputs, state["hidden"])
    target = frame.target[:, None]
    # probability of the pixel in each slot: exact for 0 and 1, their mean between
    joint = target * means + (1 - target) * (1 - means) + _EPSILON  # [B, K, H, W, 1]
    total = tf.reduce_sum(joint, axis=1, keepdims=True)
    gamma = joint / total
    if self.config.stop_gamma:
      gamma = tf.stop_gradient(gamma)
    pixels = [1, 2, 3, 4]
    intra = tf.reduce_sum(gamma * cross_entropy(means, target), axis=pixels)  # [B]
    inter = tf.reduce_sum((1 - gamma) * divergence_from_black(means), axis=pixels)  # [B]
    slots = tf.cast(tf.shape(means)[1], self.dtype)
    output = SlotOutput(
      means=means,
      mask_logits=tf.math.log(joint),
      masks=gamma,
      nll=-tf.reduce_sum(tf.math.log(total / slots), axis=pixels),
      terms={"intra": intra, "inter": inter},
      loss=intra + self.config.inter_weight * inter,
    )
    next_state = {"gamma": gamma, "means": means, "hidden": hidden} if update else {}
    return output, next_state, None

  def initial_gamma(self, noise: Noise, batch_size, num_slots) -> tf.Tensor:
    """|N(0, 1)|, made to sum to one over the slots: [B, K, H, W, 1]."""
    size = [num_slots, *self.config.image_size[:2], 1]
    gamma = tf.abs(tf.cast(noise.stream(1).normal(batch_size, size), self.dtype))
    return gamma / tf.reduce_sum(gamma, axis=1, keepdims=True)

  def flips(self, noise: Noise, batch_size) -> tf.Tensor:
    """1 where a pixel of the input is flipped, else 0: [B, H, W, C]."""
    uniform = noise.uniform(batch_size, list(self.config.image_size))
    return tf.cast(uniform < self.config.flip_probability, self.dtype)


def cross_entropy(means: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
  """-log Bernoulli(target | means), means clipped: beyond 1e-6 and 1 - 1e-6 without gradient."""
  means = tf.clip_by_value(means, _EPSILON, 1 - _EPSILON)
  return -(target * tf.math.log(means) + (1 - target) * tf.math.log(1 - means))


def divergence_from_black(means: tf.Tensor) -> tf.Tensor:
  """KL(Bernoulli(0) || Bernoulli(means)), its logarithm clipped at 1e-6."""
  return -tf.math.log(tf.clip_by_value(1 - means, _EPSILON, 1 / _EPSILON))


def _make_network(config):
  dtype = precision.compute_dtype(config.precision)
  if config.cell == "gradient":
    return nem_networks.GradientNetwork(config.hidden_size, dtype)
  if config.cell == "relational":
    cell = nem_networks.RelationalCell(config.hidden_size, config.relation_sizes, dtype)
  else:
    cell = nem_networks.RecurrentCell(config.hidden_size, config.cell_norm, dtype)
  return nem_networks.RecurrentNetwork(
    config.image_size,
    cell,
    config.encoder_channels,
    config.encoder_size,
    config.decoder_size,
    config.decoder_channels,
    dtype,
  )
