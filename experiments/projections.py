"""Slot latents in the plane: python -m experiments.projections with run=runs/3

PCA and t-SNE of the latents of the slots that hold an object, coloured by each factor of the object
(paper, Figs. 24-29); and of all slots, coloured by whether they hold an object.
"""

from typing import Annotated, Any

import numpy as np
import threadpoolctl
from pydantic import Field
from sklearn import decomposition, manifold

from experiments.support.cli import Command, Refusal
from experiments.support.results import Results
from experiments.support.settings import Names, OtherData, StudySettings
from experiments.support.shown import at_least_2d
from experiments.support.slot_latents import check_factors, collect, factor_kinds
from experiments.support.subjects import Config, beside, open_run
from iodine import plotting
from iodine.config import Positive

COLUMNS = 5  # of a figure


class ProjectionSettings(StudySettings):
  """See `StudySettings`.

  Attributes:
    factors: names, [x,shape]; all by default.
    max_points: objects that are drawn.
    perplexity: of t-SNE.
  """

  factors: Names | None = None
  max_points: Annotated[int, Field(ge=5)] = 1000
  perplexity: Positive = 30.0


command = Command("projections", ProjectionSettings, OtherData, storage=beside("projections"))


@command.main
def project_latents(_run, _config):
  """Projects and draws; returns the folder."""
  subject, results = open_run(_config), Results(_run)
  check_factors(subject, _config["factors"])
  collected = collect(subject, _config)
  kinds = factor_kinds(subject, collected, _config["factors"])
  objects = collected.objects(_config["seed"])
  if len(objects.latents) < 5:
    raise Refusal(f"{len(objects.latents)} objects have a slot, too few to project")
  chosen = _sample(len(objects.latents), _config)
  points = project(objects.latents[chosen], _config)
  colorings = [
    coloring
    for name, kind in kinds.items()
    for coloring in color_by(name, kind, objects.factors[name][chosen])
  ]
  for first in range(0, len(colorings), COLUMNS):
    name = "projections" if first == 0 else f"projections_{first // COLUMNS + 1}"
    shown = colorings[first : first + COLUMNS]
    results.figure(name, plotting.projections(points, shown))
  results.csv(
    "projections",
    [*(f"{name} {axis}" for name in points for axis in "xy"), *(c.name for c in colorings)],
    _rows(points, colorings),
  )
  _draw_all_slots(results, collected, _config)
  return results.done()


def project(latents: np.ndarray, config: Config) -> dict[str, np.ndarray]:
  """PCA and t-SNE of [N, Z]: dict from name to [N, 2]; Refusal where all of them are the same."""
  if not np.ptp(latents, axis=0).any():
    raise Refusal(
      "the latents of these slots do not differ, as before the first update: nothing to project"
    )
  latents = at_least_2d(latents)
  perplexity = min(config["perplexity"], (len(latents) - 1) / 3)
  tsne = manifold.TSNE(
    perplexity=perplexity, init="pca", learning_rate="auto", random_state=config["seed"]
  )
  pca = decomposition.PCA(2, random_state=config["seed"])
  # threads that wait for one another make this many times slower on a busy machine
  with threadpoolctl.threadpool_limits(1):
    return {"PCA": pca.fit_transform(latents), "t-SNE": tsne.fit_transform(latents)}


def color_by(name: str, kind: Any, values: np.ndarray) -> list[plotting.Coloring]:
  """Colorings of a factor: RGB as it is, other vectors by component."""
  if kind.kind != "continuous" or values.ndim == 1:
    return [plotting.Coloring(name, values, kind.kind, period=kind.period)]
  if values.shape[1] == 3 and "RGB" in kind.unit:
    return [plotting.Coloring(name, values, "rgb")]
  if values.shape[1] == 1:
    return [plotting.Coloring(name, values[:, 0])]
  return [plotting.Coloring(f"{name} {i + 1}", column) for i, column in enumerate(values.T)]


def _draw_all_slots(results, collected, config):
  """Every slot, by whether it holds an object."""
  latents = collected.mean.reshape(-1, collected.mean.shape[-1])
  holds = np.zeros(collected.mean.shape[:2], int)
  image, entity = np.nonzero(collected.slots >= 0)
  holds[image, collected.slots[image, entity]] = 1
  chosen = _sample(len(latents), config)
  coloring = plotting.Coloring(
    "slot holds", holds.reshape(-1)[chosen], "categorical", ("no object", "an object")
  )
  points = project(latents[chosen], config)
  results.figure("all_slots", plotting.projections(points, [coloring], width=plotting.COLUMN))


def _sample(number, config):
  """Indices of the points that are drawn, in order."""
  chosen = np.random.default_rng(config["seed"]).permutation(number)[: config["max_points"]]
  return np.sort(chosen)


def _rows(points, colorings):
  """A row a point; an RGB colour as #rrggbb."""
  columns = [axis.tolist() for values in points.values() for axis in values.T]
  for coloring in colorings:
    if coloring.kind == "rgb":
      codes = np.clip(np.round(coloring.values * 255), 0, 255).astype(int).tolist()
      columns.append(["#{:02x}{:02x}{:02x}".format(*code) for code in codes])
    else:
      columns.append(coloring.values.tolist())
  return [list(row) for row in zip(*columns, strict=True)]


if __name__ == "__main__":
  command.run_commandline()
