"""Configurations as data: a base with every key, one preset a data set, and modifiers.

Keys are those of `iodine.ModelConfig` and `iodine.training.TrainingConfig`, of the run below, and
of the `data` ingredient. "Paper" is Greff et al. 2019, mostly its Appendix C.
"""

import dataclasses

from iodine import ModelConfig
from iodine.training import TrainingConfig

# What `data` holds; see datasets.load for the meaning of each.
DATA = {
  "name": "tetrominoes",  # a data set of datasets.get_spec
  "path": None,  # a file or a list of files instead of the data set's own name under `dir`
  "dir": "data",
  "generate": False,  # generate a missing data set first, if that takes minutes only
  "image_size": None,  # (H, W) to resize to; the data set's training size by default
  "num_train": None,  # None: all but the validation and test records behind
  "num_validation": 320,
  "num_test": 320,
  "min_objects": None,  # visible objects, the background not counted
  "max_objects": None,
  "grayscale": False,
  "cache": "auto",
  "on_error": "raise",  # or "skip": damaged records are left out and counted
}

# Keys of a training run beside the model's and the optimisation's.
RUN = {
  "resume_from": None,  # a run's folder, runs/3: go on where it stopped, as a new run
  # "auto": all GPUs, else one CPU; "mirrored": all devices; "cpu"; "multi_worker": TF_CONFIG's
  "strategy": "auto",
  "num_devices": None,  # of this machine's devices, all by default
  "cpu_devices": 1,  # without a GPU, make so many devices of the CPU: faster for small images
  "log_every": 50,  # steps between the metrics that are recorded
  "image_every": 1000,  # steps between decompositions in TensorBoard
  "validate_every": 1000,  # steps between scores on the validation split
  "num_validation_images": 64,
  "checkpoint_every": 1000,
  "keep_checkpoints": 3,
  # A loss or gradient that is not finite updates nothing. Then "stop" the run, "skip" the step, or
  # "rewind" to the last checkpoint and go on with other data and noise, `max_rewinds` times.
  "on_nan": "stop",
  "max_rewinds": 3,
}


def defaults(config_class, without=()):
  """The default values of a configuration class as a dict of plain lists and numbers."""
  values = dataclasses.asdict(config_class())
  return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if k not in without}


# CLEVR6: 3 to 6 objects; "full" CLEVR: 3 to 10 (paper, B.1). 70,000 images for training.
CLEVR6 = {
  "data": {
    "name": "clevr",
    "num_train": 70_000,
    "num_validation": 15_000,  # before the filter; evaluation takes the first 320 behind it
    "num_test": 15_000,
    "min_objects": 3,
    "max_objects": 6,
  },
  "num_slots": 7,
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
CLEVR = {
  **CLEVR6,
  "data": {**CLEVR6["data"], "max_objects": 10},
  "num_slots": 11,
}
MULTI_DSPRITES = {
  "data": {
    "name": "multi_dsprites",
    "num_train": 60_000,  # paper, B.2
  },
  "num_slots": 6,
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
MULTI_DSPRITES_BINARIZED = {
  **MULTI_DSPRITES,
  "data": {**MULTI_DSPRITES["data"], "name": "multi_dsprites_binarized"},
  "num_slots": 4,  # 2 or 3 sprites and the background
}
SHAPES = {
  **MULTI_DSPRITES_BINARIZED,  # no table of its own in the paper
  "data": {"name": "shapes", "num_train": 60_000},
}
TETROMINOES = {
  "data": {
    "name": "tetrominoes",
    "num_train": 60_000,  # paper, B.3
  },
  "num_slots": 4,
  "num_iterations": 5,
  "latent_size": 32,
  "decoder_channels": [32, 32, 32, 32],
  "decoder_kernel": 5,
  "encoder_channels": [32, 32, 32],
  "encoder_kernel": 5,
  "encoder_stride": 1,  # the released code: 2
  "mlp_sizes": [128],
  "lstm_size": 0,  # no LSTM (Appendix C)
}
PRESETS = {
  "tetrominoes": TETROMINOES,
  "multi_dsprites": MULTI_DSPRITES,
  "multi_dsprites_binarized": MULTI_DSPRITES_BINARIZED,
  "shapes": SHAPES,
  "clevr6": CLEVR6,
  "clevr": CLEVR,
}
for _name, _preset in PRESETS.items():
  _preset["preset"] = _name

# Every key there is, at Tetrominoes' values where no preset is named. The image size is the
# data's, the dtype no choice for users, and `seed` is Sacred's own.
BASE = {
  **defaults(ModelConfig, without=("image_size", "dtype")),
  **defaults(TrainingConfig, without=("seed",)),
  **RUN,
  **{k: v for k, v in TETROMINOES.items() if k != "data"},
}
DATA.update(TETROMINOES["data"])

# The released code, where it differs from the paper, on top of any data set.
RELEASED = {
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


def released(current):
  """The `released` modifier; `current` holds at least `preset` and may hold `batch_size`."""
  preset = current.get("preset", BASE["preset"])
  clevr = preset.startswith("clevr")
  family = "clevr" if clevr else "multi_dsprites" if "dsprites" in preset else "other"
  base, paper_batch = RELEASED_LEARNING_RATE[family]
  batch_size = current.get("batch_size", BASE["batch_size"])
  return {
    **RELEASED,
    "coordinate_type": "linear" if clevr else "cosine",
    "learning_rate": base * (batch_size / paper_batch) ** 0.5,
    **({"mlp_sizes": [256, 256]} if clevr else {}),
  }


# What two CPU cores can train; docs/quick.md tells how it was found.
QUICK = {
  "num_iterations": 5,
  "latent_size": 16,
  "sigma": 0.5,
  "kl_weight": 0.12,
  "log_space_inputs": True,
  "decoder_channels": [32, 32, 32],
  "decoder_kernel": 3,
  "encoder_channels": [32, 64, 64],
  "encoder_kernel": 3,
  "encoder_stride": 2,
  "mlp_sizes": [128],
  "lstm_size": 0,
  "learning_rate": 1.5e-3,
  "learning_rate_schedule": "trapezoidal",
  "warmup_steps": 100,
  "num_steps": 5000,
  "cpu_devices": 2,
  "checkpoint_every": 250,
  "validate_every": 250,
}


QUICK_OF_PRESET = {
  "tetrominoes": {
    # A slot for each piece: before black a fourth has nothing to do but to split one of them. At
    # first it helps, for then every piece soon has one.
    "num_slots": 3,
    "num_iterations": 8,
    "curriculum": [{"until": 1500, "num_slots": 4, "num_iterations": 6}],
    "decoder_upsampling": 3,
    "kl_weight": 0.75,
    "num_steps": 2500,
  },
  "multi_dsprites_binarized": {
    "data": {"image_size": [32, 32]},
    "num_iterations": 6,
    "decoder_upsampling": 2,
    "kl_weight": 0.8,
    "num_steps": 2000,
  },
}


def quick(current):
  """The `quick` modifier: small nets. Who asks for a K or T gets it from the first step on."""
  preset = current.get("preset", BASE["preset"])
  values = {**QUICK, **QUICK_OF_PRESET.get(preset, {})}
  planned = ("num_slots", "num_iterations")
  if any(current.get(key, TETROMINOES[key]) != TETROMINOES[key] for key in planned):
    values["curriculum"] = []
  return values


MODIFIERS = {"released": released, "quick": quick}
