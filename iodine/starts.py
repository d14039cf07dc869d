"""Several inferences of an image, of which the one that fits it best is kept.

Where inference ends depends on the samples that it begins with (paper, Fig. 10): two objects may
stay in one slot, or one be shared by two. Which end is better needs no labels: the ELBO tells.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

_FIRST = 1000  # folded into the seed: smaller numbers are a model's own streams


def start_seed(seed: tf.Tensor, number: int) -> tf.Tensor:
  """The seed int32 [2] of a start; that of the first, number 0, is the inference's own."""
  if number == 0:
    return seed
  return tf.random.experimental.stateless_fold_in(seed, _FIRST + number)


def best_start(run: Callable[[int], tuple[np.ndarray, Any]], num_starts: int, axis: int = 0) -> Any:
  """Of several starts the best for each image.

  Args:
    run: the number of a start -> (energy [B], see `SlotModel.energy`; what it found, a nest of
      arrays). It is called once for each; two results are held at a time. The energy of an only
      start is not looked at.
    num_starts: how many.
    axis: of the images in these arrays.

  Returns:
    the nest, each image's of the start with its lowest energy; of equal ones the first.
  """
  energy, best = run(0)
  for number in range(1, num_starts):
    other_energy, other = run(number)
    better = (other_energy < energy) | (np.isnan(energy) & ~np.isnan(other_energy))
    energy = np.where(better, other_energy, energy)

    def pick(new, old, better=better):
      if old is None:  # of a model without latents
        return None
      along = [1] * np.ndim(old)
      along[axis] = -1
      return np.where(better.reshape(along), new, old)

    best = tf.nest.map_structure(pick, other, best)
  return best
