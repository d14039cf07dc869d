"""The HTML page: complete by itself, and as a browser shows it."""

import base64
import html.parser
import io
import os
import re
import shutil
import subprocess

import pytest
from PIL import Image

from experiments import report
from experiments.support import subjects
from iodine import evaluation
from iodine.files import write_json
from tests.experiments.studies import read_json, study

VOID = {"meta", "link", "img", "br"}


class Reader(html.parser.HTMLParser):
  """Collects pictures, tables and references, and checks that elements are closed."""

  def __init__(self):
    super().__init__()
    self.open, self.pictures, self.headings, self.references = [], [], [], []
    self.cells = self.tables = 0

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    if tag not in VOID:
      self.open.append(tag)
    if tag == "img":
      assert attrs["alt"]
      self.pictures.append(attrs["src"])
    self.references += [attrs[name] for name in ("src", "href") if name in attrs]
    self.tables += tag == "table"
    self.cells += tag == "td"

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] == "h2":
      self.headings.append(data)


@pytest.fixture(scope="module")
def page(trained_run, tmp_path_factory):
  """The report of the tiny run, which has results of one more experiment."""
  done = trained_run / "factors" / "2"
  done.mkdir(parents=True)
  Image.new("RGB", (3, 2)).save(done / "bars.png")
  (done / "factors.csv").write_text("factor,score\nx <1>,0.123456\n")
  write_json(done / "run.json", {"status": "COMPLETED"})
  (trained_run / "factors" / "3").mkdir()
  write_json(trained_run / "factors" / "3" / "run.json", {"status": "FAILED"})
  folder = tmp_path_factory.mktemp("report")
  try:
    return study(report, folder, run=trained_run, num_pictures=2, test_iterations=3) / "report.html"
  finally:
    shutil.rmtree(trained_run / "factors")


def test_the_page_is_whole(page):
  reader = Reader()
  text = page.read_text()
  reader.feed(text)
  reader.close()
  assert reader.open == []
  assert reader.headings == [
    "Scores", "Decompositions", "Refinement", "Curves", "Factors (Fig. 5)", "Configuration"
  ]  # fmt: skip
  for source in reader.pictures:
    head, _, data = source.partition(";base64,")
    with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
      assert head == f"data:image/{image.format.lower()}"
      image.load()
  assert len(reader.pictures) == 6
  assert reader.tables == 3
  assert all(reference.startswith("data:") for reference in reader.references)  # offline
  assert "x &lt;1&gt;" in text
  assert "0.1235" in text
  assert "num_iterations" in text


BROWSERS = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome")


def test_a_browser_shows_it(page, tmp_path):
  browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
  if browser is None:
    pytest.skip("there is no Chromium; CHROMIUM=path names one")
  widths = "[...document.images].map(i => i.naturalWidth).join(' ')"
  script = f"<script>document.title = {widths}</script>"
  asked = page.read_text().replace("</body>", f"{script}</body>")
  copy = tmp_path / "report.html"
  copy.write_text(asked)
  result = subprocess.run(
    [
      browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
      "--virtual-time-budget=5000", f"--user-data-dir={tmp_path / 'profile'}",
      "--dump-dom", copy.as_uri(),
    ],
    capture_output=True, text=True, timeout=60, check=True,
  )  # fmt: skip
  widths = re.search("<title>(.*?)</title>", result.stdout).group(1).split()
  assert len(widths) == 6
  assert all(int(width) > 0 for width in widths)
  assert "CONSOLE" not in result.stderr


def test_the_best_start_is_that_of_the_run_s_iterations(trained_run, tmp_path):
  page = study(report, tmp_path, run=trained_run, num_pictures=1, test_iterations=4, num_starts=3)
  config = report.command.configure(updates={"run": str(trained_run), "num_starts": 3})
  subject = subjects.open_run(config)
  expected = evaluation.summarize(subjects.score(subject, config))
  found = read_json(page / "scores.json")
  for name in ("mse", "nll", "kl"):
    assert found[name] == pytest.approx(expected[name], rel=1e-5)
