"""Presets as data: one a data set, and modifiers on top of them.

Keys are those of the models' settings, of `iodine.training.TrainingConfig` and of `settings`; what
is not said here has its default there. "Paper" is Greff et al. 2019, mostly its Appendix C.

A modifier is a function of what it modifies: it gets the values so far, flat (`data.name`), what
the user wrote among them (these keys are in `asked`), and returns flat values. One that chooses
another model (MODELS), or another of IODINE's decoders (DECODERS), comes before all others; of a
preset another model has SCENES only, none of IODINE's nets. What the user wrote wins over all.
"""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.support import baseline_presets as baselines
from experiments.support import quick_presets

Values = dict[str, Any]
Modifier = Callable[[Mapping[str, Any]], Values]

# The data sets: what their scenes are, for every model.
# CLEVR6: 3 to 6 objects; "full" CLEVR: 3 to 10 (paper, B.1). 70,000 images for training.
SCENES: dict[str, Values] = {
  "tetrominoes": {
    "data.name": "tetrominoes",
    "data.num_train": 60_000,  # paper, B.3
    "num_slots": 4,
  },
  "multi_dsprites": {
    "data.name": "multi_dsprites",
    "data.num_train": 60_000,  # paper, B.2
    "num_slots": 6,
  },
  "multi_dsprites_binarized": {
    "data.name": "multi_dsprites_binarized",
    "data.num_train": 60_000,
    "num_slots": 4,  # 2 or 3 sprites and the background
  },
  "shapes": {
    "data.name": "shapes",
    "data.num_train": 60_000,
    "num_slots": 4,
  },
  "clevr6": {
    "data.name": "clevr",
    "data.num_train": 70_000,
    "data.num_validation": 15_000,  # before the filter; evaluation takes the first 320 behind it
    "data.num_test": 15_000,
    "data.min_objects": 3,
    "data.max_objects": 6,
    "num_slots": 7,
  },
  "clevr": {
    "data.name": "clevr",
    "data.num_train": 70_000,
    "data.num_validation": 15_000,
    "data.num_test": 15_000,
    "data.min_objects": 3,
    "data.max_objects": 10,
    "num_slots": 11,
  },
  # scenes of one object, which the released file does not have (Fig. 6, left)
  "clevr_single": {
    "data.name": "clevr_single",
    "data.num_train": 60_000,
    "num_slots": 4,
  },
  # Videos: a new frame at every iteration (paper, A.1 and Fig. 12).
  "objects_room_flights": {
    "data.name": "objects_room_flights",
    "data.num_frames": 16,  # paper, A.2
    "num_slots": 7,  # sky, floor, two halves of the wall, up to three objects
  },
  "cater": {
    "data.name": "cater_train",
    "data.num_frames": 16,  # a window of 33, as long as the paper's clips
    "num_slots": 11,  # up to ten objects and the ground
  },
  # Hard cases (paper, Fig. 11).
  "textured_mnist": {
    "data.name": "textured_mnist",
    "data.num_train": 50_000,  # Tagger
    "data.num_validation": 10_000,
    "data.num_test": 10_000,
    "num_slots": 3,  # two digits and the ground
  },
  "textured_mnist_single": {
    "data.name": "textured_mnist_single",
    "data.num_train": 50_000,
    "data.num_validation": 10_000,
    "data.num_test": 10_000,
    "num_slots": 2,  # a digit and the ground
  },
  "clevr6_grayscale": {
    "data.name": "clevr",
    "data.grayscale": True,
    "data.num_train": 70_000,
    "data.num_validation": 15_000,
    "data.num_test": 15_000,
    "data.min_objects": 3,
    "data.max_objects": 6,
    "num_slots": 7,
  },
}

