"""Lines: scores by iteration, by frame, by step of training, or against anything."""

from collections.abc import Callable, Mapping

import matplotlib
import numpy as np
from numpy.typing import ArrayLike

from iodine.plotting.checks import array
from iodine.plotting.style import COLUMN, STYLE, WIDTH, Figure, legend, letters, slot_colors, text

# One line, or one for each label.
Curves = ArrayLike | Mapping[str, ArrayLike]


def curves_per_iteration(
  ari: Curves,
  mse: Curves,
  kl: Curves,
  *,
  trained_iterations: float | Mapping[str, float] | None = None,
  width: float = WIDTH,
) -> Figure:
  """ARI, MSE and KL against the number of iterations at test time (paper, Figs. 7 and 8).

  Args:
    ari: [N, T], by image and iteration, or a dict from a label (a run, a training T) to such an
      array; T may differ between labels. NaN, an image without foreground, is left out.
    mse: likewise.
    kl: likewise, nats.
    trained_iterations: T in training, marked by a dotted line; a number, or a dict by label.
    width: of the figure, inches.

  Returns:
    Figure with three axes: medians as lines, the quartiles shaded.

  Raises:
    ValueError: an array is not of rank 2.
  """
  panels = {"ARI": ari, "MSE": mse, "KL (nats)": kl}
  return quantile_curves(panels, xlabel="Iteration", mark=trained_iterations, width=width)


def quantile_curves(
  panels: Mapping[str, Curves],
  x: ArrayLike | None = None,
  *,
  xlabel: str,
  mark: float | Mapping[str, float] | None = None,
  integer_x: bool | None = None,
  width: float = WIDTH,
) -> Figure:
  """Median and quartiles over images against anything, e.g. the number of slots (paper, Fig. 9).

  Args:
    panels: dict from the name of a y axis to [N, X] or to a dict from label to [N, X].
    x: [X], 1 to X by default.
    xlabel: name of the x axis.
    mark: x of a dotted vertical line, or a dict from label to x.
    integer_x: whether only whole numbers are marked on the x axis; by default if `x` is None.
    width: of the figure, inches.

  Returns:
    Figure with one axis a panel.

  Raises:
    ValueError: an array is not of rank 2, or `x` of another length.
  """

  def draw(axis, values, color, panel, label):
    values = array(panel, values, "N X", {} if x is None else {"X": len(x)})
    positions = np.arange(1, values.shape[1] + 1) if x is None else np.asarray(x)
    low, median, high = _quantiles(values, (0.25, 0.5, 0.75))
    marker = "o" if len(positions) <= 20 else None
    axis.fill_between(positions, low, high, color=color, alpha=0.2, linewidth=0)
    (line,) = axis.plot(positions, median, color=color, marker=marker, markersize=2)
    at = mark.get(label) if isinstance(mark, Mapping) else mark
    if at is not None:
      line_color = color if isinstance(mark, Mapping) else "0.5"
      axis.axvline(at, color=line_color, linestyle=":", linewidth=0.8, zorder=0)
    return line

  integer_x = x is None if integer_x is None else integer_x
  return _line_panels(panels, xlabel, draw, width, integer_x)


def frame_curves(
  panels: Mapping[str, Curves], *, xlabel: str = "Frame", width: float = WIDTH
) -> Figure:
  """Scores by frame of clips (paper, A.1 and Fig. 12): medians over clips, the quartiles shaded.

  Args:
    panels: dict from the name of a y axis (ARI-FG, MSE, NLL) to [N, T], by clip and frame, or to a
      dict from a label (predictions, after the update) to such an array. NaN, a frame without
      foreground, is left out; T may differ between labels.
    xlabel: name of the x axis; frames count from 1.
    width: of the figure, inches.

  Returns:
    Figure with one axis a panel.

  Raises:
    ValueError: an array is not of rank 2.
  """
  return quantile_curves(panels, xlabel=xlabel, width=width)


def learning_curves(
  steps: ArrayLike | Mapping[str, Curves],
  curves: Mapping[str, Curves],
  *,
  xlabel: str = "Step",
  width: float = WIDTH,
) -> Figure:
  """Curves of training, against steps or minutes (paper, Figs. 23, 33-40).

  Args:
    steps: [S]; or a dict from the name of a y axis to [S], or to a dict from label to [S], where
      runs were logged at other places (minutes of two seeds).
    curves: dict from the name of a y axis to [S], to [R, S] (several seeds: their median, and
      their range shaded), or to a dict from label (a run, an ablation) to such an array. NaN is
      left out.
    xlabel: name of the x axis.
    width: of the figure, inches.

  Returns:
    Figure with one axis a panel.

  Raises:
    ValueError: an array is neither [S] nor [R, S], or a curve has no steps.
  """

  def draw(axis, values, color, panel, label):
    own = _steps(steps, panel, label)
    values = np.asarray(values, np.float64)
    values = values[None] if values.ndim == 1 else values
    values = array(panel, values, "R S", {"S": len(own)})
    low, median, high = _quantiles(values, (0.0, 0.5, 1.0))
    if len(values) > 1:
      axis.fill_between(own, low, high, color=color, alpha=0.2, linewidth=0)
    (line,) = axis.plot(own, median, color=color)
    return line

  return _line_panels(curves, xlabel, draw, width)


def _steps(steps, panel, label):
  """What the curve of a panel and a label is drawn against: [S]."""
  for key in (panel, label):
    if isinstance(steps, Mapping):
      if key not in steps:
        raise ValueError(f"expected steps for {key!r}, got some for {', '.join(map(str, steps))}")
      steps = steps[key]
  return np.asarray(steps)


def _line_panels(
  panels: Mapping[str, Curves],
  xlabel: str,
  draw: Callable,  # (axis, values, color, panel, label) -> line
  width: float,
  integer_x: bool = False,
) -> Figure:
  """One axis a panel, side by side (at most four in a row); a legend where there are labels."""
  if not panels:
    raise ValueError("expected at least one panel, got none")
  panels = {
    name: values if isinstance(values, Mapping) else {None: values}
    for name, values in panels.items()
  }
  labels = list(dict.fromkeys(label for curves in panels.values() for label in curves))
  color_of = dict(zip(labels, slot_colors(len(labels)), strict=True))
  columns = min(len(panels), 4)
  rows = -(-len(panels) // columns)
  handles = {}
  with matplotlib.rc_context(STYLE):
    cell = min(width / columns, COLUMN)
    figure = Figure(figsize=(cell * columns, 0.78 * cell * rows + 0.1), layout="constrained")
    for i, (name, curves) in enumerate(panels.items()):
      axis = figure.add_subplot(rows, columns, i + 1)
      room = letters(0.7 * cell)
      axis.set(xlabel=text(xlabel, room), ylabel=text(name, room))
      for label, values in curves.items():
        handles.setdefault(label, draw(axis, values, color_of[label], name, label))
      axis.margins(x=0.02)
      axis.grid(color="0.92", linewidth=0.5)
      axis.set_axisbelow(True)
      if integer_x:
        axis.xaxis.get_major_locator().set_params(integer=True)
    handles.pop(None, None)
    if handles:
      legend(figure, handles, 6)
  return figure


def _quantiles(values, quantiles):
  """Over the first axis, NaN left out; NaN where nothing is left: [Q, X]."""
  result = np.full([len(quantiles), values.shape[1]], np.nan)
  defined = np.isfinite(values).any(axis=0)
  if defined.any():
    finite = np.where(np.isfinite(values), values, np.nan)[:, defined]
    result[:, defined] = np.nanquantile(finite, quantiles, axis=0)
  return result
