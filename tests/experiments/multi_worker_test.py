"""Two devices of the CPU, and two processes (strategy=multi_worker), train as one device."""

import functools
import json
import os
import re
import signal
import socket

import numpy as np
import pytest

from iodine.training import cluster_task, make_strategy
from tests.experiments.faults_test import curves
from tests.experiments.victims import Fault, Launcher, finish, set_environment

NUM_STEPS = 16
OPTIONS = {
  "num_steps": NUM_STEPS,
  "log_every": 1,
  "checkpoint_every": 5,
  "validate_every": NUM_STEPS,
  "learning_rate": 1e-4,  # Adam's first steps turn rounding into a full step of this size
}


def run_both(launcher, faults=(None, None), **options):
  """Two workers: [(exit code, printed)] of the chief and the other."""
  with socket.socket() as one, socket.socket() as two:
    for s in (one, two):
      s.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in (one, two)]
  processes = []
  for index, fault in enumerate(faults):
    cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    prepare = functools.partial(set_environment, TF_CONFIG=json.dumps(cluster))
    processes.append(launcher.start(fault, prepare, **options))
  return [finish(process) for process in processes]


@pytest.fixture(scope="module")
def options(tiny_data):
  return {**OPTIONS, "data": {"dir": str(tiny_data), "num_test": 0}}


@pytest.fixture(scope="module")
def alone(options, tmp_path_factory):
  """Folder of a run on one device in one process."""
  launcher = Launcher(tmp_path_factory.mktemp("alone"))
  code, printed = launcher.run(**options)
  assert code == 0, printed
  assert "1 device(s)" in printed
  return launcher.last_run()


def assert_same_curves(run, other):
  ours, theirs = curves(run), curves(other)
  assert ours.keys() == theirs.keys()
  for name in theirs:
    assert ours[name].keys() == theirs[name].keys()
    for step in theirs[name]:
      np.testing.assert_allclose(ours[name][step], theirs[name][step], rtol=1e-4, err_msg=name)


def test_two_devices_of_the_cpu_are_as_one(options, alone, tmp_path):
  both = Launcher(tmp_path)
  code, printed = both.run(cpu_devices=2, **options)
  assert code == 0, printed
  if len(os.sched_getaffinity(0)) > 1:
    assert "2 device(s)" in printed
  assert_same_curves(both.last_run(), alone)


def test_two_workers_are_as_one_and_go_on_after_one_is_lost(options, alone, tmp_path):
  both = Launcher(tmp_path / "both")
  killed = Fault("step", 8)
  chief, other = run_both(both, (None, killed), strategy="multi_worker", **options)
  assert other[0] == -signal.SIGKILL, other[1]
  assert chief[0] == 2, chief[1]
  assert chief[1].count("another worker of the cluster is gone") == 1, chief[1]
  assert "Traceback" not in chief[1]
  assert f"on every machine again, with resume_from={both.last_run()}\n" in chief[1]

  stopped = Fault("step", 5, signum=signal.SIGTERM)
  chief, other = run_both(both, (None, stopped), resume_from=both.last_run())
  assert (chief[0], other[0]) == (143, 143), chief[1] + other[1]
  step = int(re.search(r"stopped at step (\d+); the chief has saved", other[1])[1])
  assert 5 < step < NUM_STEPS
  assert f"stopped at step {step} and saved" in chief[1]

  chief, other = run_both(both, resume_from=both.last_run())
  assert (chief[0], other[0]) == (0, 0), chief[1] + other[1]
  assert f"from step {step} to {NUM_STEPS}" in chief[1]
  assert "2 device(s)" in chief[1]
  assert f"step {NUM_STEPS}/{NUM_STEPS}" not in other[1]  # the chief alone tells
  assert sorted(p.name for p in both.folder.iterdir() if p.is_dir()) == ["1", "2", "3", "_sources"]
  assert_same_curves(both.last_run(), alone)


@pytest.mark.parametrize(
  ("value", "message"),
  [
    (None, "strategy=multi_worker needs TF_CONFIG, for instance TF_CONFIG="),
    ("{", "TF_CONFIG is wrong"),
    ({"cluster": {"worker": ["a:1"]}}, "needs 'task' in TF_CONFIG"),
    ({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}, "no worker 1"),
    ({"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}, "only"),
  ],
)
def test_a_cluster_that_is_not_one(monkeypatch, value, message):
  monkeypatch.delenv("TF_CONFIG", raising=False)
  if value is not None:
    monkeypatch.setenv("TF_CONFIG", value if isinstance(value, str) else json.dumps(value))
  with pytest.raises(ValueError, match=message):
    make_strategy("multi_worker")


def test_the_place_in_a_cluster(monkeypatch):
  cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
  for task, number in (("chief", 0), 0), (("worker", 0), 1), (("worker", 1), 2):
    value = {"cluster": cluster, "task": {"type": task[0], "index": task[1]}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(value))
    assert cluster_task() == (number, ["a:1", "b:1", "c:1"])
