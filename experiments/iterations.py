"""Scores by number of iterations: python -m experiments.iterations with 'runs=[runs/3,runs/4]'

Curves of ARI-FG, MSE and KL against the iterations at test time, medians and quartiles over images,
for runs trained with different T (paper, Fig. 8), and a picture of how the first run's slots come
to explain the image (Fig. 7).
"""

from collections.abc import Sequence

import numpy as np

from experiments.support.cli import Command
from experiments.support.results import Results, pooled
from experiments.support.settings import Counts, OtherData, StudySettings, Whole
from experiments.support.shown import draw_refinement
from experiments.support.subjects import (
  Config,
  Subject,
  beside,
  open_runs,
  same_data,
  score,
  told_apart,
)
from iodine.config import Count


class IterationSettings(StudySettings):
  """See `StudySettings`.

  Attributes:
    num_iterations: at test time.
    image: position in the split of the picture's scene.
    shown: iterations of the picture, [1,2,4,15]; as many as in training by default.
  """

  num_iterations: Count = 15
  image: Whole = 0
  shown: Counts | None = None


command = Command("iterations", IterationSettings, OtherData, storage=beside("iterations"))


@command.main
def iterations(_run, _config):
  """Scores every iteration and draws; returns the folder."""
  subjects, results = open_runs(_config), Results(_run)
  same_data(subjects)
  for subject in subjects:
    subject.need("iterations", "images")
  draw_refinement(results, subjects[0], _config)  # first, for it refuses what is not there
  curves, trained = by_iteration(subjects, _config)
  number = min(scores["mse"].shape[1] for scores in curves.values())
  results.curves("iterations", curves, "Iteration", range(1, number + 1), trained)
  return results.done()


def by_iteration(
  subjects: Sequence[Subject], config: Config
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, int]]:
  """Scores [N, D] by label, D that of the model with the fewest decodes, and each label's T."""
  found, trained = [], {}
  for subject, method in zip(subjects, told_apart(subjects), strict=True):
    label = f"{method}T = {subject.model.config.num_iterations}"
    print(f"{subject.folder}, step {subject.step}, {subject.dataset}, {label}", flush=True)
    found.append((label, score(subject, config)))
    trained[label] = subject.num_decodes
  number = min(scores["mse"].shape[1] for _, scores in found)
  curves = {}
  for label, scores in found:  # the released model decodes once more than the paper's
    pooled(curves, label, {metric: values[:, :number] for metric, values in scores.items()})
  return curves, trained


if __name__ == "__main__":
  command.run_commandline()
