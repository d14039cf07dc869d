"""Scenes on disk and as tf.data: reading, generating and checking the datasets of the paper.

What reads into tf.data imports TensorFlow when first used, so that generator processes do without.
"""

import importlib
import os

# Off by default on processors without VNNI, where it makes the convolutions several times faster.
# It must be set before TensorFlow is imported; a value of the user's own stands.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from datasets.errors import DataError, NoSceneError
from datasets.options import Filter, Form, Order, Splits, split_ranges
from datasets.scene import DatasetSpec, Factor
from datasets.specs import SPECS, get_spec

_LAZY = ("check", "data_error", "describe", "load")

__all__ = [
  "SPECS",
  "DataError",
  "DatasetSpec",
  "Factor",
  "Filter",
  "Form",
  "NoSceneError",
  "Order",
  "Splits",
  "get_spec",
  "split_ranges",
  *_LAZY,
]


def __getattr__(name):
  if name in _LAZY:
    return getattr(importlib.import_module("datasets.pipeline"), name)
  raise AttributeError(f"module datasets, IODINE's and not Hugging Face's, has no attribute {name}")
