"""Multi-dSprites: squares, ellipses and hearts that may hide one another (paper, B.2).

  colored_on_grayscale  2 to 5 sprites of saturated colours (HSV) on gray
  binarized             2 or 3 white sprites on black, one channel
  colored_on_colored    1 to 4 sprites on a background, all colours uniform in RGB

Every number of sprites is equally likely. Sprites have hard edges, as in dSprites; a later one
hides an earlier one, perhaps wholly. Shape codes are those of dSprites: 1 square, 2 ellipse,
3 heart. Sizes were fitted to pictures of dSprites at 64 x 64 and grow with the image.
"""

import numpy as np
from matplotlib.colors import hsv_to_rgb

from datasets.errors import DataError, nearest
from datasets.specs import get_spec

CHUNK_SIZE = 500
PARAMETER_HELP = {"image_size": "height and width in pixels"}
NUM_SPRITES = {
  "colored_on_grayscale": (2, 5),
  "binarized": (2, 3),
  "colored_on_colored": (1, 4),
}
SPECS = {variant: get_spec("multi_dsprites", variant) for variant in NUM_SPRITES}

# Pixels at scale 1 in an image of 64 x 64.
_SQUARE_SIDE = 19.2
_ELLIPSE_AXES = (12.8, 7.2)
_HEART_WIDTH = 20.0


def _heart_outline():
  """Lower and upper edge of the heart over its width: x, low, high [n], centred, 20 pixels wide.

  The curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t meets every x twice, at t
  and at pi - t.
  """
  upper = np.linspace(-np.pi / 2, np.pi / 2, 1001)

  def height(t):
    return 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)

  high, low = height(upper), height(np.pi - upper)
  middle = (high.max() + low.min()) / 2
  pixels = _HEART_WIDTH / 32
  return 16 * np.sin(upper) ** 3 * pixels, (low - middle) * pixels, (high - middle) * pixels


_HEART = _heart_outline()


def _inside(shape, u, v):
  """Whether points, in pixels at scale 1 and upright (v downwards), lie in the shape (1, 2, 3)."""
  if shape == 1:
    return np.maximum(np.abs(u), np.abs(v)) <= _SQUARE_SIDE / 2
  if shape == 2:
    return (u / _ELLIPSE_AXES[0]) ** 2 + (v / _ELLIPSE_AXES[1]) ** 2 <= 1
  x, low, high = _HEART
  return (np.abs(u) <= x[-1]) & (-v >= np.interp(u, x, low)) & (-v <= np.interp(u, x, high))


def _colors(rng, variant, num):
  """Colours of the background and the sprites, in steps of 1/255: uint8 [N, L, C]."""
  size = (CHUNK_SIZE, num)
  if variant == "binarized":
    sprites, background = np.ones((*size, 1)), np.zeros((CHUNK_SIZE, 1, 1))
  elif variant == "colored_on_grayscale":
    low, high = [0, 0.5, 0.5], [1, 1, 1]
    sprites = hsv_to_rgb(rng.uniform(low, high, (*size, 3)))
    background = np.broadcast_to(rng.uniform(size=(CHUNK_SIZE, 1, 1)), (CHUNK_SIZE, 1, 3))
  else:
    sprites, background = rng.uniform(size=(*size, 3)), rng.uniform(size=(CHUNK_SIZE, 1, 3))
  return np.rint(np.concatenate([background, sprites], axis=1) * 255).astype(np.uint8)


def generate_chunk(seed, chunk, *, variant="colored_on_grayscale", image_size=64):
  """500 scenes of stored features; see `datasets.scene` for the contract.

  Shape, orientation, scale in [0.5, 1] and centre, in the middle half of the image, are uniform.

  Returns:
    image uint8 [N, S, S, C], mask uint8 [N, S, S, L, 1], x, y (in [0, 1]), shape, orientation,
    scale, visibility float32 [N, L] and color float32 [N, L, C].

  Raises:
    DataError: there is no such variant.
  """
  if variant not in NUM_SPRITES:
    raise DataError(f'no variant "{variant}": {nearest(variant, NUM_SPRITES)}')
  rng = np.random.default_rng((seed, chunk))
  low, num = NUM_SPRITES[variant]
  size = (CHUNK_SIZE, num)
  present = np.arange(num) < rng.integers(low, num + 1, CHUNK_SIZE)[:, None]  # [N, P]
  shape = rng.integers(1, 4, size)
  x, y = rng.uniform(size=size), rng.uniform(size=size)
  orientation = rng.uniform(0, 2 * np.pi, size)
  scale = rng.uniform(0.5, 1, size)
  colors = _colors(rng, variant, num)

  unit = image_size / 64
  pixel = np.arange(image_size) + 0.5
  labels = np.zeros((CHUNK_SIZE, image_size, image_size), np.uint8)
  for p in range(num):  # from back to front
    for code in (1, 2, 3):
      chosen = np.flatnonzero(present[:, p] & (shape[:, p] == code))
      across = pixel - unit * (16 + 32 * x[chosen, p, None])  # [n, W]
      down = pixel - unit * (16 + 32 * y[chosen, p, None])  # [n, H]
      size_p = (unit * scale[chosen, p])[:, None, None]
      cos, sin = np.cos(orientation[chosen, p]), np.sin(orientation[chosen, p])
      across, down = across[:, None, :], down[:, :, None]
      u = (cos[:, None, None] * across + sin[:, None, None] * down) / size_p
      v = (cos[:, None, None] * down - sin[:, None, None] * across) / size_p
      labels[chosen] = np.where(_inside(code, u, v), np.uint8(p + 1), labels[chosen])

  entities = np.arange(num + 1, dtype=np.uint8)
  visible = np.concatenate([np.ones((CHUNK_SIZE, 1), bool), present], axis=1)

  def factor(value):
    value = np.pad(np.where(present, value, 0), ((0, 0), (1, 0)))
    return value.astype(np.float32)

  color = np.where(visible[..., None], colors, 0)
  return {
    "image": np.take_along_axis(colors, labels.reshape(CHUNK_SIZE, -1, 1).astype(int), 1).reshape(
      CHUNK_SIZE, image_size, image_size, -1
    ),
    "mask": (labels[..., None, None] == entities[:, None]) * np.uint8(255),
    "x": factor(x),
    "y": factor(y),
    "shape": factor(shape),
    "color": (color / 255).astype(np.float32),
    "orientation": factor(orientation),
    "scale": factor(scale),
    "visibility": visible.astype(np.float32),
  }
