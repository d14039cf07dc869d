"""Noise at constant cost has the bits of the stream that it cuts its rows from."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from iodine.noise import Noise

SEED = tf.constant([3, 9], tf.int32)


def whole_stream(draw, iteration, rows, row_shape):
  """All rows from the first on, by TensorFlow's own function."""
  seed = tf.random.experimental.stateless_fold_in(SEED, iteration)
  return draw([rows, *row_shape], seed, alg="philox").numpy()


@settings(max_examples=40)
@given(
  first=st.integers(0, 300),
  rows=st.integers(1, 5),
  row_shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
  iteration=st.integers(0, 9),
)
def test_rows_are_cut_from_one_stream(first, rows, row_shape, iteration):
  noise = Noise(SEED, iteration, first)
  expected = whole_stream(tf.random.stateless_normal, iteration, first + rows, row_shape)
  np.testing.assert_array_equal(noise.normal(rows, row_shape), expected[first:])
  expected = whole_stream(tf.random.stateless_uniform, iteration, first + rows, row_shape)
  np.testing.assert_array_equal(noise.uniform(rows, row_shape), expected[first:])


def test_a_distant_row_draws_no_more_than_a_near_one():
  @tf.function
  def draw(first):
    return Noise(SEED, tf.constant(0), first).normal(2, [7, 16])

  graph = draw.get_concrete_function(tf.TensorSpec([], tf.int32)).graph
  (sample,) = [op for op in graph.get_operations() if "RandomNormal" in op.type]
  assert tf.get_static_value(sample.inputs[0]) <= 2 * 7 * 16 + 3


def test_shared_noise_is_that_of_the_first_row():
  own = Noise(SEED, 2, 5).normal(3, [4])
  shared = Noise(SEED, 2, 5, shared=True).normal(3, [4])
  for row in shared:
    np.testing.assert_array_equal(row, own[0])


@pytest.mark.parametrize("other", [Noise(SEED, 1), Noise(SEED, 0).stream(1), Noise(SEED + 1, 0)])
def test_streams_are_independent(other):
  here, there = Noise(SEED, 0).normal(500, [4]), other.normal(500, [4])
  correlation = np.corrcoef(np.ravel(here), np.ravel(there))[0, 1]
  assert abs(correlation) < 0.1
