"""The table of scores as a picture."""

import math
from collections.abc import Mapping

import matplotlib
from matplotlib.lines import Line2D

from iodine.plotting.style import STYLE, WIDTH, Figure, fit, text

# Mean and standard deviation over seeds, None where there is one seed; or what the cell says.
Score = tuple[float, float | None] | str


def score_table(
  scores: Mapping[str, Mapping[str, Score | None]],
  paper: Mapping[str, Mapping[str, Score | None]] | None = None,
  *,
  score: str = "ARI-FG",
  digits: int = 3,
  missing: str = "not trained",
  width: float = WIDTH,
) -> Figure:
  """Scores of models on data sets, the paper's under ours in gray (paper, Table 1).

  Args:
    scores: dict from a data set (a row) to a dict from a model (a column) to its score. None, NaN
      or no entry is a cell that was not trained, and shown as such; a text is shown as it is.
    paper: likewise, of the paper; a cell it has not, has one number. Rows and columns that only
      the paper has are shown too.
    score: what the numbers are: the head of the first column.
    digits: after the point.
    missing: what is written where nothing was trained.
    width: of the figure, inches.

  Returns:
    Figure: a table with rules above, under its head, and below.

  Raises:
    ValueError: there is neither a row nor a column.
  """
  paper = paper or {}
  rows = list(dict.fromkeys([*scores, *paper]))
  columns = list(
    dict.fromkeys(model for t in (scores, paper) for row in t.values() for model in row)
  )
  if not columns:
    raise ValueError("expected the score of at least one model on one data set, got none")
  margin, letter, line = 0.05, 0.062, 0.14  # inches
  heads, _ = fit([score, *rows], width / 3)
  left = min(width / 3, letter * max(map(len, heads)) + 0.15)
  cell = (width - left - 2 * margin) / len(columns)
  number = "0." + "0" * digits
  (untrained,), _ = fit([missing], 0.92 * cell)
  _, size = fit([*columns, missing, f"{number} ± {number}"], 0.92 * cell)
  step = 2 * line + 0.06 if paper else line + 0.08
  height = 0.3 + step * len(rows) + (0.22 if paper else 0.06)
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(width, height))

    def write(x, y, words, **style):
      style = {"fontsize": size, "va": "center", **style}
      figure.text(x / width, y / height, text(words), **style)

    def rule(y, weight):
      ends = [margin / width, 1 - margin / width]
      figure.add_artist(Line2D(ends, [y / height] * 2, color="black", linewidth=weight))

    centers = [margin + left + (i + 0.5) * cell for i in range(len(columns))]
    rule(height - 0.04, 0.8)
    write(margin, height - 0.15, heads[0])
    for x, model in zip(centers, fit(columns, 0.92 * cell)[0], strict=True):
      write(x, height - 0.15, model, ha="center")
    rule(height - 0.26, 0.5)
    for i, row in enumerate(rows):
      y = height - 0.29 - (i + 0.5) * step
      write(margin, y, heads[1 + i])
      for x, model in zip(centers, columns, strict=True):
        ours = _words(scores.get(row, {}).get(model), digits)
        theirs = _words(paper.get(row, {}).get(model), digits)
        apart = line / 2 if theirs else 0.0
        if ours:
          write(x, y + apart, ours, ha="center")
        else:
          write(x, y + apart, untrained, ha="center", color="0.45", style="italic")
        if theirs:
          write(x, y - apart, theirs, ha="center", color="0.45")
    rule(height - 0.32 - step * len(rows), 0.8)
    if paper:
      write(
        margin,
        0.09,
        "Gray: the paper's (Greff et al. 2019).",
        color="0.45",
        fontsize=min(6.0, size),
      )
  return figure


def _words(score, digits):
  """Mean ± standard deviation, or None where there is no score."""
  if isinstance(score, str):
    return score
  if score is None or math.isnan(score[0]):
    return None
  mean, std = score
  return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")
