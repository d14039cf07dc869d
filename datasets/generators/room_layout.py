"""What an Objects Room scene consists of, in NumPy (paper, A.1 and B.5).

A square room open to the sky, with objects around its middle and a camera on a ring, which always
faces the middle and is tilted upwards or downwards. Proportions are ours; the released data does
not tell its own.
"""

import dataclasses

import numpy as np
from matplotlib.colors import hsv_to_rgb

from datasets.generators import geometry

ROOM = 4.0  # from the middle to a wall
WALL = 1.9  # height
RING = 3.0  # radius of the camera's circle
EYE = 0.8  # height of the camera
FIELD_OF_VIEW = 60.0  # degrees
TILT = (-25.0, 22.0)  # degrees, negative is downwards
SPEED = (-8.0, 8.0)  # degrees of the ring from frame to frame

SHAPES = ("cube", "cylinder", "sphere", "cone")
RADIUS = (0.25, 0.5)
SPREAD = 1.6  # objects stand within this distance of the middle
GAP = 0.1  # between the circles around two objects
MAX_TRIES = 50  # to place an object, before the scene is begun anew
MIN_PIXELS = 4  # that count as seen, where a variant demands that every object be seen


@dataclasses.dataclass(frozen=True)
class Variant:
  """Fewest and most objects; whether all have one colour, and all must be seen; frames."""

  num_objects: tuple[int, int]
  one_color: bool = False
  all_seen: bool = False
  num_frames: int | None = None


VARIANTS = {
  "train": Variant((1, 3)),
  "six_objects": Variant((6, 6), all_seen=True),
  "empty_room": Variant((0, 0)),
  "identical_color": Variant((4, 6), one_color=True),
  "flights": Variant((1, 3), num_frames=16),
}


@dataclasses.dataclass(frozen=True)
class Layout:
  """One scene; n objects, T frames.

  Attributes:
    azimuth: of the camera on its ring in each frame, degrees, float [T].
    tilt: of the camera, degrees above the horizon.
    shape: int [n], number in SHAPES.
    size: half the extent in x, y and z, float [n, 3].
    position: centres, float [n, 3].
    rotation: about the vertical, degrees, float [n].
    colors: linear RGB of the floor, the walls and the objects, float [2 + n, 3].
  """

  azimuth: np.ndarray
  tilt: float
  shape: np.ndarray
  size: np.ndarray
  position: np.ndarray
  rotation: np.ndarray
  colors: np.ndarray

  def __len__(self):
    return len(self.shape)

  def cameras(self, image_size) -> list[geometry.Camera]:
    """The camera in each frame, for square images of `image_size` pixels."""
    cameras = []
    for azimuth in np.radians(self.azimuth):
      outwards = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
      position = RING * outwards + (0, 0, EYE)
      ahead = -outwards + (0, 0, np.tan(np.radians(self.tilt)))
      cameras.append(
        geometry.Camera(position, position + ahead, FIELD_OF_VIEW, (image_size, image_size))
      )
    return cameras


def sample_colors(rng, num) -> np.ndarray:
  """Saturated colours, every hue equally likely: linear RGB, float [n, 3]."""
  hsv = rng.uniform([[0], [0.4], [0.6]], [[1], [0.9], [1]], (3, num)).T
  return hsv_to_rgb(hsv) ** 2.2


def place(rng, radius) -> np.ndarray | None:
  """Places objects around the middle, in order: xy [n, 2], or None when one found no place."""
  placed = np.zeros((0, 2))
  for r in radius:
    for distance, angle in rng.uniform((0, 0), (1, 2 * np.pi), (MAX_TRIES, 2)):
      xy = SPREAD * np.sqrt(distance) * np.array([np.cos(angle), np.sin(angle)])
      apart = np.linalg.norm(placed - xy, axis=1)
      if (apart - r - radius[: len(placed)] >= GAP).all():
        placed = np.concatenate([placed, xy[None]])
        break
    else:
      return None
  return placed


def sample_layout(rng, variant) -> Layout:
  """One scene.

  Args:
    rng: np.random.Generator.
    variant: a `Variant`.
  """
  low, high = variant.num_objects
  num = int(rng.integers(low, high + 1))
  frames = variant.num_frames or 1
  azimuth = rng.uniform(0, 360) + rng.uniform(*SPEED) * np.arange(frames)
  tilt = rng.uniform(*TILT)
  colors = sample_colors(rng, num + 2)
  if variant.one_color:
    colors[3:] = colors[2]
  shape = rng.integers(len(SHAPES), size=num)
  while True:
    radius = rng.uniform(*RADIUS, num)
    xy = place(rng, radius)
    if xy is not None:
      break
  height = radius * rng.uniform(0.7, 1.4, num)
  height[shape == SHAPES.index("sphere")] = radius[shape == SHAPES.index("sphere")]
  size = np.stack([radius, radius, height], axis=1)
  # The circle around an object has its radius: a cube must fit into it.
  size[shape == SHAPES.index("cube"), :2] /= np.sqrt(2)
  position = np.concatenate([xy, height[:, None]], axis=1)
  return Layout(azimuth, tilt, shape, size, position, rng.uniform(0, 360, num), colors)
