"""Hard cases (Fig. 11): python -m experiments.hard_cases with 'runs=[runs/3,runs/4]'

The panels of Fig. 11 from runs, in their order: for the paper's, one on textured_mnist, one on
photographs of one's own (datasets.from_images; data.name=images) and one on clevr6_grayscale. A
panel shows the first held-out scenes: image, true masks where there are any, reconstruction, masks
and slots. A table has the scores; without true masks, how well the masks can be told from the
colours alone: `by colour` is the share of the pixels' variance of colour that lies between slots.
The paper's own outcome: digits are not captured, photographs are grouped by colour, gray CLEVR
comes apart.
"""

import numpy as np

from experiments.support.cli import Command, Refusal
from experiments.support.paper import SCORES
from experiments.support.results import Results
from experiments.support.settings import ChangedData, StudySettings
from experiments.support.shown import decompose, pick
from experiments.support.subjects import beside, open_runs, score
from iodine import evaluation, plotting
from iodine.config import Count


class HardCasesSettings(StudySettings):
  """See `StudySettings`.

  Attributes:
    num_shown: scenes of each panel.
  """

  num_shown: Count = 3


command = Command("hard_cases", HardCasesSettings, ChangedData, storage=beside("hard_cases"))


@command.main
def hard_cases(_run, _config):
  """Draws the figure and scores the runs; returns the folder of the results."""
  subjects, results = open_runs(_config), Results(_run)
  panels, rows = {}, []
  for subject in subjects:
    title = subject.dataset
    if title in panels:
      raise Refusal(f"a panel a data set: {subject.folder} is another run on {title}")
    shown = decompose(subject, _config, pick(subject, _config, range(_config["num_shown"])))
    del shown["mask_logits"]
    panels[title] = plotting.Panel(**shown, num_background=subject.spec.num_background)
    summary = evaluation.summarize(score(subject, _config))
    rows.append(
      [
        title,
        subject.folder,
        subject.step,
        *(summary[name] if np.isfinite(summary[name]) else None for name in SCORES),
        by_color(shown["images"], shown["masks"]),
      ]
    )
  results.figure("hard_cases", plotting.panels(panels))
  results.table("scores", ["data", "run", "step", *SCORES.values(), "by colour"], rows, latex=True)
  return results.done()


def by_color(images: np.ndarray, masks: np.ndarray) -> float:
  """The share of the variance of colour over an image's pixels that lies between slots.

  Args:
    images: [N, H, W, C].
    masks: [N, K, H, W, 1]; a pixel belongs to the likeliest slot.

  Returns:
    Mean over images, 0 to 1: near 1 the slots are the image's colours; 1 for an image of one.
  """
  shares = []
  for image, mask in zip(images, masks, strict=True):
    colors = image.reshape(-1, image.shape[-1]).astype(np.float64)  # [P, C]
    owner = mask[..., 0].argmax(axis=0).ravel()  # [P]
    total = np.square(colors - colors.mean(axis=0)).sum()
    within = sum(
      np.square(own - own.mean(axis=0)).sum() for own in (colors[owner == k] for k in set(owner))
    )
    shares.append(1.0 if total == 0 else 1 - within / total)
  return float(np.mean(shares))


if __name__ == "__main__":
  command.run_commandline()
