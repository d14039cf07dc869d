"""Weights of the original program's TensorFlow 1 checkpoints in our model.

The model must have the `released` configuration. Layout of the originals: Sonnet 1 names; the
refinement network's channels in alphabetical order of the original's input names; LSTM gates in
the order i, j, f, o in one matrix, with a forget bias of 1 added at run time.
"""

import re

import numpy as np

PREPROCESS = "model/iodine/preprocess/layer_norm_"
DECODER = "pixel_decoder/broadcast_conv/conv_net_2d/conv_2d_"
ENCODER = "encoder_net/cnn/conv_net_2d/conv_2d_"
MLP = "encoder_net/cnn/mlp/linear_"
LSTM = "recurrent_net/lstm/lstm/"
HEAD = "refinement_head/residual_head/linear/"

# our input -> the original's; "capacity" is the constant channel of both kinds
SPATIAL = {
  "image": "image",
  "means": "components",
  "mask": "pred_mask",
  "mask_logits": "mask",
  "mask_posterior": "posterior",
  "grad_means": "dcomponents",
  "grad_mask": "dmask",
  "likelihood": "log_prob",
  "leave_one_out": "counterfactual",
  "coordinates": "coordinates",
  "capacity": "capacity",
}
VECTOR = {"posterior": "zp", "grad_posterior": "dzp", "capacity": "flat_capacity"}
NORMS = ("grad_means", "grad_mask", "likelihood", "leave_one_out")

# what training adds to a checkpoint beside the model
IGNORED = re.compile(r"(^|/)(global_step$|Adam(_1)?$|beta[12]_power|factor_(regressor|evaluator))")


def convert(model, variables, *, forget_bias=1.0):
  """Pairs our variables with the original's values.

  Args:
    model: Iodine in the `released` configuration, its variables created.
    variables: mapping from the original's names to arrays. Optimizer slots, the global step and
      the factor regressor are passed over.
    forget_bias: what the original adds to the forget gate at run time (0 to convert gradients).

  Returns:
    list of (tf.Variable, array), every variable of the model once.

  Raises:
    ValueError: variables are missing, left over, or of another shape.
  """
  source = _Source(variables)
  pairs = [(model.initial_params, source("model/iodine/initial_sample_distribution"))]

  decoder_convs = [model.decoder.broadcast_conv, *model.decoder.convs]
  for i, conv in enumerate(decoder_convs):
    pairs += [(conv.w, source(f"{DECODER}{i}/w")), (conv.b, source(f"{DECODER}{i}/b"))]

  norm_names = {**{n: SPATIAL[n] for n in NORMS}, "grad_posterior": VECTOR["grad_posterior"]}
  for ours, theirs in norm_names.items():
    norm = model.auxiliary.norms[ours]
    pairs += [
      (norm.scale, source(f"{PREPROCESS}{theirs}/gamma")),
      (norm.offset, source(f"{PREPROCESS}{theirs}/beta")),
    ]

  core = model.refinement
  spatial_order = _reorder(model.auxiliary.channels, SPATIAL)
  for i, conv in enumerate(core.convs):
    w = source(f"{ENCODER}{i}/w")
    pairs += [
      (conv.w, w[:, :, spatial_order] if i == 0 and w is not None else w),
      (conv.b, source(f"{ENCODER}{i}/b")),
    ]
  for i, linear in enumerate(core.mlp):
    pairs += [(linear.w, source(f"{MLP}{i}/w")), (linear.b, source(f"{MLP}{i}/b"))]

  hidden = model.config.refinement.mlp_sizes[-1]
  latent = 2 * model.config.latent_size
  vector_order = hidden + _reorder(
    {"posterior": latent, "grad_posterior": latent, "capacity": 1}, VECTOR
  )
  order = np.concatenate([np.arange(hidden), vector_order])
  head_w = source(f"{HEAD}w")
  if core.lstm is None:
    head_w = None if head_w is None else head_w[order]
  else:
    w, b = source(f"{LSTM}w_gates"), source(f"{LSTM}b_gates")
    if w is not None and b is not None:
      w, b = _ifgo(w), _ifgo(b)
      size = len(b) // 4
      b[size : 2 * size] += forget_bias
      pairs += [
        (core.lstm.input_to_hidden, w[: len(order)][order]),
        (core.lstm.hidden_to_hidden, w[len(order) :]),
        (core.lstm.b, b),
      ]
  pairs += [(core.head.w, head_w), (core.head.b, source(f"{HEAD}b"))]

  source.check_complete()
  for variable, value in pairs:
    if tuple(variable.shape) != value.shape:
      raise ValueError(
        f"{variable.name} has shape {tuple(variable.shape)} in the model and {value.shape} in the "
        "checkpoint: the checkpoint belongs to another configuration"
      )
  return pairs


def assign(model, variables):
  """Sets the model's variables from the original's; see `convert`."""
  for variable, value in convert(model, variables):
    variable.assign(value)


class _Source:
  """Hands out the original's variables and keeps account of them."""

  def __init__(self, variables):
    self._variables = {
      name.removesuffix(":0"): value
      for name, value in variables.items()
      if not IGNORED.search(name.removesuffix(":0"))
    }
    self._used, self._missing = set(), []

  def __call__(self, name):
    if name not in self._variables:
      self._missing.append(name)
      return None
    self._used.add(name)
    return np.array(self._variables[name])

  def check_complete(self):
    left = sorted(set(self._variables) - self._used)
    if self._missing or left:
      raise ValueError(
        "the checkpoint does not fit the model: "
        f"missing {sorted(self._missing) or 'nothing'}, left over {left or 'nothing'}"
      )


def _reorder(sizes, names):
  """Indices into the original's channels (alphabetical by its names) in our order."""
  starts, start = {}, 0
  for ours in sorted(sizes, key=names.get):
    starts[ours] = start
    start += sizes[ours]
  return np.concatenate([starts[ours] + np.arange(size) for ours, size in sizes.items()])


def _ifgo(gates):
  """Gates i, j, f, o (Sonnet 1) -> i, f, g, o (Sonnet 2) along the last axis; j is g."""
  i, j, f, o = np.split(gates, 4, axis=-1)
  return np.concatenate([i, f, j, o], axis=-1)
