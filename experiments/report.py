"""One HTML page about a run: python -m experiments.report with run=runs/3

Scores on held-out images, curves, figures, the results of other experiments on the run, and its
configuration, in a single file that any browser opens offline.
"""

import base64
import csv
import html
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.support import curves
from experiments.support.cli import Command
from experiments.support.paper import SCORES, TABLE1
from experiments.support.results import Results
from experiments.support.settings import Counts, OtherData, StudySettings, Whole
from experiments.support.shown import draw_decomposition, draw_refinement, pick
from experiments.support.subjects import beside, open_run, score
from iodine import evaluation, plotting
from iodine.config import Count


class ReportSettings(StudySettings):
  """See `StudySettings`.

  Attributes:
    num_pictures: scenes that are shown.
    image: position in the split of the scene whose refinement is shown.
    shown: its iterations; as many as in training by default.
    test_iterations: of the curves by iteration.
  """

  num_pictures: Count = 8
  image: Whole = 0
  shown: Counts | None = None
  test_iterations: Count = 10


command = Command("report", ReportSettings, OtherData, storage=beside("report"))

# Experiments whose latest results are taken in, with their headings.
SECTIONS = {
  "segmentation": "Segmentation (Table 1)",
  "iterations": "Iterations (Figs. 7, 8)",
  "slots": "Number of slots (Fig. 9)",
  "generalization": "Generalization (Figs. 7, 19)",
  "factors": "Factors (Fig. 5)",
  "traversals": "Traversals (Figs. 6, 30-32)",
  "projections": "Projections (Figs. 24-29)",
  "multistability": "Multistability (Fig. 10)",
  "starts": "Starts",
}
OPEN_ROWS, MAX_ROWS = 20, 200  # longer tables are folded, or left out
CURVES = {
  "Training": {
    "Loss (nats)": "train.loss",
    "MSE": "train.mse",
    "KL (nats)": "train.kl",
    "ARI-FG": "train.ari_fg",
  },
  "Validation": {
    "ARI-FG": "validation.ari_fg",
    "MSE": "validation.mse",
    "KL (nats)": "validation.kl",
  },
}


@command.main
def report(_run, _config):
  """Scores, draws and writes report.html; returns its folder."""
  subject, results = open_run(_config), Results(_run)
  subject.need("images")
  # first, for it refuses what is not there
  refinement = draw_refinement(results, subject, _config) if subject.model.ITERATES else []
  page = Page(f"{subject.dataset}: run {pathlib.Path(subject.folder).name}")
  page.facts(_facts(subject))
  page.heading("Scores")
  at = _config["num_iterations"] or subject.model.config.num_iterations
  scores = score(subject, _config, num_iterations=max(at, _config["test_iterations"]))
  at = min(int(subject.model.timeline(at).num_decodes), scores["mse"].shape[1])
  own = {name: values[:, :at] for name, values in scores.items()}
  if subject.model.config.num_starts > 1:  # the best start after so many iterations is another
    own = score(subject, _config)
  summary = evaluation.summarize(own)
  paper = TABLE1.get(subject.preset, {}).get(subject.method)
  rows = [["this run", *(summary[name] for name in SCORES)]]
  if paper:
    said = f"{paper.mean:.3f}" + ("" if paper.std is None else f" ± {paper.std:.3f}")
    rows.append(["paper, at full size", said, *[""] * (len(SCORES) - 1)])
  page.table(["", *SCORES.values()], rows)
  page.text(
    f"Means over {summary['num_images']} images of the {_config['split']} split, "
    f"{summary['num_foreground']} of them with foreground, after {at} iterations. MSE in units of "
    "[0, 1], KL in nats, summed over slots."
  )
  results.json("scores", summary)
  page.heading("Decompositions")
  chosen = pick(subject, {**_config, "num_images": _config["num_pictures"]})
  draw_decomposition(results, subject, _config, chosen)
  page.picture(results.files[-1], "Each slot is framed in the colour of its mask.")
  if refinement:
    page.heading("Refinement")
    page.picture(refinement[0], "One scene from iteration to iteration.")
    results.curves(
      "iterations",
      {f"T = {subject.model.config.num_iterations}": scores},
      "Iteration",
      range(1, scores["mse"].shape[1] + 1),
      subject.num_decodes,
    )
    page.picture(results.files[-1], "Median and quartiles over images; dotted: T in training.")
  _draw_curves(page, results, subject.folder)
  for name, title in SECTIONS.items():
    _take_in(page, pathlib.Path(subject.folder) / name, title)
  page.heading("Configuration")
  page.table(["key", "value"], sorted(_flat(subject.config)), folded="every key of the run")
  path = results.folder / "report.html"
  path.write_text(page.html(), encoding="utf-8")
  results.files.append(str(path))
  return results.done()


