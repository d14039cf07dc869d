"""TensorFlow's functions run as Python: what is called once or twice takes longer to trace."""

import contextlib

import tensorflow as tf


@contextlib.contextmanager
def uncompiled():
  """Nothing is compiled inside; for tests of what is done with numbers, not of the numbers."""
  tf.config.run_functions_eagerly(True)
  try:
    yield
  finally:
    tf.config.run_functions_eagerly(False)
