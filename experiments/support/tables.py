"""Tables as text, CSV and LaTeX."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self


class Spread(NamedTuple):
  """Mean and standard deviation over runs; no deviation where there is one run."""

  mean: float
  std: float | None = None

  @classmethod
  def over(cls, values: Iterable[float]) -> Self:
    """Of several numbers, with the sample standard deviation (n - 1)."""
    values = [float(v) for v in values]
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
      return cls(mean)
    return cls(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)))


class Table(NamedTuple):
  """Rows under named columns; a cell is text, a number, a Spread, or None where it is empty."""

  columns: Sequence[str]
  rows: Sequence[Sequence[Any]]

  def text(self) -> str:
    """Aligned for a terminal."""
    lines = [list(self.columns), *([_plain(cell, " ± ") for cell in row] for row in self.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
    rule = ["-" * width for width in widths]
    return "\n".join(
      "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
      for line in [lines[0], rule, *lines[1:]]
    )

  def csv(self) -> str:
    """At full precision; a column with a Spread becomes two, the second for the deviation."""
    spread = [
      any(isinstance(row[i], Spread) for row in self.rows) for i in range(len(self.columns))
    ]
    header = []
    for name, wide in zip(self.columns, spread, strict=True):
      header += [name, f"{name} std"] if wide else [name]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in self.rows:
      cells = []
      for cell, wide in zip(row, spread, strict=True):
        cells += list(cell) if isinstance(cell, Spread) else [cell, None] if wide else [cell]
      writer.writerow(cells)
    return out.getvalue()

  def latex(self) -> str:
    """A booktabs tabular."""
    body = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in self.rows]
    head = " & ".join(_escape(name) for name in self.columns) + r" \\"
    return "\n".join([
      rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}",
      r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", "",
    ])  # fmt: skip


def _plain(cell, between):
  if isinstance(cell, Spread):
    return _plain(cell.mean, "") + ("" if cell.std is None else between + _plain(cell.std, ""))
  if cell is None or (isinstance(cell, float) and math.isnan(cell)):
    return "-"
  if not isinstance(cell, float):
    return str(cell)
  # one decimal for nats, three for scores, two digits for small errors; rounding errors are none
  if abs(cell) >= 10:
    return f"{cell:.1f}"
  if 1e-5 < abs(cell) < 0.0095:
    return f"{cell:.2g}"
  return f"{cell:z.3f}"


def _latex(cell):
  if isinstance(cell, Spread):
    return f"${_plain(cell, chr(92) + 'pm ')}$".replace(r"\pm ", r" \pm ")
  return f"${_plain(cell, '')}$" if isinstance(cell, float) else _escape(_plain(cell, ""))


def _escape(text):
  for sign in "&%_#$":
    text = text.replace(sign, rf"\{sign}")
  return text.replace("±", r"$\pm$")