# IODINE's nets (Appendix C). Shapes and the binarised sprites have no table of their own.
CLEVR_NETS = {
  "num_iterations": 5,
  "latent_size": 64,
  "decoder_channels": [64, 64, 64, 64],
  "decoder_kernel": 3,
  "encoder_channels": [64, 64, 64, 64],
  "encoder_kernel": 3,
  "encoder_stride": 2,
  "mlp_sizes": [256],
  "lstm_size": 256,
}
SPRITE_NETS = {
  "num_iterations": 5,
  "latent_size": 16,
  "decoder_channels": [32, 32, 32, 32],
  "decoder_kernel": 5,
  "encoder_channels": [32, 32, 32],
  "encoder_kernel": 5,
  "encoder_stride": 1,  # the released code: 2
  "mlp_sizes": [128],
  "lstm_size": 128,
}
TETRIS_NETS = {
  "num_iterations": 5,
  "latent_size": 32,
  "decoder_channels": [32, 32, 32, 32],
  "decoder_kernel": 5,
  "encoder_channels": [32, 32, 32],
  "encoder_kernel": 5,
  "encoder_stride": 1,  # the released code: 2
  "mlp_sizes": [128],
  "lstm_size": 0,  # no LSTM
}
# The paper has no table for videos: CLEVR's nets, which have a memory, and an iteration a frame.
VIDEO_NETS = {
  **CLEVR_NETS,
  "num_iterations": 16,
  "objective": "next_step",  # paper, A.1
  "recompute": True,  # 16 frames at batch 4 filled a GPU of 16 GB (paper, A.2); docs/sequences.md
  "batch_size": 16,  # chosen
}
NETS: dict[str, Values] = {
  "tetrominoes": TETRIS_NETS,
  "multi_dsprites": SPRITE_NETS,
  "multi_dsprites_binarized": SPRITE_NETS,
  "shapes": SPRITE_NETS,
  "clevr6": CLEVR_NETS,
  "clevr": CLEVR_NETS,
  "clevr_single": CLEVR_NETS,
  "objects_room_flights": VIDEO_NETS,
  "cater": VIDEO_NETS,
  "textured_mnist": SPRITE_NETS,  # chosen: the paper says nothing of Fig. 11's
  "textured_mnist_single": SPRITE_NETS,
  "clevr6_grayscale": CLEVR_NETS,
}
DEFAULT = "tetrominoes"  # where no data set is named
IODINE = "iodine"


def preset(name: str, model: str = IODINE) -> Values:
  """The values of a data set's preset for a kind of model."""
  nets = NETS[name] if model == IODINE else {}
  return {"preset": name, **SCENES[name], **nets}


# The released code, where it differs from the paper, on top of any data set.
RELEASED: Values = {
  "likelihood": "logistic",
  "sigma": 0.03,
  "latent_scale": "variance",
  "capacity_channels": True,
  "final_decode": True,
  "log_space_inputs": True,
  "batch_mean_gradients": True,
  "activate_mlp_output": False,
  "encoder_stride": 2,
  "learning_rate_schedule": "exponential",
  "learning_rate_decay": 0.1,
  "learning_rate_decay_steps": 1_000_000,
  "beta1": 0.95,
}
# Its learning rate is base * sqrt(batch / batch of its paper run), by data set.
RELEASED_LEARNING_RATE = {"clevr": (1e-3, 32), "multi_dsprites": (3e-4, 128), "other": (3e-4, 256)}


def released(current: Mapping[str, Any]) -> Values:
  """The released code's choices, where they differ from the paper's."""
  clevr = current["preset"].startswith("clevr")
  family = "clevr" if clevr else "multi_dsprites" if "dsprites" in current["preset"] else "other"
  base, paper_batch = RELEASED_LEARNING_RATE[family]
  return {
    **RELEASED,
    "coordinate_type": "linear" if clevr else "cosine",
    "learning_rate": base * (current["batch_size"] / paper_batch) ** 0.5,
    **({"mlp_sizes": [256, 256]} if clevr else {}),
  }


# The other models (`baseline_presets`): by the modifier's name its kind, what it sets, what it sets
# for a data set besides, and what `quick` makes smaller.
BASELINES: dict[str, tuple[Values, dict[str, Values], Values]] = {
  "monet": (baselines.MONET, baselines.MONET_OF_PRESET, baselines.MONET_QUICK),
  "rnn_nem": (baselines.RNN_NEM, {}, baselines.RNN_NEM_QUICK),
  "r_nem": (baselines.R_NEM, baselines.R_NEM_OF_PRESET, baselines.R_NEM_QUICK),
  "vae": (baselines.VAE, baselines.VAE_OF_PRESET, baselines.VAE_QUICK),
}


def _baseline(name):
  values, of_preset, _ = BASELINES[name]

  def modifier(current: Mapping[str, Any]) -> Values:
    return {**values, **of_preset.get(current["preset"], {})}

  modifier.__doc__ = f"The model {values['model']} with its paper's settings ({name})."
  return modifier


# The ablation of Sec. 4.3, with Appendix C's sizes.
DECONV: Values = {
  "decoder": "deconv",
  "decoder_channels": [64, 64, 64, 64],
  "decoder_kernel": 5,
  "decoder_upsampling": 1,
  "decoder_full_channels": 0,
}


def deconv(current: Mapping[str, Any]) -> Values:
  """IODINE with the deconvolutional decoder."""
  return DECONV


