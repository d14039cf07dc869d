"""Latents: traversals, projections into the plane, and paths of inference."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import ArrayLike

from iodine.plotting.checks import array, check_labels
from iodine.plotting.grid import Grid
from iodine.plotting.pictures import mix_masks
from iodine.plotting.style import (
  COLUMN,
  PALETTE,
  STYLE,
  WIDTH,
  Figure,
  letters,
  plain,
  slot_colors,
  text,
)


class Coloring(NamedTuple):
  """How points are coloured.

  Attributes:
    name: of the factor.
    values: [N]; int codes for a category; [N, 3] for "rgb".
    kind: "continuous", "categorical", "angle" or "rgb" (the points have the colours `values`).
    labels: for "categorical", what the codes 0, 1, ... are called.
    period: for "angle", the full turn; 2 pi by default.
  """

  name: str
  values: np.ndarray
  kind: str = "continuous"
  labels: tuple[str, ...] | None = None
  period: float | None = None


def traversals(
  grid: ArrayLike,
  *,
  row_labels: Sequence[str] | None = None,
  column_labels: Sequence[str] | None = None,
  original: int | None = None,
  row_groups: int = 1,
  width: float = COLUMN,
) -> Figure:
  """Decoded images while one latent changes (paper, Figs. 6, 30-32).

  Args:
    grid: [R, S, H, W, C], a row a latent (in order of KL), a column a step.
    row_labels: R strings at the left.
    column_labels: S strings above, e.g. the values of the latent.
    original: index of the column that is nearest to where the traversals set out: it is framed.
    row_groups: how many rows form a group; groups stand apart.
    width: of the figure, inches.

  Returns:
    Figure with R * S axes.

  Raises:
    ValueError: a shape is not as above.
  """
  grid = array("grid", grid, "R S H W C")
  check_labels("row_labels", row_labels, grid.shape[0])
  check_labels("column_labels", column_labels, grid.shape[1])
  cells = Grid(
    *grid.shape[:2],
    grid.shape[2:4],
    width,
    column_labels,
    row_labels=row_labels,
    row_groups=row_groups,
  )
  for r, row in enumerate(grid):
    for s, shown in enumerate(row):
      cells.show(r, s, shown, border=PALETTE[3] if s == original else None)
  return cells.figure


def projections(
  points: Mapping[str, ArrayLike], colorings: Sequence[Coloring], *, width: float = WIDTH
) -> Figure:
  """Slot latents in the plane, coloured by factors (paper, Figs. 24-29).

  Args:
    points: dict from the name of a projection ("PCA", "t-SNE") to [N, 2]: a row each.
    colorings: Colorings: a column each.
    width: of the figure, inches.

  Returns:
    Figure with an axis for each projection and factor, row by row, and the colour scales.

  Raises:
    ValueError: a shape is not as above, a kind is unknown, or there is nothing to draw.
  """
  if not points or not colorings:
    raise ValueError(
      f"expected at least one projection and one coloring, got {len(points)} and {len(colorings)}"
    )
  points = {name: array(name, values, "N 2") for name, values in points.items()}
  num_rows, num_columns = len(points), len(colorings)
  left, gutter, title = 0.2, 0.08, 0.2  # inches
  cell = min((width - left - gutter * num_columns) / num_columns, 2.8)
  scale = max(0.32, *(0.1 + 0.13 * _legend_size(c, cell)[0] for c in colorings))
  full_width = left + num_columns * (cell + gutter)
  height = title + num_rows * (cell + gutter) - gutter + scale
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(full_width, height))

    def add_axes(x, y, box_width, box_height):
      return figure.add_axes(
        [x / full_width, y / height, box_width / full_width, box_height / height]
      )

    for row, (name, values) in enumerate(points.items()):
      for column, coloring in enumerate(colorings):
        check_labels(f"values of {coloring.name}", coloring.values, len(values))
        x = left + column * (cell + gutter)
        axis = add_axes(x, scale + (num_rows - 1 - row) * (cell + gutter), cell, cell)
        _scatter_colored(axis, values, coloring)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color="0.8")
        if row == 0:
          axis.set_title(text(coloring.name, letters(cell)), pad=3)
        if column == 0:
          axis.set_ylabel(text(name, letters(cell)))
        if row == num_rows - 1:
          if coloring.kind in ("continuous", "angle"):
            bar = add_axes(x + 0.1 * cell, scale - 0.14, 0.8 * cell, 0.05)
            _color_scale(figure, axis, coloring, bar)
          elif coloring.kind == "categorical":
            _legend(axis, coloring, _legend_size(coloring, cell)[1])
  return figure


def paths(
  latents: ArrayLike,
  masks: ArrayLike,
  image: ArrayLike,
  *,
  labels: Sequence[str] | None = None,
  width: float = WIDTH,
) -> Figure:
  """An ambiguous image seen in several ways, and the ways there (paper, Fig. 10).

  Args:
    latents: [S, T, K, 2], the slots' posterior means in the plane, by seed and iteration.
    masks: [S, K, H, W, 1], at the last iteration.
    image: [H, W, C].
    labels: S strings; "seed 1" and so on by default.
    width: of the figure, inches.

  Returns:
    Figure: the image and the masks found from each seed in the upper row, framed in the colour
    of the seed's paths below; these start at the small rings and end at the large dots.

  Raises:
    ValueError: a shape is not as above.
  """
  latents = array("latents", latents, "S T K 2")
  image = array("image", image, "H W C")
  height, image_width = image.shape[:2]
  num_seeds, _, num_slots, _ = latents.shape
  sizes = {"S": num_seeds, "K": num_slots, "H": height, "W": image_width}
  masks = array("masks", masks, "S K H W 1", sizes)
  labels = [f"seed {i + 1}" for i in range(num_seeds)] if labels is None else labels
  check_labels("labels", labels, num_seeds)
  colors, own = slot_colors(num_slots), _seed_colors(num_seeds)
  below = 0.42 * width
  grid = Grid(
    1, 1 + num_seeds, image.shape[:2], width, ["Image", *labels], groups=(1,), below=below
  )
  grid.show(0, 0, image)
  for i in range(num_seeds):
    grid.show(0, 1 + i, mix_masks(masks[i], colors), border=own[i])
  with matplotlib.rc_context(STYLE):
    figure_width, figure_height = grid.figure.get_size_inches()
    box = [
      0.22 / figure_width,
      0.22 / figure_height,
      1 - 0.25 / figure_width,
      (below - 0.32) / figure_height,
    ]
    axis = grid.figure.add_axes(box)
    for seed_paths, color in zip(latents, own, strict=True):
      axis.plot(*np.moveaxis(seed_paths, 2, 0), color=color, linewidth=0.9, alpha=0.85)
      axis.scatter(*seed_paths[0].T, s=8, facecolor="white", edgecolor=color, zorder=3)
      axis.scatter(*seed_paths[-1].T, s=18, color=[color], edgecolor="white", zorder=4)
    axis.set(xlabel="First component", ylabel="Second component", xticks=[], yticks=[])
  return grid.figure


def _seed_colors(num_seeds):
  """Those colours first that few slots use."""
  order = [7, 8, 5, 10, 4, 9, 3, 2, 1, 0, 6]
  colors = slot_colors(max(num_seeds, len(order)))
  return np.concatenate([colors[order], colors[len(order) :]])[:num_seeds]


def _scatter_colored(axis, points, coloring):
  style = {"s": 5, "linewidths": 0, "rasterized": len(points) > 2000}
  values = np.asarray(coloring.values)
  x, y = points.T
  if coloring.kind == "continuous":
    axis.scatter(x, y, c=values, cmap="viridis", **style)
  elif coloring.kind == "angle":
    period = coloring.period or 2 * np.pi
    axis.scatter(x, y, c=values % period, cmap="twilight", vmin=0, vmax=period, **style)
  elif coloring.kind == "rgb":
    axis.scatter(x, y, c=np.clip(values, 0, 1), **style)
  elif coloring.kind == "categorical":
    codes = np.unique(values)
    for code, color in zip(codes, slot_colors(len(codes)), strict=True):
      own = values == code
      axis.scatter(x[own], y[own], color=[color], **style)
  else:
    raise ValueError(
      f"expected {coloring.name} to be continuous, categorical, angle or rgb, got {coloring.kind!r}"
    )


def _names(coloring):
  """What the categories that occur are called, as they are drawn."""
  codes = np.unique(coloring.values)
  return [plain(coloring.labels[code] if coloring.labels else code, 24) for code in codes]


def _color_scale(figure, axis, coloring, bar_axis):
  bar = figure.colorbar(axis.collections[0], cax=bar_axis, orientation="horizontal")
  bar.outline.set_visible(False)
  bar_axis.tick_params(length=2)
  if coloring.kind == "angle":
    period = coloring.period or 2 * np.pi
    turn = ["0", "π", "2π"] if coloring.period is None else ["0", f"{period / 2:g}", f"{period:g}"]
    bar.set_ticks([0, period / 2, period], labels=turn)


def _legend_size(coloring, width):
  """(rows, columns) of a legend `width` inches wide; (0, 0) where there is none."""
  if coloring.kind != "categorical":
    return 0, 0
  names = _names(coloring)
  longest = max(map(len, names))
  columns = min(len(names), max(1, int(width / (0.19 + 0.052 * longest))))
  return -(-len(names) // columns), columns


def _legend(axis, coloring, columns):
  names = _names(coloring)
  legend = axis.legend(
    axis.collections,
    [str(i) for i in range(len(names))],  # names that begin with _ would be left out
    loc="upper center",
    bbox_to_anchor=(0.5, 0.0),
    ncols=columns,
    markerscale=2,
    borderpad=0.2,
    handlelength=0.8,
    handletextpad=0.3,
    columnspacing=0.8,
  )
  for shown, name in zip(legend.get_texts(), names, strict=True):
    shown.set_text(text(name))
