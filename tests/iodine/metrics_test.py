"""Scores against scikit-learn and float64 NumPy, on random and degenerate partitions."""

import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf

from iodine import metrics


def one_hot(labels, depth):
  """int [B, H, W] -> float32 [B, depth, H, W, 1]."""
  return np.moveaxis(np.eye(depth, dtype=np.float32)[labels], -1, 1)[..., None]


def soft(labels, depth, rng):
  """Probabilities whose argmax over the slots is `labels`."""
  logits = rng.normal(size=[len(labels), depth, *labels.shape[1:], 1])
  logits += 12 * one_hot(labels, depth)
  return tf.nn.softmax(logits.astype(np.float32), axis=1)


def partitions(rng, num_images, num_true, num_pred, size):
  """Predictions that agree with the truth more or less, from not at all to fully."""
  true = rng.integers(num_true, size=[num_images, *size])
  pred = true % num_pred
  noise = rng.uniform(size=true.shape) < np.linspace(0, 1, num_images)[:, None, None]
  return true, np.where(noise, rng.integers(num_pred, size=true.shape), pred)


@pytest.mark.parametrize(
  ("num_true", "num_pred", "size"),
  [(4, 4, (7, 5)), (2, 7, (16, 16)), (11, 3, (9, 9)), (5, 5, (1, 2)), (6, 4, (160, 128))],
)
def test_ari_is_that_of_scikit_learn(num_true, num_pred, size):
  rng = np.random.default_rng(0)
  true, pred = partitions(rng, 8, num_true, num_pred, size)
  masks = one_hot(true, num_true), soft(pred, num_pred, rng)
  expected = [
    sklearn.metrics.adjusted_rand_score(t.ravel(), p.ravel())
    for t, p in zip(true, pred, strict=True)
  ]
  np.testing.assert_allclose(metrics.ari(*masks), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("num_background", [0, 1, 2])
def test_ari_fg_is_that_of_scikit_learn_on_foreground_pixels(num_background):
  rng = np.random.default_rng(1)
  true, pred = partitions(rng, 8, 5, 4, (12, 9))
  masks = one_hot(true, 5), soft(pred, 4, rng)
  expected = [
    sklearn.metrics.adjusted_rand_score(t[t >= num_background], p[t >= num_background])
    for t, p in zip(true, pred, strict=True)
  ]
  np.testing.assert_allclose(metrics.ari_fg(*masks, num_background), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
  ("true", "pred", "expected"),
  [
    ([1, 1, 1, 1], [2, 2, 2, 2], 1.0),  # one object, captured
    ([1, 1, 1, 1], [0, 0, 2, 2], 0.0),  # one object, split
    ([1, 1, 2, 2], [0, 0, 0, 0], 0.0),  # two objects, merged
    ([1, 2, 3, 4], [3, 1, 0, 2], 1.0),  # all singletons
    ([0, 0, 0, 1], [0, 1, 2, 3], 1.0),  # one foreground pixel
    ([0, 1, 1, 2], [3, 0, 0, 1], 1.0),  # a permutation
    ([0, 0, 0, 0], [0, 1, 2, 3], np.nan),  # no foreground
  ],
)
def test_ari_fg_of_degenerate_partitions(true, pred, expected):
  true, pred = np.array(true).reshape(1, 2, 2), np.array(pred).reshape(1, 2, 2)
  score = metrics.ari_fg(one_hot(true, 5), one_hot(pred, 4))
  np.testing.assert_array_equal(score, np.float32([expected]))


def test_one_true_and_one_predicted_cluster_is_exactly_one_in_a_large_image():
  zeros = np.zeros([1, 240, 320], int)
  assert metrics.ari(one_hot(zeros, 3), one_hot(zeros, 4)).numpy() == [1.0]
  assert metrics.ari_fg(one_hot(zeros + 1, 3), one_hot(zeros, 4)).numpy() == [1.0]


def test_true_masks_without_any_pixel_give_nan():
  nothing = np.zeros([1, 3, 4, 4, 1], np.float32)
  assert np.isnan(metrics.ari(nothing, one_hot(np.zeros([1, 4, 4], int), 2)))


def covering_oracle(true, pred, num_background):
  scores = []
  for label in set(true.ravel()) - set(range(num_background)):
    entity = true == label
    segments = [pred == k for k in set(pred.ravel())]
    scores.append(max((entity & s).sum() / (entity | s).sum() for s in segments))
  return np.mean(scores) if scores else np.nan


@pytest.mark.parametrize("num_background", [0, 1, 3])
def test_segmentation_covering_against_sets_of_pixels(num_background):
  rng = np.random.default_rng(2)
  true, pred = partitions(rng, 9, 5, 6, (10, 8))
  true[3] = 0  # no foreground
  true[4] = np.where(true[4] == 3, 0, true[4])  # an entity that is not there
  pred[5] = 2  # a single segment
  expected = [covering_oracle(t, p, num_background) for t, p in zip(true, pred, strict=True)]
  masks = one_hot(true, 5), soft(pred, 6, rng)
  result = metrics.segmentation_covering(*masks, num_background)
  np.testing.assert_allclose(result, expected, rtol=1e-6)
  overlaps = np.asarray(metrics.object_iou(*masks, num_background))
  assert np.isnan(overlaps[3, 1 if num_background == 0 else 0 :]).all()
  covered = np.isfinite(overlaps).any(axis=1)
  np.testing.assert_allclose(np.nanmean(overlaps[covered], 1), result.numpy()[covered], rtol=1e-6)


def test_pixels_of_no_entity_are_scored_by_no_metric():
  rng = np.random.default_rng(6)
  true, pred = partitions(rng, 8, 5, 4, (12, 9))
  counted = rng.uniform(size=true.shape) < 0.6
  masks = one_hot(true, 5) * counted[:, None, :, :, None], soft(pred, 4, rng)
  triples = list(zip(true, pred, counted, strict=True))
  rand = sklearn.metrics.adjusted_rand_score
  expected = [rand(t[c], p[c]) for t, p, c in triples]
  np.testing.assert_allclose(metrics.ari(*masks), expected, rtol=1e-6, atol=1e-7)
  expected = [rand(t[c & (t > 0)], p[c & (t > 0)]) for t, p, c in triples]
  np.testing.assert_allclose(metrics.ari_fg(*masks), expected, rtol=1e-6, atol=1e-7)
  expected = [covering_oracle(t[c], p[c], 1) for t, p, c in triples]
  np.testing.assert_allclose(metrics.segmentation_covering(*masks), expected, rtol=1e-6)


def test_mse_is_a_mean_over_pixels_and_channels():
  rng = np.random.default_rng(3)
  image, reconstruction = rng.uniform(size=[2, 4, 6, 5, 3])
  expected = ((image - reconstruction) ** 2).reshape(4, -1).mean(1)
  np.testing.assert_allclose(metrics.mse(image, reconstruction), expected, rtol=1e-12)


def test_mask_entropy():
  uniform = np.full([1, 4, 3, 3, 1], 0.25, np.float32)
  hard = one_hot(np.zeros([1, 3, 3], int), 4)
  result = metrics.mask_entropy(np.concatenate([uniform, hard, (uniform + hard) / 2]))
  mixed = -0.625 * np.log(0.625) - 3 * 0.125 * np.log(0.125)
  np.testing.assert_allclose(result, [np.log(4), 0, mixed], rtol=1e-6)


def test_without_foreground_there_is_no_score():
  scores = metrics.ari_fg(
    one_hot(np.zeros([2, 3, 3], int), 2), one_hot(np.eye(3, dtype=int)[None].repeat(2, 0), 2)
  )
  assert np.isnan(scores).all()


def test_undecided_pixels_have_no_slot_with_more_than_half():
  masks = np.array([[0.51, 0.49, 0.0], [0.5, 0.25, 0.25], [0.4, 0.3, 0.3], [0.0, 1.0, 0.0]])
  masks = masks.T.reshape(1, 3, 2, 2, 1).astype(np.float32)
  np.testing.assert_array_equal(metrics.undecided_pixels(masks), [0.5])


def test_used_slots_own_a_share_of_the_hard_masks():
  labels = np.zeros([3, 20, 10], int)
  labels[1, 0, 0] = 4  # one pixel of 200 is the documented half percent
  labels[2, :2], labels[2, 5] = 1, 2
  rng = np.random.default_rng(7)
  masks = soft(labels, 5, rng)
  np.testing.assert_array_equal(metrics.used_slots(masks), [1, 2, 3])
  np.testing.assert_array_equal(metrics.used_slots(masks, min_share=0.06), [1, 1, 2])
  uniform = np.full([1, 4, 5, 5, 1], 0.25, np.float32)
  np.testing.assert_array_equal(metrics.used_slots(uniform), [1])
  for share in (0.0, 1.5):
    with pytest.raises(ValueError, match="min_share above 0 and at most 1, got"):
      metrics.used_slots(masks, share)


@pytest.mark.parametrize("prior_stddev", [1.0, 0.8325546])
def test_latent_kl_by_quadrature(prior_stddev):
  mean, stddev = np.array([[0.0, 0.7], [-2.0, 0.1]]), np.array([[1.0, 0.3], [2.0, 0.05]])
  points = np.linspace(-20, 20, 400_001)[:, None, None]
  log_q = -(((points - mean) / stddev) ** 2) / 2 - np.log(stddev)
  log_p = -((points / prior_stddev) ** 2) / 2 - np.log(prior_stddev)
  density = np.exp(log_q) / np.sqrt(2 * np.pi)
  expected = (density * (log_q - log_p)).sum(0) * (points[1, 0, 0] - points[0, 0, 0])
  result = metrics.latent_kl(mean, stddev, prior_stddev)
  np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-9)


