"""The refinement network: auxiliary inputs and state -> additive posterior update (Eq. 3)."""

import sonnet as snt
import tensorflow as tf

from iodine import precision
from iodine.heads import PredictorCorrectorHead
from iodine.split_conv import SplitConv2D


class RefinementCore(snt.RNNCore):
  """Convolutions, mean over pixels, MLP, vector inputs appended, LSTM if any, linear (Appendix C).

  All slots share it; slots are folded into the batch.

  Args:
    output_size: 2 Z.
    channels: output channels of the ELU convolutions.
    kernel_size: of the convolutions.
    stride: of the convolutions (SAME padding; asymmetric where TensorFlow's is).
    mlp_sizes: layers after the mean over pixels.
    lstm_size: units, or 0 for no LSTM: the linear output then reads the MLP and the vectors.
    activate_mlp_output: ELU behind the last MLP layer too (the paper; not the released code).
    update: "residual" (Eq. 3) or "predictor_corrector" (`heads.PredictorCorrectorHead`).
    dtype: of the variables and the state.
    compute_dtype: of the convolutions and the MLP, or None; see `iodine.precision`.
  """

  def __init__(
    self,
    output_size,
    channels,
    kernel_size,
    stride,
    mlp_sizes,
    lstm_size=0,
    activate_mlp_output=True,
    update="residual",
    dtype=tf.float32,
    compute_dtype=None,
    name=None,
  ):
    super().__init__(name=name)
    layers = [SplitConv2D] + [precision.Conv2D] * (len(channels) - 1)
    self.convs = [
      layer(c, kernel_size, stride=stride, compute_dtype=compute_dtype, name=f"conv_{i}")
      for i, (layer, c) in enumerate(zip(layers, channels, strict=True))
    ]
    self.mlp = [
      precision.Linear(size, compute_dtype=compute_dtype, name=f"mlp_{i}")
      for i, size in enumerate(mlp_sizes)
    ]
    self._activate_mlp_output = activate_mlp_output
    self.lstm = snt.LSTM(lstm_size, dtype=dtype, name="lstm") if lstm_size else None
    if update == "residual":
      self.head = snt.Linear(output_size, name="head")
    else:
      self.head = PredictorCorrectorHead(output_size, name="head")

  def initial_state(self, batch_size):
    """State for batch_size = B*K rows: snt.LSTMState, or () without an LSTM."""
    return self.lstm.initial_state(batch_size) if self.lstm else ()

  def encode(self, spatial):
    """split_conv.Channels of [N, H, W, c], or those themselves -> [N, mlp_sizes[-1]]."""
    dtype = spatial.dtype
    for conv in self.convs:
      spatial = tf.nn.elu(conv(spatial))
    net = tf.reduce_mean(tf.cast(spatial, dtype), axis=[1, 2])  # [N, c]
    for linear in self.mlp[:-1]:
      net = tf.nn.elu(linear(net))
    net = tf.cast(self.mlp[-1](net), dtype)
    return tf.nn.elu(net) if self._activate_mlp_output else net

  def __call__(self, inputs, params, prev_state):
    """inputs: auxiliary.Inputs, params [N, 2 Z] -> (what is added to them, next state)."""
    net = self.encode(inputs.spatial)
    if inputs.vector is not None:
      net = tf.concat([net, inputs.vector], axis=-1)
    state = prev_state
    if self.lstm:
      net, state = self.lstm(net, prev_state)
    if isinstance(self.head, PredictorCorrectorHead):
      return self.head(net, params), state
    return self.head(net), state
