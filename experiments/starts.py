"""What several starts bring: python -m experiments.starts with 'runs=[runs/3,runs/4]'

Every image is inferred `most` times, from other samples each, and of the first one, two, three and
so on of these the one with the lowest negative ELBO is kept, as `num_starts` does it in all other
commands. ARI-FG, MSE and negative ELBO against the number of starts, beside the highest ARI-FG of
these starts, which it would take the true masks to choose; means over images.
"""

from collections.abc import Mapping

import numpy as np

from experiments.support.cli import Command, Refusal
from experiments.support.results import Results
from experiments.support.settings import OtherData, StudySettings
from experiments.support.subjects import Config, Subject, beside, open_runs, scenes
from iodine import inference, metrics, plotting
from iodine.config import Count

COLUMNS = {"ari_fg": "ARI-FG", "mse": "MSE", "energy": "negative ELBO"}
ORACLE = "highest ARI-FG"  # of the starts, as the true masks would choose


class StartSettings(StudySettings):
  """See `StudySettings`.

  Attributes:
    most: starts.
  """

  most: Count = 8


command = Command("starts", StartSettings, OtherData, storage=beside("starts"))


@command.main
def starts(_run, _config):
  """Infers, chooses and draws; returns the folder."""
  if _config["num_starts"] is not None:
    raise Refusal("this study counts starts itself: leave num_starts out, most=8 says how many")
  subjects, results = open_runs(_config), Results(_run)
  rows, curves = [], {}
  for subject in subjects:
    subject.need("slots", "images")
    print(f"{subject.folder}, step {subject.step}, {subject.dataset}", flush=True)
    found = every_start(subject, _config)
    means = {
      title: np.nanmean(best_of(found[name], found["energy"]), axis=1)
      for name, title in COLUMNS.items()
    }
    means[ORACLE] = np.nanmean(np.fmax.accumulate(found["ari_fg"]), axis=1)
    for number, values in enumerate(zip(*means.values(), strict=True), 1):
      rows.append([subject.folder, number, *values])
    energy = means.pop(COLUMNS["energy"])
    for title, values in {**means, "ELBO gained (nats)": energy[0] - energy}.items():
      curves.setdefault(title, {})[subject.folder] = values
  results.table("starts", ["run", "starts", *COLUMNS.values(), ORACLE], rows)
  figure = plotting.learning_curves(range(1, _config["most"] + 1), curves, xlabel="Starts")
  results.figure("starts", figure)
  return results.done()


def every_start(subject: Subject, config: Config) -> Mapping[str, np.ndarray]:
  """Scores by start and image: dict of ari_fg (NaN without foreground), mse and energy, [S, N]."""
  infer = inference.Inference(
    subject.model, config["num_iterations"], config["num_slots"], num_starts=1
  )
  seeds = range(config["seed"], config["seed"] + config["most"])
  parts, first = {name: [] for name in COLUMNS}, 0
  for batch in scenes(subject, config):
    if "mask" not in batch:
      raise Refusal(f"{subject.data['name']} has no true masks, by which starts are scored")
    found = [infer(batch["image"], seed, first) for seed in seeds]
    first += len(batch["image"])
    own = {
      "ari_fg": [
        metrics.ari_fg(batch["mask"], f.masks, subject.spec.num_background) for f in found
      ],
      "mse": [metrics.mse(batch["image"], f.reconstruction) for f in found],
      "energy": [subject.model.energy(f.nll, f.terms) for f in found],
    }
    for name, values in own.items():
      parts[name].append(np.stack(values))
  return {name: np.concatenate(v, axis=1).astype(np.float64) for name, v in parts.items()}


def best_of(values: np.ndarray, energy: np.ndarray) -> np.ndarray:
  """Values [S, N] of the start with the lowest energy [S, N] of the first 1 to S: [S, N]."""
  images = np.arange(values.shape[1])
  energy = np.where(np.isnan(energy), np.inf, energy)
  return np.stack([values[energy[: s + 1].argmin(axis=0), images] for s in range(len(values))])


if __name__ == "__main__":
  command.run_commandline()
