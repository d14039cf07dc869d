"""Three outlines of squares and triangles, white on black, that cross one another (paper, B.4).

After Reichert and Serre, as used in the binding literature since: a square, a triangle that points
up and one that points down, drawn with a line of two pixels; lines are simply united where they
cross. Pixels where shapes overlap belong to none of them: their mask is zero for every entity, and
they are not scored (as by Greff et al. 2017, NEM). Codes: 1 square, 2 up, 3 down.
"""

import numpy as np

from datasets.errors import DataError
from datasets.files import NO_ENTITY
from datasets.specs import get_spec

SPEC = get_spec("shapes")
CHUNK_SIZE = 500
PARAMETER_HELP = {
  "image_size": "height and width in pixels",
  "shape_size": "height of a shape in pixels; a triangle is nearly twice as wide",
  "num_shapes": "how many shapes a scene has",
}


def outlines(size) -> list[np.ndarray]:
  """The square, the upward and the downward triangle: bool [size, size], [size, 2 size - 2] x 2."""
  square = np.ones((size, size), bool)
  square[2:-2, 2:-2] = False
  row = np.arange(size)[:, None]
  column = np.arange(2 * size - 2)
  from_left = column - np.maximum(size - 2 - row, 0)  # 0 at the slope
  within = np.minimum(from_left, from_left[:, ::-1])
  up = (within >= 0) & ~((within >= 3) & (row < size - 2))
  return [square, up, up[::-1]]


def generate_chunk(seed, chunk, *, image_size=28, shape_size=7, num_shapes=3):
  """500 scenes of stored features; see `datasets.scene` for the contract.

  Shapes and, given the shape, places inside the image are uniform and independent.

  Returns:
    image uint8 [N, S, S, 1], mask uint8 [N, L, S, S, 1] (all zero over L where shapes overlap), x,
    y (left and top edge), shape and visibility float32 [N, L], L = num_shapes + 1.

  Raises:
    DataError: a shape does not fit.
  """
  if shape_size < 5 or num_shapes < 1 or 2 * shape_size - 2 > image_size:
    raise DataError(
      f"expected shape_size from 5 to {image_size // 2 + 1} and num_shapes >= 1, got {shape_size} "
      f"and {num_shapes}"
    )
  rng = np.random.default_rng((seed, chunk))
  lines = outlines(shape_size)
  shape = rng.integers(len(lines), size=(CHUNK_SIZE, num_shapes))
  extent = np.array([line.shape for line in lines])[shape]  # [N, P, 2]
  corner = rng.integers(image_size - extent + 1)
  labels = np.zeros((CHUNK_SIZE, image_size, image_size), np.uint8)  # 0: the ground
  for p in range(num_shapes):
    for code, line in enumerate(lines):
      chosen = np.flatnonzero(shape[:, p] == code)
      rows = corner[chosen, p, 0, None] + np.arange(line.shape[0])
      columns = corner[chosen, p, 1, None] + np.arange(line.shape[1])
      place = (chosen[:, None, None], rows[:, :, None], columns[:, None, :])
      before = labels[place]
      drawn = np.where(before == 0, np.uint8(p + 1), np.uint8(NO_ENTITY))
      labels[place] = np.where(line, drawn, before)
  entities = np.arange(num_shapes + 1)[:, None, None]
  first = ((0, 0), (1, 0))
  return {
    "image": (labels[..., None] > 0) * np.uint8(255),
    "mask": (labels[:, None] == entities)[..., None] * np.uint8(255),
    "x": np.pad(corner[..., 1], first).astype(np.float32),
    "y": np.pad(corner[..., 0], first).astype(np.float32),
    "shape": np.pad(shape + 1, first).astype(np.float32),
    "visibility": np.ones((CHUNK_SIZE, num_shapes + 1), np.float32),
  }
