"""Pictures and exact object masks of meshes, by Mitsuba 3 and Open Image Denoise.

Everything is a pure function of its arguments, bit for bit, whatever the number of threads: scenes
are loaded in order and unoptimised, and the denoiser's scale is given. Mitsuba's scalar variant
needs nothing but the wheel; its LLVM variant is a little faster but gives other bits.
"""

import dataclasses
import functools
import importlib.util

import numpy as np

for _name in ("mitsuba", "mitsuba_oidn"):
  if importlib.util.find_spec(_name) is None:
    raise ModuleNotFoundError(f'no module named "{_name}"', name=_name)


@functools.cache
def _mitsuba():
  """Mitsuba and the denoiser, loaded only where something is rendered.

  A process that has loaded TensorFlow before is aborted by Mitsuba's libraries when it ends. So the
  parent of rendering processes must not load them.
  """
  import drjit
  import mitsuba
  import mitsuba_oidn

  mitsuba.set_variant("scalar_rgb")
  mitsuba.set_log_level(mitsuba.LogLevel.Error)
  drjit.set_thread_count(1)  # one process a core, see datasets.generate
  return mitsuba, mitsuba_oidn


def set_num_threads(number):
  """How many threads render in this process; the pictures are the same."""
  _mitsuba()
  importlib.import_module("drjit").set_thread_count(number)


@dataclasses.dataclass(frozen=True)
class Quality:
  """Samples a pixel, and how thoroughly the noise that is left is removed.

  Attributes:
    samples: of each pixel.
    denoiser: name of a quality of Open Image Denoise.
  """

  samples: int
  denoiser: str


QUALITIES = {
  "quick": Quality(8, "Fast"),
  "good": Quality(16, "Balanced"),
  "final": Quality(64, "High"),
}


def _look_at(position, target, up=(0, 0, 1)):
  mi, _ = _mitsuba()
  return mi.ScalarTransform4f().look_at(*(_floats(v) for v in (position, target, up)))


def _scale(*factors):
  mi, _ = _mitsuba()
  return mi.ScalarTransform4f().scale(_floats(factors))


def lamp(position, side, radiance, target=(0, 0, 0)) -> dict:
  """A square area lamp that shines towards `target`; it is not itself seen.

  Args:
    position, target: [3].
    side: of the square.
    radiance: [3], or one number.
  """
  return {
    "type": "rectangle",
    "to_world": _look_at(position, target) @ _scale(side / 2, side / 2, 1),
    "bsdf": {"type": "null"},
    "emitter": {"type": "area", "radiance": _rgb(radiance)},
  }


def sun(direction, irradiance, half_angle=0.1, distance=200.0) -> dict:
  """A disk far away in a direction, with the irradiance of a surface that faces it.

  Args:
    direction: [3], from the scene to the sun.
    irradiance: [3], or one number.
    half_angle: of the disk as seen from the scene, in radians; it makes shadows soft.
    distance: from the origin.
  """
  position = np.asarray(direction) / np.linalg.norm(direction) * distance
  radius = distance * np.tan(half_angle)
  radiance = np.asarray(irradiance) / (np.pi * np.sin(half_angle) ** 2)
  return {
    "type": "disk",
    "to_world": _look_at(position, (0, 0, 0)) @ _scale(radius, radius, 1),
    "bsdf": {"type": "null"},
    "emitter": {"type": "area", "radiance": _rgb(radiance)},
  }


def parallel_light(direction, irradiance) -> dict:
  """Light of one direction with sharp shadows, unseen itself; arguments as of `sun`."""
  return {
    "type": "directional",
    "direction": _floats(-np.asarray(direction)),
    "irradiance": _rgb(irradiance),
  }


def textured(to_world, color, pattern) -> dict:
  """A diffuse rectangle, -1 to 1 in x and y and facing z before it is placed.

  Args:
    to_world: a Mitsuba transform.
    color: linear RGB [3].
    pattern: brightness around 1, [h, w], laid over the rectangle.
  """
  mi, _ = _mitsuba()
  texels = np.clip(np.asarray(pattern)[..., None] * color, 0, 1).astype(np.float32)
  reflectance = {"type": "bitmap", "bitmap": mi.Bitmap(texels), "raw": True}
  return {
    "type": "rectangle",
    "to_world": to_world,
    "bsdf": {"type": "diffuse", "reflectance": reflectance},
  }


def facing(position, normal, half_size):
  """The transform that puts an upright rectangle of half size [2] at `position`."""
  up = (0, 0, 1) if abs(normal[2]) < 0.5 else (0, 1, 0)
  return _look_at(position, np.add(position, normal), up) @ _scale(*half_size, 1)


def _rgb(value):
  return {"type": "rgb", "value": _floats(np.broadcast_to(value, 3))}


def _floats(values):
  return [float(v) for v in values]


