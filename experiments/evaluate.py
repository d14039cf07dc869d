"""Scores a run on held-out images: python -m experiments.evaluate with run=runs/3

Writes metrics.json and figures (decomposition, refinement, scores by iteration) into a new folder
runs/3/evaluate/N/test/. num_iterations, num_slots and the object-count filter may differ from
training.
"""

import copy
import pathlib

import numpy as np

from experiments import runs
from experiments.experiment import Refusal, main, make_experiment, run_commandline, run_directory
from iodine import evaluation, plotting
from iodine.training import write_json

CONFIG = {
  "run": None,  # the run's folder, runs/3
  "checkpoint": "best",  # or "last"
  "split": "test",  # or "validation"
  "num_images": 320,  # paper, Sec. 4.1
  "num_iterations": None,  # the run's by default
  "num_slots": None,
  "batch_size": 16,
  "data": {},  # keys of the run's `data` to change: data.max_objects=10 data.path=...
}
DATA_KEYS = ("path", "dir", "min_objects", "max_objects", "num_train", "num_validation", "num_test")
for _key in DATA_KEYS:
  CONFIG["data"][_key] = "run"  # as in the run

ex = make_experiment("evaluate", CONFIG)


@main(ex)
def evaluate(_run, _config):
  """Scores the checkpoint and writes the report."""
  config = copy.deepcopy(dict(_config))
  if not config["run"]:
    raise Refusal("say which run: with run=runs/3")
  report = evaluate_run(
    config["run"],
    run_directory(_run),
    which=config["checkpoint"],
    split=config["split"],
    num_images=config["num_images"],
    num_iterations=config["num_iterations"],
    num_slots=config["num_slots"],
    batch_size=config["batch_size"],
    data={k: v for k, v in config["data"].items() if v != "run"},
    seed=config["seed"],
  )
  _run.info["summary"] = report["summary"]
  print(sentence(report["summary"]))
  print("\n".join(["figures:", *report["figures"], "numbers:", report["metrics"]]))
  return report["summary"]["ari_fg"]


def evaluate_run(
  run,
  out,
  which="best",
  split="test",
  num_images=320,
  num_iterations=None,
  num_slots=None,
  batch_size=16,
  data=None,
  seed=0,
):
  """Scores a run's checkpoint and writes metrics.json and three figures into `out`/`split`.

  Returns:
    dict: `summary` (means at the last iteration), `figures` and `metrics` (paths).
  """
  if split == "train":
    raise Refusal("evaluation never looks at training records: split is validation or test")
  config, model, step = runs.load_run(run, which)
  data = {**config["data"], **(data or {})}
  print(f"{run}, {which} checkpoint, step {step}: up to {num_images} images of the {split} split")
  scores = score(model, data, split, num_images, num_iterations, num_slots, batch_size, seed)
  summary = {**evaluation.summarize(scores), "step": step}
  out = pathlib.Path(out) / split  # Sacred has a metrics.json of its own in `out`
  out.mkdir(parents=True, exist_ok=True)
  metrics = out / "metrics.json"
  curves = {
    name: {str(q): np.nanquantile(values, q, axis=0).tolist() for q in (0.25, 0.5, 0.75)}
    for name, values in scores.items()
    if np.isfinite(values).any()  # some need true masks
  }
  write_json(metrics, {"run": str(run), "split": split, **summary, "quantiles": curves})
  figures = {
    "decomposition": draw_decomposition(model, data, split, 6, num_iterations, num_slots, seed),
    "refinement": draw_refinement(model, data, split, num_iterations, num_slots, seed),
    "iterations": plotting.curves_per_iteration(
      ari=scores["ari_fg"], mse=scores["mse"], kl=scores["kl"]
    ),
  }
  return {
    "summary": summary,
    "metrics": str(metrics),
    "figures": [save(figure, out / name) for name, figure in figures.items()],
  }


def score(
  model, data, split, num_images, num_iterations=None, num_slots=None, batch_size=16, seed=0
):
  """Scores by image and decode; see iodine.evaluation.Evaluator."""
  evaluator = evaluation.Evaluator(
    model, num_iterations, num_slots, runs.dataset_spec(data).num_background, seed
  )
  return evaluator(held_out(data, split, num_images, batch_size))


def held_out(data, split, num_images, batch_size):
  """The first scenes of a held-out split, in order."""
  return runs.load_data(
    data,
    split,
    batch_size,
    shuffle=False,
    num_epochs=1,
    drop_remainder=False,
    num_images=num_images,
  )


def decompose(model, data, split, num_images, num_iterations=None, num_slots=None, seed=0):
  """The first scenes of a split and what the model makes of them: (scene batch, IodineOutput)."""
  batch = next(iter(held_out(data, split, num_images, num_images)))
  output = model(batch["image"], num_iterations=num_iterations, num_slots=num_slots, seed=[seed, 1])
  return batch, output


def draw_decomposition(
  model, data, split, num_images=6, num_iterations=None, num_slots=None, seed=0
):
  """Figure: image, true masks, reconstruction, masks and slots of the first scenes."""
  batch, output = decompose(model, data, split, num_images, num_iterations, num_slots, seed)
  return plotting.decomposition(
    batch["image"].numpy(),
    batch["mask"].numpy() if "mask" in batch else None,
    output.reconstruction[-1].numpy(),
    output.masks[-1].numpy(),
    output.means[-1].numpy(),
    num_background=runs.dataset_spec(data).num_background,
  )


def draw_refinement(model, data, split, num_iterations=None, num_slots=None, seed=0):
  """Figure: the first scene over the iterations."""
  batch, output = decompose(model, data, split, 1, num_iterations, num_slots, seed)
  return plotting.refinement(
    batch["image"][0].numpy(),
    output.masks[:, 0].numpy(),
    output.means[:, 0].numpy(),
    output.reconstruction[:, 0].numpy(),
  )


def save(figure, path):
  """Saves PNG and PDF beside one another; returns the PNG's path."""
  path.parent.mkdir(parents=True, exist_ok=True)
  for suffix in (".pdf", ".png"):
    figure.savefig(path.with_suffix(suffix), dpi=200)
  return str(path.with_suffix(".png"))


def sentence(summary):
  """The scores in one line."""
  ari = f"ARI-FG {summary['ari_fg']:.3f}, " if summary["num_foreground"] else ""
  return (
    f"{ari}MSE {summary['mse']:.5f}, KL {summary['kl']:.1f} nats "
    f"({summary['num_images']} images, {summary['num_foreground']} with foreground)"
  )


if __name__ == "__main__":
  run_commandline(ex, storage=lambda updates: f"{updates.get('run') or 'runs'}/evaluate")
