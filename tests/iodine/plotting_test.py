"""Figures hold the pixels, colours and numbers they were given, and refuse what does not fit."""

import io

import matplotlib
import matplotlib.colors as mcolors
import numpy as np
import pytest

from iodine import factors, plotting


def scenes(num_images=2, num_slots=3, channels=3, size=(6, 8)):
  """Images whose slot k holds entity k: each a vertical stripe."""
  rng = np.random.default_rng(0)
  label = np.broadcast_to(np.arange(size[1]) * num_slots // size[1], (num_images, *size))
  true_masks = np.moveaxis(np.eye(num_slots)[label], -1, 1)[..., None]
  masks = 0.7 * true_masks + 0.3 / num_slots
  means = rng.uniform(size=[num_images, num_slots, *size, channels])
  images = rng.uniform(size=[num_images, *size, channels])
  return images, true_masks, (masks * means).sum(1), masks, means


def picture(axis):
  (image,) = axis.get_images()
  return np.asarray(image.get_array())


def border(axis):
  (color,) = {mcolors.to_rgb(spine.get_edgecolor()) for spine in axis.spines.values()}
  return color


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


def test_curves_are_medians_over_images_and_leave_out_nan():
  rng = np.random.default_rng(1)
  ari, mse, kl = rng.uniform(size=[3, 9, 5])
  ari[0], ari[:, 4] = np.nan, np.nan
  figure = plotting.curves_per_iteration(
    {"a": ari, "b": ari[:, :3]}, {"a": mse, "b": mse}, {"a": kl}, trained_iterations={"a": 2}
  )
  assert [axis.get_ylabel() for axis in figure.axes] == ["ARI", "MSE", "KL (nats)"]
  line, mark, shorter = figure.axes[0].get_lines()
  np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
  np.testing.assert_allclose(line.get_ydata(), [*np.median(ari[1:, :4], axis=0), np.nan])
  assert mark.get_xdata() == [2, 2]
  assert len(shorter.get_xdata()) == 3


def test_learning_curves_take_one_run_or_several():
  steps = np.arange(4) * 10
  runs = np.arange(12.0).reshape(3, 4)
  figure = plotting.learning_curves(steps, {"Loss": {"x": runs, "y": runs[0]}, "ARI": runs[1]})
  several, one = figure.axes[0].get_lines()
  np.testing.assert_array_equal(several.get_ydata(), runs[1])
  np.testing.assert_array_equal(one.get_ydata(), runs[0])
  np.testing.assert_array_equal(figure.axes[1].get_lines()[0].get_xdata(), steps)
  own = {"Loss": steps, "ARI": steps[:2]}
  figure = plotting.learning_curves(own, {"Loss": runs[0], "ARI": runs[1, :2]})
  np.testing.assert_array_equal(figure.axes[1].get_lines()[0].get_xdata(), [0, 10])


@pytest.mark.parametrize("num_slots", [1, 11, 15])
def test_slot_colors_differ(num_slots):
  colors = plotting.slot_colors(num_slots)
  assert len({tuple(np.round(c, 3)) for c in colors}) == num_slots


def test_saving_embeds_truetype_fonts_and_leaves_the_global_settings_alone():
  before = dict(matplotlib.rcParams)
  figure = plotting.curves_per_iteration(*np.ones([3, 4, 5]))
  buffer = io.BytesIO()
  figure.savefig(buffer, format="pdf")
  assert b"/Type3" not in buffer.getvalue()
  assert b"/FontFile2" in buffer.getvalue()
  assert dict(matplotlib.rcParams) == before


def test_to_image_is_the_figure_in_pixels():
  figure = plotting.decomposition(*scenes())
  width, height = figure.get_size_inches()
  pixels = plotting.to_image(figure, dpi=100)
  assert pixels.dtype == np.uint8
  assert pixels.shape == (int(height * 100), int(width * 100), 3)
  assert len(np.unique(pixels)) > 20


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


def test_traversals_show_the_grid_and_frame_the_original():
  grid = np.random.default_rng(2).uniform(size=[2, 3, 5, 5, 1])
  figure = plotting.traversals(
    grid, row_labels=["z1", "z2"], column_labels=["-1", "0", "1"], original=1
  )
  assert len(figure.axes) == 6
  for axis, expected in zip(figure.axes, grid.reshape(6, 5, 5, 1), strict=True):
    np.testing.assert_allclose(picture(axis)[..., :1], expected, rtol=1e-6)
  assert border(figure.axes[1]) == border(figure.axes[4]) != border(figure.axes[0])


def test_projections_have_an_axis_for_each_projection_and_factor():
  rng = np.random.default_rng(3)
  points = {"PCA": rng.normal(size=[20, 2]), "t-SNE": rng.normal(size=[20, 2])}
  codes = np.arange(20) % 3 + 1
  colorings = [
    plotting.Coloring("x", rng.normal(size=20)),
    plotting.Coloring("shape", codes, "categorical", ("none", "square", "ellipse", "heart")),
    plotting.Coloring("rotation", rng.uniform(0, 360, 20), "angle", period=360.0),
    plotting.Coloring("color", rng.uniform(size=[20, 3]), "rgb"),
  ]
  figure = plotting.projections(points, colorings)
  panels = [axis for axis in figure.axes if axis.get_title() or axis.collections]
  titles = [axis.get_title() for axis in panels if axis.get_title()]
  assert titles == ["x", "shape", "rotation", "color"]
  squares = next(a for a in panels if a.get_title() == "shape").collections[0]
  np.testing.assert_allclose(squares.get_offsets(), points["PCA"][codes == 1])
  (legend,) = [axis.get_legend() for axis in figure.axes if axis.get_legend()]
  assert [text.get_text() for text in legend.get_texts()] == ["square", "ellipse", "heart"]
  single = plotting.projection(points["PCA"], codes, "shape", "categorical")
  assert single.axes[0].get_title() == "shape"
  with pytest.raises(ValueError, match="got 'colour'"):
    plotting.projection(points["PCA"], codes, "shape", "colour")
  with pytest.raises(ValueError, match=r"PCA \[N, 2\], got \[20, 3\]"):
    plotting.projections({"PCA": np.zeros([20, 3])}, colorings)


def test_paths_have_the_colour_of_their_seeds_frame():
  rng = np.random.default_rng(4)
  images, _, _, masks, _ = scenes(num_images=3, num_slots=4, channels=1)
  latents = rng.normal(size=[3, 6, 4, 2])
  figure = plotting.paths(latents, masks, images[0])
  image, *framed, panel = figure.axes
  np.testing.assert_allclose(picture(image)[..., :1], images[0], rtol=1e-6)
  lines = np.reshape(panel.get_lines(), [3, 4])
  for seed in range(3):
    np.testing.assert_allclose(picture(framed[seed]), plotting.mix_masks(masks[seed]), rtol=1e-6)
    for k in range(4):
      np.testing.assert_allclose(lines[seed, k].get_xydata(), latents[seed, :, k])
      np.testing.assert_allclose(mcolors.to_rgb(lines[seed, k].get_color()), border(framed[seed]))
  with pytest.raises(ValueError, match=r"masks \[S=3, K=4, H=6, W=8, 1\], got"):
    plotting.paths(latents, masks[:2], images[0])


def test_factor_predictions_scatter_numbers_and_count_categories():
  x = np.linspace(0, 1, 8)
  true, predicted = np.array([1, 1, 1, 1, 3, 3]), np.array([1, 1, 1, 3, 3, 3])

  def score(kind, true, predicted):
    return factors.FactorScore(kind, 0.5, 12.0, 0, 0, 0, true, predicted)

  figure = plotting.factor_predictions(
    {
      "x": score("continuous", x, x[::-1]),
      "shape": score("categorical", true, predicted),
      "rotation": score("angle", x, x),
    },
    labels={"shape": ["none", "square", "ellipse", "heart"]},
  )
  scatter, confusion, angle = figure.axes
  np.testing.assert_allclose(scatter.collections[0].get_offsets(), np.stack([x, x[::-1]], axis=1))
  np.testing.assert_allclose(picture(confusion), [[0.75, 0], [0.25, 1]])
  assert [t.get_text() for t in confusion.get_xticklabels()] == ["square", "heart"]
  assert "0.50" in scatter.get_title()
  assert "12" in angle.get_title()
  with pytest.raises(ValueError, match=r"predictions of x \[8\], got \[7\]"):
    plotting.factor_predictions({"x": score("continuous", x, x[:7])})


def test_comparison_has_a_bar_for_each_number():
  figure = plotting.comparison(
    {"a": {"X": 0.5, "Y": 0.7}, "b": {"X": np.nan, "Y": -0.001, "Z": 1.0}},
    {"a": {"X": 0.1}},
    ylabel="ARI",
  )
  (axis,) = figure.axes
  heights = [[bar.get_height() for bar in c if np.isfinite(bar.get_height())] for c in
             axis.containers if hasattr(c, "patches")]  # fmt: skip
  assert heights == [[0.5, 0.7], [-0.001, 1.0]]
  assert [text.get_text() for text in axis.texts] == ["0.50", "0.70", "0.00", "1.00"]
  with pytest.raises(ValueError, match="at least one method"):
    plotting.comparison({}, ylabel="ARI")


def test_ranking_has_a_row_a_method_from_the_top():
  figure = plotting.ranking({"all": (0.9, 0.1), "without x": (0.4, None)}, xlabel="ARI")
  (axis,) = figure.axes
  np.testing.assert_array_equal(axis.collections[-1].get_offsets(), [[0.9, 0], [0.4, 1]])
  assert [label.get_text() for label in axis.get_yticklabels()] == ["all", "without x"]
  assert axis.yaxis_inverted()
  with pytest.raises(ValueError, match="at least one method"):
    plotting.ranking({}, xlabel="ARI")


def test_importances():
  importance = np.random.default_rng(5).uniform(size=[7, 2])
  figure = plotting.importances(importance, ["x", "y"])
  np.testing.assert_allclose(picture(figure.axes[0]), importance.T)
