"""What each input is worth: python -m experiments.ablation with folder=sweeps/ablation

Trains the whole model, the model without each single auxiliary input, and the model with the
deconvolutional decoder, on several seeds and the same budget (paper, Figs. 23, 33-40, Sec. 4.3):
curves of loss, ARI-FG, MSE and KL beside the whole model's, and a table. Restarts as `sweep` does.
"""

from experiments import grid
from experiments.experiment import main, make_experiment, run_commandline
from experiments.grid import Job
from experiments.subjects import Results, names_in
from iodine import auxiliary

CONFIG = {
  **grid.CONFIG,
  "without": list(auxiliary.ALL_INPUTS),  # inputs to leave out, one at a time
  "deconv": True,  # also the deconvolutional decoder
}
ex = make_experiment("ablation", CONFIG)
WHOLE = "all inputs"


@main(ex)
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


def jobs(config):
  """The whole model first: list of Job."""
  without = names_in(config["without"])
  for name in without:
    auxiliary.check_inputs([name, *auxiliary.SPATIAL_INPUTS])
  groups = {WHOLE: {}}
  for name in without:
    groups[f"without {name}"] = {"inputs": [n for n in auxiliary.ALL_INPUTS if n != name]}
  if config["deconv"]:
    groups["deconv decoder"] = {"decoder": "deconv", "decoder_upsampling": 1}
  return [
    Job(group, seed, updates) for group, updates in groups.items() for seed in config["seeds"]
  ]


if __name__ == "__main__":
  run_commandline(ex, storage=grid.storage("ablation"))
