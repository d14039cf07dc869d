"""IODINE (Greff et al. 2019) in TensorFlow 2: the model, its training, evaluation and figures."""

import importlib
import os

# Off by default on processors without VNNI, where it makes the convolutions several times faster.
# It must be set before TensorFlow is imported; a value of the user's own stands.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from iodine import allocator

allocator.keep_freed_memory()

from iodine.build import build_model, make_config
from iodine.config import IodineConfig, ModelConfig
from iodine.model import Iodine
from iodine.outputs import Latents, SlotOutput

__version__ = "0.1.0"  # pyproject.toml's

__all__ = [
  "Iodine",
  "IodineConfig",
  "Latents",
  "ModelConfig",
  "SlotOutput",
  "build_model",
  "load",
  "make_config",
]


def __getattr__(name):
  if name == "load":  # not before it is asked for: it draws in matplotlib
    return importlib.import_module("iodine.serving").load
  raise AttributeError(f"module iodine has no attribute {name!r}")
