"""Runs the notebooks from top to bottom and keeps what they show: python -m notebooks.execute"""

import pathlib
import sys

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = pathlib.Path(__file__).resolve().parent
WIDGET = "application/vnd.jupyter.widget-view+json"


def notebooks():
  """Paths of all notebooks, in order."""
  return sorted(FOLDER.glob("*.ipynb"))


def execute(path, timeout=300, changes=()):
  """Runs a notebook in a fresh kernel, in its own folder.

  Args:
    path: of the .ipynb.
    timeout: seconds for any one cell.
    changes: pairs (line, another to run in its place), for who has no time for all of it.

  Returns:
    the notebook with its outputs, without what libraries log, and without widgets, which nobody can
    move in a file.

  Raises:
    CellExecutionError: a cell failed.
  """
  notebook = nbformat.read(path, as_version=4)
  client = NotebookClient(
    notebook,
    timeout=timeout,
    kernel_name="python3",
    record_timing=False,  # which would change at every run
    store_widget_state=False,
    coalesce_streams=True,
    resources={"metadata": {"path": str(pathlib.Path(path).parent)}},
  )
  sources = [cell.source for cell in notebook.cells]
  for cell in notebook.cells:
    for line, other in changes:
      cell.source = cell.source.replace(line, other)
  client.execute()
  for cell, source in zip(notebook.cells, sources, strict=True):
    cell.source = source
  notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
  for cell in notebook.cells:
    if cell.cell_type == "code":
      cell.outputs = [o for o in cell.outputs if _stays(o)]
  return notebook


def _stays(output):
  return output.get("name") != "stderr" and WIDGET not in output.get("data", {})


def main(argv=None):
  paths = [pathlib.Path(p) for p in (sys.argv[1:] if argv is None else argv)] or notebooks()
  for path in paths:
    try:
      notebook = execute(path)
    except CellExecutionError as error:
      sys.exit(f"{path.name}: {error}")
    nbformat.write(notebook, path)
    print(path.name, flush=True)


if __name__ == "__main__":
  main()
