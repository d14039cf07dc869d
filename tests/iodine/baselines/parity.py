"""What the comparisons with the original programs' numbers share."""

import tensorflow as tf

from tests.golden import relative_error


def section(arrays, prefix):
  """The arrays under a prefix, without it."""
  return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


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
