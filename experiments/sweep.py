"""A grid of training runs: python -m experiments.sweep with folder=sweeps/slots num_slots=[3,5,7]

Trains every combination of K, T and seed (paper, Table 1, Figs. 8, 9), each in a process of its
own; the same command goes on where it was stopped and repeats nothing that is done. Then tables
and curves; the other experiments take the whole grid: runs=sweeps/slots.

  python -m experiments.sweep with folder=sweeps/seeds train='clevr6 num_steps=200000' processes=2
"""

import itertools
from collections.abc import Mapping
from typing import Any

from experiments.support import grid
from experiments.support.cli import Command
from experiments.support.grid import Job
from experiments.support.results import Results
from experiments.support.settings import Counts, GridSettings


class SweepSettings(GridSettings):
  """See `GridSettings`.

  Attributes:
    num_slots: K, [4,5,6]; the training's by default.
    num_iterations: T, [3,5]; likewise.
  """

  num_slots: Counts | None = None
  num_iterations: Counts | None = None


command = Command("sweep", SweepSettings, storage=grid.storage("sweep"))


@command.main
def sweep(_run, _config):
  """Trains what is left, tabulates and draws; returns the folder of the results."""
  groups = grid.run_jobs(_config, jobs(_config))
  results = Results(_run)
  grid.tabulate(results, groups)
  grid.draw_curves(results, "curves", groups)
  print(f"all runs: runs={_config['folder']}")
  return results.done()


def jobs(config: Mapping[str, Any]) -> list[Job]:
  """The grid."""
  grids = {key: config[key] for key in ("num_slots", "num_iterations") if config[key]}
  found = []
  for values in itertools.product(*grids.values()):
    updates = dict(zip(grids, values, strict=True))
    letters = {"num_slots": "K", "num_iterations": "T"}
    group = ",".join(f"{letters[key]}={value}" for key, value in updates.items()) or "all"
    found += [Job(group, seed, updates) for seed in config["seeds"]]
  return found


if __name__ == "__main__":
  command.run_commandline()
