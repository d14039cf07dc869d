"""What the commands write: figures, tables, numbers, curves."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sacred.run import Run

from experiments.support.recording import run_directory
from experiments.support.tables import Table
from iodine import plotting
from iodine.files import write_json

PANELS = {"ari_fg": "ARI-FG", "mse": "MSE", "kl": "KL (nats)"}  # of the paper's curves


def pooled(
  curves: dict[str, dict[str, np.ndarray]], label: str, scores: Mapping[str, np.ndarray]
) -> None:
  """Adds scores [N, X] to the curve of a label; runs with the same label are pooled by image."""
  own = curves.setdefault(label, {})
  for metric, values in scores.items():
    own[metric] = np.concatenate([own[metric], values]) if metric in own else values


def save(figure: Figure, path: pathlib.Path) -> str:
  """Saves PNG and PDF beside one another; returns the PNG's path."""
  path.parent.mkdir(parents=True, exist_ok=True)
  for suffix in (".pdf", ".png"):
    figure.savefig(path.with_suffix(suffix), dpi=200)
  return str(path.with_suffix(".png"))


class Results:
  """Collects what an experiment writes into its run's folder."""

  def __init__(self, run: Run):
    self._run = run
    self.folder = run_directory(run)
    self.files: list[str] = []

  def figure(self, name: str, figure: Figure) -> str:
    """Saves a figure as PNG and PDF; returns the PNG's path."""
    self.files.append(save(figure, self.folder / name))
    return self.files[-1]

  def json(self, name: str, values: Any) -> None:
    """Saves numbers as JSON, and in Sacred's info."""
    path = self.folder / f"{name}.json"
    write_json(path, values)
    self._run.info[name] = values
    self.files.append(str(path))

  def table(
    self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], latex: bool = False
  ) -> Table:
    """Prints a table and saves it as CSV, text, and if wanted LaTeX; returns the Table."""
    table = Table(columns, rows)
    self._write(name, table, ("csv", "txt", "tex") if latex else ("csv", "txt"))
    print(table.text())
    return table

  def csv(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Saves a table that is too long to print."""
    self._write(name, Table(columns, rows), ("csv",))

  def curves(
    self,
    name: str,
    curves: Mapping[str, Mapping[str, np.ndarray]],
    xlabel: str,
    x: Sequence[int],
    mark: Mapping[str, int | None] | None = None,
  ) -> None:
    """Medians and quartiles over images: a figure, and every number of it as CSV.

    Args:
      name: of the files.
      curves: dict from a label to a dict from a metric to [N, X]; NaN is left out.
      xlabel: what x is.
      x: [X], whole numbers.
      mark: see plotting.quantile_curves.
    """
    rows = []
    for label, scores in curves.items():
      for metric, values in scores.items():
        for at, column in zip(x, np.asarray(values).T, strict=True):
          column = column[np.isfinite(column)]
          numbers = [*np.quantile(column, (0.25, 0.5, 0.75)), column.mean()] if len(column) else []
          numbers = [float(v) for v in numbers] or [None] * 4
          rows.append([label, metric, at, *numbers, len(column)])
    columns = [
      "label",
      "metric",
      xlabel.lower(),
      "lower quartile",
      "median",
      "upper quartile",
      "mean",
    ]
    self._write(name, Table([*columns, "images"], rows), ("csv",))
    panels = {
      title: {label: scores[metric] for label, scores in curves.items()}
      for metric, title in PANELS.items()
    }
    options = {"xlabel": xlabel, "mark": mark, "integer_x": True}
    self.figure(name, plotting.quantile_curves(panels, list(x), **options))

  def done(self) -> str:
    """Prints where everything lies; returns the folder."""
    print("\n".join(["written:", *self.files]), flush=True)
    return str(self.folder)

  def _write(self, name, table, suffixes):
    forms = {"csv": table.csv, "txt": lambda: table.text() + "\n", "tex": table.latex}
    for suffix in suffixes:
      path = self.folder / f"{name}.{suffix}"
      path.write_text(forms[suffix](), encoding="utf-8")
      if suffix != "txt":
        self.files.append(str(path))
