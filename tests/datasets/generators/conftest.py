"""A process in which scenes are rendered."""

import importlib.util
import multiprocessing

import pytest


@pytest.fixture(scope="session")
def apply():
  """Calls a function in a process without TensorFlow: apply(function, arguments, keywords).

  Mitsuba's libraries abort a process that has loaded TensorFlow when it ends; so not even
  `pytest.importorskip` may load them here.
  """
  for name in ("mitsuba", "mitsuba_oidn"):
    if importlib.util.find_spec(name) is None:
      pytest.skip(f"{name} is not installed")
  with multiprocessing.get_context("spawn").Pool(1) as pool:
    yield pool.apply
