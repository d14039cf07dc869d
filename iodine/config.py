"""What a model is made of, as data."""

import dataclasses
from collections.abc import Sequence

from iodine import auxiliary, precision


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """Every choice about the model; the defaults are the paper's CLEVR table (Appendix C).

  Attributes:
    image_size: (H, W, C).
    num_slots: K.
    num_iterations: T.
    latent_size: Z.
    likelihood: "normal" or "logistic", the components of Eq. 1.
    sigma: their scale, in units of the image's [0, 1]; where training anneals it, its last value.
    kl_weight: of the KL in Eq. 4: 1 is the ELBO; where training anneals it, its last value.
    decoder: "broadcast" or "deconv" (ablation).
    decoder_channels: the ELU convolutions; a linear one of C + 1 channels follows.
    decoder_kernel: their size.
    decoder_upsampling: s: the broadcast decoder works at 1/s of the image's height and width, and
      its last convolution writes s x s pixels at once; 1 is the paper's.
    decoder_full_channels: c > 0: that convolution writes c channels a pixel, and one more at the
      image's own size makes the C + 1 of them; 0 is the paper's.
    encoder_channels: convolutions of the refinement network.
    encoder_kernel: their size.
    encoder_stride: their stride.
    mlp_sizes: layers after the mean over pixels.
    lstm_size: units, 0 for none.
    inputs: auxiliary inputs by name (`iodine.auxiliary.ALL_INPUTS`); leave out to ablate.
    mask_gradient: the auxiliary input grad_mask: at the "logits" of the masks (released code), or
      at the "mask" itself (as the paper writes it).
    coordinate_type: of the refinement network, "linear" or "cosine".
    latent_scale: "stddev" (paper) or "variance" (released code), what softplus stands for.
    final_decode: apply the T-th update and decode once more, so T + 1 decodes with weights
      0, 1/T, ..., 1 (released code); the paper's Algorithm 1 decodes T times, 1/T, ..., 1.
    log_space_inputs: likelihood inputs in the released code's log forms.
    batch_mean_gradients: auxiliary gradients of the batch's mean loss, not of each image's
      (released code): an image's result then depends on the batch size.
    activate_mlp_output: ELU behind the last MLP layer (paper's table; not the released code).
    capacity_channels: the released code's constant channels (5.0 beside z, 0.5 beside the inputs).
    recompute: rematerialise each iteration in the backward pass: memory of one iteration, not T.
      A `Trainer` then switches off TensorFlow's `function_optimization`, for the whole process.
    dtype: of variables and images, "float32" or "float64".
    precision: "float32" computes in `dtype`; "mixed_bfloat16" and "mixed_float16" compute the
      convolutions and linear layers in that type (`iodine.precision`), on float32 variables.
  """

  image_size: Sequence[int] = (128, 128, 3)
  num_slots: int = 7
  num_iterations: int = 5
  latent_size: int = 64
  likelihood: str = "normal"
  sigma: float = 0.1
  kl_weight: float = 1.0
  decoder: str = "broadcast"
  decoder_channels: Sequence[int] = (64, 64, 64, 64)
  decoder_kernel: int = 3
  decoder_upsampling: int = 1
  decoder_full_channels: int = 0
  encoder_channels: Sequence[int] = (64, 64, 64, 64)
  encoder_kernel: int = 3
  encoder_stride: int = 2
  mlp_sizes: Sequence[int] = (256,)
  lstm_size: int = 256
  inputs: Sequence[str] = auxiliary.ALL_INPUTS
  mask_gradient: str = "logits"
  coordinate_type: str = "linear"
  latent_scale: str = "stddev"
  final_decode: bool = False
  log_space_inputs: bool = False
  batch_mean_gradients: bool = False
  activate_mlp_output: bool = True
  capacity_channels: bool = False
  recompute: bool = False
  dtype: str = "float32"
  precision: str = "float32"

  def __post_init__(self):
    check_slots(self.num_slots)
    check_iterations(self.num_iterations)
    auxiliary.check_inputs(self.inputs)
    if len(self.image_size) != 3 or min(self.image_size) < 1:
      raise ValueError(f"image_size must be (H, W, C), got {tuple(self.image_size)}")
    for name in (
      "latent_size",
      "decoder_kernel",
      "decoder_upsampling",
      "encoder_kernel",
      "encoder_stride",
    ):
      if getattr(self, name) < 1:
        raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
    for name in ("decoder_channels", "encoder_channels", "mlp_sizes"):
      sizes = getattr(self, name)
      if not sizes or min(sizes) < 1:
        raise ValueError(f"{name} must list at least one positive size, got {list(sizes)}")
    for name in ("sigma", "kl_weight"):
      if getattr(self, name) <= 0:
        raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
    if self.decoder not in ("broadcast", "deconv"):
      raise ValueError(f'decoder must be "broadcast" or "deconv", got {self.decoder!r}')
    if self.mask_gradient not in ("logits", "mask"):
      raise ValueError(f'mask_gradient must be "logits" or "mask", got {self.mask_gradient!r}')
    if self.decoder == "deconv" and self.decoder_upsampling > 1:
      raise ValueError(
        f"decoder_upsampling={self.decoder_upsampling} is for decoder=broadcast: the "
        "deconvolutional one has strides of its own"
      )
    if self.precision not in precision.POLICIES:
      names = ", ".join(precision.POLICIES)
      raise ValueError(f"precision must be one of {names}, got {self.precision!r}")
    if self.precision != "float32" and self.dtype != "float32":
      raise ValueError(f"precision={self.precision} needs dtype=float32, got {self.dtype}")

  @classmethod
  def from_dict(cls, values):
    """From a mapping that may hold other keys too (a run's config)."""
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(
      **{k: tuple(v) if isinstance(v, list | tuple) else v for k, v in values.items() if k in names}
    )


def check_slots(num_slots):
  if num_slots < 2:
    raise ValueError(
      f"num_slots must be at least 2, got {num_slots}: one slot has nothing to split"
    )


def check_iterations(num_iterations):
  if num_iterations < 1:
    raise ValueError(f"num_iterations must be at least 1, got {num_iterations}")
