"""Pictures set in a grid, on which the other figures stand."""

from collections.abc import Collection, Sequence

import matplotlib
import matplotlib.axes
import numpy as np
from matplotlib.typing import ColorType
from numpy.typing import ArrayLike

from iodine.plotting.pictures import rgb
from iodine.plotting.style import STYLE, Figure, fit, plain, text


class Grid:
  """Square-set pictures with tight gutters: all sizes are computed, nothing is left to a layout.

  Args:
    num_rows: of pictures.
    num_columns: of pictures.
    image_size: (H, W) of the largest; a picture of another shape is centred in its cell.
    width: of the figure, inches.
    titles: of the columns, or None.
    groups: indices of columns that stand apart from the one before.
    row_groups: how many rows form a group; groups stand apart.
    row_labels: of the rows, or None. Long ones are shortened in their middle.
    above: inches to leave free over the titles.
    below: inches to leave free under the pictures.
  """

  GUTTER, GROUP_GUTTER, MARGIN, TITLE, MAX_CELL = 0.035, 0.09, 0.03, 0.17, 1.1  # inches
  LETTER = 0.058  # inches, of a row label

  def __init__(
    self,
    num_rows: int,
    num_columns: int,
    image_size: Sequence[int],
    width: float,
    titles: Sequence[str] | None = None,
    *,
    groups: Collection[int] = (),
    row_groups: int = 1,
    row_labels: Sequence[str] | None = None,
    above: float = 0.0,
    below: float = 0.0,
  ):
    # A third of the width is for the labels at most: the pictures are what the figure is for.
    limit = int(width / 3 / self.LETTER)
    row_labels = [plain(label, limit) for label in row_labels or []]
    longest = max(map(len, row_labels), default=0)
    left = self.MARGIN + (0.06 + self.LETTER * longest if longest else 0)
    columns = np.array(
      [0] + [self.GROUP_GUTTER if c in groups else 0 for c in range(1, num_columns)]
    )
    gutters = np.cumsum(columns + self.GUTTER) - self.GUTTER
    cell = (width - left - self.MARGIN - gutters[-1]) / num_columns
    self._cell = cell = min(cell, self.MAX_CELL)
    self._cell_height = cell * image_size[0] / image_size[1]
    self._x = left + gutters + cell * np.arange(num_columns)
    self._above = above
    top = self.MARGIN + (self.TITLE if titles else 0) + above
    rows = np.arange(num_rows)
    apart = self.GROUP_GUTTER * (rows // row_groups) if row_groups > 1 else 0 * rows
    down = rows * (self._cell_height + self.GUTTER) + apart
    height = top + down[-1] + self._cell_height + self.MARGIN + below
    self._y = height - top - down - self._cell_height
    self._size = width_used, _ = self._x[-1] + cell + self.MARGIN, height
    self.figure = Figure(figsize=(width_used, height))
    titles, self._fontsize = fit(titles or [], cell)
    self._write_labels(titles, row_labels)

  def show(
    self, row: int, column: int, picture: ArrayLike, border: ColorType | None = None
  ) -> matplotlib.axes.Axes:
    """Draws a picture [H, W, 1 or 3] into a cell, framed in a colour; returns its axis."""
    width, height = self._size
    picture = rgb(picture)
    shape = picture.shape[0] / picture.shape[1]
    # Without rounding for pictures of the cell's own shape.
    own_width = min(self._cell, self._cell_height / shape)
    own_height = min(self._cell_height, self._cell * shape)
    box = [
      (self._x[column] + (self._cell - own_width) / 2) / width,
      (self._y[row] + (self._cell_height - own_height) / 2) / height,
      own_width / width,
      own_height / height,
    ]
    with matplotlib.rc_context(STYLE):
      axis = self.figure.add_axes(box)
      axis.imshow(picture, aspect="auto", interpolation="nearest")
      axis.set_xticks([])
      axis.set_yticks([])
      for spine in axis.spines.values():
        spine.set(visible=True, color="0.75" if border is None else border)
        spine.set_linewidth(0.4 if border is None else 1.5)
    return axis

  def caption(self, row: int, column: int, words: str) -> None:
    """A title under a cell."""
    x, y = self._x[column] + self._cell / 2, self._y[row] - 0.03
    self._write(x, y, words, ha="center", va="top", fontsize=self._fontsize)

  def note(self, row: int, column: int, words: str) -> None:
    """A text at the right edge of an empty cell."""
    x, y = self._x[column] + self._cell, self._y[row] + self._cell_height / 2
    self._write(x, y, words, ha="right", va="center", fontsize=7)

  def heading(self, first: int, last: int, words: str) -> None:
    """A text over a group of columns, in the room that `above` left."""
    left, right = self._x[first], self._x[last] + self._cell
    y = self._size[1] - self.MARGIN - self._above
    (words,), size = fit([words], right - left)
    self._write((left + right) / 2, y + 0.03, words, ha="center", va="bottom", fontsize=size)

  def _write_labels(self, titles, row_labels):
    top = self._y[0] + self._cell_height + 0.04
    for x, title in zip(self._x, titles, strict=False):
      x = x + self._cell / 2
      self._write(x, top, title, ha="center", va="bottom", fontsize=self._fontsize)
    for y, label in zip(self._y, row_labels, strict=False):
      y = y + self._cell_height / 2
      self._write(self._x[0] - 0.06, y, label, ha="right", va="center", fontsize=7)

  def _write(self, x, y, words, **style):
    """Text at a place in inches."""
    width, height = self._size
    with matplotlib.rc_context(STYLE):
      self.figure.text(x / width, y / height, text(words), **style)
