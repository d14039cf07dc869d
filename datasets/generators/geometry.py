"""Cameras, and solids as triangle meshes, in NumPy: what is known of a scene before rendering it.

Right-handed coordinates, z up, scene units. Images have columns to the right and rows downwards,
both from the upper left corner of the image in pixels, so that pixel centres lie at halves.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Camera:
  """A pinhole camera that is upright.

  Attributes:
    position: [3].
    target: [3], the point it looks at.
    fov: angle of view over the image's width in degrees.
    size: (H, W) of the image in pixels.
  """

  position: np.ndarray
  target: np.ndarray
  fov: float
  size: tuple[int, int]

  def axes(self) -> np.ndarray:
    """Unit vectors to the right, up and forward, [3, 3]."""
    forward = np.subtract(self.target, self.position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(right, forward), forward])

  def project(self, points) -> np.ndarray:
    """Column, row and depth (distance along the line of sight) of points: [..., 3] -> [..., 3]."""
    right, up, depth = np.moveaxis(np.subtract(points, self.position) @ self.axes().T, -1, 0)
    height, width = self.size
    focal = width / 2 / np.tan(np.radians(self.fov) / 2)
    return np.stack(
      [width / 2 + focal * right / depth, height / 2 - focal * up / depth, depth], axis=-1
    )


@dataclasses.dataclass(frozen=True)
class Mesh:
  """Triangles with smooth normals.

  Attributes:
    vertices, normals: float [n, 3].
    faces: int [m, 3], vertex numbers, counterclockwise seen from outside.
  """

  vertices: np.ndarray
  normals: np.ndarray
  faces: np.ndarray

  def placed(self, scale, degrees, position) -> "Mesh":
    """Scaled (a number or [3]), then turned about z, then moved by `position` [3]."""
    scale = np.broadcast_to(scale, 3)
    turn = turn_z(degrees)
    normals = self.normals / scale
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return Mesh((self.vertices * scale) @ turn.T + position, normals @ turn.T, self.faces)


def turn_z(degrees) -> np.ndarray:
  """The matrix [3, 3] that turns columns about z, counterclockwise seen from above."""
  sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
  return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def merge(meshes) -> tuple[Mesh, np.ndarray]:
  """One mesh of several, and for each of its faces the number of the mesh it comes from [m]."""
  starts = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
  merged = Mesh(
    np.concatenate([m.vertices for m in meshes]),
    np.concatenate([m.normals for m in meshes]),
    np.concatenate([m.faces + start for m, start in zip(meshes, starts, strict=True)]),
  )
  return merged, np.repeat(np.arange(len(meshes)), [len(m.faces) for m in meshes])


def sheet(vertices, normals, flip=False) -> Mesh:
  """The mesh of a grid of points [a, b, 3] with normals; `flip` turns the faces around."""
  a, b = vertices.shape[:2]
  number = np.arange(a * b).reshape(a, b)
  corners = [number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]]
  p, q, r, s = (c.ravel() for c in corners)
  faces = np.concatenate([np.stack([p, q, r], 1), np.stack([p, r, s], 1)])
  return Mesh(vertices.reshape(-1, 3), normals.reshape(-1, 3), faces[:, ::-1] if flip else faces)


def _round(offset, bevel, power):
  """Rounds an edge: offsets from the inner solid -> offsets and normals on the superellipsoid.

  Args:
    offset: [..., d], which way a point lies from the edge of the inner solid.
    bevel: how wide the edge is.
    power: 2 is an arc of a circle; larger is flatter with a sharper corner.
  """
  length = (np.abs(offset) ** power).sum(-1, keepdims=True) ** (1 / power)
  rounded = bevel * offset / length
  normal = np.sign(offset) * np.abs(offset / length) ** (power - 1)
  return rounded, normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def cube(bevel=0.25, power=3.0, steps=6) -> Mesh:
  """A cube from -1 to 1 with rounded edges.

  Args:
    bevel: width of the rounding.
    power: of the superellipse that is its profile.
    steps: facets across one rounding.
  """
  inner = 1 - bevel
  edge = inner + bevel * np.tan(np.linspace(0, np.pi / 4, steps + 1))
  line = np.concatenate([-edge[::-1], edge])
  faces = []
  for axis in range(3):
    for side in (-1.0, 1.0):
      points = np.zeros((len(line), len(line), 3))
      points[..., (axis + 1) % 3] = line[:, None]
      points[..., (axis + 2) % 3] = line
      points[..., axis] = side
      core = np.clip(points, -inner, inner)
      rounded, normals = _round(points - core, bevel, power)
      faces.append(sheet(core + rounded, normals, flip=side < 0))
  return merge(faces)[0]


def revolve(radii, heights, normals, segments=64) -> Mesh:
  """Turns an outline about z.

  Args:
    radii, heights: [n], from the bottom to the top.
    normals: [n, 2], outwards: radial and upward part.
    segments: facets around.
  """
  angle = np.linspace(0, 2 * np.pi, segments + 1)
  around = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], -1)  # [s, 3]
  up = np.array([0.0, 0.0, 1.0])
  points = radii[:, None, None] * around + heights[:, None, None] * up
  outward = normals[:, :1, None] * around + normals[:, 1:, None] * up
  return sheet(points, outward, flip=True)


def cylinder(bevel=0.1, power=4.0, steps=6, segments=64) -> Mesh:
  """An upright cylinder of radius 1, from z = -1 to 1, with rounded edges; see `cube`."""
  inner = 1 - bevel
  slope = np.tan(np.linspace(0, np.pi / 4, steps + 1))
  one = np.ones_like(slope)
  # Around the upper edge: from the side (1, 0) over (1, 1) to the top (0, 1).
  offset = np.concatenate([np.stack([one, slope], 1), np.stack([slope, one], 1)[-2::-1]])
  rounded, normals = _round(offset, bevel, power)
  radii, heights = inner + rounded[:, 0], inner + rounded[:, 1]
  upper = (np.append(radii, 0.0), np.append(heights, 1.0), np.append(normals, [[0, 1]], 0))
  lower = (upper[0][::-1], -upper[1][::-1], upper[2][::-1] * (1, -1))
  return revolve(*(np.concatenate(pair) for pair in zip(lower, upper, strict=True)), segments)


def sphere(segments=64) -> Mesh:
  """A ball of radius 1."""
  angle = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
  outline = np.stack([np.cos(angle), np.sin(angle)], 1)
  return revolve(outline[:, 0], outline[:, 1], outline, segments)


def cone(segments=64) -> Mesh:
  """An upright cone from z = -1 (radius 1) to its tip at z = 1."""
  side = np.array([2.0, 1.0]) / np.sqrt(5)
  radii, heights = np.array([0.0, 1.0, 1.0, 0.0]), np.array([-1.0, -1.0, -1.0, 1.0])
  return revolve(radii, heights, np.array([[0, -1], [0, -1], side, side]), segments)
