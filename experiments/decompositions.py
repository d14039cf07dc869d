"""What a run makes of held-out images: python -m experiments.decompositions with run=runs/3

Two figures (paper, Figs. 1, 4, 16-18, 20-22). `decompositions`: image, true masks, reconstruction,
predicted masks and every slot as it is masked in, framed in the colour of its mask. `slots`: of the
first images also each slot unmasked, its mask and its mask logits. A table has their scores.
"""

from experiments.support.cli import Command
from experiments.support.paper import SCORES
from experiments.support.results import Results
from experiments.support.settings import OtherData, Places, StudySettings, Whole
from experiments.support.shown import decompose, draw_decomposition, pick
from experiments.support.subjects import beside, open_run
from iodine import evaluation, plotting
from iodine.config import Count


class DecompositionSettings(StudySettings):
  """See `StudySettings`.

  Attributes:
    images: positions in the split, [0,5,7]; the first `num_images` by default.
    num_detailed: of them in the figure `slots`; 0 draws none.
  """

  images: Places | None = None
  num_images: Count = 8
  num_detailed: Whole = 2


command = Command(
  "decompositions", DecompositionSettings, OtherData, storage=beside("decompositions")
)


@command.main
def decompositions(_run, _config):
  """Draws the figures and scores their images; returns their folder."""
  subject, results = open_run(_config), Results(_run)
  chosen = pick(subject, _config, _config["images"])
  draw_decomposition(results, subject, _config, chosen)
  if _config["num_detailed"]:
    detailed = decompose(subject, _config, chosen[: _config["num_detailed"]])
    variants = ("masked", "unmasked", "mask", "logits")
    figure = plotting.decomposition(
      **detailed, slots=variants, num_background=subject.spec.num_background
    )
    results.figure("slots", figure)
  evaluator = subject.evaluator(_config)
  rows = []
  for position, scene in chosen:
    summary = evaluation.summarize(evaluator([scene], first_index=position))
    rows.append([position, *(summary[name] for name in SCORES)])
  results.table("scores", ["image", *SCORES.values()], rows)
  return results.done()


if __name__ == "__main__":
  command.run_commandline()
