"""GECO against NumPy in float64, and on a problem whose constrained optimum is known."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from iodine.geco import Geco, target_for_mse


@settings(max_examples=30)
@given(
  nlls=st.lists(st.floats(-3, 5), min_size=1, max_size=12),
  target=st.floats(-2, 2),
  rate=st.floats(1e-4, 0.5),
)
def test_equals_numpy(nlls, target, rate):
  geco, weight, bounds = Geco(target, rate, bounds=(0.02, 1.0)), tf.constant(0.5), (0.02, 1.0)
  average, expected = None, 0.5
  for nll in nlls:
    violation = nll - target
    average = violation if average is None else 0.99 * average + 0.01 * violation
    expected = np.clip(expected * np.exp(-rate * average), *bounds)
    weight = geco.update(tf.constant(nll), weight)
  np.testing.assert_allclose(weight, expected, rtol=1e-4)
  np.testing.assert_allclose(geco.average, average, rtol=1e-4, atol=1e-5)


def test_meets_the_target_of_a_known_trade_off():
  """NLL a^2 and KL (1 - a)^2 have their optimum at a = w / (1 + w): the target decides on w."""
  geco, weight = Geco(target=0.04, rate=0.5), tf.constant(1.0)
  for _ in range(2000):
    a = weight / (1 + weight)
    weight = geco.update(a**2, weight)
  np.testing.assert_allclose(a**2, 0.04, rtol=0.02)


def test_works_in_a_graph_as_outside():
  outside, inside = Geco(0.1), Geco(0.1)
  step = tf.function(inside.update)
  a = b = tf.constant(0.7)
  for nll in (0.5, 0.3, -0.4):
    a, b = outside.update(tf.constant(nll), a), step(tf.constant(nll), b)
  np.testing.assert_allclose(a, b, rtol=1e-6)


def test_target_is_the_gaussian_nll_at_that_error():
  """Against the density itself, on residuals of which the mean square is known."""
  residual, sigma = np.array([0.05, -0.03, 0.02]), 0.3
  nll = -np.log(np.exp(-(residual**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi)))
  np.testing.assert_allclose(target_for_mse(np.mean(residual**2), sigma), nll.mean(), rtol=1e-12)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"rate": 0.0}, r"rate must be positive, got 0\.0"),
    ({"bounds": (0.0, 1.0)}, "0 < lowest <= highest, got 0.0, 1.0"),
    ({"bounds": (2.0, 1.0)}, "0 < lowest <= highest, got 2.0, 1.0"),
  ],
)
def test_refuses_what_makes_no_sense(arguments, message):
  with pytest.raises(ValueError, match=message):
    Geco(0.0, **arguments)


def test_refuses_an_impossible_error():
  with pytest.raises(ValueError, match=r"got -1 and 0\.3"):
    target_for_mse(-1, 0.3)
