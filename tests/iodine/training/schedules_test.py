"""The learning rate at a step."""

import numpy as np
import pytest
import tensorflow as tf

from iodine.training import Schedule, TrainingConfig

TRAINING = TrainingConfig(batch_size=4, num_steps=20, learning_rate=1e-3)


@pytest.mark.parametrize(
  ("changes", "step", "expected"),
  [
    ({}, 10**6, 1e-3),
    ({"learning_rate_schedule": "exponential"}, 500_000, 1e-3 * 0.1**0.5),
    ({"learning_rate_schedule": "cosine"}, 10, 0.5e-3),
    ({"warmup_steps": 10}, 4, 0.5e-3),
    ({"learning_rate_schedule": "trapezoidal"}, 16, 1e-3),
    ({"learning_rate_schedule": "trapezoidal"}, 18, 0.5e-3),
    ({"warmup_steps": 10, "learning_rate_schedule": "cosine"}, 19, 1e-3 * 0.00615583),
  ],
)
def test_learning_rate(changes, step, expected):
  schedule = Schedule(TRAINING.replace(**changes))
  np.testing.assert_allclose(schedule(tf.constant(step, tf.int64)), expected, rtol=1e-5)