def all_scores(true, pred):
  return (
    metrics.ari(true, pred),
    metrics.ari_fg(true, pred),
    metrics.segmentation_covering(true, pred),
    metrics.mask_entropy(pred),
    metrics.undecided_pixels(pred),
    metrics.used_slots(pred),
  )


def test_an_image_scores_the_same_alone_and_in_any_batch():
  rng = np.random.default_rng(4)
  true, pred = partitions(rng, 6, 4, 5, (11, 7))
  true, pred = one_hot(true, 4), soft(pred, 5, rng)
  together = all_scores(true, pred)
  alone = zip(*(all_scores(true[i : i + 1], pred[i : i + 1]) for i in range(6)), strict=True)
  for batch, single in zip(together, alone, strict=True):
    np.testing.assert_array_equal(batch, tf.concat(single, axis=0))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_scores_are_the_same_compiled_and_with_an_unknown_batch_size(jit_compile):
  rng = np.random.default_rng(5)
  true, pred = partitions(rng, 3, 4, 5, (6, 6))
  true[0] = 0
  true, pred = one_hot(true, 4), soft(pred, 5, rng)
  signature = [tf.TensorSpec([None, 4, 6, 6, 1]), tf.TensorSpec([None, 5, 6, 6, 1])]
  compiled = tf.function(all_scores, input_signature=signature, jit_compile=jit_compile)
  for expected, result in zip(all_scores(true, pred), compiled(true, pred), strict=True):
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize(
  ("true_shape", "pred_shape"),
  [
    ([2, 3, 4, 5], [2, 3, 4, 5]),
    ([2, 3, 4, 5, 1], [2, 3, 5, 4, 1]),
    ([2, 3, 4, 5, 1], [1, 3, 4, 5, 1]),
    ([2, 3, 4, 5, 3], [2, 3, 4, 5, 3]),
  ],
)
def test_shapes_that_do_not_fit_are_refused(true_shape, pred_shape):
  with pytest.raises(ValueError, match=r"expected true_mask \[B, L, H, W, 1\]"):
    metrics.ari(np.zeros(true_shape, np.float32), np.zeros(pred_shape, np.float32))


