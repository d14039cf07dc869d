"""Scores by number of iterations: python -m experiments.iterations with runs=[runs/3,runs/4]

Curves of ARI-FG, MSE and KL against the iterations at test time, medians and quartiles over images,
for runs trained with different T (paper, Fig. 8), and a picture of how the first run's slots come
to explain the image (Fig. 7).
"""

from experiments.decompositions import pick
from experiments.experiment import main, make_experiment, run_commandline
from experiments.subjects import (
  Results,
  open_runs,
  pooled,
  same_data,
  score,
  settings,
  storage,
)
from iodine import inference, plotting

CONFIG = settings(
  num_iterations=15,  # at test time
  image=0,  # position in the split of the picture's scene
  shown=None,  # iterations of the picture, [1,2,4,15]; as many as in training by default
)
ex = make_experiment("iterations", CONFIG)


@main(ex)
def iterations(_run, _config):
  """Scores every iteration and draws; returns the folder."""
  subjects, results = open_runs(_config), Results(_run)
  same_data(subjects)
  curves, trained = {}, {}
  for subject in subjects:
    label = f"T = {subject.model.config.num_iterations}"
    print(f"{subject.folder}, step {subject.step}, {subject.dataset}, {label}", flush=True)
    pooled(curves, label, score(subject, _config))
    trained[label] = num_decodes(subject)
  counts = [scores["mse"].shape[1] for scores in curves.values()]
  curves = {
    label: {metric: values[:, : min(counts)] for metric, values in scores.items()}
    for label, scores in curves.items()
  }
  results.curves("iterations", curves, "Iteration", range(1, min(counts) + 1), trained)
  draw(results, subjects[0], _config)
  return results.done()


def num_decodes(subject):
  """How often training decodes: T, or T + 1 with `final_decode`."""
  return subject.model.config.num_iterations + int(subject.model.config.final_decode)


def draw(results, subject, config):
  """The picture of the refinement, with slots masked in and with the bare masks."""
  shown = list(config["shown"] or range(1, num_decodes(subject) + 1))
  [(position, scene)] = pick(subject, config, [config["image"]])
  infer = inference.Inference(subject.model, max(shown), config["num_slots"])
  decoded = infer.iterations(scene["image"], config["seed"], position)
  rows = [t - 1 for t in shown]
  for name, slots in (("refinement", "masked"), ("refinement_masks", "mask")):
    figure = plotting.refinement(
      scene["image"][0].numpy(),
      decoded.masks[rows, 0],
      decoded.means[rows, 0],
      (decoded.masks * decoded.means).sum(axis=2)[rows, 0],
      scene["mask"][0].numpy() if "mask" in scene else None,
      slots=slots,
      iterations=shown,
      num_background=subject.spec.num_background,
    )
    results.figure(name, figure)


if __name__ == "__main__":
  run_commandline(ex, storage=storage("iterations"))
