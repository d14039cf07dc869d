"""Settings shared by all tests: quiet TensorFlow, the --slow flag, the reference folder."""

import gc
import os
import pathlib
import resource

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import hypothesis
import pytest

import experiments  # noqa: F401  for what it settles before TensorFlow is imported
from tests import uncompiled

# Nothing in the tests is timed: the first example of many traces a graph.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_configure(config):
  """Sets up the process that runs tests, before TensorFlow's first operation."""
  if getattr(config.option, "numprocesses", None):  # this one starts others, which run the tests
    return
  import tensorflow as tf

  # Several processes share the cores: threads for tiny operations would wait for one another.
  tf.config.threading.set_intra_op_parallelism_threads(1)
  # Four logical devices, to test replicas.
  tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
  )
  # Graphs that run a few times are not worth being made faster: a tenth of all tests' time. What
  # the tests start as a process of its own has the optimizer, as users have it.
  tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
  # Tracing makes objects by the million, and few of them are garbage: another tenth. What is
  # collected instead: see pytest_runtest_teardown.
  gc.set_threshold(200_000, 20, 50)
  gc.freeze()  # the modules that are there stay


MORE = 100_000  # KiB
_peak = 0


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
  """Graphs refer to themselves: they are collected where the process has grown, to be reused."""
  global _peak
  if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > _peak + MORE:
    gc.collect()
    _peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


ROOT = pathlib.Path(__file__).resolve().parent.parent
LONG = (  # they come first, so that no process ends long after the others
  "experiments/models_test.py",
  "models_test.py",
  "iodine/models_protocol_test.py",
  "iodine/training/trainer_test.py",
  "experiments/multi_worker_test.py",
  "experiments/faults_test.py",
  "notebooks_test.py",
  "experiments/train_test.py",
  "iodine/serving_test.py",
  "iodine/training/sequences_test.py",
)


def pytest_addoption(parser):
  parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config, items):
  if not config.getoption("--slow"):
    for item in items:
      if "slow" in item.keywords:
        item.add_marker(pytest.mark.skip(reason="slow: needs --slow"))
  items.sort(key=_place)


def _place(item):
  path = item.path.relative_to(ROOT / "tests").as_posix()
  return LONG.index(path) if path in LONG else len(LONG)


@pytest.fixture(name="uncompiled")
def _uncompiled():
  """The test's functions are run as Python; see tests/uncompiled.py."""
  with uncompiled.uncompiled():
    yield


@pytest.fixture(scope="session")
def reference():
  """The folder with numbers of the original program; tests that need it are skipped without it."""
  path = ROOT.parent / "shared" / "reference"
  if not path.is_dir():
    pytest.skip("the reference numbers of the original program are not beside this checkout")
  return path
