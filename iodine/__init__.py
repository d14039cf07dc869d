"""IODINE (Greff et al. 2019) in TensorFlow 2: the model, its training, evaluation and figures."""

import importlib

from iodine import process  # noqa: F401  first of all: it settles what TensorFlow reads on import
from iodine.build import build_model, make_config
from iodine.config import IodineConfig, ModelConfig
from iodine.model import Iodine
from iodine.outputs import Latents, SlotOutput
from iodine.version import __version__

__all__ = [
  "Iodine",
  "IodineConfig",
  "Latents",
  "ModelConfig",
  "SlotOutput",
  "__version__",
  "build_model",
  "load",
  "make_config",
]


def __getattr__(name: str):
  if name == "load":
    return importlib.import_module("iodine.serving").load
  raise AttributeError(f"module iodine has no attribute {name!r}")
