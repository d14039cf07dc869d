"""The auxiliary inputs a_k of the refinement network (paper, Sec. 2.2 and Appendix C)."""

import difflib
from typing import NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine import coordinates
from iodine.reshaping import fold_slots
from iodine.split_conv import Channels

SPATIAL_INPUTS = (
  "image",
  "means",
  "mask",
  "mask_logits",
  "mask_posterior",
  "grad_means",
  "grad_mask",
  "likelihood",
  "leave_one_out",
  "coordinates",
)
VECTOR_INPUTS = ("posterior", "grad_posterior")
ALL_INPUTS = SPATIAL_INPUTS + VECTOR_INPUTS

SHARED_INPUTS = (
  "image",
  "likelihood",
  "coordinates",
  "capacity",
)  # the same for all slots of an image

CAPACITY = 0.5  # the released code's constant input channels


class Inputs(NamedTuple):
  spatial: Channels  # of an image [B*K, H, W, c]
  vector: tf.Tensor | None  # [B*K, v]


class Gradients(NamedTuple):
  """Gradients of the loss L of Eq. 4's term t, per image.

  With `mask_gradient`="mask" the third is of the negative log-likelihood alone, at the masks.
  """

  params: tf.Tensor  # [B, K, 2 Z]
  means: tf.Tensor  # [B, K, H, W, C]
  mask_logits: tf.Tensor  # [B, K, H, W, 1]


def check_inputs(names):
  """Raises ValueError for a name that is none or comes twice, or when no spatial one is left."""
  for name in names:
    if name not in ALL_INPUTS:
      near = difflib.get_close_matches(name, ALL_INPUTS, n=1)
      hint = f"did you mean {near[0]!r}? " if near else ""
      raise ValueError(
        f"unknown auxiliary input {name!r}: {hint}The inputs are {', '.join(ALL_INPUTS)}"
      )
    if names.count(name) > 1:
      raise ValueError(f"inputs must name each auxiliary input once, got {name!r} twice")
  if not set(names) & set(SPATIAL_INPUTS):
    raise ValueError("at least one spatial auxiliary input must stay on")


class Norm(snt.LayerNorm):
  """Layer norm over all but the first axis, with a scale and an offset a channel."""

  def __init__(self, name=None):
    super().__init__(axis=slice(1, None), create_scale=True, create_offset=True, name=name)

  def whiten(self, x):
    """The norm before its scale and offset."""
    self._initialize(x)
    mean, variance = tf.nn.moments(x, self._axis, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + self._eps)


