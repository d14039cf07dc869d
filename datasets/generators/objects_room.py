"""Objects Room: solids in a coloured room under a light-blue sky, rendered (paper, A.1 and B.5).

  train            up to three objects
  six_objects      six, all of them seen
  empty_room       none
  identical_color  four to six of one colour
  flights          as train, 16 frames of a camera that flies along its ring

`room_layout` says what stands where. Masks hold the sky, the floor, two halves of the wall
(the pair across x and the pair across y, so that neighbouring walls differ), then the objects. An
object out of sight has an empty mask.
"""

import numpy as np

from datasets.errors import DataError, nearest
from datasets.generators import geometry, rendering, room_layout
from datasets.specs import get_spec

CHUNK_SIZE = 10
PARAMETER_HELP = {
  "image_size": "height and width in pixels",
  "quality": f"one of {', '.join(rendering.QUALITIES)}",
}
SPECS = {variant: get_spec("objects_room", variant) for variant in room_layout.VARIANTS}

_SKY = (0.44, 0.61, 0.79)
_SUN_FROM, _SUN_IRRADIANCE = (0.35, -0.45, 0.82), 1.5
_SOLIDS = (geometry.cube(0.12), geometry.cylinder(0.08), geometry.sphere(48), geometry.cone())
_NUM_BACKGROUND = 4
_MAX_TRIES = 1000  # of a room whose objects are all seen
_TEXTURE = 0.12  # how far the brightness of a surface strays


def _room() -> list[geometry.Mesh]:
  """Floor and the two halves of the wall as meshes."""
  corners = room_layout.ROOM * np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])

  def quad(points):
    points = np.array(points, float)
    normal = np.cross(points[1] - points[0], points[2] - points[0])
    normals = np.tile(normal / np.linalg.norm(normal), (4, 1))
    return geometry.Mesh(points, normals, np.array([[0, 1, 2], [0, 2, 3]]))

  def wall(i):
    a, b = corners[i], corners[(i + 1) % 4]
    return quad([(*b, 0), (*a, 0), (*a, room_layout.WALL), (*b, room_layout.WALL)])

  floor = quad([(*xy, 0) for xy in corners])
  halves = [geometry.merge([wall(i), wall(i + 2)])[0] for i in (1, 0)]
  return [floor, *halves]


def _objects(layout):
  """The placed solids of a layout, a list of n meshes."""
  return [
    _SOLIDS[shape].placed(size, degrees, position)
    for shape, size, degrees, position in zip(
      layout.shape, layout.size, layout.rotation, layout.position, strict=True
    )
  ]


def labels(layout, image_size) -> np.ndarray:
  """Which entity is seen in the middle of each pixel, uint8 [T, H, W].

  Args:
    layout: a `room_layout.Layout`.
    image_size: height and width in pixels.
  """
  merged, owner = geometry.merge([*_room(), *_objects(layout)])
  views = [rendering.sensor(camera) for camera in layout.cameras(image_size)]
  faces = rendering.first_hits(merged, views)
  return np.where(faces < 0, 0, owner[faces] + 1).astype(np.uint8)


def pictures(layout, image_size, quality, seed) -> np.ndarray:
  """The images of a layout, uint8 [T, H, W, 3]; see `labels` and `rendering.pictures`."""
  rng = np.random.default_rng(seed)
  room, wall = room_layout.ROOM, room_layout.WALL
  floor_color, wall_color = layout.colors[:2]

  def surface(position, normal, half_size, color, texels):
    pattern = rng.uniform(1 - _TEXTURE, 1 + _TEXTURE, texels)
    return rendering.textured(rendering.facing(position, normal, half_size), color, pattern)

  content = {
    "sun": rendering.parallel_light(_SUN_FROM, _SUN_IRRADIANCE),
    "floor": surface((0, 0, 0), (0, 0, 1), (room, room), floor_color, (48, 48)),
  }
  for i, (x, y) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1))):
    position, half = (x * room, y * room, wall / 2), (room, wall / 2)
    content[f"wall{i}"] = surface(position, (-x, -y, 0), half, wall_color, (12, 48))
  merged = colors = None
  if len(layout):
    merged, owner = geometry.merge(_objects(layout))
    colors = layout.colors[2:][owner]
  bsdf = {"type": "diffuse", "reflectance": rendering.FACE_COLOR}
  content["objects"] = rendering.mesh("objects", merged, bsdf, colors)
  views = [rendering.sensor(camera) for camera in layout.cameras(image_size)]
  return rendering.pictures(content, views, quality, seed, sky=_SKY)


def _sample(rng, variant, image_size):
  """A layout and its labels, with every object seen where the variant demands it."""
  for _ in range(_MAX_TRIES):
    layout = room_layout.sample_layout(rng, variant)
    entity = labels(layout, image_size)
    seen = np.bincount(entity.ravel(), minlength=_NUM_BACKGROUND + len(layout))
    least = room_layout.MIN_PIXELS * (image_size / 64) ** 2
    if not variant.all_seen or (seen[_NUM_BACKGROUND:] >= max(1, least)).all():
      return layout, entity
  raise DataError(
    f"no room of {_MAX_TRIES:,} shows all of its objects at {image_size} x {image_size} pixels: "
    "image_size must be larger"
  )


def generate_chunk(seed, chunk, *, variant="train", image_size=64, quality="good"):
  """10 scenes of stored features; see `datasets.scene` for the contract.

  Returns:
    image uint8 [N, S, S, 3] and mask uint8 [N, L, S, S, 1]; with 16 frames, image [N, T, S, S, 3]
    and mask [N, T, L, S, S, 1].

  Raises:
    DataError: there is no such variant, quality or size.
  """
  for name, value, known in (
    ("variant", variant, room_layout.VARIANTS),
    ("quality", quality, rendering.QUALITIES),
  ):
    if value not in known:
      raise DataError(f'no {name} "{value}": {nearest(value, known)}')
  if image_size < 1:
    raise DataError(f"image_size must be at least 1, got {image_size}")
  kind, entities = room_layout.VARIANTS[variant], np.arange(SPECS[variant].max_entities)
  images, masks = [], []
  for i in range(CHUNK_SIZE):
    rng = np.random.default_rng((seed, chunk, i))
    layout, entity = _sample(rng, kind, image_size)
    seed_i = int(rng.integers(2**31 - 1000))
    image = pictures(layout, image_size, rendering.QUALITIES[quality], seed_i)
    mask = (entity[:, None] == entities[:, None, None])[..., None] * np.uint8(255)
    images.append(image if kind.num_frames else image[0])
    masks.append(mask if kind.num_frames else mask[0])
  return {"image": np.stack(images), "mask": np.stack(masks)}
