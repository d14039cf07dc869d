"""Scores by number of iterations: python -m experiments.iterations with 'runs=[runs/3,runs/4]'

Curves of ARI-FG, MSE and KL against the iterations at test time, medians and quartiles over images,
for runs trained with different T (paper, Fig. 8), and a picture of how the first run's slots come
to explain the image (Fig. 7).
"""

from experiments.support.cli import Command
from experiments.support.results import Results, pooled
from experiments.support.settings import Counts, OtherData, StudySettings, Whole
from experiments.support.shown import draw_refinement
from experiments.support.subjects import beside, open_runs, same_data, score
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
  curves, trained = {}, {}
  for subject in subjects:
    label = f"T = {subject.model.config.num_iterations}"
    print(f"{subject.folder}, step {subject.step}, {subject.dataset}, {label}", flush=True)
    pooled(curves, label, score(subject, _config))
    trained[label] = subject.num_decodes
  counts = [scores["mse"].shape[1] for scores in curves.values()]
  curves = {
    label: {metric: values[:, : min(counts)] for metric, values in scores.items()}
    for label, scores in curves.items()
  }
  results.curves("iterations", curves, "Iteration", range(1, min(counts) + 1), trained)
  draw_refinement(results, subjects[0], _config)
  return results.done()


if __name__ == "__main__":
  command.run_commandline()
