"""Objects Room: rules in NumPy, then pictures and masks where Mitsuba is installed."""

import importlib
import itertools

import numpy as np
import pytest
from scipy import stats

import datasets
from datasets.generators import room_layout

SIZE = 16  # pixels of most pictures rendered here


@pytest.fixture(scope="module")
def room(apply):
  """The generator; what renders must be called through `apply`."""
  return importlib.import_module("datasets.generators.objects_room")


@pytest.fixture(scope="module")
def chunks(apply, room):
  """variant -> ten files."""
  parameters = {"image_size": SIZE, "quality": "quick"}
  return {
    variant: apply(room.generate_chunk, (1, 0), {"variant": variant, **parameters})
    for variant in room_layout.VARIANTS
  }


def _layouts(variant, num=300):
  for i in range(num):
    rng = np.random.default_rng((7, i))
    yield room_layout.sample_layout(rng, room_layout.VARIANTS[variant])


# ------------------------------------------------------------------------- without a renderer


@pytest.mark.parametrize(
  ("variant", "numbers"),
  [
    ("train", [1, 2, 3]),
    ("six_objects", [6]),
    ("empty_room", [0]),
    ("identical_color", [4, 5, 6]),
    ("flights", [1, 2, 3]),
  ],
)
def test_numbers_of_objects(variant, numbers):
  counts = np.bincount([len(layout) for layout in _layouts(variant)], minlength=7)
  assert np.flatnonzero(counts).tolist() == numbers
  if len(numbers) > 1:
    assert stats.chisquare(counts[numbers]).pvalue > 1e-4
  most = datasets.get_spec("objects_room", variant).max_entities - 4
  assert max(numbers) == most


def test_objects_stand_on_the_floor_apart_and_clear_of_the_camera():
  for layout in _layouts("six_objects", 60):
    bottom = layout.position[:, 2] - layout.size[:, 2]
    np.testing.assert_allclose(bottom, 0, atol=1e-12)
    reach = np.where(layout.shape == 0, np.sqrt(2), 1) * layout.size[:, 0]
    xy = layout.position[:, :2]
    for i, j in itertools.combinations(range(6), 2):
      assert np.linalg.norm(xy[i] - xy[j]) > reach[i] + reach[j]
    assert (np.linalg.norm(xy, axis=1) + reach < room_layout.RING - 0.5).all()


def test_one_colour():
  for layout in _layouts("identical_color", 20):
    assert (layout.colors[2:] == layout.colors[2]).all()
    assert (layout.colors[1] != layout.colors[2]).any()
  assert len({tuple(c) for layout in _layouts("train", 20) for c in layout.colors[2:]}) > 20


def test_the_camera_flies_along_its_ring_and_faces_the_middle():
  tilts, speeds = [], []
  for layout in _layouts("flights"):
    cameras = layout.cameras(64)
    assert len(cameras) == 16
    places = np.array([camera.position for camera in cameras])
    np.testing.assert_allclose(np.hypot(*places.T[:2]), room_layout.RING)
    np.testing.assert_allclose(places[:, 2], room_layout.EYE)
    forward = np.array([camera.axes()[2] for camera in cameras])
    # The vertical plane through the line of sight holds the room's axis.
    np.testing.assert_allclose(np.cross(places[:, :2], forward[:, :2]), 0, atol=1e-9)
    assert ((places[:, :2] * forward[:, :2]).sum(1) < 0).all()
    tilt = np.degrees(np.arcsin(forward[:, 2]))
    np.testing.assert_allclose(tilt, tilt[0])
    angle = np.unwrap(np.arctan2(places[:, 1], places[:, 0]))
    np.testing.assert_allclose(np.diff(angle), np.diff(angle)[0])
    tilts.append(tilt[0])
    speeds.append(np.degrees(np.diff(angle)[0]))
  assert stats.kstest(tilts, "uniform", (-25, 47)).pvalue > 1e-4
  assert stats.kstest(speeds, "uniform", (-8, 16)).pvalue > 1e-4


# -------------------------------------------------------------------------------- with Mitsuba


