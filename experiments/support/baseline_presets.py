"""The paper's other models as modifiers of a data set's preset: plain data, with sources.

A modifier sets every key of its architecture, for a preset's own are IODINE's; K, the number of
slots, stays the data set's unless a source says another. `..._OF_PRESET` holds what depends on the
data set besides. `..._QUICK` is what two cores can train, on top of the modifier.

Sources: "paper" is Greff et al. 2019; "MONet" Burgess et al. 2019; "NEM" Greff et al. 2017; "R-NEM"
van Steenkiste et al. 2018; "programs" are public ones; "chosen" is ours.
"""

# Optimisation that a data set's preset may have set for IODINE.
_PLAIN = {
  "learning_rate_schedule": "constant",
  "warmup_steps": 0,
  "anneal_steps": 0,
  "sigma_start": None,
  "kl_weight_start": None,
  "curriculum": [],
  "clip_norm": None,  # none of the originals clips
}

MONET = {
  **_PLAIN,
  "model": "monet",
  "num_iterations": 1,
  "latent_size": 16,  # MONet
  "attention_channels": None,  # by the image's size, as in two programs
  "attention_sizes": [128, 128],  # MONet
  "encoder_channels": [32, 32, 64, 64],  # MONet
  "encoder_size": 256,  # MONet
  "decoder_channels": [32, 32, 32, 32],  # MONet
  "sigma": 0.11,  # MONet
  "sigma_background": 0.09,  # MONet
  "kl_weight": 0.5,  # MONet: beta
  "mask_kl_weight": 0.5,  # MONet: gamma
  "stop_gradients": False,  # one program stops two gradients, another none
  "mask_floor": 0.0,  # as in the formula
  "optimizer": "rmsprop",  # MONet
  "learning_rate": 1e-4,  # MONet
  "batch_size": 64,  # MONet
  "num_steps": 1_000_000,  # MONet
}
MONET_OF_PRESET = {
  "clevr6": {"num_slots": 7, "sigma": 0.10, "sigma_background": 0.06},  # paper
  "clevr": {"sigma": 0.10, "sigma_background": 0.06},  # as on CLEVR6
  "tetrominoes": {"sigma": 0.36, "sigma_background": 0.30},  # programs
}
MONET_QUICK = {
  "attention_channels": [16, 16, 32, 32],
  "attention_sizes": [64, 64],
  "encoder_channels": [16, 16, 32, 32],
  "encoder_size": 128,
  "decoder_channels": [16, 16, 16, 16],
  "optimizer": "muon",
  "learning_rate": 2e-3,
  "learning_rate_schedule": "trapezoidal",
  "warmup_steps": 100,
  "clip_norm": 5.0,
  "batch_size": 32,
  "num_steps": 5_000,
}

_NEM = {
  **_PLAIN,
  "model": "nem",
  "hidden_size": 250,  # NEM, R-NEM
  "relation_sizes": [250, 250, 250, 100],  # R-NEM
  "encoder_size": 512,  # R-NEM
  "decoder_size": 512,  # R-NEM
  "inter_weight": 1.0,  # NEM
  "optimizer": "adam",
  "learning_rate": 1e-3,  # NEM
  "beta1": 0.9,
  "batch_size": 64,  # NEM
  "num_steps": 470_000,  # NEM: at most 500 epochs of 60,000 images; the best checkpoint is kept
}
RNN_NEM = {
  **_NEM,
  "cell": "recurrent",
  "cell_norm": False,
  "encoder_channels": [],  # NEM, static Shapes: from the pixels and to the pixels in one layer
  "decoder_channels": [],
  "num_slots": 4,  # NEM
  "num_iterations": 15,  # NEM
  "flip_probability": 0.1,  # NEM
  "loss_steps": "last",  # NEM, static images
  "stop_gamma": False,
}
# The gradient's norm is in the hundreds and jumps: unclipped, 9,000 steps came to 0.65 at best.
RNN_NEM_QUICK = {
  "clip_norm": 5.0,
  "learning_rate_schedule": "trapezoidal",
  "num_steps": 4_000,
}

R_NEM = {
  **_NEM,
  "cell": "relational",
  "cell_norm": True,
  "encoder_channels": [16, 32, 64],  # R-NEM, at 64 x 64
  "decoder_channels": [64, 32, 16],
  "num_slots": 5,  # R-NEM
  "num_iterations": 30,  # R-NEM: of 31 frames; an image is repeated
  "flip_probability": 0.2,  # R-NEM
  "loss_steps": "mean",  # R-NEM
  "stop_gamma": True,  # R-NEM
}
R_NEM_OF_PRESET = {
  # 28 x 28: the network of the flying shapes (NEM); 64 x 64 binarised sprites: chosen
  "shapes": {"num_slots": 4, "encoder_channels": [32, 64], "decoder_channels": [64, 32]},
  "multi_dsprites_binarized": {"num_slots": 4},
}
# With a memory of 64 and the mean loss of all steps every slot draws the whole image; 16 units hold
# one sprite each.
R_NEM_QUICK = {
  "num_iterations": 12,
  "encoder_channels": [8, 16, 32],
  "decoder_channels": [32, 16, 8],
  "encoder_size": 128,
  "decoder_size": 128,
  "hidden_size": 16,
  "relation_sizes": [64, 64, 64, 32],
  "flip_probability": 0.1,  # these three as RNN-NEM's
  "loss_steps": "last",
  "stop_gamma": False,
  "clip_norm": 5.0,  # as RNN-NEM's
  "learning_rate_schedule": "exponential",  # at 1e-3 the error stops falling at 750
  "learning_rate_decay_steps": 5_000,
  "batch_size": 32,
  "num_steps": 6_000,
}

VAE = {
  **_PLAIN,
  "model": "vae",
  "best_by": "nll",  # it parts nothing that could be scored
  "num_slots": 1,
  "num_iterations": 1,
  "encoder_channels": [64, 64, 64, 64],  # Watters et al. 2019, as all of the encoder
  "encoder_kernel": 4,
  "encoder_size": 256,
  "decoder_channels": [64, 64, 64, 64],  # chosen: IODINE's for CLEVR, so that slots alone differ
  "decoder_kernel": 3,
  "latent_size": 64,
  "likelihood": "normal",
  "sigma": 0.1,  # paper, IODINE's
  "kl_weight": 1.0,
  "optimizer": "adam",
  "learning_rate": 3e-4,  # Watters et al. 2019
  "batch_size": 16,  # Watters et al. 2019
  "num_steps": 1_500_000,  # Watters et al. 2019
}
# Scenes of many objects: as much room as IODINE's slots have together, K x Z (chosen).
VAE_OF_PRESET = {
  "clevr_single": {"latent_size": 10, "decoder_channels": [64, 64]},  # Watters et al. 2019
  "clevr6": {"latent_size": 7 * 64},
  "clevr": {"latent_size": 11 * 64},
  "multi_dsprites": {"latent_size": 6 * 16},
  "multi_dsprites_binarized": {"latent_size": 4 * 16},
  "tetrominoes": {"latent_size": 4 * 32},
  "shapes": {"latent_size": 4 * 16},
}
VAE_QUICK = {
  "encoder_channels": [32, 32, 32],
  "encoder_size": 128,
  "decoder_channels": [32, 32],
  "learning_rate": 1e-3,
  "learning_rate_schedule": "trapezoidal",
  "warmup_steps": 100,
  "clip_norm": 5.0,  # without, the error of 4,000 steps was lost within a few
  "batch_size": 16,
  "num_steps": 6_000,
}
