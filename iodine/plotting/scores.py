"""Numbers of methods and factors: bars, rows, scatter plots and the table of scores."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import matplotlib
import numpy as np
from numpy.typing import ArrayLike

from iodine.plotting.checks import array, check_labels
from iodine.plotting.style import (
  COLUMN,
  PALETTE,
  SMALLEST_TYPE,
  STYLE,
  WIDTH,
  Figure,
  legend,
  letters,
  plain,
  slot_colors,
  text,
)


class Prediction(Protocol):
  """What `factor_predictions` reads, e.g. a `factors.FactorScore`."""

  kind: str
  true: np.ndarray
  predicted: np.ndarray
  score: float
  error: float


def factor_predictions(
  predictions: Mapping[str, Prediction],
  *,
  labels: Mapping[str, Sequence[str]] | None = None,
  width: float = WIDTH,
) -> Figure:
  """True against predicted factors of held-out objects (paper, Fig. 5).

  Args:
    predictions: dict from the name of a factor to its prediction. A vector's components share an
      axis.
    labels: dict from the name of a categorical factor to what its codes 0, 1, ... are called.
    width: of the figure, inches.

  Returns:
    Figure with an axis a factor: a scatter plot, or for categories the share of each answer
    among the objects of a true category.

  Raises:
    ValueError: true and predicted values differ in shape, or there is nothing to draw.
  """
  if not predictions:
    raise ValueError("expected the predictions of at least one factor, got none")
  columns = min(4, len(predictions))
  rows = -(-len(predictions) // columns)
  cell = min(width / columns, 2.2)
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(cell * columns, (cell + 0.22) * rows), layout="constrained")
    for i, (name, prediction) in enumerate(predictions.items()):
      axis = figure.add_subplot(rows, columns, i + 1)
      true, predicted = np.asarray(prediction.true), np.asarray(prediction.predicted)
      if true.shape != predicted.shape:
        raise ValueError(
          f"expected predictions of {name} {list(true.shape)}, got {list(predicted.shape)}"
        )
      if prediction.kind == "categorical":
        _confusion(axis, true, predicted, (labels or {}).get(name))
        score = f"accuracy {prediction.score:.2f}"
      elif prediction.kind == "angle":
        _agreement(axis, true, predicted)
        score = f"mean error {prediction.error:.2g}"
      else:
        _agreement(axis, true, predicted)
        score = f"R² {prediction.score:.2f}"
      axis.set(
        title=text(f"{plain(name, letters(cell) - len(score))}: {score}"),
        xlabel="True",
        box_aspect=1,
      )
      if i % columns == 0:
        axis.set_ylabel("Predicted")
  return figure


def comparison(
  scores: Mapping[str, Mapping[str, float]],
  errors: Mapping[str, Mapping[str, float]] | None = None,
  *,
  ylabel: str,
  limits: tuple[float, float] | None = None,
  width: float = COLUMN,
) -> Figure:
  """Grouped bars, e.g. of methods on data sets (Table 1), or of factors against baselines (Fig. 5).

  Args:
    scores: dict from a method to a dict from a group to a number; NaN or missing leaves a gap.
    errors: likewise, half the length of the error bars, or None.
    ylabel: what the numbers are.
    limits: of the y axis.
    width: of the figure, inches.

  Returns:
    Figure with one axis; each bar has its number above it.

  Raises:
    ValueError: there is nothing to compare.
  """
  groups = list(dict.fromkeys(group for values in scores.values() for group in values))
  if not groups:
    raise ValueError("expected the scores of at least one method, got none")
  missing = float("nan")
  colors = slot_colors(len(scores))
  bar = 0.8 / len(scores)
  handles = {}
  # Five digits and signs, 0.6 of their size wide, above each bar.
  fontsize = 72 * 0.85 * width * bar / len(groups) / (5 * 0.6)
  fontsize = min(6.0, max(fontsize, SMALLEST_TYPE / 2))
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(width, 0.32 * width + 0.7), layout="constrained")
    axis = figure.subplots()
    for i, (method, values) in enumerate(scores.items()):
      heights = np.array([values.get(group, missing) for group in groups], float)
      spread = (errors or {}).get(method, {})
      spread = np.array([spread.get(group, 0.0) for group in groups], float)
      at = np.arange(len(groups)) + (i - (len(scores) - 1) / 2) * bar
      handles[method] = axis.bar(at, heights, 0.92 * bar, color=colors[i])
      drawn = (spread > 0) & np.isfinite(heights)
      if drawn.any():
        axis.errorbar(
          at[drawn], heights[drawn], spread[drawn], fmt="none", ecolor="0.2", elinewidth=0.8
        )
      for x, height, error in zip(at, heights, spread, strict=True):
        if np.isfinite(height):
          top = max(height + (error if np.isfinite(error) else 0), 0)
          top = min(top, limits[1]) if limits else top
          axis.annotate(
            f"{height + 0.0:.2f}".replace("-0.00", "0.00"), (x, top), (0, 1),
            textcoords="offset points", ha="center", va="bottom", fontsize=fontsize,
          )  # fmt: skip
    axis.axhline(0, color="0.2", linewidth=0.6)
    axis.set_xticks(
      range(len(groups)), [text(group, max(8, letters(width / len(groups)))) for group in groups]
    )
    axis.tick_params(axis="x", length=0)
    axis.set(ylabel=text(ylabel, letters(0.25 * width + 0.5)), ylim=limits)
    if len(scores) > 1:
      legend(figure, handles, 5)
  return figure


def ranking(
  scores: Mapping[str, tuple[float, float | None]], *, xlabel: str, width: float = COLUMN
) -> Figure:
  """Many methods by one number (paper, Sec. 4.3: ablations).

  Args:
    scores: dict from a method to (mean, standard deviation or None).
    xlabel: what the numbers are.
    width: of the figure, inches.

  Returns:
    Figure: a row a method, in the order given; the first is the one to compare with, dotted.

  Raises:
    ValueError: there is nothing to compare.
  """
  if not scores:
    raise ValueError("expected the scores of at least one method, got none")
  means = np.array([mean for mean, _ in scores.values()], float)
  spread = np.array([std or 0.0 for _, std in scores.values()], float)
  rows = np.arange(len(scores))
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(width, 0.19 * len(scores) + 0.45), layout="constrained")
    axis = figure.subplots()
    axis.axvline(means[0], color="0.5", linestyle=":", linewidth=0.8)
    axis.errorbar(means, rows, xerr=spread, fmt="none", ecolor="0.4", elinewidth=0.9)
    axis.scatter(means, rows, s=14, color=PALETTE[0], zorder=3)
    axis.set_yticks(rows, [text(method, letters(width / 2)) for method in scores])
    axis.set(ylim=(len(scores) - 0.5, -0.5), xlabel=text(xlabel, letters(width / 2)))
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="0.92", linewidth=0.5)
    axis.set_axisbelow(True)
  return figure


def importances(importance: ArrayLike, names: Sequence[str], *, width: float = COLUMN) -> Figure:
  """Which latent matters for which factor (DCI).

  Args:
    importance: [Z, F].
    names: F strings.
    width: of the figure, inches.

  Returns:
    Figure: rows are factors, columns latents, dark is important.

  Raises:
    ValueError: a shape is not as above.
  """
  importance = array("importance", importance, "Z F")
  check_labels("names", names, importance.shape[1])
  with matplotlib.rc_context(STYLE):
    height = 0.5 + width * 0.8 * min(1.0, importance.shape[1] / importance.shape[0] + 0.1)
    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(importance.T, cmap="Blues", vmin=0, aspect="auto")
    axis.set_yticks(range(len(names)), [text(name, letters(width / 2)) for name in names])
    axis.tick_params(length=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(xlabel="Latent")
    axis.spines[:].set(visible=True)
    bar = figure.colorbar(shown, ax=axis, label="Importance", fraction=0.05, pad=0.03)
    bar.outline.set_visible(False)
  return figure


def _agreement(axis, true, predicted):
  if not len(true):
    return
  components = true.reshape(len(true), -1), predicted.reshape(len(true), -1)
  for i, (t, p) in enumerate(zip(components[0].T, components[1].T, strict=True)):
    axis.scatter(t, p, s=4, linewidths=0, alpha=0.5, color=PALETTE[i % len(PALETTE)])
  ends = [true.min(), true.max()]
  axis.plot(ends, ends, color="0.3", linewidth=0.7, linestyle="--", zorder=3)


def _confusion(axis, true, predicted, labels):
  if not len(true):
    return
  codes = np.union1d(true, predicted).astype(int)
  counts = np.zeros([len(codes), len(codes)])
  np.add.at(counts, (np.searchsorted(codes, predicted), np.searchsorted(codes, true)), 1)
  share = counts / np.maximum(counts.sum(axis=0), 1)
  axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
  if len(codes) <= 6:
    for (row, column), value in np.ndenumerate(share):
      color = "white" if value > 0.6 else "0.2"
      axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=5, color=color)
  names = [plain(labels[code] if labels else code, 16) for code in codes]
  size = min(6.0, 75 / len(codes))
  turn = 0 if max(map(len, names)) < 4 else 30
  every = 1 if len(codes) <= 12 else 2  # below one another they fit, side by side they do not
  names = [text(name) for name in names]
  axis.set_xticks(range(0, len(codes), every), names[::every], rotation=turn, fontsize=size)
  axis.set_yticks(range(len(codes)), names, fontsize=size)
  axis.tick_params(length=0)
