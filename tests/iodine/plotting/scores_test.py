"""Bars, rows and scatter plots have the numbers they were given."""

import numpy as np
import pytest

from iodine import factors, plotting
from tests.iodine.plotting.support import picture


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
  plotting.to_image(figure)
  assert max(axis.title.get_window_extent().y1 for axis in figure.axes) <= figure.bbox.height
  np.testing.assert_allclose(scatter.collections[0].get_offsets(), np.stack([x, x[::-1]], axis=1))
  np.testing.assert_allclose(picture(confusion), [[0.75, 0], [0.25, 1]])
  assert [t.get_text() for t in confusion.get_xticklabels()] == ["square", "heart"]
  assert "0.50" in scatter.get_title()
  assert "12" in angle.get_title()
  for kind in ("continuous", "angle", "categorical"):  # nothing was held out
    plotting.factor_predictions({"x": score(kind, x[:0], x[:0])})
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


@pytest.mark.parametrize("error", [0.5, np.nan, 0.0])
def test_every_bar_has_its_number_in_the_picture(error):
  figure = plotting.comparison(
    {"a": {"X": 0.97}}, {"a": {"X": error}}, ylabel="ARI", limits=(0.0, 1.12)
  )
  (axis,) = figure.axes
  (number,) = axis.texts
  assert 0.97 <= number.xy[1] <= 1.12


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
