"""What a run makes of held-out images: python -m experiments.decompositions with run=runs/3

Two figures (paper, Figs. 1, 4, 16-18, 20-22). `decompositions`: image, true masks, reconstruction,
predicted masks and every slot as it is masked in, framed in the colour of its mask. `slots`: of the
first images also each slot unmasked, its mask and its mask logits. A table has their scores.
"""

import numpy as np
import tensorflow as tf

from experiments.experiment import Refusal, main, make_experiment, run_commandline
from experiments.subjects import Results, open_run, scenes, settings, storage
from iodine import evaluation, inference, plotting

CONFIG = settings(
  images=None,  # positions in the split, [0,5,7]; the first `num_images` by default
  num_images=8,
  num_detailed=2,  # of them in the figure `slots`
)
ex = make_experiment("decompositions", CONFIG)


COLUMNS = {"ari_fg": "ARI-FG", "ari": "ARI", "covering": "mSC", "mse": "MSE", "kl": "KL"}


@main(ex)
def decompositions(_run, _config):
  """Draws the figures and scores their images; returns their folder."""
  subject, results = open_run(_config), Results(_run)
  chosen = pick(subject, _config, _config["images"])
  shown = decompose(subject, _config, chosen)
  background = {"num_background": subject.spec.num_background}
  results.figure("decompositions", plotting.decomposition(**shown, **background))
  detailed = {k: v if v is None else v[: _config["num_detailed"]] for k, v in shown.items()}
  variants = ("masked", "unmasked", "mask", "logits")
  results.figure("slots", plotting.decomposition(**detailed, slots=variants, **background))
  evaluator = subject.evaluator(_config)
  rows = []
  for position, scene in chosen:
    summary = evaluation.summarize(evaluator([scene], first_index=position))
    rows.append([position, *(summary[name] for name in COLUMNS)])
  results.table("scores", ["image", *COLUMNS.values()], rows)
  return results.done()


def pick(subject, config, positions=None):
  """Scenes at positions in the split, the first `num_images` by default.

  Returns:
    list of (position, batch of one scene).

  Raises:
    Refusal: there is no such position.
  """
  wanted = range(config["num_images"]) if positions is None else positions
  found, first = {}, 0
  for batch in scenes(subject, config, num_images=max(wanted) + 1):
    for row in range(len(batch["image"])):
      if first + row in wanted:
        found[first + row] = tf.nest.map_structure(lambda v, row=row: v[row : row + 1], batch)
    first += len(batch["image"])
  for position in wanted if positions is not None else ():
    if position not in found:
      raise Refusal(f"there is no image {position}: the split has {first}")
  return [(position, found[position]) for position in wanted if position in found]


def decompose(subject, config, chosen):
  """What the model makes of scenes of `pick`: the arguments of plotting.decomposition."""
  infer = inference.Inference(subject.model, config["num_iterations"], config["num_slots"])
  decoded = [infer(scene["image"], config["seed"], position) for position, scene in chosen]

  def joined(values):
    return np.concatenate(list(values))

  return {
    "images": joined(scene["image"] for _, scene in chosen),
    "true_masks": joined(s["mask"] for _, s in chosen) if "mask" in chosen[0][1] else None,
    "reconstructions": joined(d.reconstruction for d in decoded),
    "masks": joined(d.masks for d in decoded),
    "means": joined(d.means for d in decoded),
    "mask_logits": joined(d.mask_logits for d in decoded),
  }


if __name__ == "__main__":
  run_commandline(ex, storage=storage("decompositions"))
