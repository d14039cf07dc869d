"""The predictor-corrector head against its formula in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from iodine import Iodine, IodineConfig
from iodine.heads import PredictorCorrectorHead


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def elu(x):
  return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def test_a_gated_correction_then_a_gated_prediction():
  rng = np.random.default_rng(0)
  hidden, params = rng.normal(size=[5, 7]), rng.normal(size=[5, 6])
  head = PredictorCorrectorHead(6, hidden_size=4)
  delta = head(tf.constant(hidden), tf.constant(params))
  for variable in head.variables:
    variable.assign(rng.normal(size=variable.shape))
  delta = head(tf.constant(hidden), tf.constant(params))

  correct = hidden @ head.correct.w.numpy() + head.correct.b.numpy()
  first, second = head.predict._layers
  predict = elu(params @ first.w.numpy() + first.b.numpy()) @ second.w.numpy() + second.b.numpy()
  gate = sigmoid(correct[:, 6:])
  corrected = (1 - gate) * params + gate * correct[:, :6]
  gate = sigmoid(predict[:, 6:])
  expected = (1 - gate) * corrected + gate * predict[:, :6]
  np.testing.assert_allclose(params + delta, expected, rtol=1e-10)


@pytest.mark.parametrize("lstm_size", [0, 4])
def test_a_model_with_it_learns_through_it(lstm_size):
  config = IodineConfig(
    image_size=(8, 8, 3),
    num_slots=2,
    latent_size=3,
    decoder_channels=(4,),
    encoder_channels=(4,),
    mlp_sizes=(4,),
    lstm_size=lstm_size,
    update="predictor_corrector",
  )
  model = Iodine(config)
  model.create_variables()
  clip = tf.random.stateless_uniform([2, 3, 8, 8, 3], [0, 1])
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean(model(clip, seed=[0, 0]).loss)
  gradients = tape.gradient(loss, model.refinement.head.trainable_variables)
  assert all(np.abs(g).max() > 0 for g in gradients)
