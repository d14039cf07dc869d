"""Scenes on disk and as tf.data: reading, generating and checking the datasets of the paper.

`load`, `check`, `describe` and `data_error` import TensorFlow when first used, so that generator
processes do without it.
"""

import importlib
import os

# Off by default on processors without VNNI, where it makes the convolutions several times faster.
# It must be set before TensorFlow is imported; a value of the user's own stands.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from datasets.records import DataError
from datasets.scene import SPECS, DatasetSpec, Factor, get_spec

_LAZY = ("check", "data_error", "describe", "load", "split_ranges")

__all__ = ["SPECS", "DataError", "DatasetSpec", "Factor", "get_spec", *_LAZY]


def __getattr__(name):
  if name in _LAZY:
    return getattr(importlib.import_module("datasets.pipeline"), name)
  raise AttributeError(f"module datasets has no attribute {name}")
