"""What slots, and one latent of a whole scene, tell of objects: python -m experiments.fig5 with ...

The paper's Fig. 5: every factor predicted linearly from frozen latents, fitted on the validation
split and scored on the test split: R^2 for position, accuracy for codes; mean and deviation over
the seeds of each model.

  python -m experiments.fig5 with 'runs=[runs/3,runs/4,runs/5]'
  python -m experiments.fig5 with folder=sweeps/fig5 train='clevr6 quick' seeds=[1,2,3]

The second trains IODINE, IODINE with the deconvolutional decoder, and the VAE first; the same
command goes on where it was stopped. Slots are matched to objects by their masks, and objects that
no slot holds count nowhere; how many have one is in the table. Of a VAE all objects are predicted
from the scene's latent, in the order of `iodine.scene_factors`: size, material, shape, position.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import threadpoolctl

from experiments.support import grid
from experiments.support.cli import Command, Refusal
from experiments.support.grid import Job
from experiments.support.results import Results
from experiments.support.settings import ChosenRun, GridSettings, Names, OtherData, Paths
from experiments.support.slot_latents import both_splits, check_factors, factor_kinds, varying
from experiments.support.subjects import Subject, beside, find_runs, open_runs, same_data
from experiments.support.tables import Spread
from iodine import factors, plotting, scene_factors
from iodine.factors import FactorKind, FactorScore
from iodine.latents import Latents

POSITION = ("x", "y")
CHANCE = "constant answer"


class Fig5Settings(GridSettings, ChosenRun):
  """See `ChosenRun`, and `GridSettings` for what is trained where `folder` is given.

  Attributes:
    runs: as of `StudySettings`.
    factors: names, [position,shape]; all that are no angle by default. `position` is x and y.
  """

  runs: Paths | None = None
  factors: Names | None = None


def storage(config):
  """Under the folder of the trainings, else beside the runs."""
  return grid.storage("fig5")(config) if config["folder"] else beside("fig5")(config)


command = Command("fig5", Fig5Settings, OtherData, storage=storage)


@command.main
def fig5(_run, _config):
  """Trains what is left where that is wanted, fits, scores and draws; returns the folder."""
  results, config = Results(_run), dict(_config)
  if config["folder"]:
    groups = grid.run_jobs(config, jobs(config))
    named = [str(path) for path in find_runs(config)]
    config |= {"run": None, "runs": named + [str(f) for own in groups.values() for f in own]}
  subjects = open_runs(config)
  same_data(subjects)
  for subject in subjects:
    subject.need("latents")
    check_factors(subject, config["factors"], [*subject.spec.factors, "position"])
  found = {}
  for subject in subjects:
    print(f"{subject.folder}, step {subject.step}, {subject.method}", flush=True)
    found.setdefault(subject.method, []).append((subject, *predict(subject, config)))
  write(results, found)
  return results.done()


def jobs(config: Mapping[str, Any]) -> list[Job]:
  """The three models of the figure."""
  groups = {"IODINE": (), "IODINE, deconv": ("deconv",), "VAE": ("vae",)}
  return [
    Job(group, seed, {}, names) for group, names in groups.items() for seed in config["seeds"]
  ]


def predict(subject: Subject, config: Mapping[str, Any]) -> tuple[dict[str, FactorScore], float]:
  """A run's scores by factor, and the share of the visible objects that they are of."""
  held_out = both_splits(subject, config)
  kinds, held_out = _with_position(subject, held_out, config["factors"])
  with threadpoolctl.threadpool_limits(1):  # see projections
    if subject.model.MAX_SLOTS == 1:
      return _predict_scenes(held_out, kinds), 1.0
    train, test = (held_out[s].objects(config["seed"]) for s in ("validation", "test"))
    if not len(train.latents):
      raise Refusal(f"no slot of {subject.folder} holds an object of the validation split")
    scores = factors.regress_factors(train, test, varying(kinds, train))
    return scores, held_out["test"].share_matched


def _predict_scenes(held_out, kinds):
  """From the one latent of each scene."""
  parts = []
  for latents in (held_out["validation"], held_out["test"]):
    order = scene_factors.canonical_order(
      latents.factors, latents.visibility, latents.num_background
    )
    parts.append((latents.mean[:, 0], order, latents.factors))
  return scene_factors.regress_scene_factors(*parts, kinds)


def _with_position(subject, held_out, names):
  """(kinds of the factors to predict, the latents with x and y as one factor)."""
  known = factor_kinds(subject, held_out["test"])
  if set(POSITION) <= set(known):
    known = {"position": FactorKind("continuous"), **known}
    held_out = {split: _joined(latents) for split, latents in held_out.items()}
  check_factors(subject, names, known)
  chosen = names or [
    name
    for name, kind in known.items()
    # the paper's: a turn of most solids cannot be seen, and these say where an object is again
    if kind.kind != "angle" and name not in (*POSITION, "z", "pixel_coords")
  ]
  return {name: known[name] for name in chosen}, held_out


def _joined(latents: Latents) -> Latents:
  x_and_y = np.stack([latents.factors[name] for name in POSITION], axis=-1)  # [N, L, 2]
  values = {**latents.factors, "position": x_and_y}
  return Latents(**{**vars(latents), "factors": values})


def write(
  results: Results, found: Mapping[str, Sequence[tuple[Subject, dict[str, FactorScore], float]]]
) -> None:
  """Writes the table, the numbers of each run, and the bars.

  Args:
    results: where they go.
    found: by model, of each of its runs: the Subject, scores by factor, share of objects.
  """
  names = list(dict.fromkeys(n for own in found.values() for _, scores, _ in own for n in scores))
  methods = {
    method: {
      name: Spread.over([scores[name].score for _, scores, _ in own if name in scores])
      for name in names
      if any(name in scores for _, scores, _ in own)
    }
    for method, own in found.items()
  }
  every = [scores for own in found.values() for _, scores, _ in own]
  chance = {n: next(scores[n].constant for scores in every if n in scores) for n in names}
  kinds = {n: next(scores[n].kind for scores in every if n in scores) for n in names}
  rows = [
    [
      method,
      len(found[method]),
      Spread.over([share for _, _, share in found[method]]).mean,
      *map(spreads.get, names),
    ]
    for method, spreads in methods.items()
  ]
  rows.append([CHANCE, None, None, *(chance[name] for name in names)])
  units = [f"{n} ({'accuracy' if kinds[n] == 'categorical' else 'R2'})" for n in names]
  results.table("fig5", ["model", "runs", "objects with a slot", *units], rows, latex=True)
  results.json(
    "fig5",
    {
      subject.folder: {
        "model": method,
        "objects_with_a_slot": share,
        **{name: {"score": s.score, "error": s.error} for name, s in scores.items()},
      }
      for method, own in found.items()
      for subject, scores, share in own
    },
  )
  means = {m: {n: s.mean for n, s in row.items()} for m, row in methods.items()}
  errors = {m: {n: s.std or 0.0 for n, s in row.items()} for m, row in methods.items()}
  # R^2 below zero is worse than the constant, by how much is of no matter
  low = min(0.0, *(v for row in means.values() for v in row.values()))
  figure = plotting.comparison(
    {**means, CHANCE: chance},
    errors,
    ylabel="R² or accuracy",
    limits=(max(low * 1.1, -0.5), 1.12),
    width=plotting.WIDTH,
  )
  results.figure("fig5", figure)


if __name__ == "__main__":
  command.run_commandline()
