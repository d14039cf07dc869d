"""Slots and objects by the overlap of hard masks, against scikit-learn and all assignments."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import sklearn.metrics

from iodine import factors, matching


def one_hot(labels, depth):
  """int [N, H, W] -> float64 [N, depth, H, W, 1]."""
  return np.moveaxis(np.eye(depth)[labels], -1, 1)[..., None]


def partition(seed, num_images=4, num_true=4, num_pred=5, size=(6, 7)):
  """True labels and slot probabilities that agree with them more or less."""
  rng = np.random.default_rng(seed)
  true = rng.integers(num_true, size=[num_images, *size])
  wrong = rng.uniform(size=true.shape) < rng.uniform(size=[num_images, 1, 1])
  segments = np.where(wrong, rng.integers(num_pred, size=true.shape), true)
  noise = rng.dirichlet(np.ones(num_pred), size=true.shape)  # [N, H, W, K]
  masks = 0.4 * np.moveaxis(noise, -1, 1)[..., None] + 0.6 * one_hot(segments, num_pred)
  return true, segments, masks


@pytest.mark.parametrize("num_background", [0, 1, 2])
def test_overlap_is_the_jaccard_score_of_hard_masks_on_foreground_pixels(num_background):
  true, segments, masks = partition(0)
  true[2] = 0
  found = matching.object_slot_iou(one_hot(true, 4), masks, num_background)
  assert found.shape == (4, 4 - num_background, 5)
  for n, entity, k in np.ndindex(*found.shape):
    counted = true[n] >= num_background
    expected = (
      sklearn.metrics.jaccard_score(
        true[n][counted] == num_background + entity, segments[n][counted] == k, zero_division=0.0
      )
      if counted.any()
      else 0.0
    )
    assert found[n, entity, k] == pytest.approx(expected), (n, entity, k)


@pytest.mark.parametrize("min_iou", [0.0, 0.2])
def test_matching_maximises_the_overlap_over_all_assignments(min_iou):
  for seed in range(5):
    true, _, masks = partition(seed)
    slots = matching.match_slots(one_hot(true, 4), masks, min_iou=min_iou)
    assert (slots[:, 0] == -1).all()
    iou = matching.object_slot_iou(one_hot(true, 4), masks)
    iou = np.where(iou > min_iou, iou, 0)
    for n in range(len(true)):
      best = max(iou[n, range(3), p].sum() for p in itertools.permutations(range(5), 3))
      held = slots[n, 1:] >= 0
      total = iou[n, np.nonzero(held)[0], slots[n, 1:][held]].sum()
      assert total == pytest.approx(best)


@hypothesis.given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6))
@hypothesis.settings(max_examples=50)
def test_above_one_half_every_pair_is_found_and_no_slot_holds_two_objects(seed, entities, slots):
  true, _, masks = partition(seed, 2, entities, max(slots, entities))
  true = one_hot(true, entities)
  found = matching.match_slots(true, masks, num_background=0)
  iou = matching.object_slot_iou(true, masks, num_background=0)
  for n in range(2):
    pairs = {(entity, k) for entity, k in enumerate(found[n]) if k >= 0}
    assert pairs == set(zip(*np.nonzero(iou[n] > 0.5), strict=True))
    held = [k for _, k in pairs]
    assert len(held) == len(set(held))


def test_a_slot_that_owns_the_whole_image_holds_no_object_of_several():
  """Softmax masks share something with every object."""
  true, _, _ = partition(1)
  masks = np.full([4, 5, 6, 7, 1], 0.05)
  masks[:, 3] = 0.8
  assert (matching.match_slots(one_hot(true, 4), masks) == -1).all()
  # The only object of an image is held: that the ground is in its slot says nothing of objects.
  assert matching.match_slots(one_hot(np.minimum(true, 1), 2), masks)[:, 1].tolist() == [3] * 4


def test_exactly_one_half_is_not_enough():
  true = one_hot(np.array([[[1, 1, 2, 2]]]), 3)
  halves = one_hot(np.array([[[0, 1, 1, 1]]]), 2)
  assert matching.match_slots(true, halves).tolist() == [[-1, -1, 1]]  # 1/2 and 2/3
  assert factors.match_slots(true, halves, min_iou=0.49).tolist() == [[-1, 0, 1]]


def test_entities_without_a_pixel_and_pixels_without_an_entity_count_nowhere():
  true = one_hot(np.array([[[1, 1, 1, 3, 3, 3]]]), 4)
  true[:, :, :, 2] = 0  # nobody's
  masks = one_hot(np.array([[[0, 0, 1, 1, 1, 1]]]), 2)
  assert matching.match_slots(true, masks).tolist() == [[-1, 0, -1, 1]]
  np.testing.assert_array_equal(matching.object_slot_iou(true, masks)[0], [[1, 0], [0, 0], [0, 1]])


@pytest.mark.parametrize(
  ("true_shape", "shape"),
  [
    ([1, 2, 3, 3, 1], [2, 2, 3, 3, 1]),
    ([2, 3, 3, 1], [2, 3, 3, 1]),
    ([1, 2, 3, 4, 1], [1, 2, 4, 3, 1]),
  ],
)
def test_shapes_that_do_not_fit_are_refused(true_shape, shape):
  with pytest.raises(ValueError, match=r"expected true_masks \[N, L, H, W, 1\] and .* got \["):
    matching.match_slots(np.zeros(true_shape), np.zeros(shape))


def test_more_background_than_entities_is_refused():
  masks = np.ones([1, 2, 3, 3, 1])
  with pytest.raises(ValueError, match=r"num_background from 0 to 2, .* got 3"):
    matching.match_slots(masks, masks, num_background=3)


def test_entities_that_are_all_background_have_no_slot():
  """An empty room of the Objects Room: sky, floor and walls."""
  true_masks = np.zeros([2, 3, 4, 5, 1])
  true_masks[:, 1] = 1
  masks = np.full([2, 4, 4, 5, 1], 0.25)
  assert matching.object_slot_iou(true_masks, masks, 3).shape == (2, 0, 4)
  np.testing.assert_array_equal(matching.match_slots(true_masks, masks, 3), np.full([2, 3], -1))
