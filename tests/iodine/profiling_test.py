import numpy as np
import pytest
import tensorflow as tf

from iodine import profiling

KERNEL = tf.Variable(tf.ones([3, 3, 4, 8]))


def traced(function, shape=(None, 10, 12, 4)):
  return tf.function(function).get_concrete_function(tf.TensorSpec(shape))


def test_a_convolution_is_two_operations_a_weight_and_output():
  convolutions, products = profiling.operations(
    traced(lambda x: tf.nn.conv2d(x, KERNEL, strides=2, padding="SAME")), batch_size=5
  )
  (convolution,) = convolutions
  assert (convolution.inputs, convolution.outputs) == ((5, 10, 12, 4), (5, 5, 6, 8))
  assert convolution.flops == 2 * (5 * 5 * 6) * (3 * 3 * 4 * 8)
  assert products == 0


def test_both_backward_passes_cost_what_the_forward_pass_costs():
  def gradients(x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = tf.nn.conv2d(x, KERNEL, strides=1, padding="SAME")
    return tape.gradient(y, [x, KERNEL], output_gradients=tf.exp(y))

  convolutions, _ = profiling.operations(traced(gradients), batch_size=5)
  assert sorted(c.kind for c in convolutions) == sorted(profiling.CONVOLUTIONS)
  assert len({c.flops for c in convolutions}) == 1
  assert set(convolutions.values()) == {1}


def test_what_nothing_reads_is_not_counted_and_called_functions_are_each_time():
  kernel = tf.ones(KERNEL.shape)
  inner = tf.function(lambda x: tf.nn.conv2d(x, kernel, strides=1, padding="SAME"))

  def function(x):
    inner(2 * x)  # pruned
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: inner(x), lambda: tf.zeros([5, 10, 12, 8]))
    return y + inner(3 * x)

  convolutions, _ = profiling.operations(traced(function, (5, 10, 12, 4)), batch_size=5)
  assert list(convolutions.values()) == [2]


@pytest.mark.parametrize("transpose", [(False, False), (True, False), (False, True)])
def test_matrix_products(transpose):
  left = np.ones((7, 3) if not transpose[0] else (3, 7), np.float32)
  right = np.ones((3, 2) if not transpose[1] else (2, 3), np.float32)
  function = tf.function(lambda: tf.linalg.matmul(left, right, *transpose))
  _, products = profiling.operations(function.get_concrete_function(), batch_size=1)
  assert products == 2 * 7 * 3 * 2


@pytest.mark.parametrize("transpose", [(False, False), (True, False), (False, True)])
def test_batched_matrix_products(transpose):
  shapes = [s[::-1] if t else s for s, t in zip([(6, 7), (7, 8)], transpose, strict=True)]
  left, right = tf.ones([3, 1, *shapes[0]]), tf.ones([5, *shapes[1]])
  function = tf.function(
    lambda x: tf.matmul(x * left, right, transpose_a=transpose[0], transpose_b=transpose[1])
  )
  _, products = profiling.operations(function.get_concrete_function(tf.TensorSpec([])), 1)
  assert products == 2 * (3 * 5) * 6 * 7 * 8


def test_a_shape_that_the_graph_does_not_tell():
  with pytest.raises(ValueError, match="does not tell the shape"):
    profiling.operations(
      traced(lambda x: tf.nn.conv2d(x, KERNEL, 1, "SAME"), (None, None, 12, 4)), batch_size=5
    )


def test_the_ceiling_runs_each_convolution_alone():
  shapes = ((2, 6, 6, 4), (3, 3, 4, 8), (2, 3, 3, 8))
  convolutions = {
    profiling.Convolution(kind, *shapes, stride=2, padding="SAME", dtype="float32"): 3
    for kind in profiling.CONVOLUTIONS
  }
  seconds, rows = profiling.ceiling(convolutions, repeats=2)
  assert {c for c, _, _ in rows} == set(convolutions)
  assert seconds == pytest.approx(sum(3 * alone for _, _, alone in rows))
