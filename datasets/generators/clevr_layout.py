"""What a CLEVR scene consists of and where things stand (Johnson et al. 2017), in NumPy.

Numbers are those of the published generator. The order of the codes is that of the released file
with masks, read off two of its records: categories are numbered as they first occur.
"""

import dataclasses

import numpy as np

from datasets.errors import DataError, nearest
from datasets.generators import geometry

# Code of an entry: its place, counted from 1.
SIZES = ("large", "small")
MATERIALS = ("rubber", "metal")
SHAPES = ("sphere", "cylinder", "cube")
COLORS = ("red", "cyan", "green", "blue", "brown", "gray", "purple", "yellow")
ATTRIBUTES = {"size": SIZES, "material": MATERIALS, "shape": SHAPES, "color": COLORS}

RADIUS = np.array([0.7, 0.35])  # by size: half the edge of a cube, too
RGB = np.array(
  [
    (173, 35, 35), (41, 208, 208), (29, 105, 20), (42, 75, 215),
    (129, 74, 25), (87, 87, 87), (129, 38, 192), (255, 238, 51),
  ]
)  # fmt: skip

IMAGE_SIZE = (240, 320)
FIELD_OF_VIEW = 49.13  # degrees
CAMERA = np.array([7.48113, -6.50764, 5.34367])
LAMPS = {
  "key": np.array([6.44671, -2.90517, 4.2584]),
  "fill": np.array([-4.67112, -4.0136, 3.01122]),
  "back": np.array([-1.1685, 2.64602, 5.81574]),
}
CAMERA_JITTER, LAMP_JITTER = 0.5, 1.0

GROUND = 3.0  # objects stand in -3 < x, y < 3
MIN_DISTANCE = 0.25  # between the circles around two objects
MARGIN = 0.4  # between two objects along the camera's axes, projected on the ground
MAX_TRIES = 50  # to place an object, before the scene is begun anew
MIN_PIXELS = 200  # of an object that must be seen, in an image of IMAGE_SIZE


@dataclasses.dataclass(frozen=True)
class Layout:
  """One scene; n objects.

  Attributes:
    camera: of the whole image, 240 x 320.
    lamps: name -> position [3].
    codes: attribute -> int [n], codes from 1.
    position: centres of the objects, float [n, 3].
    rotation: about the vertical, degrees in [0, 360), float [n].
  """

  camera: geometry.Camera
  lamps: dict
  codes: dict
  position: np.ndarray
  rotation: np.ndarray

  def __len__(self):
    return len(self.rotation)

  @property
  def radius(self) -> np.ndarray:
    return RADIUS[self.codes["size"] - 1]

  def pixel_coords(self) -> np.ndarray:
    """Column and row (whole pixels of the whole image) and depth of the centres, float [n, 3]."""
    coords = self.camera.project(self.position)
    coords[:, :2] = np.rint(coords[:, :2])
    return coords


def parse_combination(text) -> dict:
  """The codes that a phrase such as "green sphere" or "small metal cube" stands for.

  Raises:
    DataError: a word is no size, material, shape or colour, or there are two of one kind.
  """
  words = {
    word: (name, code)
    for name, known in ATTRIBUTES.items()
    for code, word in enumerate(known, start=1)
  }
  found = {}
  for word in text.lower().split():
    word = word if word in words else word.removesuffix("s")
    if word not in words:
      raise DataError(f'"{word}" in "{text}" describes no object: {nearest(word, words)}')
    name, code = words[word]
    if name in found:
      raise DataError(f'"{text}" names two of one kind of attribute ({name}), expected one')
    found[name] = code
  return found


def check_combinations(without, having):
  """Raises DataError where every object that `having` describes is refused by `without`."""
  if without and having and without.items() <= having.items():
    raise DataError("no scene can have what it must be without: change `without` or `having`")


def matches(codes, combination) -> np.ndarray:
  """Which objects a combination describes, bool [n]; none if it is empty."""
  size = len(next(iter(codes.values())))
  if not combination:
    return np.zeros(size, bool)
  return np.all([codes[name] == code for name, code in combination.items()], axis=0)


def sample_codes(rng, num, without, having) -> dict:
  """Attributes of the objects of one scene, uniform under the two conditions.

  Args:
    rng: np.random.Generator.
    num: how many objects.
    without, having: combinations, of which no object and at least one object is; may be empty.
  """
  while True:
    codes = {name: rng.integers(1, len(known) + 1, num) for name, known in ATTRIBUTES.items()}
    refused = matches(codes, without).any()
    if not refused and (not having or matches(codes, having).any()):
      return codes


def place(rng, radius, camera) -> np.ndarray | None:
  """Places objects on the ground, in order: xy [n, 2], or None when one found no place."""
  axes = camera.axes()[[0, 2], :2]  # right and behind
  axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
  placed = np.zeros((0, 2))
  for r in radius:
    for xy in rng.uniform(-GROUND, GROUND, (MAX_TRIES, 2)):
      apart = placed - xy
      far = np.linalg.norm(apart, axis=1) - r - radius[: len(placed)] >= MIN_DISTANCE
      if far.all() and (np.abs(apart @ axes.T) >= MARGIN).all():
        placed = np.concatenate([placed, xy[None]])
        break
    else:
      return None
  return placed


def sample_view(rng) -> tuple[geometry.Camera, dict]:
  """The jittered camera, which looks at the origin, and the jittered lamps."""
  position = CAMERA + rng.uniform(-CAMERA_JITTER, CAMERA_JITTER, 3)
  camera = geometry.Camera(position, np.zeros(3), FIELD_OF_VIEW, IMAGE_SIZE)
  lamps = {name: at + rng.uniform(-LAMP_JITTER, LAMP_JITTER, 3) for name, at in LAMPS.items()}
  return camera, lamps


def sample_layout(rng, num, count_pixels, without=(), having=()) -> Layout:
  """One scene of `num` objects that keeps CLEVR's rules.

  Args:
    rng: np.random.Generator.
    num: how many objects.
    count_pixels: called with a Layout; gives how many pixels of each object are seen, [n].
    without, having: see `sample_codes`.
  """
  camera, lamps = sample_view(rng)
  while True:
    codes = sample_codes(rng, num, without, having)
    radius = RADIUS[codes["size"] - 1]
    xy = place(rng, radius, camera)
    if xy is None:
      continue
    position = np.concatenate([xy, radius[:, None]], axis=1)
    layout = Layout(camera, lamps, codes, position, rng.uniform(0, 360, num))
    if (count_pixels(layout) >= MIN_PIXELS).all():
      return layout
