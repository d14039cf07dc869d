"""What the comparisons with the original programs' numbers share."""

import numpy as np
import tensorflow as tf


def relative_error(actual, expected):
  """The largest error, relative to the largest entry."""
  actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
  assert actual.shape == expected.shape, (actual.shape, expected.shape)
  return np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-300)


def section(arrays, prefix):
  """The arrays under a prefix, without it, in float64."""
  return {
    key.removeprefix(prefix): value.astype(np.float64)
    for key, value in arrays.items()
    if key.startswith(prefix)
  }


def assign(model, pairs):
  """Gives every trainable variable its value: pairs of (variable, array), each variable once."""
  assert {id(v) for v, _ in pairs} == {id(v) for v in model.trainable_variables}
  assert len(pairs) == len(model.trainable_variables)
  for variable, value in pairs:
    variable.assign(value)


def loss_and_gradients(model, images, **counts):
  """(SlotOutput, mean loss, gradient of every variable by the variable's id)."""
  with tf.GradientTape() as tape:
    output = model(images, seed=[0, 0], **counts)
    loss = tf.reduce_mean(output.loss)
  gradients = tape.gradient(loss, model.trainable_variables)
  return output, loss, dict(zip(map(id, model.trainable_variables), gradients, strict=True))


def worst_gradient(gradients, pairs):
  """The largest relative error over all variables; `pairs` are those of the gradients."""
  return max(relative_error(gradients[id(v)], value) for v, value in pairs)


def fill(model, seed=0, gains=()):
  """Gives the variables numbers that need not be stored.

  Standard normal by NumPy's RandomState in the order of the variables' creation; matrices and
  kernels divided by the root of their fan-in, vectors by ten, and scales around one.

  Args:
    model: its variables created.
    seed: of the numbers.
    gains: pairs of (part of a variable's name, factor).
  """
  rng = np.random.RandomState(seed)
  for variable in model.trainable_variables:
    x = rng.randn(*variable.shape)
    if "scale" in variable.name:
      x = 1 + x / 10
    elif x.ndim > 1:
      x /= np.sqrt(np.prod(x.shape[:-1]))
    else:
      x /= 10
    for name, factor in gains:
      x = x * factor if name in variable.name else x
    variable.assign(x)