class AuxiliaryInputs(snt.Module):
  """Computes, normalises and concatenates the inputs that are switched on.

  grad_means, grad_mask, likelihood, leave_one_out and grad_posterior
  are layer-normed over all but their first axis, and no gradient flows back through them.

  Args:
    image_channels: C.
    inputs: names out of `ALL_INPUTS`; leaving some out is the ablation of Figs. 33-40.
    coordinate_type: "linear" ([x, y] from -1 to 1) or "cosine" (8 channels; the released code).
    log_space: the released code's forms: likelihood as log p(x|z), leave-one-out as
      log p(x|z) - log p(x|z without k), mask posterior as p_k / (sum_j p_j + 1e-6). Otherwise
      p(x|z) and p(x|z without k) themselves, as in the paper.
    capacity: append the released code's constant channels.

  Raises:
    ValueError: an unknown input or coordinate type.
  """

  def __init__(
    self,
    image_channels,
    inputs=ALL_INPUTS,
    coordinate_type="linear",
    log_space=False,
    capacity=False,
    name=None,
  ):
    super().__init__(name=name)
    check_inputs(inputs)
    self._inputs = tuple(inputs)
    self._log_space = log_space
    self._capacity = capacity
    if coordinate_type not in ("linear", "cosine"):
      raise ValueError(f'coordinate_type must be "linear" or "cosine", got {coordinate_type!r}')
    self._coordinate_type = coordinate_type
    self._image_channels = image_channels
    self.norms = {
      name: Norm(name=f"layer_norm_{name}")
      for name in ("grad_means", "grad_mask", "likelihood", "leave_one_out", "grad_posterior")
      if name in self._inputs
    }

  @property
  def names(self):
    """The inputs that are switched on, in the order in which they are concatenated."""
    return self._inputs

  @property
  def channels(self):
    """Channels of each spatial input that is on, in the order of concatenation."""
    sizes = dict.fromkeys(SPATIAL_INPUTS, 1)
    sizes.update(dict.fromkeys(("image", "means", "grad_means"), self._image_channels))
    sizes["coordinates"] = self._coordinates(1, 1).shape[-1]
    channels = {name: sizes[name] for name in self.names if name in sizes}
    return {**channels, "capacity": 1} if self._capacity else channels

  def normalised(self, images, params, mixture, grads):
    """All inputs by name: images [B, H, W, C], params [B, K, 2 Z], SpatialMixture, Gradients.

    Returns:
      dict of [B, K, H, W, c], or [B, 1, H, W, c] where the slots share an input, and [B, K, 2 Z].
    """
    raw = self._raw(images, params, mixture, grads)
    return {name: self._normalise(name, x) for name, x in raw.items()}

  def __call__(self, images, params, mixture, grads):
    """As `normalised`, for the refinement network: Inputs, in the order of `names`."""
    raw = self._raw(images, params, mixture, grads)
    vector = [self._normalise(name, x) for name, x in raw.items() if name in VECTOR_INPUTS]
    spatial = {name: raw[name] for name in raw if name in SPATIAL_INPUTS}
    batch, slots = tf.unstack(tf.shape(params)[:2])
    if self._capacity:
      constant = tf.constant(CAPACITY, images.dtype)
      spatial["capacity"] = tf.fill([1, 1, *images.shape[1:3], 1], constant)
      vector.append(tf.fill([batch, slots, 1], constant))
    return Inputs(
      spatial=self._grouped(images, spatial, batch * slots),
      vector=fold_slots(tf.concat(vector, axis=-1)) if vector else None,
    )

  def _raw(self, images, params, mixture, grads):
    """The inputs by name, before their layer norms."""
    makers = {
      "image": lambda: images[:, None],
      "means": lambda: mixture.means,
      "mask": lambda: mixture.masks,
      "mask_logits": lambda: mixture.mask_logits,
      "mask_posterior": lambda: self._mask_posterior(mixture),
      "grad_means": lambda: grads.means,
      "grad_mask": lambda: grads.mask_logits,
      "likelihood": lambda: self._likelihood(mixture.log_prob),
      "leave_one_out": lambda: self._leave_one_out(mixture),
      "coordinates": lambda: tf.constant(
        self._coordinates(*images.shape[1:3])[None, None], images.dtype
      ),
      "posterior": lambda: params,
      "grad_posterior": lambda: grads.params,
    }
    return {name: makers[name]() for name in self._inputs}

  def _grouped(self, images, spatial, num_rows):
    """Spatial inputs [B, K, H, W, c] or [B, 1, H, W, c] by name -> Channels of num_rows = B*K."""
    dtype, (height, width) = images.dtype, images.shape[1:3]
    rows = {"shared": tf.shape(images)[0], "fixed": num_rows, "free": num_rows}
    groups = {group: [tf.zeros([rows[group], height, width, 0], dtype)] for group in rows}
    places = {group: [] for group in rows}
    scales, offsets, start = [], [], 0
    for name, x in spatial.items():
      channels, norm = x.shape[-1], self.norms.get(name)
      group = "shared" if name in SHARED_INPUTS else "fixed" if norm else "free"
      x = fold_slots(x)  # [B*K, H, W, c], [B, H, W, c] or [1, H, W, c]
      x = norm.whiten(tf.stop_gradient(x)) if norm else x
      scales.append(norm.scale if norm else tf.ones([channels], dtype))
      offsets.append(norm.offset if norm else tf.zeros([channels], dtype))
      groups[group].append(tf.broadcast_to(x, [rows[group], *x.shape[1:]]))
      places[group].extend(range(start, start + channels))
      start += channels
    return Channels(
      **{group: tf.concat(parts, axis=-1) for group, parts in groups.items()},
      order=np.array(places["fixed"] + places["free"] + places["shared"]),
      scale=tf.concat(scales, axis=0),
      offset=tf.concat(offsets, axis=0),
    )

  def _coordinates(self, height, width):
    """float64 [H, W, c]"""
    if self._coordinate_type == "cosine":
      return coordinates.cosine(height, width)
    return coordinates.linear(height, width, order="xy")

  def _mask_posterior(self, mixture):
    if not self._log_space:
      return mixture.mask_posterior
    densities = tf.exp(mixture.log_components)
    return densities / (tf.reduce_sum(densities, axis=1, keepdims=True) + 1e-6)

  def _likelihood(self, log_prob):
    return log_prob if self._log_space else tf.exp(log_prob)

  def _leave_one_out(self, mixture):
    without = mixture.leave_one_out_log_prob
    return mixture.log_prob - without if self._log_space else tf.exp(without)

  def _normalise(self, name, x):
    if name not in self.norms:
      return x
    x = tf.stop_gradient(x)
    shape = tf.shape(x)
    return tf.reshape(self.norms[name](fold_slots(x)), shape)
