"""What each input is worth: python -m experiments.ablation with folder=sweeps/ablation

Trains the whole model, the model without each single auxiliary input, and the model with the
deconvolutional decoder, on several seeds and the same budget (paper, Figs. 23, 33-40, Sec. 4.3):
curves of loss, ARI-FG, MSE and KL beside the whole model's, and a table. Restarts as `sweep` does.
"""

from collections.abc import Mapping
from typing import Any

from experiments.support import grid
from experiments.support.cli import Command, Refusal
from experiments.support.grid import Job
from experiments.support.results import Results
from experiments.support.settings import GridSettings, Names
from iodine import auxiliary
from iodine.settings import hint

WHOLE = "all inputs"


class AblationSettings(GridSettings):
  """See `GridSettings`.

  Attributes:
    without: inputs to leave out, one at a time.
    deconv: also train with the deconvolutional decoder.
  """

  without: Names = auxiliary.ALL_INPUTS
  deconv: bool = True


command = Command("ablation", AblationSettings, storage=grid.storage("ablation"))


@command.main
def ablation(_run, _config):
  """Trains what is left, tabulates and draws; returns the folder of the results."""
  groups = grid.run_jobs(_config, jobs(_config))
  results = Results(_run)
  grid.tabulate(results, groups)
  for group in groups:
    if group != WHOLE:
      compared = {WHOLE: groups[WHOLE], group: groups[group]}
      grid.draw_curves(results, group.replace(" ", "_"), compared)
  return results.done()


def jobs(config: Mapping[str, Any]) -> list[Job]:
  """The whole model first."""
  without = config["without"]
  for name in without:
    if name not in auxiliary.ALL_INPUTS:
      raise Refusal(f"there is no input {name!r}{hint(name, auxiliary.ALL_INPUTS)}")
  groups = {WHOLE: ({}, ())}
  for name in without:
    inputs = [n for n in auxiliary.ALL_INPUTS if n != name]
    groups[f"without {name}"] = ({"inputs": inputs}, ())
  if config["deconv"]:
    groups["deconv decoder"] = ({}, ("deconv",))
  return [
    Job(group, seed, *changes) for group, changes in groups.items() for seed in config["seeds"]
  ]


if __name__ == "__main__":
  command.run_commandline()
