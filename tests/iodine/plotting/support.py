"""What the tests of figures share."""

import matplotlib.colors as mcolors
import numpy as np


def scenes(num_images=2, num_slots=3, channels=3, size=(6, 8)):
  """Images whose slot k holds entity k: each a vertical stripe."""
  rng = np.random.default_rng(0)
  label = np.broadcast_to(np.arange(size[1]) * num_slots // size[1], (num_images, *size))
  true_masks = np.moveaxis(np.eye(num_slots)[label], -1, 1)[..., None]
  masks = 0.7 * true_masks + 0.3 / num_slots
  means = rng.uniform(size=[num_images, num_slots, *size, channels])
  images = rng.uniform(size=[num_images, *size, channels])
  return images, true_masks, (masks * means).sum(1), masks, means


def picture(axis):
  (image,) = axis.get_images()
  return np.asarray(image.get_array())


def border(axis):
  (color,) = {mcolors.to_rgb(spine.get_edgecolor()) for spine in axis.spines.values()}
  return color
