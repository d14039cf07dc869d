"""Masks as pictures."""

import numpy as np
from PIL import Image

from iodine import plotting


def segmentation(masks: np.ndarray) -> Image.Image:
  """The most probable slot of every pixel as a picture.

  Args:
    masks: float [K, H, W, 1].

  Returns:
    PIL.Image of indexed colour in the slots' colours; of more than 256 slots, 16-bit gray.
  """
  slots = np.argmax(masks[..., 0], axis=0)
  if len(masks) > 256:  # which is what a palette holds
    return Image.fromarray(slots.astype(np.uint16))
  picture = Image.fromarray(slots.astype(np.uint8))
  palette = np.round(plotting.slot_colors(len(masks)) * 255).astype(np.uint8)
  picture.putpalette(palette.tobytes())
  return picture
