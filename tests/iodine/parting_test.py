"""The clock against NumPy in float64."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from iodine.parting import PartedClock


@settings(max_examples=30)
@given(
  entropies=st.lists(st.floats(0, math.log(7)), min_size=1, max_size=20), threshold=st.floats(0, 2)
)
def test_counts_the_updates_whose_average_is_below(entropies, threshold):
  clock, average, steps = PartedClock(threshold), None, 0
  for entropy in entropies:
    average = entropy if average is None else 0.98 * average + 0.02 * entropy
    if abs(average - threshold) < 1e-5:  # rounding decides
      return
    steps += average < threshold
    clock.update(tf.constant(entropy))
  assert clock.steps.numpy() == steps
  np.testing.assert_allclose(clock.average, average, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_a_single_low_value_does_not_start_it(dtype):
  clock = PartedClock(0.5)
  update = tf.function(clock.update)
  for entropy in [1.38] * 5 + [0.1] + [1.38] * 5:
    update(tf.constant(entropy, dtype))
  assert clock.steps.numpy() == 0
  for _ in range(60):
    update(tf.constant(0.1, dtype))
  expected = sum(0.1 + 0.98**n * (float(clock_start(11)) - 0.1) < 0.5 for n in range(1, 61))
  assert clock.steps.numpy() == expected


def clock_start(num_updates):
  """The average after the first `num_updates` values of the test above."""
  average = 1.38
  for step in range(1, num_updates):
    average = 0.98 * average + 0.02 * (0.1 if step == 5 else 1.38)
  return average
