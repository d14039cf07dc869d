"""The notebooks run from top to bottom, and what is committed of them is fit to be read."""

import json
import pathlib

import nbformat
import pytest

from notebooks import execute

PATHS = execute.notebooks()
SHORTER = {  # fewer images, and shorter trainings
  "01_quickstart": [("[:100]", "[:8]")],
  "03_latents": [
    ("[:300]", "[:60]"),
    ("gather(slice(200)), gather(slice(200, 300))", "gather(slice(40)), gather(slice(40, 60))"),
  ],
  "04_train_your_own": [
    ("NUM_STEPS = 40", "NUM_STEPS = 3"),
    ("warmup_steps=20, batch_size=32", "warmup_steps=1, batch_size=4"),
    ("num_test=100", "num_test=20"),
    ("settings = Train", "config = config.replace(num_iterations=2)\nsettings = Train"),
  ],
}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_runs(path):
  shorter = SHORTER.get(path.stem, ())
  assert all(line in path.read_text() for line, _ in shorter)
  notebook = execute.execute(path, timeout=600, changes=shorter)
  committed = nbformat.read(path, as_version=4)
  for ours, theirs in zip(notebook.cells, committed.cells, strict=True):
    assert ours.source == theirs.source
    if ours.cell_type == "code":  # the same kinds of output, whatever the numbers
      assert [kinds(o) for o in ours.outputs] == [kinds(o) for o in theirs.outputs], ours.source


def kinds(output):
  return output.output_type, sorted(output.get("data", {}))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_what_is_committed(path):
  text = path.read_text()
  notebook = nbformat.reads(text, as_version=4)
  nbformat.validate(notebook)
  assert len(text) < 1_000_000
  for place in (pathlib.Path.home(), pathlib.Path.cwd(), "/tmp/"):
    assert json.dumps(str(place))[1:-1] not in text
  words = sum(len(c.source.split()) for c in notebook.cells if c.cell_type == "markdown")
  assert words > 300  # a tutorial, not a dump of cells
  assert any("image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", ()))
