"""Which exceptions are told to the user in a sentence; all others keep their traceback."""

import errno
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

import datasets
from iodine.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]
_DATABASES = (  # module of the errors, their base class, what is recorded to
  ("pymongo.errors", "PyMongoError", "MongoDB"),
  ("sqlalchemy.exc", "SQLAlchemyError", "the SQL database"),
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class Refusal(UserError):
  """What was asked for cannot be done; one sentence says why."""


def refusal_for(
  error: Exception, config: Mapping[str, Any]
) -> UserError | datasets.DataError | None:
  """What a user can do about an error of TensorFlow's or NumPy's: bad data, or too little memory.

  Args:
    error: the error.
    config: of the command that met it.
  """
  return datasets.data_error(error) or _out_of_memory(error, config)


def _out_of_memory(error, config):
  if not isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
    return None
  shape = re.search(r"shape ?[\[(]([\d, ]+)[\])]", str(error))
  place = f" for an array of {shape[1].replace(',', ' x ').replace('  ', ' ')}" if shape else ""
  batch_size = config.get("batch_size", 1)
  less = [f"a batch_size below {batch_size}"] if batch_size > 1 else []
  less += ["recompute=True"] if config.get("recompute") is False else []
  return Refusal(f"not enough memory{place}: {', '.join([*less, 'smaller sizes'])} would take less")


def sentence(error: BaseException) -> str | None:
  """What a user is told about an exception, in one line; None where it is a bug of ours."""
  text = _sentence(error)
  return None if text is None else " ".join(text.split())


def _sentence(error):
  if isinstance(error, UserError | datasets.DataError):
    return str(error)
  if isinstance(error, OSError):
    return _of_file(error)
  return _of_database(error)


def _of_database(error):
  """An error of a database that Sacred records to; its module is there if it was raised."""
  for module, kind, what in _DATABASES:
    if module in sys.modules and isinstance(error, getattr(sys.modules[module], kind)):
      reason = str(error).splitlines()[0].partition(" (configured timeouts")[0]
      return f"cannot record to {what}: {reason}"
  return None


def _of_file(error):
  """An operating system's error that names a file of the user's, or says that a disk is full."""
  if error.filename is None:
    return error.strerror if error.errno in _FULL else None
  path = pathlib.Path(error.filename if isinstance(error.filename, str) else str(error.filename))
  ours = path.suffix == ".py" or "site-packages" in path.parts
  return None if ours or error.strerror is None else f"{path}: {error.strerror}"
