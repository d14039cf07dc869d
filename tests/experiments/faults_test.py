"""Trainings that are killed, and what is left of them."""

import re
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests.experiments.victims import Fault, Launcher

STEPS_A_KILL = 8  # at most as many steps between two kills
OPTIONS = {
  "log_every": 1,
  "checkpoint_every": 3,
  "validate_every": 40,
  "num_validation_images": 4,
}


def random_fault(rng, number):
  """A kill some steps after the start of a training; every kind comes up in turn."""
  step = int(rng.integers(1, STEPS_A_KILL + 1))
  delay = float(rng.uniform(0, 0.02))
  kinds = [
    Fault("step", step, delay),
    Fault("change", int(rng.integers(1, 4)), count=int(rng.integers(1, 8))),
    Fault("step", step, delay, signum=signal.SIGTERM),
    Fault("cut", int(rng.integers(1, 4)), count=int(rng.integers(1, 20_000))),
    Fault("step", step, delay),
    Fault("change", int(rng.integers(2, 4)), count=int(rng.integers(1, 8))),
    Fault("step", step, delay, signum=signal.SIGTERM),
    Fault("replace", int(rng.integers(1, 4)), count=int(rng.integers(2))),
    Fault("change", 2, count=int(rng.integers(1, 8))),
    Fault("start", delay=float(rng.uniform(0, 3))),
  ]
  return kinds[number % len(kinds)]


@pytest.fixture(scope="module")
def data(tiny_data):
  return {"dir": str(tiny_data)}


@pytest.mark.parametrize("num_kills", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_again_and_again_a_run_ends_bit_identical(num_kills, data, tmp_path):
  options = {"num_steps": STEPS_A_KILL * num_kills + 5, "data": data, **OPTIONS}
  whole = Launcher(tmp_path / "whole")
  code, printed = whole.run(**options)
  assert code == 0, printed

  killed, rng, reached = Launcher(tmp_path / "killed"), np.random.default_rng(num_kills), 0
  for number in range(num_kills):
    fault, run = random_fault(rng, number), killed.last_run()
    code, printed = killed.run(fault, resume_from=run, **({} if run else options))
    told = f"{fault}: exit code {code}\n{printed}"
    began = re.search(r"from step (\d+) to", printed)
    if began:  # nothing that had been saved is lost
      assert int(began[1]) >= reached, told
      reached = int(began[1])
    if fault.kind == "cut":
      assert code == -signal.SIGXFSZ, told
    elif fault.signum == signal.SIGTERM:
      stopped = re.search(r"stopped at step (\d+) and saved", printed)
      assert code == 143, told
      assert stopped, told
      reached = int(stopped[1])
    else:
      assert code == -signal.SIGKILL, told
  code, printed = killed.run(resume_from=killed.last_run())
  assert code == 0, printed
  assert reached > num_kills  # the kills are spread over the training

  for which in (f"ckpt-{options['num_steps']}", "best"):
    ours, theirs = (checkpoint(launcher.last_run(), which) for launcher in (killed, whole))
    assert ours.keys() == theirs.keys()
    for name in ours:
      np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
  ours, theirs = (curves(launcher.last_run()) for launcher in (killed, whole))
  assert len(theirs["train/loss"]) == options["num_steps"]
  assert ours == theirs


def checkpoint(run, which):
  """All tensors of a checkpoint: name -> array."""
  folder = run / "checkpoints"
  path = folder / which
  if which == "best":
    path = max((folder / "best").glob("*.index"), key=lambda p: int(p.stem.split("-")[1]))
    path = path.with_suffix("")
  reader = tf.train.load_checkpoint(str(path))
  names = reader.get_variable_to_shape_map()
  return {n: reader.get_tensor(n) for n in names if n not in ("_CHECKPOINTABLE_OBJECT_GRAPH",)}


def curves(run):
  """What TensorBoard shows: name -> {step: value}; the same step twice has the same value."""
  found = {}
  for path in sorted((run / "tensorboard").iterdir()):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        if value.HasField("tensor") and "images_per_second" not in value.tag:
          number = tf.make_ndarray(value.tensor)
          if number.ndim == 0:
            curve = found.setdefault(value.tag, {})
            assert curve.setdefault(event.step, float(number)) == float(number)
  return found
