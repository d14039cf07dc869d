"""Scores by number of slots: python -m experiments.slots with 'runs=[runs/3,runs/4]'

ARI-FG, MSE and KL against the number of slots at test time, for runs trained with different K, on
scenes with several ranges of objects (paper, Fig. 9):

  python -m experiments.slots with runs=sweep/* objects=[[3,6],[3,9]] test_slots=[4,7,10,13]
"""

from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator

from experiments.support.cli import Command
from experiments.support.results import Results, pooled
from experiments.support.settings import Counts, OtherData, StudySettings, Whole
from experiments.support.subjects import beside, open_runs, same_data, score, told_apart


def _in_order(limits: tuple[int, int]) -> tuple[int, int]:
  if limits[0] > limits[1]:
    raise ValueError(f"a range of objects is [least, most], got {list(limits)}")
  return limits


def _listed(value: Any) -> Any:
  """[3,6] as [[3,6]]."""
  flat = isinstance(value, list | tuple) and value and not isinstance(value[0], list | tuple)
  return [value] if flat else value


Limits = Annotated[tuple[Whole, Whole], AfterValidator(_in_order)]


class SlotSettings(StudySettings):
  """See `StudySettings`.

  Attributes:
    test_slots: K at test time, [4,7,10]; from 2 less to 4 more than in training by default.
    objects: ranges of objects, [[3,6],[3,9]]; the run's own by default.
  """

  test_slots: Counts | None = None
  objects: Annotated[tuple[Limits, ...], BeforeValidator(_listed)] | None = None


command = Command("slots", SlotSettings, OtherData, storage=beside("slots"))


@command.main
def slots(_run, _config):
  """Scores every K and draws a figure for each range of objects; returns the folder."""
  subjects, results = open_runs(_config), Results(_run)
  same_data(subjects)
  for subject in subjects:
    subject.need("slots")
  trained = [subject.model.config.num_slots for subject in subjects]
  test_slots = _config["test_slots"] or range(max(2, min(trained) - 2), max(trained) + 5)
  for limits in _config["objects"] or [None]:
    name, data = _filter(limits)
    curves, mark = {}, {}
    for subject, method in zip(subjects, told_apart(subjects), strict=True):
      label = f"{method}K = {subject.model.config.num_slots}"
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
  low, high = limits
  return f"slots_{low}_to_{high}_objects", {"min_objects": low, "max_objects": high}


if __name__ == "__main__":
  command.run_commandline()
