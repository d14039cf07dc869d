"""What the tests of the experiments on finished runs share."""

import contextlib
import csv
import json
import pathlib
import types

import numpy as np

from experiments import evaluate, export, infer
from experiments.support import held_out, runs
from iodine import evaluation
from tests.uncompiled import uncompiled

NUM_TEST = 12  # of the tiny data


def study(module, folder, /, **updates):
  """Runs an experiment with a file storage in `folder`; returns the folder of its results.

  Its functions are run without being compiled, in half the time, but those of the commands that
  stand for all; `reference` compiles what others are compared with.
  """
  compiled = module in (evaluate, export, infer)
  with contextlib.nullcontext() if compiled else uncompiled():
    run = module.command.run(updates=updates, folder=folder)
  return pathlib.Path(run.observers[0].dir)


def settings(module, /, **updates):
  """The validated configuration of a study."""
  return module.command.configure(updates=updates)


def unrecorded():
  """A Sacred run without a storage, whose results land in the working directory."""
  return types.SimpleNamespace(
    observers=[], info={}, experiment_info={"name": "test"}, config={}, unobserved=False
  )


def rows(path):
  """A CSV table as a list of dicts."""
  with open(path, newline="") as file:
    return list(csv.DictReader(file))


def read_json(path):
  return json.loads(path.read_text())


def reference(run, split="test", num_images=NUM_TEST, **options):
  """(scores, unrolled output, scene batch) of a run, from the model itself in one batch."""
  config, model, _ = runs.load_run(run)
  batch = next(iter(held_out.scenes(config["data"], split, num_images, num_images, [])))
  scores = evaluation.Evaluator(model, seed=0, **options)([batch])
  return scores, model(batch["image"], seed=[0, 1], **options), batch


def assert_quantiles(table, scores, metric, x_name, x, column):
  """Rows of a table of curves against the quartiles of scores [N]."""
  [row] = [r for r in table if r["metric"] == metric and r[x_name] == str(x)]
  values = scores[metric][:, column]
  values = values[np.isfinite(values)]
  expected = np.quantile(values, [0.25, 0.5, 0.75])
  found = [float(row[name]) for name in ("lower quartile", "median", "upper quartile")]
  np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
  assert int(row["images"]) == len(values)
