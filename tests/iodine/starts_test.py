"""The best of several inferences."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from iodine.starts import best_start, start_seed

SEED = tf.constant([3, 9], tf.int32)
energies = arrays.arrays(
  np.float64,
  st.tuples(st.integers(1, 4), st.integers(1, 5)),  # starts, images
  elements=st.sampled_from([-np.inf, -2.0, 0.0, 1.5, np.inf, np.nan]),
)


@given(energies, st.integers(0, 2))
def test_each_image_gets_its_own_best_start(energy, axis):
  starts, images = energy.shape

  def run(number):
    found = np.full(np.insert([2, 3], axis, images), number)
    return energy[number], {"found": found, "none": None}

  chosen = best_start(run, starts, axis)
  expected = np.where(np.isnan(energy), np.inf, energy).argmin(axis=0)
  finite = ~np.isnan(energy).all(axis=0)
  found = np.moveaxis(chosen["found"], axis, 0)
  for image in np.flatnonzero(finite):
    best = energy[:, image]
    number = np.flatnonzero(best == np.nanmin(best))[0]
    assert (found[image] == number).all()
    assert number == expected[image] or np.isinf(best[number])
  assert chosen["none"] is None


def test_seeds_of_starts():
  seeds = [tuple(start_seed(SEED, number).numpy()) for number in range(20)]
  assert seeds[0] == tuple(SEED.numpy())  # one start is inference as it always was
  assert len(set(seeds)) == 20
