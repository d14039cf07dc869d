"""Sacred experiments: training, evaluation, and one module for each figure or table."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # only errors; before TensorFlow is imported
