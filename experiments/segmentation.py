"""Segmentation scores of runs: python -m experiments.segmentation with 'runs=[runs/3,runs/4]'

The table of the paper (Table 1), as text, CSV and LaTeX: ARI-FG of 320 held-out images, mean and
standard deviation over the runs of each data set, with the paper's numbers beside ours. A second
table has every run and every score.
"""

from typing import Any

import numpy as np

from experiments.support.cli import Command
from experiments.support.paper import SCORES, TABLE1
from experiments.support.results import Results
from experiments.support.settings import OtherData, StudySettings
from experiments.support.subjects import beside, open_runs, score
from experiments.support.tables import Spread
from iodine import evaluation, plotting

command = Command("segmentation", StudySettings, OtherData, storage=beside("segmentation"))


@command.main
def segmentation(_run, _config):
  """Scores the runs and writes the tables; returns their folder."""
  results = Results(_run)
  found = {}  # data set -> (preset, list of (run, summary))
  for subject in open_runs(_config):
    print(f"{subject.folder}, step {subject.step}, {subject.dataset}", flush=True)
    summary = evaluation.summarize(score(subject, _config))
    found.setdefault(subject.dataset, (subject.preset, []))[1].append((subject, summary))
  write(results, found)
  return results.done()


def write(results: Results, found: dict[str, tuple[str, list[Any]]]) -> None:
  """Writes both tables, the numbers as JSON, and the bars.

  Args:
    results: Results.
    found: dict from a data set to its preset and a list of (Subject, summary).
  """
  methods, rows, numbers = {}, [], {}
  for dataset, (preset, scored) in found.items():
    for method in dict.fromkeys(subject.method for subject, _ in scored):
      own = [(subject, summary) for subject, summary in scored if subject.method == method]
      spread = {k: Spread.over([s[k] for _, s in own]) for k in SCORES}
      paper = TABLE1.get(preset, {}).get(method)
      methods.setdefault(f"{method} (paper)", {})[dataset] = paper
      methods.setdefault(f"{method} (ours)", {})[dataset] = spread["ari_fg"]
      for subject, summary in own:
        scores = (summary[k] for k in SCORES)
        rows.append([dataset, method, subject.folder, subject.step, *scores])
      if len(own) > 1:
        rows.append([dataset, method, f"{len(own)} runs", None, *spread.values()])
      numbers.setdefault(dataset, {})[method] = {
        "runs": {subject.folder: summary for subject, summary in own},
        **{k: {"mean": value.mean, "std": value.std} for k, value in spread.items()},
        "paper_ari_fg": paper and paper._asdict(),
      }
  results.table("scores", ["data", "model", "run", "step", *SCORES.values()], rows, latex=True)
  print()
  results.table(
    "table1",
    ["ARI-FG", *found],
    [[method, *map(values.get, found)] for method, values in methods.items()],
    latex=True,
  )
  for dataset, (preset, _) in found.items():
    if dataset != preset and preset in TABLE1:
      print(f"the paper's numbers are for {preset} at its full size, ours for {dataset}")
  results.json("segmentation", numbers)
  means = {m: {d: s.mean if s else np.nan for d, s in v.items()} for m, v in methods.items()}
  errors = {m: {d: (s and s.std) or 0.0 for d, s in v.items()} for m, v in methods.items()}
  results.figure("table1", plotting.comparison(means, errors, ylabel="ARI-FG", limits=(0, 1.12)))


if __name__ == "__main__":
  command.run_commandline()
