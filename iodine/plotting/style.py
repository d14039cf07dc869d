"""What all figures share: sizes, colours, type, and the one door for text.

Figures are made for the text width of a paper, without pyplot, without a display and without
touching matplotlib's global settings.
"""

import io
import os
import re
from collections.abc import Iterable, Mapping
from typing import BinaryIO

import matplotlib
import matplotlib.artist
import matplotlib.figure
import numpy as np
from matplotlib import colors as mcolors
from matplotlib.backends.backend_agg import FigureCanvasAgg

WIDTH = 6.75  # inches, both columns of a two-column paper
COLUMN = 3.25  # inches, one of them

# Okabe and Ito's colours without black, then four that keep the largest distance to all others
# (CIELAB, under normal vision and simulated prot-, deuter- and tritanopia).
PALETTE = (
  "#0072B2",  # blue
  "#E69F00",  # orange
  "#009E73",  # bluish green
  "#D55E00",  # vermilion
  "#56B4E9",  # sky blue
  "#CC79A7",  # reddish purple
  "#F0E442",  # yellow
  "#8800FF",  # violet
  "#552200",  # brown
  "#AADD88",  # light green
  "#333344",  # charcoal
)
BACKGROUND = "#BBBBBB"  # true background entities

STYLE = {
  "font.family": "sans-serif",
  "font.sans-serif": ["DejaVu Sans"],
  "font.size": 7,
  "axes.titlesize": 7,
  "axes.labelsize": 7,
  "xtick.labelsize": 6,
  "ytick.labelsize": 6,
  "legend.fontsize": 6,
  "legend.frameon": False,
  "axes.linewidth": 0.6,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "xtick.major.width": 0.6,
  "ytick.major.width": 0.6,
  "xtick.major.size": 2.5,
  "ytick.major.size": 2.5,
  "lines.linewidth": 1.2,
  "image.interpolation": "nearest",
  "pdf.fonttype": 42,
  "ps.fonttype": 42,
  "svg.fonttype": "none",
  "text.usetex": False,
}


class Figure(matplotlib.figure.Figure):
  """A figure that is drawn and saved in our style whatever the global settings are."""

  def savefig(self, fname: str | os.PathLike | BinaryIO, **kwargs) -> None:
    with matplotlib.rc_context(STYLE):
      super().savefig(fname, **kwargs)

  def _repr_png_(self) -> bytes:
    """What a notebook shows."""
    buffer = io.BytesIO()
    self.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def to_image(figure: matplotlib.figure.Figure, dpi: int = 150) -> np.ndarray:
  """Renders a figure: uint8 [H, W, 3], for TensorBoard and GIFs."""
  with matplotlib.rc_context(STYLE):
    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.set_dpi(dpi)
    canvas.draw()
    canvas.print_raw(buffer)
  width, height = canvas.get_width_height()
  return np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)[..., :3].copy()


def slot_colors(num_slots: int) -> np.ndarray:
  """One colour for each slot: float [K, 3]; past the palette it repeats, paler."""
  colors = np.array([mcolors.to_rgb(c) for c in PALETTE])
  rounds = -(-num_slots // len(colors))
  return np.concatenate([1 - (1 - colors) * 0.55**i for i in range(max(rounds, 1))])[:num_slots]


def legend(
  figure: matplotlib.figure.Figure, handles: Mapping[str, matplotlib.artist.Artist], columns: int
) -> None:
  """A legend above the panels, of at most so many columns; any name will do."""
  made = figure.legend(
    list(handles.values()),
    [str(i) for i in range(len(handles))],  # names that begin with _ would be left out
    loc="outside upper center",
    ncols=min(len(handles), columns),
  )
  for shown, name in zip(made.get_texts(), handles, strict=True):
    shown.set_text(text(name, letters(figure.get_figwidth()) - 6))


# Lone surrogates (bytes of a file name that are no UTF-8) and control characters: no font has them.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


SMALLEST_TYPE = 4.0  # points


def plain(value: object, limit: int = 80) -> str:
  """A name as readable characters, its middle left out where it is longer than `limit`.

  Bytes are read as UTF-8; U+FFFD stands for what cannot be drawn.
  """
  words = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
  words = _UNPRINTABLE.sub("\ufffd", words)
  limit = max(limit, 3)
  return (
    words if len(words) <= limit else words[: limit // 2] + "…" + words[limit // 2 + 1 - limit :]
  )


def text(value: object, limit: int = 80) -> str:
  """A name as matplotlib is to draw it, whatever it holds; every text of a caller goes through.

  matplotlib reads what stands between dollar signs as mathematics, and fails where it cannot
  parse it. Escaped ones stand for themselves; a backslash means nothing outside of mathematics.
  """
  return plain(value, limit).replace("$", r"\$")


def letters(width: float) -> int:
  """How many letters of an axis's label stand in so many inches."""
  return int(width / 0.06)


def fit(names: Iterable[object], width: float, largest: float = 7.0) -> tuple[list[str], float]:
  """Names that are to stand in so many inches: (`plain` names, size of type in points).

  As small as `SMALLEST_TYPE`; what is too long even then loses its middle.
  """
  letter = 0.62 / 72  # inches, of one point; the mean of DejaVu Sans
  names = [plain(name, int(width / (letter * SMALLEST_TYPE))) for name in names]
  longest = max(map(len, names), default=0)
  return names, min(largest, width / (letter * longest)) if longest else largest