@pytest.mark.parametrize("variant", room_layout.VARIANTS)
def test_stored_form(chunks, variant):
  arrays, spec = chunks[variant], datasets.get_spec("objects_room", variant)
  frames = (16,) if variant == "flights" else ()
  assert set(arrays) == {"image", "mask"}
  assert arrays["image"].shape == (10, *frames, SIZE, SIZE, 3)
  assert arrays["mask"].shape == (10, *frames, spec.max_entities, SIZE, SIZE, 1)
  assert arrays["image"].dtype == arrays["mask"].dtype == np.uint8
  assert set(np.unique(arrays["mask"])) == {0, 255}
  assert (arrays["mask"].sum(axis=-4, dtype=int) == 255).all()
  # Sky only at the top: no row of it begins under something else's.
  sky = arrays["mask"][..., 0, :, :, 0].reshape(-1, SIZE, SIZE) > 0
  assert (sky[:, 1:] <= sky[:, :-1]).all()
  pixels = arrays["image"].reshape(-1, SIZE, SIZE, 3)
  inside = sky[:, :-1, 1:-1] & sky[:, 1:, 1:-1] & sky[:, 1:, :-2] & sky[:, 1:, 2:]
  assert len(np.unique(pixels[:, :-1, 1:-1][inside], axis=0)) == 1


def test_variants_differ_as_they_should(chunks):
  seen = {
    variant: (chunks[variant]["mask"] > 0).any(axis=(-3, -2, -1))
    for variant in room_layout.VARIANTS
  }
  assert (seen["six_objects"][:, 4:].sum(1) == 6).all()
  assert seen["empty_room"].shape == (10, 4)
  assert seen["train"][:, 4:].sum(1).max() <= 3
  assert seen["flights"].any(axis=1)[:, 4:].sum(1).min() >= 1
  frames = chunks["flights"]["image"].astype(float)
  moved = np.abs(np.diff(frames, axis=1)).mean(axis=(2, 3, 4))
  assert np.median(moved) > 0.5
  assert moved.max() < 60


def test_background_against_a_ray_caster(apply, room):
  """Sky, floor and halves of the wall by the intersection of rays and planes."""
  size = 64
  wrong = 0
  for layout in _layouts("empty_room", 8):
    entity = apply(room.labels, (layout, size))[0]
    (camera,) = layout.cameras(size)
    right, up, forward = camera.axes()
    focal = size / 2 / np.tan(np.radians(room_layout.FIELD_OF_VIEW / 2))
    column, row = np.meshgrid(*2 * [np.arange(size) + 0.5 - size / 2])
    rays = focal * forward + column[..., None] * right - row[..., None] * up
    with np.errstate(divide="ignore"):
      to_wall = (np.sign(rays) * room_layout.ROOM - camera.position) / rays  # [H, W, 3]
      to_floor = np.where(rays[..., 2] < 0, -camera.position[2] / rays[..., 2], np.inf)
    across = to_wall[..., :2].argmin(-1)
    distance = to_wall[..., :2].min(-1)
    height = camera.position[2] + distance * rays[..., 2]
    wanted = np.where(height > room_layout.WALL, 0, 2 + across)
    wanted[to_floor < distance] = 1
    wrong += (wanted != entity).sum()
    assert set(np.unique(entity)) <= {0, 1, 2, 3}
  assert wrong <= 8


def test_masks_hold_the_middles_of_the_objects(apply, room):
  """What is seen where an object's middle is projected: the object, or a nearer one."""
  own = total = 0
  for layout in _layouts("flights", 6):
    entity = apply(room.labels, (layout, 48))
    for frame, camera in zip(entity, layout.cameras(48), strict=True):
      coords = camera.project(layout.position)
      for k in range(len(layout)):
        if not (coords[k, :2] > 1).all() or not (coords[k, :2] < 47).all():
          continue
        seen = frame[int(coords[k, 1]), int(coords[k, 0])] - 4
        assert seen == k or (seen >= 0 and coords[seen, 2] < coords[k, 2])
        own, total = own + (seen == k), total + 1
  assert total > 50
  assert own > 0.7 * total


def test_chunks_are_pure_and_differ(apply, room, chunks):
  parameters = {"image_size": SIZE, "quality": "quick"}
  again = apply(room.generate_chunk, (1, 0), parameters)
  for name in again:
    np.testing.assert_array_equal(again[name], chunks["train"][name])
  for seed, chunk in ((1, 1), (2, 0)):
    other = apply(room.generate_chunk, (seed, chunk), parameters)
    assert (other["image"] != again["image"]).any()


def test_refusals(room):
  for parameters, says in (
    ({"variant": "six_object"}, 'no variant "six_object": did you mean "six_objects"'),
    ({"quality": "god"}, 'did you mean "good"'),
    ({"image_size": 0}, "image_size must be at least 1, got 0"),
  ):
    with pytest.raises(ValueError, match=says):
      room.generate_chunk(0, 0, **parameters)
