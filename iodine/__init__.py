"""IODINE (Greff et al. 2019) in TensorFlow 2: the model, its training, evaluation and figures."""

import os

# Off by default on processors without VNNI, where it makes the convolutions several times faster.
# It must be set before TensorFlow is imported; a value of the user's own stands.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from iodine.config import ModelConfig
from iodine.model import Iodine, IodineOutput

__all__ = ["Iodine", "IodineOutput", "ModelConfig"]
