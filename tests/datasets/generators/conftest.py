"""A process in which scenes are rendered."""

import importlib.util
import multiprocessing
import types
from concurrent import futures

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
  # not multiprocessing's Pool, whose end may wait for ever
  with futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
    yield lambda function, arguments=(), keywords=types.MappingProxyType({}): pool.submit(
      function, *arguments, **keywords
    ).result()
