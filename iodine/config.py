"""What a model is made of, as data: nested in Python, flat on the command line and on disk."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

import pydantic
from pydantic import Field

from iodine import auxiliary
from iodine.settings import Settings

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Sizes = Annotated[tuple[Count, ...], Field(min_length=1)]
ImageSize = tuple[Count, Count, Count]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


class ModelConfig(Settings):
  """What every model has.

  Attributes:
    model: its kind, by which `iodine.build_model` knows it.
    image_size: (H, W, C). No variable of IODINE with the broadcast decoder depends on H and W.
    num_slots: K.
    num_iterations: T, of refinement; 1 for a model that does not iterate.
    num_starts: inferences of an image, from other samples each, of which evaluation keeps the one
      with the lowest negative ELBO (`iodine.starts`). Training makes one.
    dtype: of variables and images.
    precision: "float32" computes in `dtype`; "mixed_bfloat16" and "mixed_float16" compute the
      convolutions and linear layers in that type (`iodine.precision`), on float32 variables.
    recompute: rematerialise each iteration in the backward pass: memory of one iteration, not T.
      A `Trainer` then switches off TensorFlow's `function_optimization`, for the whole process.
  """

  model: str
  image_size: ImageSize = (128, 128, 3)
  num_slots: Annotated[int, Field(ge=2)] = 7
  num_iterations: Count = 5
  num_starts: Count = 1
  dtype: Literal["float32", "float64"] = "float32"
  precision: Precision = "float32"
  recompute: bool = False

  BINARY: ClassVar[bool] = False  # whether gray pixels mean nothing to it
  # Settings that no variable depends on: a checkpoint serves a model whose own are others.
  FREE: ClassVar[frozenset[str]] = frozenset(
    {"image_size", "num_slots", "num_iterations", "num_starts", "precision", "recompute"}
  )

  @pydantic.model_validator(mode="after")
  def _precision_of_float32(self) -> Self:
    if self.precision != "float32" and self.dtype != "float32":
      raise ValueError(f"precision={self.precision} needs dtype=float32, got {self.dtype}")
    return self

  def adapted(
    self,
    image_size: Sequence[int] | None = None,
    num_starts: int | None = None,
    precision: str | None = None,
  ) -> Self:
    """For images of another (H, W), or with another of these settings; None: as it is."""
    changes = {"num_starts": num_starts, "precision": precision}
    if image_size is not None:
      changes["image_size"] = [*image_size, self.image_size[2]]
    return self.replace(**{name: value for name, value in changes.items() if value is not None})


def check_odd(name: str, kernel: int) -> None:
  """Raises ValueError for a decoder's kernel without a middle."""
  if kernel % 2 == 0:
    raise ValueError(f"{name} must be odd, got {kernel}")


class DecoderConfig(Settings):
  """The slot decoder.

  Attributes:
    kind: "broadcast", "deconv" (ablation), or "modulated" (`decoders.ModulatedDecoder`; not in the
      paper), which learns sprites in fewer steps.
    channels: of the ELU convolutions; a linear one of C + 1 channels follows.
    kernel: their size; odd but for the deconvolutional decoder.
    upsampling: s: the broadcast and the modulated decoder work at 1/s of the image's height and
      width, and their last convolution writes s x s pixels at once; 1 is the paper's.
    full_channels: c > 0: that convolution, of the broadcast decoder, writes c channels a pixel, and
      one more at the image's own size makes the C + 1 of them; 0 is the paper's.
  """

  kind: Literal["broadcast", "deconv", "modulated"] = Field("broadcast", alias="decoder")
  channels: Sizes = Field((64, 64, 64, 64), alias="decoder_channels")
  kernel: Count = Field(3, alias="decoder_kernel")
  upsampling: Count = Field(1, alias="decoder_upsampling")
  full_channels: Annotated[int, Field(ge=0)] = Field(0, alias="decoder_full_channels")

  @pydantic.model_validator(mode="after")
  def _combination(self) -> Self:
    if self.kind == "deconv" and self.upsampling > 1:
      raise ValueError(
        f"decoder_upsampling={self.upsampling} is for decoder=broadcast and decoder=modulated: the "
        "deconvolutional one has strides of its own"
      )
    if self.kind != "broadcast" and self.full_channels:
      raise ValueError(
        f"decoder_full_channels={self.full_channels} is for decoder=broadcast, not for "
        f"decoder={self.kind}"
      )
    if self.kind != "deconv":
      check_odd("decoder_kernel", self.kernel)
    return self


