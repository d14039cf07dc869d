"""Figures hold the pixels and colours they were given, and refuse what does not fit."""

import matplotlib.colors as mcolors
import numpy as np
import pytest

from iodine import plotting
from tests.iodine.plotting.support import border, picture, scenes


@pytest.mark.parametrize("channels", [1, 3])
def test_decomposition_shows_what_it_was_given(channels):
  images, true_masks, reconstructions, masks, means = scenes(channels=channels)
  axes = plotting.decomposition(images, true_masks, reconstructions, masks, means).axes
  assert len(axes) == 2 * (4 + 3)
  for n in range(2):
    row = axes[7 * n : 7 * n + 7]
    shown = [np.broadcast_to(x[n], [6, 8, 3]) for x in (images, reconstructions)]
    np.testing.assert_allclose(picture(row[0]), shown[0], rtol=1e-6)
    np.testing.assert_allclose(picture(row[2]), shown[1], rtol=1e-6)
    np.testing.assert_allclose(picture(row[3]), plotting.mix_masks(masks[n]), rtol=1e-6)
    backdrop = 1.0 if channels == 3 else 0.5
    for k in range(3):
      expected = masks[n, k] * means[n, k] + (1 - masks[n, k]) * backdrop
      expected = np.broadcast_to(expected, [6, 8, 3])
      np.testing.assert_allclose(picture(row[4 + k]), expected, rtol=1e-6)


def test_borders_have_the_colours_of_the_masks():
  figure = plotting.decomposition(*scenes(num_slots=5))
  hard = np.eye(5)[:, :, None, None, None]  # image k: all of it is slot k
  for k, axis in enumerate(figure.axes[4:9]):
    np.testing.assert_allclose(border(axis), plotting.mix_masks(hard[k])[0, 0])
    np.testing.assert_allclose(border(axis), mcolors.to_rgb(plotting.PALETTE[k]))


def test_a_true_object_has_the_colour_of_the_slot_that_holds_it():
  images, true_masks, reconstructions, masks, means = scenes()
  swapped = [2, 0, 1]
  figure = plotting.decomposition(
    images, true_masks, reconstructions, masks[:, swapped], means[:, swapped]
  )
  shown, colors = picture(figure.axes[1]), plotting.slot_colors(3)
  np.testing.assert_allclose(shown[0, 0], mcolors.to_rgb(plotting.BACKGROUND), rtol=1e-6)
  np.testing.assert_allclose(shown[0, 4], colors[swapped.index(1)], rtol=1e-6)
  np.testing.assert_allclose(shown[0, 7], colors[swapped.index(2)], rtol=1e-6)


def test_decomposition_without_true_masks_and_with_variants():
  images, _, reconstructions, masks, means = scenes()
  logits = np.log(masks)
  variants = ("unmasked", "mask", "logits")
  figure = plotting.decomposition(
    images, None, reconstructions, masks, means, logits, slots=variants, row_labels=["a", "b"]
  )
  assert len(figure.axes) == 2 * (3 + 3 * 3)
  slots = figure.axes[3:12]
  np.testing.assert_allclose(picture(slots[1]), means[0, 1], rtol=1e-6)
  np.testing.assert_allclose(picture(slots[4])[..., :1], masks[0, 1], rtol=1e-6)
  scaled = (logits[0] - logits[0].min()) / (logits[0].max() - logits[0].min())
  np.testing.assert_allclose(picture(slots[7])[..., :1], scaled[1], atol=1e-6)
  assert {"a", "b", "mask", "logits"} <= {text.get_text() for text in figure.texts}


def test_pictures_keep_their_shape_and_do_not_overlap():
  figure = plotting.decomposition(*scenes(num_slots=7, size=(6, 9)))
  width, height = figure.get_size_inches()
  boxes = [axis.get_position() for axis in figure.axes]
  for box in boxes:
    assert box.width * width / (box.height * height) == pytest.approx(9 / 6)
    assert 0 <= box.x0 < box.x1 <= 1
    assert 0 <= box.y0 < box.y1 <= 1
  assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_refinement_has_a_row_for_each_iteration():
  images, true_masks, reconstructions, masks, means = scenes(num_images=4)
  figure = plotting.refinement(
    images[0], masks, means, reconstructions, true_masks[0], iterations=[1, 2, 4, 8]
  )
  assert len(figure.axes) == 2 + 4 * (2 + 3)
  np.testing.assert_allclose(picture(figure.axes[0]), images[0], rtol=1e-6)
  for t in range(4):
    row = figure.axes[2 + 5 * t :]
    np.testing.assert_allclose(picture(row[0]), reconstructions[t], rtol=1e-6)
    np.testing.assert_allclose(picture(row[1]), plotting.mix_masks(masks[t]), rtol=1e-6)
  assert {"t = 1", "t = 8"} <= {text.get_text() for text in figure.texts}


