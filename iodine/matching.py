"""Which slot holds which object, by the overlap of their masks."""

import numpy as np
import scipy.optimize
from numpy.typing import ArrayLike

# Two objects cannot both share more than half of their union with one slot, nor two slots with
# one object; the same line is drawn in detection (PASCAL VOC) and in tracking (CLEAR MOT).
MIN_IOU = 0.5


def object_slot_iou(true_masks: ArrayLike, masks: ArrayLike, num_background: int = 1) -> np.ndarray:
  """Intersection over union of every object with every slot, of hard masks, on the foreground.

  A pixel belongs to the slot that is likeliest there. Only pixels of objects are counted, as in
  ARI-FG: whether the ground has a slot of its own or is shared among the objects' slots, as with
  the black of Tetrominoes, says nothing of the objects. A slot that takes in several objects has
  the others in its union; one that owns the whole image has an IoU with an object of the object's
  share of the foreground.

  Args:
    true_masks: [N, L, H, W, 1], one-hot over L, background entities first. Pixels of no entity
      count nowhere.
    masks: [N, K, H, W, 1], slot probabilities.
    num_background: how many of the first L entities are background.

  Returns:
    float64 [N, L - num_background, K], 0 for an entity or a slot without a foreground pixel.

  Raises:
    ValueError: not of rank 5, the sizes differ, or there are fewer than `num_background` entities.
  """
  true_masks, masks = np.asarray(true_masks), np.asarray(masks)
  agree = (
    true_masks.ndim == masks.ndim == 5
    and len(true_masks) == len(masks)
    and true_masks.shape[2:] == masks.shape[2:]
  )
  if not agree:
    raise ValueError(
      "expected true_masks [N, L, H, W, 1] and masks [N, K, H, W, 1], "
      f"got {list(true_masks.shape)} and {list(masks.shape)}"
    )
  num_images, num_entities = true_masks.shape[:2]
  if not 0 <= num_background <= num_entities:
    raise ValueError(
      f"expected num_background from 0 to {num_entities}, the number of true masks, "
      f"got {num_background}"
    )
  iou = np.zeros([num_images, num_entities - num_background, masks.shape[1]])
  identity = np.eye(masks.shape[1])
  for n in range(num_images):  # image by image: one-hot masks of all would be large
    slots = identity[masks[n].argmax(axis=0).ravel()]  # [P, K]
    objects = true_masks[n, num_background:].reshape(-1, len(slots)).astype(np.float64)  # [L, P]
    shared = objects @ slots  # [L, K]
    union = objects.sum(axis=1)[:, None] + shared.sum(axis=0) - shared
    np.divide(shared, union, out=iou[n], where=union > 0)
  return iou


def match_slots(
  true_masks: ArrayLike,
  masks: ArrayLike,
  num_background: int = 1,
  min_iou: float | None = None,
) -> np.ndarray:
  """Assigns slots to objects one to one, so that the sum of their overlaps is largest.

  Args:
    true_masks: [N, L, H, W, 1], one-hot over L, background entities first.
    masks: [N, K, H, W, 1], slot probabilities.
    num_background: how many of the first L entities are background.
    min_iou: a slot holds an object if their IoU (`object_slot_iou`) is above this; `MIN_IOU` by
      default. From 0.5 on no two slots can claim an object, nor two objects a slot.

  Returns:
    int64 [N, L], the slot of each object; -1 for background, for entities without a pixel, and
    for objects that no slot holds.

  Raises:
    ValueError: as for `object_slot_iou`.
  """
  min_iou = MIN_IOU if min_iou is None else min_iou
  iou = object_slot_iou(true_masks, masks, num_background)
  slots = np.full([len(iou), num_background + iou.shape[1]], -1)
  for n, overlap in enumerate(iou):
    # Pairs below the line must not draw others away from those above it.
    overlap = np.where(overlap > min_iou, overlap, 0.0)
    rows, columns = scipy.optimize.linear_sum_assignment(overlap, maximize=True)
    taken = overlap[rows, columns] > 0
    slots[n, num_background + rows[taken]] = columns[taken]
  return slots
