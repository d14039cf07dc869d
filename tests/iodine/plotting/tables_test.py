"""The table of scores has every number where it belongs."""

import math

import pytest

from iodine import plotting


def cells(figure):
  """Text -> its place, (from left to right, from top to bottom), and colour."""
  return [
    (text.get_text(), text.get_position()[0], -text.get_position()[1], text.get_color())
    for text in figure.texts
  ]


def test_scores_stand_in_their_rows_and_columns_over_the_papers():
  figure = plotting.score_table(
    {
      "CLEVR6": {"IODINE": None, "MONet": (0.96, 0.004)},
      "Tetrominoes": {"IODINE": (0.985, None), "MONet": (math.nan, None)},
    },
    {"CLEVR6": {"IODINE": (0.988, 0.0)}, "Shapes": {"IODINE": (0.91, 0.119)}},
  )
  place = {text: (x, y) for text, x, y, _ in cells(figure)}
  assert place["IODINE"][0] == place["0.985"][0] == place["0.988 ± 0.000"][0]
  assert place["MONet"][0] == place["0.960 ± 0.004"][0] > place["IODINE"][0]
  assert place["CLEVR6"][1] == pytest.approx(place["0.960 ± 0.004"][1])
  assert place["Tetrominoes"][1] == pytest.approx(place["0.985"][1])
  assert place["CLEVR6"][1] < place["0.988 ± 0.000"][1] < place["Tetrominoes"][1]
  assert place["Shapes"][1] < place["0.910 ± 0.119"][1]
  missing = [(x, y) for text, x, y, _ in cells(figure) if text == "not trained"]
  assert len(missing) == 4  # CLEVR6 and Shapes by IODINE, Tetrominoes and Shapes by MONet
  assert min(missing)[1] < place["0.988 ± 0.000"][1]
  colors = {text: color for text, _, _, color in cells(figure)}
  assert colors["0.985"] == "black"
  assert colors["0.988 ± 0.000"] == colors["not trained"] == "0.45"
  assert any("the paper's" in text for text in colors)


def test_a_table_without_the_paper():
  figure = plotting.score_table({"a": {"b": (1.23456, 0.1)}}, digits=2, score="MSE")
  assert [text for text, *_ in cells(figure)] == ["MSE", "b", "a", "1.23 ± 0.10"]
  figure = plotting.score_table({"a": {"b": "binary data only", "c": None}})
  assert [text for text, *_ in cells(figure)][3:] == ["a", "binary data only", "not trained"]


@pytest.mark.parametrize("scores", [{}, {"a": {}}])
def test_an_empty_table_is_refused(scores):
  with pytest.raises(ValueError, match="at least one model on one data set"):
    plotting.score_table(scores)
