"""The one record of slots that loss, metrics, plots and export read."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Latents(NamedTuple):
  """The slots' posteriors and the sample that was decoded; `...` as in SlotOutput."""

  mean: tf.Tensor  # [..., K, Z]
  stddev: tf.Tensor  # [..., K, Z]
  z: tf.Tensor  # [..., K, Z]
  kl: tf.Tensor  # [..., K, Z], nats: of each latent, against the prior
  params: tf.Tensor  # [..., K, 2 Z], lambda: what the mean and stddev were made of


class SlotOutput(NamedTuple):
  """What a model makes of images: of one decode ([B] for `...`) or of all D of them ([D, B]).

  Every model fills it: one without a posterior has no latents, one without iterations one decode,
  a VAE one slot.
  """

  means: tf.Tensor  # [..., K, H, W, C]
  mask_logits: tf.Tensor  # [..., K, H, W, 1]
  masks: tf.Tensor  # [..., K, H, W, 1], probabilities over slots
  nll: tf.Tensor  # [...], nats an image
  terms: dict[str, tf.Tensor]  # [...] each: the loss's other terms, in nats, before any weight
  loss: tf.Tensor  # [B]: of this decode, or of all of them together (Eq. 4)
  latents: Latents | None = None

  @property
  def reconstruction(self) -> tf.Tensor:
    """Mean of the mixture: [..., H, W, C]."""
    return reconstruct(self.masks, self.means)

  def at(self, decode: int) -> "SlotOutput":
    """One of the D decodes, with the loss of all of them."""
    pick = lambda value: None if value is None else value[decode]
    return tf.nest.map_structure(pick, self._replace(loss=None))._replace(loss=self.loss)

  def numpy(self) -> "SlotOutput":
    """The same with NumPy arrays."""
    return tf.nest.map_structure(lambda value: None if value is None else value.numpy(), self)


def reconstruct(masks, means):
  """Mean of the mixture over slots: [..., K, H, W, 1], [..., K, H, W, C] -> [..., H, W, C]."""
  if isinstance(masks, np.ndarray):
    return np.sum(masks * means, axis=-4)
  return tf.reduce_sum(masks * means, axis=-4)
