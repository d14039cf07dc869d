"""Activations computed anew in the backward pass instead of kept (paper, A.2)."""

import tensorflow as tf


def rematerialised(function):
  """`function` with its activations computed anew in the backward pass instead of kept.

  `tf.recompute_grad` runs the forward pass with all tapes stopped, ours for the posterior's
  gradient among them; hence this one. In a graph it is a function of its own, traced and optimised
  once however often it is called, for graphs take memory too.

  Args:
    function: (*args, saved=None) -> (results, saved), nests of tensors and None: what it says is
      `saved` is kept, and given back to it in the backward pass; it has no gradient.

  Returns:
    (*args) -> (results, saved).
  """

  def wrapped(*args):
    structure = []

    @tf.custom_gradient
    def forward(*tensors):
      packed = tf.nest.pack_sequence_as(args, tensors)
      structure[:] = function(*packed)
      _, saved = structure
      watched = [tensor for tensor in tensors if tensor.dtype.is_floating]

      def backward(*upstream, variables=()):
        with tf.GradientTape() as tape:
          tape.watch(watched)
          again = _tensors(function(*packed, saved=saved)[0])
        gradients = iter(
          tape.gradient(
            again,
            [*watched, *variables],
            output_gradients=upstream[: len(again)],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
          )
        )
        # a seed or a number of an iteration has no gradient
        of_tensors = [next(gradients) if t.dtype.is_floating else None for t in tensors]
        return of_tensors, list(gradients)

      return _tensors(structure), backward

    results = iter(forward(*tf.nest.flatten(args)))
    return tf.nest.map_structure(lambda value: None if value is None else next(results), structure)

  if tf.executing_eagerly():
    return wrapped
  return tf.function(wrapped, autograph=False, experimental_attributes={"_noinline": True})


def _tensors(structure):
  return [value for value in tf.nest.flatten(structure) if value is not None]
