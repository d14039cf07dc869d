"""Scores by number of slots: python -m experiments.slots with runs=[runs/3,runs/4]

ARI-FG, MSE and KL against the number of slots at test time, for runs trained with different K, on
scenes with several ranges of objects (paper, Fig. 9):

  python -m experiments.slots with runs=sweep/* objects=[[3,6],[3,9]] test_slots=[4,7,10,13]
"""

import numpy as np

from experiments.experiment import Refusal, main, make_experiment, run_commandline
from experiments.subjects import (
  Results,
  open_runs,
  pooled,
  same_data,
  score,
  settings,
  storage,
)

CONFIG = settings(
  test_slots=None,  # K at test time, [4,7,10]; from 2 less to 4 more than in training by default
  objects=None,  # ranges of objects, [[3,6],[3,9]]; the run's own by default
)
ex = make_experiment("slots", CONFIG)


@main(ex)
def slots(_run, _config):
  """Scores every K and draws a figure for each range of objects; returns the folder."""
  subjects, results = open_runs(_config), Results(_run)
  same_data(subjects)
  trained = [subject.model.config.num_slots for subject in subjects]
  test_slots = _config["test_slots"] or range(max(2, min(trained) - 2), max(trained) + 5)
  for limits in _config["objects"] or [None]:
    name, data = _filter(limits)
    curves, mark = {}, {}
    for subject in subjects:
      label = f"K = {subject.model.config.num_slots}"
      mark[label] = subject.model.config.num_slots
      print(f"{subject.folder}, step {subject.step}, trained with {label}, {name}", flush=True)
      found = [score(subject, _config, num_slots=k, **data) for k in test_slots]
      last = {m: np.stack([s[m][:, -1] for s in found], axis=1) for m in found[0]}  # [N, X]
      pooled(curves, label, last)
    results.curves(name, curves, "Slots at test time", test_slots, mark)
  return results.done()


def _filter(limits):
  """(name, changes to the data) of a range of objects."""
  if limits is None:
    return "slots", {}
  if len(limits) != 2 or limits[0] > limits[1]:
    raise Refusal(f"a range of objects is [least, most], got {list(limits)}")
  low, high = limits
  return f"slots_{low}_to_{high}_objects", {"min_objects": low, "max_objects": high}


if __name__ == "__main__":
  run_commandline(ex, storage=storage("slots"))