# Not in the paper (`iodine.decoders.ModulatedDecoder`): as many channels as the preset's decoder.
MODULATED: Values = {
  "decoder": "modulated",
  "decoder_kernel": 1,  # each pixel by itself
  "decoder_upsampling": 1,
  "decoder_full_channels": 0,
}


def modulated(current: Mapping[str, Any]) -> Values:
  """IODINE with a decoder of ours, which draws what turns; not in the paper."""
  return MODULATED


def quick(current: Mapping[str, Any]) -> Values:
  """Small nets, for two CPU cores; all models see the same images.

  IODINE iterates more often in the last steps on the data of Table 1.
  """
  values = _small(current)
  return {**values, **_more(current), **_stages(values, values, current)}


def overnight(current: Mapping[str, Any]) -> Values:
  """`quick` with more steps, and larger images where the paper has them, for a night.

  IODINE sees the images of `quick` for most of them, in a fraction of the time.
  """
  values = _small(current)
  stretched = [k for k in ("num_steps", "learning_rate_decay_steps") if k in values]
  steps = {key: quick_presets.OVERNIGHT * values[key] for key in stretched}
  own = quick_presets.OVERNIGHT_OF_PRESET.get(current["preset"], {})
  every = {"checkpoint_every": 1000, "validate_every": 1000}
  own = {**own, **_of_decoder(quick_presets.OVERNIGHT_OF_DECODER, current)}
  own = own if current["model"] == IODINE else _data(own)
  longer = {**values, **steps, **own, **every}
  return {**longer, **_more(current), **_stages(values, longer, current)}


def _small(current):
  """`quick` but for its stages."""
  own = quick_presets.OF_PRESET.get(current["preset"], {})
  if current["model"] != IODINE:
    return {**quick_presets.TRAINING, **_data(own), **BASELINES[current["modifier"]][2]}
  decoder = quick_presets.DECODERS.get(current["decoder"], {})
  own = {**own, **decoder, **_of_decoder(quick_presets.OF_DECODER, current)}
  return {**quick_presets.IODINE, **own}


def _of_decoder(table, current):
  """What a data set needs with a decoder that is not the paper's, if IODINE has one."""
  return table.get((current["preset"], current.get("decoder")), {})


def _more(current):
  """The iterations of the last steps, where they are more."""
  iterates_more = current["model"] == IODINE and current["preset"] in quick_presets.TABLE1
  return quick_presets.MORE if iterates_more else {}


def _stages(first, last, current):
  """The curriculum, of IODINE: images and iterations of `first`, in parts of the steps wanted."""
  if current["model"] != IODINE:
    return {}
  asked, key = current["asked"], "num_iterations"
  num_steps = current["num_steps"] if "num_steps" in asked else last["num_steps"]
  few = {key: first[key]} if _more(current) and key not in asked else {}
  parts = []
  size = first.get("data.image_size")
  if _is_smaller(size, _size(last, current)) and current["decoder"] != "deconv":
    # no variable depends on the images' size
    parts.append((quick_presets.SMALL, {"image_size": size, **few}))
  if few:
    parts.append((quick_presets.FEW, few))
  stages = {int(share * num_steps): stage for share, stage in parts}
  return {"curriculum": [{"until": until, **stage} for until, stage in stages.items() if until]}


def _size(last, current):
  asked = "data.image_size" in current["asked"]
  return current["data.image_size"] if asked else last.get("data.image_size")


def _is_smaller(size, other):
  """Whether the first of two (H, W) is that of smaller images of the same proportions.

  None is the data set's own size, the largest; where there are such stages, it is square.
  """
  if size is None or other is None:
    return size is not None
  (height, width), (full_height, full_width) = size, other
  return height < full_height and height * full_width == width * full_height


def _data(values: Values) -> Values:
  return {key: value for key, value in values.items() if key.startswith("data.")}


MODELS: dict[str, Modifier] = {name: _baseline(name) for name in BASELINES}
KINDS = {name: values["model"] for name, (values, _, _) in BASELINES.items()}
DECODERS: dict[str, Modifier] = {"deconv": deconv, "modulated": modulated}
FIRST: dict[str, Modifier] = {**MODELS, **DECODERS}  # what others build on
MODIFIERS: dict[str, Modifier] = {
  **FIRST,
  "released": released,
  "quick": quick,
  "overnight": overnight,
}


def modifier_of(kind: str) -> str | None:
  """The modifier that `model=KIND` alone stands for; None for IODINE."""
  return next((name for name, own in KINDS.items() if own == kind), None)
