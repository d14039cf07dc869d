"""How the refinement network's output changes the posterior's parameters."""

import sonnet as snt
import tensorflow as tf


class PredictorCorrectorHead(snt.Module):
  """For sequences: a correction by what was seen, then a prediction of what comes (released code).

  corrected = lambda + g * (u - lambda), with update u and gate g of the refinement network's
  output; next = corrected + h * (p - corrected), with prediction p and gate h of lambda alone. All
  gates are sigmoids, per parameter. The released code has it beside the residual update, for
  sequences; none of its configurations uses it.

  Args:
    output_size: 2 Z.
    hidden_size: of the prediction's MLP.
  """

  def __init__(self, output_size: int, hidden_size: int = 64, name: str | None = None):
    super().__init__(name=name)
    self._output_size = output_size
    self.correct = snt.Linear(2 * output_size, name="correct")
    self.predict = snt.nets.MLP(
      [hidden_size, 2 * output_size], activation=tf.nn.elu, name="predict"
    )

  def __call__(self, hidden: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
    """hidden [N, h], params [N, 2 Z] -> what is added to params [N, 2 Z]."""
    update, gate = tf.split(self.correct(hidden), 2, axis=-1)
    correction = tf.sigmoid(gate) * (update - params)
    prediction, gate = tf.split(self.predict(params), 2, axis=-1)
    return correction + tf.sigmoid(gate) * (prediction - params - correction)