def test_logits_of_all_iterations_have_one_scale():
  images, _, reconstructions, masks, means = scenes(num_images=3)
  logits = np.log(masks) * np.array([1, 2, 4])[:, None, None, None, None]
  figure = plotting.refinement(
    images[0], masks, means, reconstructions, mask_logits=logits, slots="logits"
  )
  low, high = logits.min(), logits.max()
  for t in range(3):
    for k in range(3):
      shown = picture(figure.axes[1 + 5 * t + 2 + k])[..., :1]
      np.testing.assert_allclose(shown, (logits[t, k] - low) / (high - low), atol=1e-6)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"images": (2, 6, 8)}, r"images \[N, H, W, C=1 or 3\], got \[2, 6, 8\]"),
    ({"images": (2, 6, 8, 4)}, r"images \[N, H, W, C=1 or 3\], got \[2, 6, 8, 4\]"),
    ({"masks": (2, 3, 8, 6, 1)}, r"masks \[N=2, K, H=6, W=8, 1\], got \[2, 3, 8, 6, 1\]"),
    ({"means": (2, 4, 6, 8, 3)}, r"means \[N=2, K=3, H=6, W=8, .*got \[2, 4, 6, 8, 3\]"),
    ({"true_masks": (3, 3, 6, 8, 1)}, r"true_masks \[N=2, L, .* got \[3, 3, 6, 8, 1\]"),
    ({"reconstructions": (2, 6, 8, 1)}, r"reconstructions .* got \[2, 6, 8, 1\]"),
  ],
)
def test_shapes_that_do_not_fit_are_refused(change, message):
  names = ("images", "true_masks", "reconstructions", "masks", "means")
  arrays = dict(zip(names, scenes(), strict=True))
  arrays.update({name: np.zeros(shape) for name, shape in change.items()})
  with pytest.raises(ValueError, match=message):
    plotting.decomposition(**arrays)


def test_unknown_variants_missing_logits_and_labels_are_refused():
  with pytest.raises(ValueError, match="masked, unmasked, mask, logits, got 'soft'"):
    plotting.decomposition(*scenes(), slots="soft")
  with pytest.raises(ValueError, match="needs mask_logits"):
    plotting.decomposition(*scenes(), slots="logits")
  with pytest.raises(ValueError, match="expected 2 row_labels, got 1"):
    plotting.decomposition(*scenes(), row_labels=["a"])
  with pytest.raises(ValueError, match=r"ARI \[N, X\], got \[3\]"):
    plotting.curves_per_iteration(np.ones(3), np.ones([3, 1]), np.ones([3, 1]))


def test_panels_show_models_of_other_sizes_and_slots_side_by_side():
  wide = scenes(num_images=2, num_slots=3, size=(4, 8))
  gray = scenes(num_images=1, num_slots=2, channels=1, size=(6, 6))
  runs = {
    "wide": plotting.Panel(wide[0], wide[2], wide[3], wide[4]),
    "gray": plotting.Panel(gray[0], gray[2], gray[3], gray[4], gray[1]),
  }
  figure = plotting.panels(runs)
  assert len(figure.axes) == 2 * (3 + 3) + (4 + 2)
  first, last = figure.axes[:6], figure.axes[12:]
  np.testing.assert_allclose(picture(first[0]), wide[0][0], rtol=1e-6)
  np.testing.assert_allclose(picture(first[2]), plotting.mix_masks(wide[3][0]), rtol=1e-6)
  np.testing.assert_allclose(picture(last[2])[..., :1], gray[2][0], rtol=1e-6)
  np.testing.assert_allclose(border(last[5]), mcolors.to_rgb(plotting.PALETTE[1]))
  shown = {text.get_text() for text in figure.texts}
  assert {"wide", "gray", "Image", "True masks", "Reconstr.", "Masks", "Slot 3"} <= shown
  width, height = figure.get_size_inches()
  boxes = [axis.get_position() for axis in figure.axes]
  assert boxes[0].width * width / (boxes[0].height * height) == pytest.approx(2)
  assert boxes[12].width * width == pytest.approx(boxes[12].height * height)
  # The same thing stands on the same line.
  middle = [(box.y0 + box.y1) / 2 for box in boxes]
  assert middle[2] == pytest.approx(middle[12 + 3])
  assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_panels_refuse_what_does_not_fit():
  images, _, reconstructions, masks, means = scenes()
  with pytest.raises(ValueError, match="at least one panel"):
    plotting.panels({})
  with pytest.raises(ValueError, match=r"means \[N=2, K=3, .* got \[2, 2,"):
    plotting.panels({"a": plotting.Panel(images, reconstructions, masks, means[:, :2])})
