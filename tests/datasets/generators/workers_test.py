"""datasets.generators.workers: order, few begun ahead, and no waiting for what is dead."""

import collections
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import datasets
from datasets.generators.workers import ordered


@pytest.fixture(name="children")
def _children():
  """Gives the processes that this one has begun since, of which there are others."""
  before = set(multiprocessing.active_children())
  return lambda: set(multiprocessing.active_children()) - before


def _squared(number):
  time.sleep(0.3 * (number == 0))
  if number == 5:
    raise KeyError("five")
  return number**2


def test_results_and_errors_keep_their_order_and_few_are_begun_ahead(children):
  taken, given = [], []
  made = ordered(_squared, (taken.append(i) or i for i in range(9)), 2)

  def take(result):
    given.append(result)
    assert len(taken) - len(given) < 4

  with pytest.raises(KeyError, match="five") as raised:
    collections.deque(map(take, made))
  assert given == [0, 1, 4, 9, 16]
  assert "in _squared" in raised.value.__notes__[0]
  assert not children()


def test_workers_end_with_the_generator(children):
  with contextlib.closing(ordered(_squared, range(9), 2)) as made:
    next(made)
    assert len(children()) == 2
  assert not children()


@pytest.mark.parametrize(
  ("function", "argument", "says"),
  [
    (signal.raise_signal, signal.SIGKILL, "killed (SIGKILL), perhaps for want of memory"),
    (os._exit, 3, "ended before its work was done"),
  ],
)
def test_a_dead_worker_ends_the_work(children, function, argument, says):
  with pytest.raises(datasets.DataError) as raised:
    list(ordered(function, [argument] * 5, 2))
  assert says in str(raised.value)
  assert not children()


def _killed_in_the_middle_of_an_answer(number):
  if number:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
  return bytes(number and 1 << 24)  # more than a pipe takes while nobody reads it


def test_half_an_answer_is_not_waited_for():
  made = ordered(_killed_in_the_middle_of_an_answer, range(9), 2)
  next(made)
  time.sleep(1)
  with pytest.raises(datasets.DataError, match="killed"):
    list(made)


_PARENT = """
import multiprocessing, time
from datasets.generators.workers import ordered
if __name__ == "__main__":
  made = ordered(time.sleep, [0.1] * 1000, 2)
  next(made)
  print(*[child.pid for child in multiprocessing.active_children()], flush=True)
  list(made)
"""


def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path):
  (tmp_path / "parent.py").write_text(_PARENT)
  with subprocess.Popen(
    [sys.executable, tmp_path / "parent.py"],
    env={**os.environ, "PYTHONPATH": os.getcwd()},
    stdout=subprocess.PIPE,
    text=True,
  ) as parent:
    workers = parent.stdout.readline().split()
    parent.kill()
  assert len(workers) == 2
  end = time.monotonic() + 30
  while any(_runs(pid) for pid in workers):
    assert time.monotonic() < end
    time.sleep(0.05)


def _runs(pid):
  with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/stat") as file:
    return file.read().rsplit(")", 1)[1].split()[0] != "Z"
  return False
