"""What training, evaluation, serving and figures need of a model, whichever it is."""

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine import unroll
from iodine.config import ModelConfig
from iodine.errors import UserError
from iodine.noise import Noise, as_seed, new_seed
from iodine.outputs import SlotOutput

State = dict[str, tf.Tensor]  # each [B, K, ...]

ROUNDING = 1e-3  # by so much a resized or averaged picture may leave [0, 1]


def check_range(images: np.ndarray) -> None:
  """Raises UserError for float images that leave [0, 1], or hold what is no number."""
  if images.size and not (images.min() >= -ROUNDING and images.max() <= 1 + ROUNDING):  # NaN too
    raise UserError(
      f"expected float images in [0, 1], got values from {images.min():g} to {images.max():g}: "
      "divide by the largest possible value"
    )


class SlotModel(snt.Module, abc.ABC):
  """A model that takes images apart into slots, in one step or in many.

  `images` everywhere: float [B, H, W, C] in [0, 1], or [B, T, H, W, C] for a sequence, one frame an
  iteration.

  Attributes:
    config: what it is made of.
    dtype: of its variables and images.
    decoder: z [B, K, Z] -> Decoded, where it has latents.
  """

  MIN_SLOTS = 2  # one slot has nothing to split
  MAX_SLOTS: int | None = None  # None: as many as wanted
  ITERATES = True  # whether one step more can change the result
  READS_FIRST = False  # whether a decode of a sequence has read the frame that it is of
  STEP_OPTIONS: tuple[str, ...] = ()  # further keywords of `step`, for stages of a training

  def __init__(self, config: ModelConfig, name: str):
    super().__init__(name=name)
    self.config = config
    self.dtype = tf.as_dtype(config.dtype)

  @abc.abstractmethod
  def start(self, batch_size, num_slots, noise: Noise) -> State:
    """What it knows before it has seen anything; {} for a model without memory."""

  @abc.abstractmethod
  def step(
    self,
    frame: "unroll.Frame",
    state: State,
    noise: Noise,
    *,
    update: bool = True,
    saved: Any = None,
  ) -> tuple[SlotOutput, State, Any]:
    """One iteration.

    Args:
      frame: images [B, H, W, C] to read and to be scored against.
      state: of `start` or of the step before.
      noise: of this iteration.
      update: whether the next state is wanted; {} otherwise.
      saved: the third result of an earlier call with the same arguments, which spares work where
        an iteration is computed twice (`rematerialised`).

    Returns:
      (SlotOutput [B], next state, a nest of tensors without gradient to be given back as `saved`).
    """

  def timeline(self, num_iterations) -> "unroll.Timeline":
    """The decodes of T iterations, T a number or a tensor: one, unless the model says otherwise."""
    return unroll.Timeline(1, tf.ones([1]))

  @property
  def pace(self) -> "unroll.Pace":
    """How many iterations the frames of a sequence take."""
    first = getattr(self.config, "first_iterations", 1)
    return unroll.Pace(first, getattr(self.config, "frame_iterations", 1))

  def iterations_of(self, num_frames: int) -> int:
    """T of a sequence that is used to its last frame."""
    return num_frames

  @property
  def latent_size(self) -> int | None:
    """Z, None for a model without latents."""
    return getattr(self.config, "latent_size", None)

  @property
  def latent_terms(self) -> tuple[str, ...]:
    """Names of the loss's terms beside the likelihood, as in `SlotOutput.terms`."""
    return ("kl",)

  @staticmethod
  def energy(nll, terms: Mapping[str, Any]):
    """What tells a good inference from a worse one, lower being better, in nats.

    Args:
      nll: of images, an array or a tensor.
      terms: as of `SlotOutput`, in the same shape.

    Returns:
      the negative ELBO, whatever weights the model was trained with.
    """
    return nll + terms["kl"]

  def weights(self) -> dict[str, tf.Variable]:
    """What training may anneal, by its setting's flat name; the setting is the last value."""
    return {}

  @property
  def free_settings(self) -> frozenset[str]:
    """Flat names of the settings that no variable depends on."""
    return self.config.FREE

  def sample_prior(self, batch_size, num_slots, noise: Noise) -> tf.Tensor:
    """Latents [B, K, Z] drawn from the prior, of models with latents."""
    return tf.cast(noise.normal(batch_size, [num_slots, self.latent_size]), self.dtype)

  def __call__(
    self,
    images,
    *,
    num_iterations=None,
    num_slots=None,
    seed=None,
    first_index=0,
    shared_noise=False,
    step_options: Mapping[str, Any] | None = None,
    image_size: tuple[int, int] | None = None,
    as_function=False,
  ) -> SlotOutput:
    """Unrolled inference: `unroll.unroll` of images that are checked.

    Args:
      images: see the class.
      num_iterations: T, the configuration's by default (a sequence's length for a sequence).
      num_slots: K, the configuration's by default.
      seed: int32 [2], or a number n for [n, 1]; None draws one. The noise of an image at an
        iteration is a function of (seed, iteration, first_index + its row), of nothing else: not of
        the batch size.
      first_index: index of the batch's first image in whatever the images are counted in.
      shared_noise: all images get the noise of that first one (`Noise.shared`).
      step_options: of the model's own (`STEP_OPTIONS`).
      image_size: (H, W) of the images where they are others than the configuration's.
      as_function: trace an iteration only once: see `unroll.unroll`.

    Raises:
      UserError: the images' rank, size, type or range is wrong, K or T too small, a sequence too
        short, or the seed is neither one number nor two; variables depend on the images' size.
    """
    self.check_size(image_size)
    images = self.check_images(images, image_size)
    self.check_counts(num_iterations, num_slots)
    return unroll.unroll(
      self,
      images,
      num_iterations=num_iterations,
      num_slots=num_slots,
      seed=new_seed() if seed is None else as_seed(seed),
      first_index=first_index,
      shared_noise=shared_noise,
      step_options=step_options,
      as_function=as_function,
    )

  def create_variables(self) -> tuple[tf.Variable, ...]:
    """Creates all variables, which else come with the first call; returns the trainable ones."""
    blank = tf.zeros([1, *self.config.image_size], self.dtype)
    self(blank, num_iterations=2, num_slots=self.MIN_SLOTS, seed=[0, 0])
    return self.trainable_variables

  def check_images(self, images, image_size: tuple[int, int] | None = None) -> tf.Tensor:
    """The images as a tensor; raises UserError where they are not what the model takes.

    Args:
      images: see the class.
      image_size: see `__call__`.
    """
    images = tf.convert_to_tensor(images)
    height, width, channels = self.config.image_size
    expected = (*(image_size or (height, width)), channels)
    if images.dtype != self.dtype:
      raise UserError(
        f"expected {self.dtype.name} images in [0, 1], got {images.dtype.name}"
        + (": divide by 255" if images.dtype.is_integer else "")
      )
    if images.shape.rank not in (4, 5) or tuple(images.shape[-3:]) != expected:
      wanted = ", ".join(map(str, expected))
      raise UserError(f"expected images [B, {wanted}] or [B, T, {wanted}], got {images.shape}")
    if images.shape[0] == 0:
      raise UserError("expected at least one image, got none")
    if tf.executing_eagerly():  # in a graph there are no values to look at
      check_range(images.numpy())
    return images

  def check_size(self, image_size: tuple[int, int] | None) -> None:
    """Raises UserError for an (H, W) that the model's variables are not made for; None passes."""
    own = tuple(self.config.image_size[:2])
    if image_size in (None, own) or "image_size" in self.free_settings:
      return
    raise UserError(
      f"image_size must be {list(own)}, on which variables of this model depend, got "
      f"{list(image_size)}"
    )

  def check_counts(self, num_iterations, num_slots) -> None:
    """Raises UserError for a number of iterations or slots that it cannot have; None passes."""
    if num_iterations is not None and num_iterations < 1:
      raise UserError(f"num_iterations must be at least 1, got {num_iterations}")
    if num_slots is not None and num_slots < self.MIN_SLOTS:
      raise UserError(f"num_slots must be at least {self.MIN_SLOTS}, got {num_slots}")
    if None not in (num_slots, self.MAX_SLOTS) and num_slots > self.MAX_SLOTS:
      raise UserError(f"num_slots must be at most {self.MAX_SLOTS}, got {num_slots}")
