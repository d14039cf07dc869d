"""Latents of the slots: collected over many images, and traversed one by one."""

import dataclasses

import numpy as np
import tensorflow as tf

from iodine import factors, unroll
from iodine.errors import UserError
from iodine.inference import Inference
from iodine.outputs import reconstruct


@dataclasses.dataclass(frozen=True)
class Latents:
  """Posteriors of N images at the last decode; all that is kept of them.

  Attributes:
    mean: float [N, K, Z].
    stddev: float [N, K, Z].
    kl: float [N, K, Z], nats.
    slots: int [N, L], the slot of each object, -1 where there is none (`factors.match_slots`);
      None without true masks.
    visibility: float [N, L], or None.
    factors: name -> [N, L] or [N, L, D].
    num_background: how many of the first L entities are background.
  """

  mean: np.ndarray
  stddev: np.ndarray
  kl: np.ndarray
  slots: np.ndarray | None
  visibility: np.ndarray | None
  factors: dict[str, np.ndarray]
  num_background: int = 1

  def objects(self, seed=0):
    """The visible objects that have a slot, lined up with it: factors.Objects.

    Raises:
      UserError: there are no true masks, by which objects find their slots.
    """
    self._need_slots()
    return factors.gather_objects(self.mean, self.slots, self.factors, self.visibility, seed)

  @property
  def share_matched(self):
    """The share of visible objects that have a slot; these alone are predicted or projected.

    Raises:
      UserError: there are no true masks, by which objects find their slots.
    """
    self._need_slots()
    slots = self.slots[:, self.num_background :]
    if self.visibility is None:
      visible = np.ones_like(slots, bool)
    else:
      visible = self.visibility[:, self.num_background :] > 0
    return float((slots[visible] >= 0).mean()) if visible.any() else float("nan")

  def _need_slots(self):
    if self.slots is None:
      raise UserError("the scenes have no true masks, by which objects find their slots")


def collect(model, batches, num_iterations=None, num_slots=None, num_background=1, seed=0):
  """Infers the latents of scenes, batch by batch; masks and images are not kept.

  Args:
    model: a SlotModel with latents.
    batches: iterable of scene batches.
    num_iterations: T, the model's by default.
    num_slots: K, the model's by default.
    num_background: how many of the first true masks are background.
    seed: of the posterior samples.

  Returns:
    Latents.

  Raises:
    UserError: there is no image, or the model has no latents.
  """
  if model.latent_size is None:
    raise UserError(f"model={model.config.model} has no latents to collect")
  infer = Inference(model, num_iterations, num_slots)
  parts, first = [], 0
  for batch in batches:
    decoded = infer(batch["image"], seed, first)
    first += len(decoded.masks)
    mask = batch.get("mask")
    if mask is not None and mask.shape.rank == 6:  # of a video, the last frame that was decoded
      timeline = unroll.timeline_of(model, batch["image"], num_iterations)
      mask = timeline.target(mask, timeline.num_decodes - 1)
    latents = decoded.latents
    parts.append(
      Latents(
        latents.mean,
        latents.stddev,
        latents.kl,
        None if mask is None else factors.match_slots(mask, decoded.masks, num_background),
        batch["visibility"].numpy() if "visibility" in batch else None,
        {name: value.numpy() for name, value in batch.get("factors", {}).items()},
      )
    )
  if not parts:
    raise UserError("there is no image to infer: the split or its filter is empty")
  joined = {
    name: None
    if getattr(parts[0], name) is None
    else np.concatenate([getattr(part, name) for part in parts])
    for name in ("mean", "stddev", "kl", "slots", "visibility")
  }
  joined["factors"] = {
    name: np.concatenate([part.factors[name] for part in parts]) for name in parts[0].factors
  }
  return Latents(**joined, num_background=num_background)


def traverse(model, z, slot, dimensions, values, only_slot=False):
  """Decodes a scene while single latents of one slot take other values (paper, Figs. 6, 30-32).

  Args:
    model: Iodine, or anything with its `decoder`.
    z: float [K, Z], latents of the scene's slots.
    slot: index of the slot that changes.
    dimensions: R indices of latents.
    values: float [R, S] (or [S], for all latents), what each latent is set to.
    only_slot: show the slot's own appearance instead of the whole image.

  Returns:
    float32 [R, S, H, W, C].

  Raises:
    ValueError: the slot or a latent does not exist.
  """
  z = np.asarray(z, getattr(model, "dtype", tf.float32).as_numpy_dtype)
  num_slots, latent_size = z.shape
  if not 0 <= slot < num_slots or not all(0 <= d < latent_size for d in dimensions):
    raise ValueError(
      f"expected a slot below {num_slots} and latents below {latent_size}, "
      f"got {slot} and {list(dimensions)}"
    )
  values = np.broadcast_to(values, [len(dimensions), np.shape(values)[-1]])
  rows = []
  for dimension, row in zip(dimensions, values, strict=True):
    changed = np.tile(z, [len(row), 1, 1])  # [S, K, Z]
    changed[:, slot, dimension] = row
    if only_slot:
      means, _ = model.decoder(tf.constant(changed[:, slot : slot + 1]))
      rows.append(means[:, 0].numpy().astype(np.float32))
      continue
    means, mask_logits = model.decoder(tf.constant(changed))
    masks = tf.nn.softmax(mask_logits, axis=1)
    rows.append(reconstruct(masks, means).numpy().astype(np.float32))
  return np.stack(rows)
