import numpy as np
import pytest
import tensorflow as tf

from iodine import Iodine, IodineConfig, metrics
from iodine.errors import UserError
from iodine.evaluation import Evaluator, summarize

CONFIG = IodineConfig(
  image_size=(8, 8, 3),
  num_slots=3,
  num_iterations=2,
  latent_size=4,
  decoder_channels=(8,),
  encoder_channels=(8,),
  mlp_sizes=(8,),
  lstm_size=5,
)


def scenes(batch_size, num=5):
  rng = np.random.default_rng(0)
  images = rng.uniform(size=[num, 8, 8, 3]).astype(np.float32)
  labels = rng.integers(3, size=[num, 8, 8])
  labels[1] = 0  # no foreground
  masks = np.moveaxis(np.eye(3, dtype=np.float32)[labels], -1, 1)[..., None]
  return tf.data.Dataset.from_tensor_slices({"image": images, "mask": masks}).batch(batch_size)


@pytest.fixture(scope="module")
def model():
  tf.random.set_seed(0)
  model = Iodine(CONFIG)
  model.create_variables()
  return model


def test_scores_are_those_of_the_unrolled_model(model):
  scores = Evaluator(model, num_iterations=3, seed=4)(scenes(5))
  batch = next(iter(scenes(5)))
  output = model(batch["image"], num_iterations=3, seed=[4, 1])
  np.testing.assert_allclose(scores["nll"].T, output.nll, rtol=1e-4)
  np.testing.assert_allclose(scores["kl"].T, output.terms["kl"], rtol=1e-3, atol=1e-3)
  for t in range(3):
    expected = metrics.ari_fg(batch["mask"], output.masks[t])
    np.testing.assert_allclose(scores["ari_fg"][:, t], expected, atol=1e-5)
    expected = metrics.segmentation_covering(batch["mask"], output.masks[t])
    np.testing.assert_allclose(scores["covering"][:, t], expected, atol=1e-5)
    expected = np.mean((batch["image"] - output.reconstruction[t]) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(scores["mse"][:, t], expected, rtol=1e-4)


def test_several_entities_may_be_background(model):
  [batch] = scenes(5)
  scores = Evaluator(model, num_background=2)([batch])
  masks = model(batch["image"], seed=[0, 1]).masks[-1]
  for name, score in (("ari_fg", metrics.ari_fg), ("covering", metrics.segmentation_covering)):
    expected = score(batch["mask"], masks, 2)
    np.testing.assert_allclose(scores[name][:, -1], expected, atol=1e-5, err_msg=name)


def test_each_decode_of_a_clip_is_scored_by_its_own_frame(model):
  [batch] = scenes(5)
  clip = {
    key: tf.stack([value, value[::-1], tf.roll(value, 1, axis=0)], axis=1)
    for key, value in batch.items()
  }
  scores = Evaluator(model)([clip])
  output = model(clip["image"], seed=[0, 1])
  for d in range(3):
    expected = metrics.ari(clip["mask"][:, d], output.masks[d])
    np.testing.assert_allclose(scores["ari"][:, d], expected, atol=1e-5)


def test_scores_do_not_depend_on_the_batch(model):
  evaluator = Evaluator(model, num_slots=4)
  one, all_at_once = evaluator(scenes(2)), evaluator(scenes(5))
  for name, values in one.items():
    np.testing.assert_allclose(values, all_at_once[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_final_decode_counts():
  model = Iodine(CONFIG.replace(final_decode=True))
  model.create_variables()
  assert Evaluator(model)(scenes(5))["mse"].shape == (5, 3)


def test_images_without_foreground_are_counted_and_left_out(model):
  summary = summarize(Evaluator(model)(scenes(5)))
  assert summary["num_images"] == 5
  assert summary["num_foreground"] == 4
  assert np.isfinite(summary["ari_fg"])


def test_images_without_masks(model):
  unlabelled = scenes(5).map(lambda scene: {"image": scene["image"]})
  summary = summarize(Evaluator(model)(unlabelled))
  assert np.isnan(summary["ari_fg"])
  assert summary["num_foreground"] == 0
  assert np.isfinite(summary["mse"])


def test_nothing_to_evaluate(model):
  with pytest.raises(ValueError, match="no image to evaluate"):
    Evaluator(model)(scenes(5).take(0))
  with pytest.raises(ValueError, match="num_slots must be at least 2"):
    Evaluator(model, num_slots=1)


def test_masks_that_are_nobody_s_leave_the_mean_ari_defined(model):
  [batch] = scenes(5)
  first = tf.range(5)[:, None, None, None, None, None] == 0
  scores = Evaluator(model)([{**batch, "mask": tf.where(first, 0.0, batch["mask"])}])
  assert np.isnan(scores["ari"][0, -1])
  assert summarize(scores)["ari"] == pytest.approx(np.mean(scores["ari"][1:, -1]))


@pytest.mark.parametrize(
  ("images", "sentence"),
  [
    (np.full([2, 8, 8, 3], 255, np.float32), "divide by the largest"),
    (np.full([2, 8, 8, 3], np.nan, np.float32), "nan"),
    (np.zeros([2, 8, 8, 3], np.uint8), "divide by 255"),
    (np.zeros([2, 12, 12, 3], np.float32), r"expected images \[B, 8, 8, 3\]"),
    (np.zeros([2, 8, 8, 1], np.float32), r"expected images \[B, 8, 8, 3\]"),
  ],
)
def test_images_that_the_model_does_not_take(model, images, sentence):
  with pytest.raises(UserError, match=sentence):
    Evaluator(model)([{"image": images}])
