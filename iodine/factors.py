"""Which slot holds which object, and what its latents tell of the object's factors."""

import numpy as np
import scipy.optimize


def match_slots(true_masks, masks, num_background=1):
  """Assigns slots to objects one to one, so that the shared probability mass of masks is largest.

  Args:
    true_masks: [N, L, H, W, 1], one-hot over L, background entities first.
    masks: [N, K, H, W, 1], slot probabilities.
    num_background: how many of the first L entities are background.

  Returns:
    int64 [N, L], the slot of each object; -1 for background, for entities without a pixel, and
    for objects that are left over or share nothing with the slot left for them.

  Raises:
    ValueError: not of rank 5, or the sizes differ.
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
  objects = np.asarray(true_masks[:, num_background:], np.float32)
  overlap = np.einsum("nlhwi,nkhwi->nlk", objects, masks)  # [N, L - background, K]
  slots = np.full(true_masks.shape[:2], -1)
  for n, shared in enumerate(overlap):
    rows, columns = scipy.optimize.linear_sum_assignment(shared, maximize=True)
    taken = shared[rows, columns] > 0
    slots[n, num_background + rows[taken]] = columns[taken]
  return slots
