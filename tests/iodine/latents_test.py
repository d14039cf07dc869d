import types

import numpy as np
import pytest
import tensorflow as tf

from iodine import Iodine, build_model, factors, latents, make_config
from iodine.errors import UserError
from tests.iodine.inference_test import CONFIG, IMAGES


def scenes(batch_size):
  rng = np.random.default_rng(1)
  labels = rng.integers(4, size=[5, 8, 8])
  scene = {
    "image": IMAGES,
    "mask": np.moveaxis(np.eye(4, dtype=np.float32)[labels], -1, 1)[..., None],
    "visibility": np.array([[1, 1, 1, 0]] * 4 + [[1, 1, 1, 1]], np.float32),
    "factors": {"x": rng.uniform(size=[5, 4]).astype(np.float32)},
  }
  return tf.data.Dataset.from_tensor_slices(scene).batch(batch_size)


@pytest.fixture(scope="module")
def model():
  tf.random.set_seed(0)
  model = Iodine(CONFIG)
  model.create_variables()
  return model


def test_collected_latents_are_those_of_the_model(model):
  collected = latents.collect(model, scenes(2), num_iterations=3, seed=4)
  output = model(IMAGES, num_iterations=3, seed=[4, 1])
  batch = next(iter(scenes(5)))
  np.testing.assert_allclose(collected.mean, output.latents.mean[-1], rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(
    collected.kl.sum(-1), tf.reduce_sum(output.latents.kl[-1], -1), rtol=1e-3, atol=1e-3
  )
  slots = factors.match_slots(batch["mask"], output.masks[-1])
  np.testing.assert_array_equal(collected.slots, slots)
  objects = collected.objects()
  assert len(objects.latents) == 4 * 2 + 3  # the invisible ones have pixels, and do not count
  np.testing.assert_array_equal(objects.factors["x"][:2], batch["factors"]["x"][0, 1:3])
  assert collected.share_matched == 1.0


@pytest.fixture(autouse=True)
def any_overlap(monkeypatch):
  """Slots of a model that has learned nothing hold no object; here any overlap will do."""
  monkeypatch.setattr("iodine.matching.MIN_IOU", 0.0)


def test_objects_without_a_slot_are_told():
  slots = np.array([[-1, 0, -1, -1], [-1, 1, 0, -1]])
  visibility = np.array([[1, 1, 1, 0], [1, 1, 1, 0]])
  own = latents.Latents(None, None, None, slots, visibility, {})
  assert own.share_matched == 0.75


def test_images_without_masks_or_factors(model):
  unlabelled = scenes(3).map(lambda scene: {"image": scene["image"]})
  collected = latents.collect(model, unlabelled)
  assert collected.slots is None
  assert collected.factors == {}
  assert collected.mean.shape == (5, 3, 4)
  for use in (lambda: collected.objects(), lambda: collected.share_matched):
    with pytest.raises(UserError, match="no true masks"):
      use()
  with pytest.raises(ValueError, match="no image to infer"):
    latents.collect(model, unlabelled.take(0))


def test_a_model_without_latents_is_refused():
  model = build_model(make_config({"model": "nem", "image_size": [8, 8, 1]}))
  with pytest.raises(UserError, match="model=nem has no latents"):
    latents.collect(model, [])


def known_decoder(z):
  """Latent 0 is the red of a slot, latent 1 its mask logit, the same everywhere."""
  shape = [*z.shape[:2], 2, 3]
  red = tf.broadcast_to(z[:, :, None, None, 0], shape)[..., None]
  means = tf.concat([red, tf.zeros_like(red), tf.zeros_like(red)], axis=-1)
  return means, tf.broadcast_to(z[:, :, None, None, 1], shape)[..., None]


def test_traversals_of_a_decoder_with_a_known_effect():
  model = types.SimpleNamespace(decoder=known_decoder)
  z = np.array([[0.2, 1.0, 5.0], [0.8, -1.0, 5.0]])
  values = np.array([-1.0, 0.0, 2.0])
  grid = latents.traverse(model, z, slot=1, dimensions=[2, 1, 0], values=values)
  assert grid.shape == (3, 3, 2, 3, 3)
  share = lambda logit: 1 / (1 + np.exp(1.0 - logit))  # of slot 1, beside slot 0 with logit 1
  constant = 0.2 * (1 - share(-1.0)) + 0.8 * share(-1.0)
  by_mask = 0.2 * (1 - share(values)) + 0.8 * share(values)
  by_color = 0.2 * (1 - share(-1.0)) + values * share(-1.0)
  for row, expected in enumerate(([constant] * 3, by_mask, by_color)):
    np.testing.assert_allclose(grid[row, :, 1, 2, 0], expected, rtol=1e-5)
  np.testing.assert_array_equal(grid[..., 1:], 0)
  alone = latents.traverse(model, z, 1, [0], [[0.5, 0.7]], only_slot=True)
  np.testing.assert_allclose(alone[0, :, 0, 0, 0], [0.5, 0.7], rtol=1e-6)


def test_what_does_not_exist_is_not_traversed():
  model = types.SimpleNamespace(decoder=known_decoder)
  for slot, dimension in ((2, 0), (0, 3), (-1, 0)):
    with pytest.raises(ValueError, match="slot below 2 and latents below 3"):
      latents.traverse(model, np.zeros([2, 3]), slot, [dimension], [0.0])


def test_traversals_in_float64():
  config = CONFIG.replace(dtype="float64")
  model = Iodine(config)
  model.create_variables()
  for only_slot in (False, True):
    grid = latents.traverse(model, np.zeros([3, 4]), 0, [1], [0.5, 1.0], only_slot)
    assert (grid.shape, grid.dtype) == ((1, 2, 8, 8, 3), np.float32)
