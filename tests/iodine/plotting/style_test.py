"""Colours, fonts, and text of any kind in every figure."""

import ast
import io
import pathlib
import xml.etree.ElementTree as ET

import hypothesis
import hypothesis.strategies as st
import matplotlib
import matplotlib.text
import numpy as np
import pytest

import iodine
from iodine import factors, plotting
from iodine.plotting import style
from tests.iodine.plotting.support import scenes


@pytest.mark.parametrize("num_slots", [1, 11, 15])
def test_slot_colors_differ(num_slots):
  colors = plotting.slot_colors(num_slots)
  assert len({tuple(np.round(c, 3)) for c in colors}) == num_slots


def test_saving_embeds_truetype_fonts_and_leaves_the_global_settings_alone():
  before = dict(matplotlib.rcParams)
  figure = plotting.curves_per_iteration(*np.ones([3, 4, 5]))
  buffer = io.BytesIO()
  figure.savefig(buffer, format="pdf")
  assert b"/Type3" not in buffer.getvalue()
  assert b"/FontFile2" in buffer.getvalue()
  assert dict(matplotlib.rcParams) == before


def test_to_image_is_the_figure_in_pixels():
  figure = plotting.decomposition(*scenes())
  width, height = figure.get_size_inches()
  pixels = plotting.to_image(figure, dpi=100)
  assert pixels.dtype == np.uint8
  assert pixels.shape == (int(height * 100), int(width * 100), 3)
  assert len(np.unique(pixels)) > 20


def words(figure):
  """What stands in a figure, as a reader sees it."""
  buffer = io.BytesIO()
  figure.savefig(buffer, format="svg")
  root = ET.fromstring(buffer.getvalue())
  return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def figures_with(name):
  """Every figure that shows texts of the caller, with that text wherever one goes."""
  images, true_masks, reconstructions, masks, means = scenes()
  ones = np.ones([3, 4])
  codes = np.arange(20) % 2
  score = factors.FactorScore("continuous", 0.5, 12.0, 0, 0, 0, ones[0], ones[0])
  category = factors.FactorScore("categorical", 0.5, 12.0, 0, 0, 0, codes, codes)
  colorings = [
    plotting.Coloring(name, codes, "categorical", (name, "b")),
    plotting.Coloring(name, codes),
  ]
  yield plotting.decomposition(
    images, true_masks, reconstructions, masks, means, row_labels=[name, "b"]
  )
  yield plotting.panels({name: plotting.Panel(images, reconstructions, masks)})
  yield plotting.refinement(images[0], masks, means, reconstructions, iterations=[name, 2])
  yield plotting.sequence(images, masks, times=[name, 2])
  yield plotting.quantile_curves({name: {name: ones}}, xlabel=name)
  yield plotting.frame_curves({"ARI-FG": {name: ones}}, xlabel="Frame")
  yield plotting.learning_curves(np.arange(4), {name: {name: ones}}, xlabel=name)
  grid = np.ones([2, 2, 4, 4, 3])
  yield plotting.traversals(grid, row_labels=[name, "b"], column_labels=[name, "b"])
  yield plotting.projections({name: np.random.default_rng(0).normal(size=[20, 2])}, colorings)
  yield plotting.paths(np.ones([2, 3, 3, 2]), masks, images[0], labels=[name, "b"])
  yield plotting.factor_predictions({name: score, "b": category}, labels={"b": [name, "b"]})
  yield plotting.comparison({name: {name: 1.0}, "b": {name: 0.5}}, ylabel=name)
  yield plotting.ranking({name: (1.0, None)}, xlabel=name)
  yield plotting.importances(np.ones([2, 1]), [name])
  yield plotting.score_table({name: {name: (0.5, None)}}, score=name, missing=name)


def test_names_stand_in_every_figure_as_they_were_given():
  name = r"_$\frac{ & <b>$"
  for figure in figures_with(name):
    assert any(name in word for word in words(figure)), words(figure)


def test_any_name_can_be_drawn():
  for figure in figures_with(b"$\xff\\\x00\t$x\n" + 30 * b"long name "):
    assert plotting.to_image(figure, dpi=30).std() > 1
    for axis in figure.axes:
      assert min(axis.get_position().size) > 0
  *_, table = figures_with("")
  assert table.texts


def test_bytes_that_are_no_utf8_are_replaced():
  assert style.text(b"gr\xc3\xbcn \xff") == "grün \ufffd"
  assert style.text("a\udcffb") == "a\ufffdb"
  assert style.text(7) == "7"


@hypothesis.given(st.text() | st.binary())
@hypothesis.settings(max_examples=200)
def test_no_text_is_read_as_mathematics(value):
  shown = matplotlib.text.Text(0, 0, style.text(value))._preprocess_math(style.text(value))
  assert shown == (style.plain(value), False)


def test_long_names_lose_their_middle():
  assert style.plain("abcdefghij", 10) == "abcdefghij"
  assert style.plain("abcdefghijk", 6) == "abc…jk"
  names, size = style.fit(["x" * 300, "y"], 1.0)
  assert names[1] == "y"
  assert "…" in names[0]
  assert size >= style.SMALLEST_TYPE
  assert style.fit(["abc"], 1.0) == (["abc"], 7.0)
  assert style.fit([""], 1.0) == ([""], 7.0)


def test_plotting_alone_imports_matplotlib():
  """Whoever runs a model on a machine without it never meets it."""
  root = pathlib.Path(iodine.__file__).parent
  files = [path for path in root.rglob("*.py") if root / "plotting" not in path.parents]
  assert len(files) > 10
  for path in files:
    for node in ast.walk(ast.parse(path.read_text())):
      names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
      names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
      assert not any(name.split(".")[0] == "matplotlib" for name in names), path