class RefinementConfig(Settings):
  """The refinement network and what it reads.

  Attributes:
    channels: of its convolutions.
    kernel: their size.
    stride: their stride.
    mlp_sizes: layers after the mean over pixels.
    lstm_size: units, 0 for none.
    activate_mlp_output: ELU behind the last MLP layer (paper's table; not the released code).
    inputs: auxiliary inputs by name (`iodine.auxiliary.ALL_INPUTS`); leave out to ablate.
    update: of the posterior: "residual" (Eq. 3), or for sequences the released code's
      "predictor_corrector" (`iodine.heads`).
    mask_gradient: the auxiliary input grad_mask: at the "logits" of the masks (released code), or
      at the "mask" itself (as the paper writes it).
    coordinates: "linear" or "cosine".
  """

  channels: Sizes = Field((64, 64, 64, 64), alias="encoder_channels")
  kernel: Count = Field(3, alias="encoder_kernel")
  stride: Count = Field(2, alias="encoder_stride")
  mlp_sizes: Sizes = (256,)
  lstm_size: Annotated[int, Field(ge=0)] = 256
  activate_mlp_output: bool = True
  inputs: tuple[str, ...] = auxiliary.ALL_INPUTS
  update: Literal["residual", "predictor_corrector"] = "residual"
  mask_gradient: Literal["logits", "mask"] = "logits"
  coordinates: Literal["linear", "cosine"] = Field("linear", alias="coordinate_type")

  @pydantic.field_validator("inputs")
  @classmethod
  def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
    auxiliary.check_inputs(names)
    return names


class LikelihoodConfig(Settings):
  """The pixels' likelihood, and the KL beside it.

  Attributes:
    kind: "normal" or "logistic", the components of Eq. 1.
    sigma: their scale, in units of the image's [0, 1]; where training anneals it, its last value.
    kl_weight: of the KL in Eq. 4: 1 is the ELBO; where training anneals it, its last value.
  """

  kind: Literal["normal", "logistic"] = Field("normal", alias="likelihood")
  sigma: Positive = 0.1
  kl_weight: Positive = 1.0


class ReleasedConfig(Settings):
  """Where the released code departs from the paper; each is off for the paper's model.

  Attributes:
    latent_scale: "stddev" (paper) or "variance" (released code), what softplus stands for.
    final_decode: apply the T-th update and decode once more, so T + 1 decodes with weights
      0, 1/T, ..., 1 (released code); the paper's Algorithm 1 decodes T times, 1/T, ..., 1.
    log_space_inputs: likelihood inputs in the released code's log forms.
    batch_mean_gradients: auxiliary gradients of the batch's mean loss, not of each image's: an
      image's result then depends on the batch size.
    capacity_channels: constant channels (5.0 beside z, 0.5 beside the inputs).
  """

  latent_scale: Literal["stddev", "variance"] = "stddev"
  final_decode: bool = False
  log_space_inputs: bool = False
  batch_mean_gradients: bool = False
  capacity_channels: bool = False


class IodineConfig(ModelConfig):
  """Every choice about IODINE; the defaults are the paper's CLEVR table (Appendix C).

  Attributes:
    latent_size: Z.
    decoder: see `DecoderConfig`.
    refinement: see `RefinementConfig`.
    likelihood: see `LikelihoodConfig`.
    released: see `ReleasedConfig`.
    mask_entropy_weight: of the masks' entropy, in nats summed over pixels, beside the KL; 0 is the
      paper's. Where every slot can draw what is there (a plain ground), Eq. 1 is the same whoever
      owns it, and so is the KL: a small weight makes one slot own it.
    objective: of sequences, what a frame's decode is scored against: "next_step", the frame that is
      to come (A.1), or "reconstruction", the last one seen.
    first_iterations: of sequences, how many of the T iterations the first frame takes, until its
      objects are found. 1 is the paper's.
    frame_iterations: how many each of the others takes. 1 is the paper's.
  """

  model: Literal["iodine"] = "iodine"
  latent_size: Count = 64
  decoder: DecoderConfig = DecoderConfig()
  refinement: RefinementConfig = RefinementConfig()
  likelihood: LikelihoodConfig = LikelihoodConfig()
  released: ReleasedConfig = ReleasedConfig()
  mask_entropy_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
  objective: Literal["next_step", "reconstruction"] = "next_step"
  first_iterations: Count = 1
  frame_iterations: Count = 1

  FREE: ClassVar[frozenset[str]] = ModelConfig.FREE | {
    "sigma",
    "kl_weight",
    "mask_entropy_weight",
    "objective",
    "first_iterations",
    "frame_iterations",
  }
