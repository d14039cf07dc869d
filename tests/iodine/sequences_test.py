"""Scores of clips against scikit-learn on flattened clips, and against tracks counted by hand."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf

from iodine import matching, sequences


def one_hot(labels, depth):
  """int [T, H, W] -> float32 [T, depth, H, W, 1]."""
  return np.moveaxis(np.eye(depth, dtype=np.float32)[labels], -1, 1)[..., None]


def random_clip(seed, num_frames=5, num_true=5, num_pred=4, size=(8, 9)):
  """(true labels, predicted labels), [T, H, W] each."""
  rng = np.random.default_rng(seed)
  true = rng.integers(num_true, size=[num_frames, *size])
  wrong = rng.uniform(size=true.shape) < 0.3
  return true, np.where(wrong, rng.integers(num_pred, size=true.shape), true % num_pred)


def moving_clip(seed, num_frames=12, size=24):
  """Squares that move, leave and hide one another; slots that waver and change places."""
  rng = np.random.default_rng(seed)
  true = np.zeros([num_frames, size, size], int)
  pred = np.zeros_like(true)
  place, speed = rng.uniform(2, size - 2, [5, 2]), rng.uniform(-2, 2, [5, 2])
  slot = rng.permutation(5)
  y, x = np.mgrid[:size, :size]
  for t in range(num_frames):
    if rng.uniform() < 0.3:
      a, b = rng.integers(5, size=2)
      slot[[a, b]] = slot[[b, a]]
    pred[t] = slot[0]
    for i in range(1, 5):
      at = place[i] + speed[i] * t
      true[t][(abs(y - at[0]) < 4) & (abs(x - at[1]) < 4)] = i
      at = at + rng.uniform(-1.5, 1.5, 2)
      own = slot[i] if rng.uniform() < 0.85 else slot[rng.integers(5)]
      pred[t][(abs(y - at[0]) < 4) & (abs(x - at[1]) < 4)] = own
  return one_hot(true, 5), one_hot(pred, 5)


@pytest.mark.parametrize("num_background", [0, 1, 2])
def test_joint_ari_is_that_of_scikit_learn_on_the_flattened_clip(num_background):
  true, pred = random_clip(0)
  counted = true >= num_background
  expected = sklearn.metrics.adjusted_rand_score(true[counted], pred[counted])
  result = sequences.clip_ari_fg(one_hot(true, 5), one_hot(pred, 4), num_background)
  assert result.shape == []
  np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("num_background", [0, 1, 2])
def test_ari_by_frame_is_that_of_scikit_learn(num_background):
  true, pred = random_clip(1)
  true[2] = 0
  expected = [
    sklearn.metrics.adjusted_rand_score(t[t >= num_background], p[t >= num_background])
    for t, p in zip(true, pred, strict=True)
  ]
  if num_background:
    expected[2] = np.nan  # nothing to be seen; scikit-learn calls this 1
  result = sequences.frame_ari_fg(one_hot(true, 5), one_hot(pred, 4), num_background)
  np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)


def test_slots_that_change_places_cost_the_joint_score_alone():
  true = np.tile([0, 1, 1, 2, 2], [4, 3, 1])
  pred = np.where(np.arange(4)[:, None, None] < 2, true, (3 - true) % 3)
  masks = one_hot(true, 3), one_hot(pred, 3)
  np.testing.assert_array_equal(sequences.frame_ari_fg(*masks), [1, 1, 1, 1])
  assert sequences.clip_ari_fg(*masks).numpy() < 0.05
  assert sequences.clip_ari_fg(masks[0], masks[0]).numpy() == 1


@hypothesis.given(st.integers(0, 2**32 - 1), st.permutations(range(4)), st.permutations(range(5)))
@hypothesis.settings(max_examples=20)
def test_neither_the_order_of_slots_nor_that_of_frames_matters(seed, slots, frames):
  true, pred = random_clip(seed)
  masks = one_hot(true, 5), one_hot(pred, 4)
  mixed = masks[0][frames], masks[1][frames][:, slots]
  expected = sequences.clip_ari_fg(*masks)
  np.testing.assert_allclose(sequences.clip_ari_fg(*mixed), expected, rtol=1e-6)
  by_frame = sequences.frame_ari_fg(*masks).numpy()
  np.testing.assert_allclose(sequences.frame_ari_fg(*mixed), by_frame[frames], rtol=1e-6)


def test_degenerate_clips():
  zeros = np.zeros([3, 4, 4], int)
  one_object = one_hot(zeros + 1, 2), one_hot(zeros, 3)
  assert sequences.clip_ari_fg(*one_object).numpy() == 1  # a zero denominator, as in SAVi
  nothing = one_hot(zeros, 2), one_hot(zeros, 3)
  assert np.isnan(sequences.clip_ari_fg(*nothing))
  assert np.isnan(sequences.frame_ari_fg(*nothing)).all()


def test_a_batch_of_clips_scores_as_its_clips_compiled_and_with_unknown_sizes():
  clips = [random_clip(seed) for seed in range(3)]
  true = np.stack([one_hot(t, 5) for t, _ in clips])
  pred = np.stack([one_hot(p, 4) for _, p in clips])
  signature = [tf.TensorSpec([None, None, 5, 8, 9, 1]), tf.TensorSpec([None, None, 4, 8, 9, 1])]
  for score in (sequences.clip_ari_fg, sequences.frame_ari_fg):
    batch = tf.function(score, input_signature=signature)(true, pred)
    alone = [score(t, p) for t, p in zip(true, pred, strict=True)]
    np.testing.assert_array_equal(batch, tf.stack(alone))


def strip(*rows):
  """Frames of one row of pixels: strings of labels."""
  return np.array([[[int(c) for c in row]] for row in rows])


def test_stability_counts_what_became_of_each_object():
  true = one_hot(strip("011122", "011122", "011122", "000022", "011122"), 4)
  slots = one_hot(strip("011122", "011122", "022211", "000011", "012311"), 4)
  found = sequences.slot_stability(true, slots)
  # Object 1: kept, switched, leaves, comes back in pieces. 2: kept, switched, kept, kept.
  assert found == sequences.Stability(kept=4, switched=2, lost=0, out_of_view=2)
  assert found.share == pytest.approx(4 / 6)
  # In pieces in two frames: lost; entity 3 is never there and counts nowhere.
  slots = one_hot(strip("012322", "012322", "011122", "011122", "011122"), 4)
  found = sequences.slot_stability(true, slots)
  assert found == sequences.Stability(kept=4, switched=0, lost=2, out_of_view=2)
  twice = sum([found, found], sequences.Stability())
  assert twice.lost == 4
  assert twice.share == found.share


def test_a_clip_of_one_frame_or_without_objects_has_no_stability():
  labels = strip("0112")
  assert np.isnan(sequences.slot_stability(one_hot(labels, 3), one_hot(labels, 3)).share)
  nothing = one_hot(strip("0000", "0000"), 3)
  assert sequences.slot_stability(nothing, nothing) == sequences.Stability()
  assert np.isnan(sequences.track(nothing, nothing).mota)
  assert np.isnan(sequences.track(nothing, nothing).motp)


def test_tracks_counted_by_hand():
  true = one_hot(strip("00111222", "00111222", "00111000", "00111222", "00111222"), 3)
  slots = one_hot(strip("00111222", "00112222", "00111000", "00111333", "00123222"), 4)
  # Frame 1: object 1 shares 2 of 3 pixels with slot 1, object 2 shares 3 of 4 with slot 2.
  # Frame 3: object 2 comes back in slot 3, a switch. Frame 4: object 1 is lost, slots 1 and 3 hold
  # a piece of it: two false positives; object 2 in slot 2 again (3 of 4 pixels): a switch.
  found = sequences.track(true, slots)
  assert (found.objects, found.matches, found.misses) == (9, 8, 1)
  assert (found.false_positives, found.switches) == (2, 2)
  assert found.mota == pytest.approx(1 - 5 / 9)
  assert found.motp == pytest.approx((1 + 1 + 2 / 3 + 3 / 4 + 1 + 1 + 1 + 3 / 4) / 8)
  # Pieces of one pixel of eight are no hypotheses where a slot must own a fifth of the frame.
  assert sequences.track(true, slots, min_share=0.2).false_positives == 0


@pytest.mark.parametrize(
  ("seed", "expected", "mota", "motp"),
  [
    (0, (35, 30, 5, 12, 13), 0.1428571428571429, 0.7882220866177012),
    (1, (37, 32, 5, 12, 6), 0.3783783783783784, 0.7902105831180268),
    (2, (47, 38, 9, 15, 8), 0.3191489361702128, 0.7937192794637845),
  ],
)
def test_tracking_scores_are_those_of_py_motmetrics(seed, expected, mota, motp):
  """Numbers of py-motmetrics 1.4.0 on the same overlaps; it counts distances, 1 - IoU."""
  found = sequences.track(*moving_clip(seed))
  counts = (found.objects, found.matches, found.misses, found.false_positives, found.switches)
  assert counts == expected
  assert found.mota == pytest.approx(mota)
  assert found.motp == pytest.approx(motp)


def test_perfect_slots_track_perfectly_whatever_their_order():
  true, _ = moving_clip(3)
  found = sequences.track(true, true[:, ::-1])
  assert found.mota == 1 == found.motp
  assert sequences.slot_stability(true, true[:, ::-1]).share == 1


def test_linked_slots_are_in_the_order_of_the_first_frame():
  rng = np.random.default_rng(4)
  label = np.tile(np.arange(16).reshape(4, 4) // 4, [6, 1, 1])
  masks = 0.6 * one_hot(label, 4) + 0.1
  shuffled = np.stack([rng.permutation(4) for _ in masks])
  mixed = np.stack([m[order] for m, order in zip(masks, shuffled, strict=True)])
  order = sequences.link_slots(mixed)
  np.testing.assert_array_equal(order[0], np.arange(4))
  linked = np.take_along_axis(mixed, order[:, :, None, None, None], axis=1)
  np.testing.assert_array_equal(linked, np.broadcast_to(mixed[0], linked.shape))
  with pytest.raises(ValueError, match=r"masks \[T, K, H, W, 1\], got \[4, 4\]"):
    sequences.link_slots(np.zeros([4, 4]))


@pytest.mark.parametrize(
  ("true_shape", "pred_shape", "message"),
  [
    ([2, 3, 4, 4, 1], [1, 2, 3, 4, 4, 1], "masks of clips"),
    ([3, 4, 4, 1], [3, 4, 4, 1], "masks of clips"),
    ([2, 5, 3, 4, 4, 1], [2, 6, 3, 4, 4, 1], "as many clips and frames"),
    ([3, 5, 3, 4, 4, 1], [5, 3, 3, 4, 4, 1], "as many clips and frames"),
    ([2, 3, 4, 4, 1], [3, 3, 4, 4, 1], r"true_mask \[B, L, H, W, 1\]"),
    ([2, 3, 4, 5, 1], [2, 3, 4, 4, 1], r"true_mask \[B, L, H, W, 1\]"),
  ],
)
def test_shapes_that_do_not_fit_are_refused(true_shape, pred_shape, message):
  for score in (sequences.clip_ari_fg, sequences.frame_ari_fg):
    with pytest.raises(ValueError, match=message):
      score(np.zeros(true_shape, np.float32), np.zeros(pred_shape, np.float32))


def test_stability_and_tracking_refuse_clips_of_other_lengths():
  for score in (sequences.slot_stability, sequences.track):
    with pytest.raises(ValueError, match=r"got \[2, 3, 4, 4, 1\] and \[3, 3, 4, 4, 1\]"):
      score(np.zeros([2, 3, 4, 4, 1]), np.zeros([3, 3, 4, 4, 1]))
  assert matching.MIN_IOU == 0.5