def mesh(name, geometry, bsdf=None, colors=None):
  """A Mitsuba mesh.

  Args:
    name: of the shape.
    geometry: a `geometry.Mesh`; None for one triangle that is never seen.
    bsdf: dict; None for plain diffuse.
    colors: linear RGB of each face [m, 3], which `FACE_COLOR` in the bsdf reads.
  """
  mi, _ = _mitsuba()
  if geometry is None:
    vertices, normals = np.array([[0.0, 0, -90], [1, 0, -90], [0, 1, -90]]), np.zeros((3, 3))
    normals[:, 2], faces, colors = 1, np.array([[0, 1, 2]]), np.zeros((1, 3))
  else:
    vertices, normals, faces = geometry.vertices, geometry.normals, geometry.faces
  props = mi.Properties()
  props["bsdf"] = mi.load_dict(bsdf or {"type": "diffuse"}, parallel=False, optimize=False)
  shape = mi.Mesh(name, len(vertices), len(faces), has_vertex_normals=True, props=props)
  if colors is not None:
    shape.add_attribute("face_color", 3, np.asarray(colors, np.float32).ravel())
  params = mi.traverse(shape)
  params["vertex_positions"] = np.asarray(vertices, np.float32).ravel()
  params["vertex_normals"] = np.asarray(normals, np.float32).ravel()
  params["faces"] = np.asarray(faces, np.uint32).ravel()
  params.update()
  return shape


FACE_COLOR = {"type": "mesh_attribute", "name": "face_color"}


def sensor(camera, crop=None, size=None) -> dict:
  """A Mitsuba sensor of a camera.

  Args:
    camera: a `geometry.Camera`.
    crop: (top, bottom, left, right) in pixels of the camera's image, half open; None: all of it.
    size: (H, W) of the picture of the crop; None for the crop's own.
  """
  height, width = camera.size
  top, bottom, left, right = crop or (0, height, 0, width)
  # The crop is a camera of its own, whose axis need not be in its middle.
  fov = 2 * np.degrees(np.arctan(np.tan(np.radians(camera.fov) / 2) * (right - left) / width))
  size = size or (bottom - top, right - left)
  return {
    "type": "perspective",
    "fov": float(fov),
    "fov_axis": "x",
    "principal_point_offset_x": (left + right - width) / 2 / (right - left),
    "principal_point_offset_y": (top + bottom - height) / 2 / (bottom - top),
    "near_clip": 0.01,
    "far_clip": 1000.0,
    "to_world": _look_at(camera.position, camera.target),
    "film": {
      "type": "hdrfilm",
      "height": size[0],
      "width": size[1],
      "rfilter": {"type": "box"},
      "pixel_format": "rgb",
      "component_format": "float32",
    },
  }


def pictures(content, views, quality, seed, max_depth=4, sky=None) -> np.ndarray:
  """Pictures of one scene, uint8 sRGB [T, H, W, 3].

  Args:
    content: name -> lamps and shapes, as Mitsuba takes them.
    views: T times of `sensor`, of one size.
    quality: a `Quality`.
    seed: any non-negative integer below 2^31.
    max_depth: how many segments a light path may have.
    sky: linear RGB [3] of a sky that shines from everywhere; None: no light but the lamps'.
  """
  mi, oidn = _mitsuba()
  denoiser = getattr(oidn.Quality, quality.denoiser)
  if sky is not None:
    content = {**content, "sky": {"type": "constant", "radiance": _rgb(sky)}}
  integrator = {
    "type": "volpath",
    "max_depth": max_depth,
    "rr_depth": 100,
    "hide_emitters": sky is None,
  }
  sampler = {"type": "independent", "sample_count": quality.samples}
  world = _load({"integrator": integrator, **content}, views, sampler)
  result = []
  for t, view in enumerate(world.sensors()):
    light = np.array(mi.render(world, sensor=view, spp=quality.samples, seed=seed + t))[..., :3]
    light = np.ascontiguousarray(np.clip(np.nan_to_num(light), 0, 2), np.float32)
    clean = oidn.denoise(light, hdr=True, input_scale=1.0, quality=denoiser)
    if sky is not None:  # what is nothing but sky has no noise
      only_sky = np.isclose(light, np.float32(sky), rtol=1e-5).all(-1, keepdims=True)
      clean = np.where(only_sky, np.float32(sky), clean)
    result.append(to_srgb(clean))
  return np.stack(result)


def _load(content, views, sampler):
  mi, _ = _mitsuba()
  sensors = {f"view{t:03}": {**view, "sampler": sampler} for t, view in enumerate(views)}
  return mi.load_dict({"type": "scene", **sensors, **content}, parallel=False, optimize=False)


def to_srgb(light) -> np.ndarray:
  """Linear light -> uint8 sRGB (IEC 61966-2-1)."""
  light = np.clip(np.asarray(light), 0, 1)
  coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
  return np.rint(coded * 255).astype(np.uint8)


def first_hits(geometry, views) -> np.ndarray:
  """Which face of a mesh is seen in the middle of each pixel, int [T, H, W]; -1 where none is.

  Args:
    geometry: a `geometry.Mesh`.
    views: T times of `sensor`, of one size.
  """
  mi, _ = _mitsuba()
  integrator = {"type": "aov", "aovs": "distance:depth,face:prim_index"}
  sampler = {"type": "stratified", "sample_count": 1, "jitter": False}
  world = _load({"integrator": integrator, "shape": mesh("shape", geometry)}, views, sampler)
  layers = np.stack([np.array(mi.render(world, sensor=view, spp=1)) for view in world.sensors()])
  return np.where(layers[..., -2] > 0, layers[..., -1], -1).astype(np.int64)
