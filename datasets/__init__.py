"""Scenes on disk and as tf.data: reading, generating and checking the datasets of the paper."""

import os

# Off by default on processors without VNNI, where it makes the convolutions several times faster.
# It must be set before TensorFlow is imported; a value of the user's own stands.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from datasets.scene import SPECS, DatasetSpec, Factor, get_spec

__all__ = ["SPECS", "DatasetSpec", "Factor", "get_spec"]
