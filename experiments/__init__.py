"""Sacred experiments: training, evaluation, and one module for each figure or table."""

import os

# Both before TensorFlow is imported, which `process` does.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # only errors
# TensorFlow Probability and our optimizers use Keras 2; TensorFlow else imports Keras 3 as well, a
# fifth of the time until a command begins.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import datasets
from iodine import process  # noqa: F401

if not hasattr(datasets, "get_spec"):  # the first thing that a foreign package would lack
  _found = datasets.__file__ or next(iter(datasets.__path__))
  raise ImportError(
    f"the package `datasets` in {_found} is not this program's: another one, Hugging Face's for "
    "instance, has the same name; install this program into a virtual environment of its own, and "
    "run it from a folder without anything of that name"
  )
