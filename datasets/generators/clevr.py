"""CLEVR with masks: three to ten solids on a gray ground, rendered (paper, B.1).

`clevr_layout` says what stands where (Johnson et al. 2017); lamps, materials and bevels
are fitted to CLEVR's Blender scene. A pixel of a mask belongs to the object that a ray through its
middle hits first.

An image of 240 x 320, or of the same shape, is the whole scene. A square one is the picture's
training crop (rows 29:221, columns 64:256) rendered directly, which is much faster where small
images are wanted; the scenes are the same ones.
"""

import dataclasses
import functools

import numpy as np

from datasets.errors import DataError, nearest
from datasets.generators import clevr_layout, geometry, rendering
from datasets.specs import get_spec

SPEC = get_spec("clevr")
CHUNK_SIZE = 10
PARAMETER_HELP = {
  "image_size": "height and width; square (or one number): the training crop, rendered directly",
  "min_objects": "fewest objects in a scene",
  "max_objects": "most objects in a scene, at most 10",
  "quality": f"one of {', '.join(rendering.QUALITIES)}",
  "without": 'objects that no scene has, such as "green sphere"',
  "having": 'objects of which every scene has at least one, such as "green sphere"',
}

_KEY = (1.0, 0.932, 0.817)
_FILL = (0.762, 0.818, 1.0)
_SUN = (11.6608, -6.62799, 25.8232)
_GROUND_GRAY = 0.8
_WHOLE = (0, clevr_layout.IMAGE_SIZE[0], 0, clevr_layout.IMAGE_SIZE[1])

_SOLIDS = (geometry.sphere(), geometry.cylinder(), geometry.cube())  # by shape code

_RUBBER = {
  "type": "principled",
  "base_color": rendering.FACE_COLOR,
  "roughness": 0.6,
  "specular": 0.15,
}


def _conductor(alpha):
  return {
    "type": "roughconductor",
    "material": "none",
    "distribution": "ggx",
    "alpha": alpha,
    "specular_reflectance": rendering.FACE_COLOR,
  }


_METAL = {"type": "blendbsdf", "weight": 0.6, "a": _conductor(0.2), "b": _conductor(0.05)}


@functools.cache
def _ground() -> geometry.Mesh:
  """Flat where objects stand, and curving up far behind them, as seen from the camera."""
  behind = -clevr_layout.CAMERA[:2] / np.linalg.norm(clevr_layout.CAMERA[:2])
  across = np.array([-behind[1], behind[0]])
  start, radius = 5.0, 12.0
  angle = np.linspace(0, np.pi / 2, 33)
  along = np.concatenate([[-40.0], start + radius * np.sin(angle)])
  height = np.concatenate([[0.0], radius * (1 - np.cos(angle))])
  slope = np.concatenate([[0.0], angle])
  points, normals = np.zeros((2, len(along), 3)), np.zeros((2, len(along), 3))
  points[..., :2] = along[:, None] * behind + np.array([[[-80.0]], [[80.0]]]) * across
  points[..., 2] = height
  normals[..., :2], normals[..., 2] = -np.sin(slope)[:, None] * behind, np.cos(slope)
  return geometry.sheet(points, normals, flip=True)


def _objects(layout):
  """The placed solids of a layout, a list of n meshes."""
  return [
    _SOLIDS[shape - 1].placed(radius, degrees, position)
    for shape, radius, degrees, position in zip(
      layout.codes["shape"], layout.radius, layout.rotation, layout.position, strict=True
    )
  ]


def labels(layout, crop=_WHOLE, size=None) -> np.ndarray:
  """Which object is seen in the middle of each pixel, uint8 [H, W]: 0 ground, 1 the first object.

  Args:
    layout: a `clevr_layout.Layout`.
    crop: (top, bottom, left, right) of the 240 x 320 pixels, half open.
    size: (H, W) at which the crop is rendered; None for its own.
  """
  merged, owner = geometry.merge(_objects(layout))
  faces = rendering.first_hits(merged, [rendering.sensor(layout.camera, crop, size)])[0]
  return np.where(faces < 0, 0, owner[faces] + 1).astype(np.uint8)


def _count_pixels(layout):
  return np.bincount(labels(layout).ravel(), minlength=len(layout) + 1)[1:]


