"""Traversals, projections and paths show what they were given."""

import matplotlib.colors as mcolors
import numpy as np
import pytest

from iodine import plotting
from tests.iodine.plotting.support import border, picture, scenes


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
  with pytest.raises(ValueError, match="one projection and one coloring, got 2 and 0"):
    plotting.projections(points, [])
  with pytest.raises(ValueError, match="got 'colour'"):
    plotting.projections(points, [plotting.Coloring("shape", codes, "colour")])
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
