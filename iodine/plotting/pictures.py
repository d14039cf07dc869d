"""Masks and slots as pictures."""

import numpy as np
from matplotlib import colors as mcolors
from numpy.typing import ArrayLike

from iodine import matching
from iodine.plotting.checks import array
from iodine.plotting.style import BACKGROUND, slot_colors


def rgb(picture: ArrayLike) -> np.ndarray:
  """[H, W, 1 or 3] -> [H, W, 3] in [0, 1]."""
  picture = np.clip(np.asarray(picture, np.float32), 0, 1)
  return np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture


def mix_masks(masks: ArrayLike, colors: ArrayLike | None = None) -> np.ndarray:
  """Colours every pixel by its slots, in proportion to their probabilities.

  Args:
    masks: float [K, H, W, 1].
    colors: float [K, 3], `slot_colors` by default.

  Returns:
    float [H, W, 3].

  Raises:
    ValueError: a shape is not as above.
  """
  masks = array("masks", masks, "K H W 1")
  colors = slot_colors(len(masks)) if colors is None else colors
  colors = array("colors", colors, "K 3", {"K": len(masks)})
  return np.clip(np.einsum("khwi,kc->hwc", masks, colors), 0, 1)


def slot_pictures(
  variant: str,
  masks: np.ndarray,
  means: np.ndarray,
  levels: np.ndarray | None,
  backdrop: float | None,
) -> np.ndarray:
  """The slots of one image in a variant of `decomposition`: [K, H, W, 1 or C].

  Args:
    variant: its name.
    masks: [K, H, W, 1].
    means: [K, H, W, C].
    levels: `gray_levels` of the mask logits [K, H, W, 1], for "logits" only.
    backdrop: see `decomposition`.
  """
  if variant == "unmasked":
    return means
  if variant == "mask":
    return masks
  if variant == "logits":
    return levels
  if backdrop is None:
    backdrop = 1.0 if means.shape[-1] == 3 else 0.5
  return masks * np.clip(means, 0, 1) + (1 - masks) * backdrop


def gray_levels(logits: np.ndarray) -> np.ndarray:
  """Brings values to [0, 1], all of them by one scale."""
  low, high = logits.min(), logits.max()
  return (logits - low) / max(high - low, 1e-12)


def entity_colors(
  true_masks: np.ndarray, masks: np.ndarray, colors: np.ndarray, num_background: int
) -> np.ndarray:
  """Each entity's colour: that of the slot that overlaps it most, one to one; background is gray.

  Args:
    true_masks: [L, H, W, 1].
    masks: [K, H, W, 1].
    colors: [K, 3], of the slots.
    num_background: how many of the first L entities are background.

  Returns:
    float [L, 3].
  """
  own = np.tile(mcolors.to_rgb(BACKGROUND), [len(true_masks), 1])
  # However little they share: an object in two slots has the colour of the larger part.
  matched = matching.match_slots(true_masks[None], masks[None], num_background, min_iou=0.0)[0]
  spare = iter(slot_colors(len(masks) + len(true_masks))[len(masks) :])
  for entity in range(num_background, len(true_masks)):
    if matched[entity] >= 0:
      own[entity] = colors[matched[entity]]
    elif true_masks[entity].any():
      own[entity] = next(spare)
  return own


def true_mask_picture(
  true_masks: np.ndarray, masks: np.ndarray, colors: np.ndarray, num_background: int
) -> np.ndarray:
  """Entities in their `entity_colors`: [H, W, 3]."""
  return mix_masks(true_masks, entity_colors(true_masks, masks, colors, num_background))
