"""datasets.generators.geometry against volumes by Monte Carlo, and a camera against matrices."""

import numpy as np
import pytest

from datasets.generators import geometry


def _superellipsoid(points, bevel, power):
  outside = np.maximum(np.abs(points) - (1 - bevel), 0)
  return (outside**power).sum(-1) <= bevel**power


SOLIDS = {
  "sphere": (geometry.sphere(), lambda p: (p**2).sum(-1) <= 1),
  "cone": (geometry.cone(), lambda p: np.hypot(p[:, 0], p[:, 1]) <= (1 - p[:, 2]) / 2),
  "cube": (geometry.cube(0.25, 3.0), lambda p: _superellipsoid(p, 0.25, 3.0)),
  "cylinder": (
    geometry.cylinder(0.1, 4.0),
    lambda p: _superellipsoid(np.stack([np.hypot(p[:, 0], p[:, 1]), p[:, 2]], -1), 0.1, 4.0),
  ),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_solids(name):
  """Volume by the divergence theorem against points drawn inside; normals point outwards."""
  mesh, inside = SOLIDS[name]
  a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
  cross = np.cross(b - a, c - a)
  volume = (a * cross).sum() / 6
  points = np.random.default_rng(0).uniform(-1, 1, (400_000, 3))
  assert volume == pytest.approx(8 * inside(points).mean(), rel=0.01)
  assert np.abs(mesh.vertices).max() == pytest.approx(1)
  np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-12)
  area = np.linalg.norm(cross, axis=1)
  real = area > 1e-9  # a pole's facets are lines
  facet = cross[real] / area[real, None]
  smooth = mesh.normals[mesh.faces[real]]  # [m, 3 corners, 3]
  turned = np.abs(mesh.vertices[mesh.faces[real]][..., :2]).sum((1, 2)) > 1e-9
  along = np.einsum("mi,mci->mc", facet, smooth)[turned]
  assert along.min() > 0.8


def test_placed_scales_turns_and_moves():
  mesh = geometry.Mesh(
    np.array([[1.0, 0, 0]]), np.array([[1.0, 0, 1]]) / np.sqrt(2), np.zeros((0, 3), int)
  )
  placed = mesh.placed((2, 2, 1), 90, (5, 0, 1))
  np.testing.assert_allclose(placed.vertices, [[5, 2, 1]], atol=1e-12)
  # A surface stretched along x leans less that way.
  np.testing.assert_allclose(placed.normals, np.array([[0, 1, 2]]) / np.sqrt(5), atol=1e-12)


def test_merge_keeps_faces_and_owners():
  cube, sphere = geometry.cube(), geometry.sphere()
  merged, owner = geometry.merge([cube, sphere, cube])
  assert np.bincount(owner).tolist() == [len(cube.faces), len(sphere.faces), len(cube.faces)]
  for i, mesh in enumerate((cube, sphere, cube)):
    corners = merged.vertices[merged.faces[owner == i]]
    np.testing.assert_array_equal(corners, mesh.vertices[mesh.faces])


def test_projection_against_homogeneous_matrices():
  rng = np.random.default_rng(1)
  camera = geometry.Camera(np.array([3.0, -4, 2]), np.array([0.5, 0, 0]), 50.0, (120, 160))
  points = rng.uniform(-1, 1, (20, 3))
  focal = 80 / np.tan(np.radians(25))
  intrinsic = np.array([[focal, 0, 80], [0, focal, 60], [0, 0, 1]])
  right, up, forward = camera.axes()
  extrinsic = np.stack([right, -up, forward])
  np.testing.assert_allclose(extrinsic @ extrinsic.T, np.eye(3), atol=1e-12)
  assert np.linalg.det(extrinsic) == pytest.approx(1)
  assert up[2] > 0
  assert right[2] == 0
  homogeneous = (points - camera.position) @ extrinsic.T @ intrinsic.T
  wanted = np.concatenate([homogeneous[:, :2] / homogeneous[:, 2:], homogeneous[:, 2:]], 1)
  np.testing.assert_allclose(camera.project(points), wanted)
  np.testing.assert_allclose(camera.project(camera.target)[:2], (80, 60))
