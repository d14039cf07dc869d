"""Adam against its definition, and against Keras's, whose variables it has."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import tensorflow as tf
import tf_keras

from iodine.training.adam import Adam

RATE = 2.0**-7  # exact in float32, which Keras keeps rates in


def moved(optimizer, start, gradients):
  variable = tf.Variable(start)
  optimizer.build([variable])
  for gradient in gradients:
    optimizer.apply_gradients([(tf.constant(gradient), variable)])
  return variable.numpy()


@hypothesis.settings(max_examples=15)
@hypothesis.given(
  shape=st.sampled_from([(), (1,), (5,), (3, 4)]),
  num_steps=st.integers(1, 6),
  scale=st.sampled_from([1e-9, 1.0, 1e6]),
  beta=st.sampled_from([0.0, 0.9]),
  seed=st.integers(0, 2**16),
)
def test_it_is_the_algorithm_of_the_paper(shape, num_steps, scale, beta, seed):
  """Kingma and Ba 2015, the order of computation at the end of their Section 2."""
  rng = np.random.default_rng(seed)
  start = rng.normal(size=shape)
  gradients = scale * rng.normal(size=(num_steps, *shape))
  expected, first, second = start, 0.0, 0.0
  for step, gradient in enumerate(gradients, start=1):
    first = beta * first + (1 - beta) * gradient
    second = 0.999 * second + 0.001 * gradient**2
    rate = RATE * np.sqrt(1 - 0.999**step) / (1 - beta**step)
    expected = expected - rate * first / (np.sqrt(second) + 1e-8)
  got = moved(Adam(RATE, beta_1=beta, epsilon=1e-8), start, gradients)
  np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_it_goes_on_from_keras_and_keras_from_it():
  """Checkpoints of either are the other's."""
  rng = np.random.default_rng(0)
  start, gradients = np.zeros([4, 3], np.float32), np.float32(rng.normal(size=[6, 4, 3]))
  results = []
  for first in (Adam, tf_keras.optimizers.Adam):
    for second in (Adam, tf_keras.optimizers.Adam):
      variable = tf.Variable(start)
      optimizers = [kind(RATE) for kind in (first, second)]
      for optimizer in optimizers:
        optimizer.build([variable])
      for gradient in gradients[:3]:
        optimizers[0].apply_gradients([(tf.constant(gradient), variable)])
      for mine, its in zip(optimizers[1].variables, optimizers[0].variables, strict=True):
        assert mine.name.split("/")[-1] == its.name.split("/")[-1]
        mine.assign(its)
      for gradient in gradients[3:]:
        optimizers[1].apply_gradients([(tf.constant(gradient), variable)])
      results.append(variable.numpy())
  for result in results[1:]:  # in float32 Keras rounds 1 - 0.999 elsewhere
    np.testing.assert_allclose(result, results[0], rtol=1e-4)
