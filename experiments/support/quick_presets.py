"""What two CPU cores can train, as data: IODINE's small nets, and what each data set needs.

Keys are those of `presets`. docs/quick.md tells how it was found.
"""

from typing import Any

Values = dict[str, Any]

OVERNIGHT = 5  # times the steps of `quick`
SMALL = 0.75  # of these, on the images of `quick`
# More iterations at the end, to mend what the first ones did not find.
FEW = 0.9  # of the steps with the iterations below
MORE: Values = {"num_iterations": 8}  # behind them, on the data of the paper's Table 1
TABLE1 = ("tetrominoes", "multi_dsprites", "multi_dsprites_binarized", "shapes", "clevr6")
TRAINING: Values = {"cpu_devices": 2, "checkpoint_every": 250, "validate_every": 250}
IODINE: Values = {
  **TRAINING,
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
}

# IODINE's decoders but for the broadcast one, as small as two cores need them.
DECODERS: dict[str, Values] = {
  "deconv": {  # half as many operations again as the broadcast decoder at a third of the size
    "decoder_channels": [32, 32, 16],
    "decoder_kernel": 3,
    "decoder_upsampling": 1,
  },
  "modulated": {
    "decoder_channels": [32, 32, 32, 32],
    "decoder_kernel": 1,
    "decoder_upsampling": 2,
  },
}
MUON: Values = {"optimizer": "muon", "learning_rate": 3e-3}
# whatever a file holds that was generated for this: all scenes but these train
ALL_BUT_HELD_OUT: Values = {
  "data.num_train": None,
  "data.num_validation": 320,
  "data.num_test": 320,
}
# objects that differ in nothing but their form: Muon finds the state that all slots share, Adam not
WHITE_ON_BLACK: Values = {
  "num_iterations": 6,
  "decoder_upsampling": 2,
  "kl_weight": 0.8,
  "num_steps": 2000,
}
CLEVR6: Values = {
  "data.name": "clevr6",  # a file of its own, which can be rendered at this size; else CLEVR's
  "data.image_size": [48, 48],
  **ALL_BUT_HELD_OUT,
  "decoder_upsampling": 3,
  "kl_weight": 0.5,
  **MUON,
}
TEXTURES: Values = {
  **ALL_BUT_HELD_OUT,
  "decoder_upsampling": 2,
  "sigma": 0.2,
  "kl_weight": 0.5,
  **MUON,
  "num_steps": 2000,
}
OF_PRESET: dict[str, Values] = {
  "tetrominoes": {
    "decoder_upsampling": 3,
    "sigma": 0.3,
    "kl_weight": 1.0,
    "mask_entropy_weight": 0.02,  # else black belongs to nobody, and a slot is left to split pieces
    **MUON,
    "num_steps": 4000,
  },
  "multi_dsprites": {
    "data.image_size": [35, 35],
    "data.num_train": 30_000,
    "decoder_upsampling": 3,
    "sigma": 0.3,
    "kl_weight_start": 0.03,  # else sprites are drawn as discs
    "kl_weight": 0.4,
    "anneal_steps": 3000,
    **MUON,
    "num_steps": 3500,
  },
  "multi_dsprites_binarized": {
    "data.image_size": [32, 32],
    "data.num_train": 30_000,
    **WHITE_ON_BLACK,
  },
  "shapes": WHITE_ON_BLACK,
  "clevr6": {
    **CLEVR6,
    "sigma_start": 0.2,  # objects are less unlike the ground than sprites
    "sigma": 0.12,  # sharper, once they have come apart
    "anneal_steps": 1000,
    "anneal_entropy": 1.2,
    "num_steps": 3000,
  },
  "clevr_single": {**CLEVR6, "data.name": "clevr_single", "sigma": 0.2, "num_steps": 2000},
  "objects_room_flights": {
    "data.image_size": [32, 32],
    "data.num_frames": 4,
    "data.num_train": None,
    "num_iterations": 8,
    "first_iterations": 5,  # to find what is there, then follow it; a clip may be longer than these
    "sigma": 0.12,  # objects are small
    "kl_weight": 0.5,
    **MUON,
    "decoder_upsampling": 3,  # as clevr6, whose model fits: init_from=models/clevr6
    "batch_size": 16,
    "recompute": False,
    "num_steps": 4000,
  },
  "cater": {
    "data.image_size": [32, 32],
    "data.num_frames": 8,
    "num_iterations": 8,
    "decoder_upsampling": 3,
    "batch_size": 8,
    "recompute": False,
    "num_steps": 4000,
  },
  "textured_mnist": TEXTURES,
  "textured_mnist_single": TEXTURES,
  "clevr6_grayscale": {
    **CLEVR6,
    "sigma": 0.1,  # without colour objects are still less unlike the ground
    "num_steps": 1000,  # from models/clevr6: from nothing one slot comes to draw all there is
  },
}
# What a data set needs with another decoder, by the preset and `DECODERS`.
OF_DECODER: dict[tuple[str, str], Values] = {
  ("multi_dsprites", "modulated"): {
    "kl_weight_start": 0.1,  # forms come sooner than with the broadcast decoder
    "anneal_steps": 1500,
    "num_steps": 2500,
  },
}
# What `overnight` has besides more steps: the paper's larger images, in part. The KL stands against
# a sum over pixels, so its weight grows with their number.
OVERNIGHT_OF_PRESET: dict[str, Values] = {
  "multi_dsprites": {
    "data.image_size": [64, 64],
    "kl_weight_start": 0.1,
    "kl_weight": 1.34,
  },
  "multi_dsprites_binarized": {
    "data.image_size": [64, 64],
    "kl_weight": 3.2,
    "num_steps": 2800,  # later slots fall out of use, and sprites share those that are left
  },
  "clevr6": {"data.image_size": [64, 64], "kl_weight": 0.9},
}
OVERNIGHT_OF_DECODER: dict[tuple[str, str], Values] = {
  ("multi_dsprites", "modulated"): {
    "kl_weight_start": 0.33,
    "num_steps": 3600,  # with more of them at 64 x 64 the error falls, and ARI-FG with it
  },
}
