"""Curves that runs recorded, as Sacred's metrics.json has them."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.support.runs import is_bundle, load_config
from iodine.files import write_json

Curves = dict[str, tuple[np.ndarray, np.ndarray]]


def read(folder: str | os.PathLike) -> Curves:
  """What a run recorded, with the runs it was resumed from.

  Args:
    folder: the run's.

  Returns:
    dict from a name as "train.loss" to (steps int [S], values float [S]); empty without a record.
  """
  folder = pathlib.Path(folder)
  path = folder / "metrics.json"
  curves = {}
  if path.is_file():
    for name, record in json.loads(path.read_text()).items():
      values = [float("nan") if v is None else v for v in record["values"]]
      curves[name] = _last(np.array(record["steps"], int), np.array(values, float))
  origin = None if is_bundle(folder) else load_config(folder).get("resume_from")
  if origin and (pathlib.Path(origin) / "config.json").is_file():
    start = min((steps[0] for steps, _ in curves.values()), default=np.inf)
    for name, (steps, values) in read(origin).items():
      earlier = steps < start
      own = curves.get(name, (steps[:0], values[:0]))
      curves[name] = tuple(
        np.concatenate([old[earlier], new]) for old, new in zip((steps, values), own, strict=True)
      )
  return curves


def _last(steps, values):
  """Without what was done anew from an earlier step (`on_nan=rewind`)."""
  later = np.minimum.accumulate(np.append(steps, np.iinfo(int).max)[::-1])[::-1][1:]
  return steps[steps < later], values[steps < later]


def write(folder: str | os.PathLike, curves: Curves) -> None:
  """Writes what `read` gives, so that it can be read from `folder`, the run's or a bundle's."""
  records = {
    name: {"steps": steps.tolist(), "values": [v if np.isfinite(v) else None for v in values]}
    for name, (steps, values) in curves.items()
  }
  write_json(pathlib.Path(folder) / "metrics.json", records)


def aligned(
  records: Mapping[str, Sequence[Curves]], name: str
) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
  """One curve of many runs at the steps that all of them recorded.

  Args:
    records: dict from a label to what `read` gave for each of its runs.
    name: of the curve.

  Returns:
    (steps [S], dict from a label to values [R, S]), or None where no run has it.
  """
  found = {}
  for label, own in records.items():
    own = [dict(zip(*map(list, record[name]), strict=True)) for record in own if name in record]
    if own:
      found[label] = own
  if not found:
    return None
  steps = sorted(set.intersection(*(set(run) for own in found.values() for run in own)))
  return np.array(steps), {
    label: np.array([[run[step] for step in steps] for run in own]) for label, own in found.items()
  }
