"""Muon against its definition, and Adam's part against Adam."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import tensorflow as tf

from iodine.training.adam import Adam
from iodine.training.muon import Muon, orthogonalized
from tests.iodine.training.adam_test import moved


@hypothesis.settings(max_examples=25)
@hypothesis.given(
  shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
  scale=st.sampled_from([1e-3, 1.0, 1e4]),
  seed=st.integers(0, 2**16),
)
def test_singular_values_come_to_one_and_singular_vectors_stay(shape, scale, seed):
  rng = np.random.default_rng(seed)
  rank = min(shape)
  u, v = (np.linalg.qr(rng.normal(size=(side, rank)))[0] for side in shape)
  values = rng.uniform(0.1, 1, size=rank)  # a tenth of the norm and less takes more iterations
  got = orthogonalized(tf.constant(scale * (u * values) @ v.T, tf.float32)).numpy()
  inner = u.T @ got @ v
  np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-3)
  assert (np.diag(inner) > 0.3).all()
  assert (np.diag(inner) < 1.25).all()
  np.testing.assert_allclose(got, u @ inner @ v.T, atol=1e-3)  # nothing outside their spaces


def test_no_gradient_moves_nothing():
  np.testing.assert_array_equal(orthogonalized(tf.zeros([4, 3])), np.zeros([4, 3]))


def _moved(optimizer, start, gradients):
  return moved(optimizer, start, gradients) - start


def test_vectors_are_adams_matrices_are_not():
  rng = np.random.default_rng(0)
  for shape, equal in (((5,), True), ((5, 4), False), ((3, 3, 2, 4), False)):
    start = rng.normal(size=shape).astype(np.float32)
    gradients = rng.normal(size=(3, *shape)).astype(np.float32)
    ours = _moved(Muon(0.01, beta_1=0.9), start, gradients)
    adams = _moved(Adam(0.01, beta_1=0.9), start, gradients)
    assert np.array_equal(ours, adams) == equal


def test_a_convolution_is_the_matrix_from_its_patch_to_its_channels():
  rng = np.random.default_rng(0)
  start = rng.normal(size=(3, 3, 2, 4)).astype(np.float32)
  gradients = rng.normal(size=(3, 3, 3, 2, 4)).astype(np.float32)
  filters = _moved(Muon(0.01), start, gradients)
  matrix = _moved(Muon(0.01), start.reshape(18, 4), gradients.reshape(3, 18, 4))
  np.testing.assert_allclose(filters.reshape(18, 4), matrix, atol=1e-6)


def test_the_first_step_is_the_rate_times_a_fifth():
  gradient = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0].astype(np.float32)
  step = _moved(Muon(0.01), np.zeros([8, 8], np.float32), [gradient])
  rms = np.sqrt(np.mean(step**2))
  assert 0.7 < rms / (0.2 * 0.01) < 1.25  # all singular values are equal
  assert np.sum(step * gradient) < 0  # downhill


def test_momentum_looks_ahead_and_the_longer_side_sets_the_scale():
  """Nesterov's momentum 0.95; a step's root mean square is 0.2, as Adam's."""
  gradients = np.random.default_rng(0).normal(size=[4, 6, 3]).astype(np.float32)
  average, expected = 0.0, np.zeros([6, 3], np.float32)
  for gradient in gradients:
    average = 0.95 * average + 0.05 * gradient
    ahead = tf.constant(0.95 * average + 0.05 * gradient)
    expected = expected - 0.01 * 0.2 * np.sqrt(6) * orthogonalized(ahead).numpy()
  found = moved(Muon(0.01), np.zeros([6, 3], np.float32), gradients)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
