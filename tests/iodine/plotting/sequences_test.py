"""Clips as figures and as pixels."""

import matplotlib.colors as mcolors
import numpy as np
import pytest

from iodine import plotting
from tests.iodine.plotting.support import border, picture, scenes


def test_a_column_a_frame_and_a_row_for_everything_given():
  frames, true_masks, reconstructions, masks, means = scenes(num_images=3, num_slots=4)
  figure = plotting.sequence(
    frames, masks, reconstructions, means, true_masks=true_masks, predictions=frames[::-1]
  )
  rows = np.reshape(figure.axes, [5 + 4, 3])
  for t in range(3):
    np.testing.assert_allclose(picture(rows[0, t]), frames[t], rtol=1e-6)
    np.testing.assert_allclose(picture(rows[2, t]), frames[2 - t], rtol=1e-6)
    np.testing.assert_allclose(picture(rows[3, t]), reconstructions[t], rtol=1e-6)
    np.testing.assert_allclose(picture(rows[4, t]), plotting.mix_masks(masks[t]), rtol=1e-6)
    for k in range(4):
      shown = masks[t, k] * means[t, k] + 1 - masks[t, k]
      np.testing.assert_allclose(picture(rows[5 + k, t]), shown, rtol=1e-6)
      np.testing.assert_allclose(border(rows[5 + k, t]), mcolors.to_rgb(plotting.PALETTE[k]))
  labels = [text.get_text() for text in figure.texts]
  assert labels[:3] == ["t = 1", "t = 2", "t = 3"]
  with_masks = plotting.sequence(frames, masks, predictions=frames, prediction_masks=masks[:, ::-1])
  row = np.reshape(with_masks.axes, [4, 3])[2]
  np.testing.assert_allclose(picture(row[1]), plotting.mix_masks(masks[1, ::-1]), rtol=1e-6)
  assert labels[3:8] == ["Frame", "True masks", "Prediction", "Reconstr.", "Masks"]


def test_an_object_has_one_colour_through_the_clip():
  """That of the slot that holds most of it: where slots change places, the colours differ."""
  _, true_masks, _, masks, _ = scenes(num_images=5)
  masks[4] = masks[4, [0, 2, 1]]  # the last frame in other slots
  figure = plotting.sequence(np.ones([5, 6, 8, 3]), masks, true_masks=true_masks)
  true, mixed = np.reshape(figure.axes, [3, 5])[1:]
  colors = plotting.slot_colors(3)
  for t in range(5):
    np.testing.assert_allclose(picture(true[t])[0, 4], colors[1], rtol=1e-6)
    np.testing.assert_allclose(picture(true[t])[0, 7], colors[2], rtol=1e-6)
  assert np.abs(picture(mixed[4])[0, 7] - picture(mixed[0])[0, 7]).max() > 0.3


@pytest.mark.parametrize(
  ("num_frames", "max_columns", "expected"),
  [(16, 8, range(1, 17, 2)), (33, 8, range(1, 34, 5)), (3, 8, range(1, 4)), (9, 1, [1])],
)
def test_of_a_long_clip_every_nth_frame_is_shown(num_frames, max_columns, expected):
  frames = np.linspace(0, 1, num_frames)[:, None, None, None] * np.ones([1, 4, 4, 1])
  masks = np.ones([num_frames, 1, 4, 4, 1])
  figure = plotting.sequence(frames, masks, max_columns=max_columns)
  shown = figure.axes[: len(expected)]
  for axis, t in zip(shown, expected, strict=True):
    np.testing.assert_allclose(picture(axis)[0, 0, 0], frames[t - 1, 0, 0, 0], rtol=1e-6)
  assert [text.get_text() for text in figure.texts][: len(expected)] == [
    f"t = {t}" for t in expected
  ]


def test_animations_have_the_parts_side_by_side():
  frames, true_masks, reconstructions, masks, _ = scenes(num_images=3, size=(5, 7))
  pixels = plotting.clip_frames(
    frames, masks, reconstructions, true_masks=true_masks, opacity=0.5, scale=3
  )
  gap = 3 * 1
  assert pixels.dtype == np.uint8
  assert pixels.shape == (3, 16, 4 * 21 + 3 * gap + 1, 3)  # made even
  parts = [pixels[:, 1:15:3, x + 1 : x + 21 : 3] / 255.0 for x in range(0, 96, 24)]
  np.testing.assert_allclose(parts[0], frames, atol=1 / 255)
  np.testing.assert_allclose(parts[1], reconstructions, atol=1 / 255)
  mixed = np.stack([plotting.mix_masks(m) for m in masks])
  over = 0.5 * frames.mean(-1, keepdims=True) + 0.5 * mixed
  np.testing.assert_allclose(parts[3], over, atol=1 / 255)
  objects = [plotting.BACKGROUND, plotting.PALETTE[1], plotting.PALETTE[2]]
  expected = np.einsum("tlhwi,lc->thwc", true_masks, [mcolors.to_rgb(c) for c in objects])
  np.testing.assert_allclose(parts[2], expected, atol=1 / 255)


def test_small_frames_are_enlarged_and_large_ones_are_not():
  for size, height in ((35, 140), (64, 128), (128, 128), (200, 200)):
    pixels = plotting.clip_frames(np.ones([1, size, size, 1]), np.ones([1, 2, size, size, 1]))
    assert pixels.shape[1] == height
    assert pixels.shape[2] % 2 == 0


def test_what_does_not_fit_is_refused():
  frames, true_masks, reconstructions, masks, means = scenes()
  with pytest.raises(ValueError, match=r"masks \[T=2, K, H=6, W=8, 1\], got \[1, 3, 6, 8, 1\]"):
    plotting.sequence(frames, masks[:1])
  with pytest.raises(ValueError, match=r"means \[T=2, K=3, .* got \[2, 2, 6, 8, 3\]"):
    plotting.sequence(frames, masks, reconstructions, means[:, :2])
  with pytest.raises(ValueError, match=r"true_masks \[T=2, L, .* got \[1, 3, 6, 8, 1\]"):
    plotting.clip_frames(frames, masks, true_masks=true_masks[:1])
  with pytest.raises(ValueError, match="max_columns of at least 1, got 0"):
    plotting.sequence(frames, masks, max_columns=0)
  with pytest.raises(ValueError, match="expected 2 times, got 1"):
    plotting.sequence(frames, masks, times=[1])
  for bad in ({"scale": 0}, {"opacity": 1.5}):
    with pytest.raises(ValueError, match=r"scale of at least 1 and an opacity in \[0, 1\], got"):
      plotting.clip_frames(frames, masks, **bad)
