"""Tetris scenes: tetrominoes of six colours on black, none hiding another (paper, B.3).

Rules and codes were read off records of the released file:
- `x` is the top row and `y` the left column of a piece's bounding box (so, not the other way
  round), in pixels; any pixel will do, there is no grid. Pieces may touch and their boxes may
  overlap, but no pixel is shared.
- `color` is RGB of zeros and ones; two pieces may have the same one.
- A block is bevelled: lit from above, darkest below.
- The paper speaks of 17 shapes, but there are 19 fixed tetrominoes (I 2, O 1, T 4, S 2, Z 2, J 4,
  L 4), the released codes run from 1 to 19, and so do ours.
"""

import numpy as np

from datasets.errors import DataError
from datasets.specs import get_spec

SPEC = get_spec("tetrominoes")
CHUNK_SIZE = 500
PARAMETER_HELP = {
  "image_size": "height and width in pixels",
  "block_size": "side of one of the four blocks of a piece in pixels",
  "num_pieces": "how many pieces a scene has",
}

# By released code, from 1. Codes 1, 4 and 8 do not occur in the records we have: they are the
# pieces left over, in the places that the order of the others (lying I, standing I, lying J and L,
# standing J and L, S and Z, T, O) leaves free.
SHAPES = (
  ("####",),
  ("#", "#", "#", "#"),
  ("###", "#.."),
  ("#..", "###"),
  ("..#", "###"),
  ("###", "..#"),
  ("##", ".#", ".#"),
  (".#", ".#", "##"),
  ("##", "#.", "#."),
  ("#.", "#.", "##"),
  ("##.", ".##"),
  (".##", "##."),
  (".#", "##", "#."),
  ("#.", "##", ".#"),
  (".#.", "###"),
  ("###", ".#."),
  (".#", "##", ".#"),
  ("#.", "##", "#."),
  ("##", "##"),
)
# Row and column of each of the four blocks: int [19, 4, 2].
BLOCKS = np.array(
  [
    [(r, c) for r, row in enumerate(shape) for c, cell in enumerate(row) if cell == "#"]
    for shape in SHAPES
  ]
)
# Red, green, blue, yellow, magenta, cyan.
COLORS = np.array(
  [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)], dtype=np.float32
)
_MAX_TRIES = 10_000


def block_shading(size) -> np.ndarray:
  """Brightness of a block's pixels, uint8 [size, size]; plain below 3 pixels."""
  shading = np.full((size, size), 255 if size < 3 else 159, np.uint8)
  if size >= 3:
    shading[0], shading[-1] = 255, 63
    shading[1:-1, 0], shading[1:-1, -1] = 127, 191
    shading[0, 0], shading[0, -1], shading[-1, 0], shading[-1, -1] = 191, 223, 95, 127
  return shading


def generate_chunk(seed, chunk, *, image_size=35, block_size=5, num_pieces=3):
  """500 scenes of stored features; see `datasets.scene` for the contract.

  Shapes and colours are uniform and independent; given the shapes, positions are uniform over all
  those where no two pieces share a pixel.

  Returns:
    image uint8 [N, S, S, 3], mask uint8 [N, L, S, S, 1], x, y, shape, visibility float32 [N, L] and
    color float32 [N, L, 3], where S = image_size and L = num_pieces + 1.

  Raises:
    DataError: a piece does not fit into the image, or the pieces into one another's company.
  """
  if block_size < 1 or num_pieces < 1:
    raise DataError(f"expected block_size, num_pieces >= 1, got {block_size}, {num_pieces}")
  if 4 * block_size > image_size:
    raise DataError(
      f"a piece of four blocks of {block_size} pixels does not fit into {image_size} pixels: "
      f"image_size must be at least {4 * block_size}"
    )
  rng = np.random.default_rng((seed, chunk))
  shapes = rng.integers(len(SHAPES), size=(CHUNK_SIZE, num_pieces))  # [N, P]
  colors = COLORS[rng.integers(len(COLORS), size=(CHUNK_SIZE, num_pieces))]  # [N, P, 3]
  room = image_size + 1 - block_size * (BLOCKS.max(axis=1) + 1)[shapes]  # [N, P, 2]

  corners = np.zeros((CHUNK_SIZE, num_pieces, 2), np.int64)
  held = np.zeros((CHUNK_SIZE, num_pieces, image_size, image_size), bool)
  left = np.arange(CHUNK_SIZE)  # scenes whose pieces still overlap
  for _ in range(_MAX_TRIES):
    corners[left] = rng.integers(room[left])
    held[left], _ = _draw(shapes[left], corners[left], image_size, block_size)
    left = left[(held[left].sum(axis=1) > 1).any(axis=(1, 2))]
    if not len(left):
      break
  else:
    raise DataError(
      f"{num_pieces} pieces of {block_size}-pixel blocks found no place in {image_size} x "
      f"{image_size} pixels in {_MAX_TRIES:,} tries: take fewer or smaller ones, or a larger image"
    )

  held, shade = _draw(shapes, corners, image_size, block_size)
  image = (shade[..., None] * colors[:, :, None, None].astype(np.uint8)).sum(1, dtype=np.uint8)
  background = ~held.any(axis=1, keepdims=True)
  mask = np.concatenate([background, held], axis=1)[..., None] * np.uint8(255)
  background_first = ((0, 0), (1, 0))
  return {
    "image": image,
    "mask": mask,
    "x": np.pad(corners[..., 0], background_first).astype(np.float32),
    "y": np.pad(corners[..., 1], background_first).astype(np.float32),
    "shape": np.pad(shapes + 1, background_first).astype(np.float32),
    "color": np.pad(colors, (*background_first, (0, 0))),
    "visibility": np.ones((CHUNK_SIZE, num_pieces + 1), np.float32),
  }


def _draw(shapes, corners, image_size, block_size):
  """Pixels of every piece: held bool [N, P, S, S] and shade uint8 [N, P, S, S]."""
  pixel = np.arange(block_size)
  blocks = corners[:, :, None] + block_size * BLOCKS[shapes]  # [N, P, 4, 2]
  rows = blocks[..., 0, None, None] + pixel[:, None]  # [N, P, 4, b, 1]
  columns = blocks[..., 1, None, None] + pixel  # [N, P, 4, 1, b]
  scenes, pieces = np.ogrid[: shapes.shape[0], : shapes.shape[1]]
  shade = np.zeros((*shapes.shape, image_size, image_size), np.uint8)
  where = (scenes[..., None, None, None], pieces[..., None, None, None], rows, columns)
  shade[where] = block_shading(block_size)
  return shade > 0, shade