class Page:
  """Builds a self-contained HTML page."""

  def __init__(self, title):
    self._title = title
    self._parts = []

  def heading(self, text: str) -> None:
    self._parts.append(f"<h2>{html.escape(text)}</h2>")

  def text(self, text: str) -> None:
    self._parts.append(f"<p>{html.escape(text)}</p>")

  def facts(self, facts: Mapping[str, Any]) -> None:
    """A list of name and value."""
    items = "".join(
      f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(str(v))}</dd></div>"
      for k, v in facts.items()
    )
    self._parts.append(f"<dl>{items}</dl>")

  def table(
    self, columns: Sequence[str], rows: Sequence[Sequence[Any]], folded: str | None = None
  ) -> None:
    """A table; `folded` is the line behind which it hides."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(
      "<tr>" + "".join(f"<td>{html.escape(_cell(cell))}</td>" for cell in row) + "</tr>"
      for row in rows
    )
    table = (
      f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )
    if folded:
      table = f"<details><summary>{html.escape(folded)}</summary>{table}</details>"
    self._parts.append(table)

  def picture(self, path: str | os.PathLike, caption: str) -> None:
    """A PNG or GIF, inlined."""
    path = pathlib.Path(path)
    data = base64.b64encode(path.read_bytes()).decode()
    caption = html.escape(caption)
    self._parts.append(
      f'<figure><img alt="{caption}" src="data:image/{path.suffix[1:]};base64,{data}">'
      f"<figcaption>{caption}</figcaption></figure>"
    )

  def html(self) -> str:
    title = html.escape(self._title)
    return (
      '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
      '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
      '<link rel="icon" href="data:,">\n'
      f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
      + "\n".join(self._parts)
      + "\n</body>\n</html>\n"
    )


STYLE = """
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif;
  color: #222; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; }
dl { display: flex; flex-wrap: wrap; gap: .6rem 2rem; } dt { color: #666; font-size: .85em; }
dd { margin: 0; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption { color: #666; font-size: .85em; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; border-bottom: 1px solid #e5e5e5;
  overflow-wrap: anywhere; }
th { font-weight: 600; border-color: #999; white-space: nowrap; } summary { cursor: pointer; }
"""


def _facts(subject):
  height, width, channels = subject.model.config.image_size
  parameters = sum(v.shape.num_elements() for v in subject.model.trainable_variables)
  facts = {
    "data": subject.dataset,
    "images": f"{height} x {width} x {channels}",
    "model": subject.model.config.model,
    "K, T, Z": f"{subject.model.config.num_slots}, {subject.model.config.num_iterations}, "
    f"{subject.model.latent_size or '-'}",
    "parameters": f"{parameters:,}",
    "step": f"{subject.step:,}",
    "seed": subject.config.get("seed"),
  }
  record = pathlib.Path(subject.folder) / "run.json"
  if record.is_file():
    record = json.loads(record.read_text())
    facts["status"] = record.get("status", "").lower()
    facts["started"] = (record.get("start_time") or "")[:16].replace("T", " ")
    facts["stopped"] = (record.get("stop_time") or "")[:16].replace("T", " ")
  return facts


def _draw_curves(page, results, folder):
  record = curves.read(folder)
  found = False
  for title, panels in CURVES.items():
    panels = {axis: record[name] for axis, name in panels.items() if name in record}
    if not panels:
      continue
    if not found:
      page.heading("Curves")
      found = True
    steps, values = ({axis: pair[i] for axis, pair in panels.items()} for i in (0, 1))
    results.figure(title.lower(), plotting.learning_curves(steps, values))
    page.picture(results.files[-1], f"{title}.")


def _take_in(page, folder, title):
  """The latest results of an experiment on the run, if it was done."""
  done = [path for path in folder.glob("[0-9]*") if _completed(path)]
  if not done:
    return
  latest = max(done, key=lambda path: int(path.name))
  page.heading(title)
  for path in sorted([*latest.glob("*.csv"), *latest.glob("*.png"), *latest.glob("*.gif")]):
    if path.suffix != ".csv":
      page.picture(path, path.stem.replace("_", " "))
      continue
    with path.open(encoding="utf-8", newline="") as file:
      columns, *rows = csv.reader(file)
    if len(rows) <= MAX_ROWS:
      folded = f"{path.stem}: {len(rows)} rows" if len(rows) > OPEN_ROWS else None
      page.table(columns, [[_number(cell) for cell in row] for row in rows], folded)


def _completed(folder):
  try:
    return json.loads((folder / "run.json").read_text())["status"] == "COMPLETED"
  except (OSError, ValueError, KeyError):
    return False


def _number(text):
  try:
    return float(text) if "." in text else text
  except ValueError:
    return text


def _cell(value):
  return f"{value:.4g}" if isinstance(value, float) else str(value)


def _flat(config, prefix=""):
  for key, value in config.items():
    if isinstance(value, dict):
      yield from _flat(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", json.dumps(value)


if __name__ == "__main__":
  command.run_commandline()