def picture(layout, quality, seed, crop=_WHOLE, size=None) -> np.ndarray:
  """The image of a layout, uint8 [H, W, 3]; see `labels` and `rendering.pictures`."""
  solids, rgb = _objects(layout), clevr_layout.RGB[layout.codes["color"] - 1] / 255
  content = {
    "key": rendering.lamp(layout.lamps["key"], 0.5, 100 * np.array(_KEY)),
    "fill": rendering.lamp(layout.lamps["fill"], 0.5, 30 * np.array(_FILL)),
    "back": rendering.lamp(layout.lamps["back"], 1.0, 12.5),
    "sun": rendering.sun(_SUN, 0.45),
    "ground": rendering.mesh(
      "ground",
      _ground(),
      {"type": "diffuse", "reflectance": {"type": "rgb", "value": _GROUND_GRAY}},
    ),
  }
  for code, (name, bsdf) in enumerate((("rubber", _RUBBER), ("metal", _METAL)), start=1):
    chosen = np.flatnonzero(layout.codes["material"] == code)
    if len(chosen):
      merged, owner = geometry.merge([solids[i] for i in chosen])
      content[name] = rendering.mesh(name, merged, bsdf, rgb[chosen][owner])
    else:
      content[name] = rendering.mesh(name, None, bsdf)
  view = rendering.sensor(layout.camera, crop, size)
  return rendering.pictures(content, [view], quality, seed)[0]


def generate_chunk(
  seed,
  chunk,
  *,
  image_size=clevr_layout.IMAGE_SIZE,
  min_objects=3,
  max_objects=10,
  quality="good",
  without="",
  having="",
):
  """10 scenes of stored features; see `datasets.scene` for the contract.

  The number of objects is uniform; `size`, `material`, `shape`, `color` are codes of
  `clevr_layout`, `rotation` is the true turn about the vertical in degrees, and `pixel_coords` are
  those of the whole image whatever is rendered of it.

  Returns:
    image uint8 [N, H, W, 3], mask uint8 [N, 11, H, W, 1], x, y, z, rotation, visibility float32
    [N, 11], pixel_coords float32 [N, 11, 3] and size, material, shape, color uint8 [N, 11].

  Raises:
    DataError: a parameter is out of range.
  """
  size = tuple(image_size)
  crop = _crop_of(size)
  if not 1 <= min_objects <= max_objects <= SPEC.max_entities - 1:
    raise DataError(
      f"expected 1 <= min_objects <= max_objects <= 10, got {min_objects} and {max_objects}"
    )
  if quality not in rendering.QUALITIES:
    raise DataError(f'no quality "{quality}": {nearest(quality, rendering.QUALITIES)}')
  conditions = [clevr_layout.parse_combination(text) for text in (without, having)]
  clevr_layout.check_combinations(*conditions)
  # A pixel that covers more of the scene needs more samples to look as clean.
  effort = rendering.QUALITIES[quality]
  coarseness = max(1.0, (crop[3] - crop[2]) / size[1])
  effort = dataclasses.replace(effort, samples=round(effort.samples * coarseness))
  records = []
  for i in range(CHUNK_SIZE):
    rng = np.random.default_rng((seed, chunk, i))
    num = int(rng.integers(min_objects, max_objects + 1))
    layout = clevr_layout.sample_layout(rng, num, _count_pixels, *conditions)
    image = picture(layout, effort, int(rng.integers(2**31)), crop, size)
    records.append(_record(layout, image, labels(layout, crop, size)))
  return {name: np.stack([record[name] for record in records]) for name in records[0]}


def _crop_of(size):
  """Which part of the whole image a size asks for: (top, bottom, left, right)."""
  if len(size) == 2 and min(size) > 0:
    height, width = clevr_layout.IMAGE_SIZE
    if size[0] * width == size[1] * height:
      return _WHOLE
    if size[0] == size[1]:
      return SPEC.crop
  raise DataError(
    "expected image_size of the shape of 240 x 320 (the whole image) or square (the training "
    f"crop), got {' x '.join(str(n) for n in size)}"
  )


def _record(layout, image, entity):
  """Stored features of one scene; `entity` as of `labels`."""
  mask = entity == np.arange(SPEC.max_entities, dtype=np.uint8)[:, None, None]
  x, y, z = layout.position.T
  factors = {
    "x": x,
    "y": y,
    "z": z,
    "pixel_coords": layout.pixel_coords(),
    "rotation": layout.rotation,
    **layout.codes,
  }
  record = {"image": image, "mask": mask[..., None] * np.uint8(255)}
  for name, factor in SPEC.factors.items():
    stored = np.zeros((SPEC.max_entities, *factor.shape), factor.dtype)
    stored[1 : len(layout) + 1] = factors[name]
    record[name] = stored
  record["visibility"] = (np.arange(SPEC.max_entities) <= len(layout)).astype(np.float32)
  return record