def test_a_scene_of_background_alone_has_no_score():
  masks = one_hot(np.zeros([1, 2, 2], int), 3)
  for metric in (metrics.ari_fg, metrics.segmentation_covering):
    assert np.isnan(metric(masks, masks, num_background=3)).all()
    with pytest.raises(ValueError, match=r"num_background from 0 to 3.* got 4"):
      metric(masks, masks, num_background=4)


def test_reconstruction_of_another_shape_is_refused():
  with pytest.raises(ValueError, match=r"\(2, 4, 4, 3\), got \(2, 4, 4, 1\)"):
    metrics.mse(np.zeros([2, 4, 4, 3]), np.zeros([2, 4, 4, 1]))


def test_pixels_of_no_entity_are_not_scored():
  """Where Shapes overlap the true mask is zero for all: as if these pixels were not there."""
  rng = np.random.default_rng(4)
  true, pred = rng.integers(4, size=(3, 8, 8)), rng.integers(3, size=(3, 8, 8))
  nobody = rng.random((3, 8, 8)) < 0.3
  true_mask = one_hot(true, 4) * ~nobody[:, None, ..., None]
  pred_mask = soft(pred, 3, rng)
  for i in range(3):
    counted = ~nobody[i]
    foreground = counted & (true[i] > 0)
    for score, pixels in ((metrics.ari, counted), (metrics.ari_fg, foreground)):
      wanted = sklearn.metrics.adjusted_rand_score(true[i][pixels], pred[i][pixels])
      np.testing.assert_allclose(score(true_mask, pred_mask)[i], wanted, atol=1e-6)
