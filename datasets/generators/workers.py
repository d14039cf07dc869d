"""A function called in several processes at once, where the death of a process ends the work.

`multiprocessing.Pool` never learns that a worker was killed. `concurrent.futures` does, but all its
workers answer through one pipe: one that is killed in the middle of an answer leaves the reader
waiting for the rest. Here each worker has a pipe of its own, which ends when the worker does.
"""

import contextlib
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection

from datasets.errors import DataError

_AHEAD = 2  # items a worker that may be begun before the first of them is given out


def ordered(function: Callable, items: Iterable, workers: int) -> Iterator:
  """Yields function(item) of each item, in their order; what it raises is raised in its place.

  Args:
    function: picklable, as are items and results.
    items: taken as they are wanted, a few ahead.
    workers: number of processes; with one all is done in this process. They end with the
      generator, so close it where it may not be exhausted.

  Raises:
    DataError: a worker was killed, or could not start.
  """
  if workers <= 1:
    yield from map(function, items)
    return
  team = []
  try:
    team.extend(_Worker(function) for _ in range(workers))
    yield from _shared_out(team, items)
  finally:
    for worker in team:
      worker.stop()


def _shared_out(team, items):
  idle, busy = list(team), {}  # busy: pipe -> (place of the item, worker)
  tasks, begun, answers, given = enumerate(items), 0, {}, 0
  while True:
    while idle and begun - given < _AHEAD * len(team) and (task := next(tasks, None)):
      worker, (place, item) = idle.pop(), task
      worker.send(item)
      busy[worker.pipe] = place, worker
      begun += 1
    if given in answers:
      result, error = answers.pop(given)
      if error is not None:
        raise error
      yield result
      given += 1
    elif not busy:
      return
    else:
      for pipe in connection.wait(busy):
        place, worker = busy.pop(pipe)
        answers[place] = worker.receive()
        idle.append(worker)


class _Worker:
  """A process that answers what it is sent, one after the other."""

  def __init__(self, function):
    # spawn: the parent may hold TensorFlow or threads, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    self.pipe, theirs = context.Pipe()
    self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
    self.process.start()
    theirs.close()  # or the pipe would not end with the process

  def send(self, item):
    with self._alive():
      self.pipe.send(item)

  def receive(self):
    """(result, None) or (None, exception)."""
    with self._alive():
      return self.pipe.recv()

  @contextlib.contextmanager
  def _alive(self):
    try:
      yield
    except (EOFError, OSError) as error:
      self.process.join()
      raise DataError(_cause(self.process.exitcode)) from error

  def stop(self):
    self.process.terminate()
    self.process.join()
    self.pipe.close()


def _cause(exitcode):
  if exitcode < 0:
    return (
      f"a worker process was killed ({signal.Signals(-exitcode).name}), perhaps for want of "
      "memory: run the same command again with fewer --workers"
    )
  return (
    "a worker process ended before its work was done, for the reason it gave above; in a script, "
    'make the call under `if __name__ == "__main__":`'
  )


def _serve(function, pipe):
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends its workers
  with contextlib.suppress(EOFError, OSError):  # the parent is gone
    while True:
      item = pipe.recv()
      try:
        answer = function(item), None
      except Exception as error:
        if not isinstance(error, DataError):  # whose sentence says it all
          error.add_note(f"In the worker:\n{traceback.format_exc()}")
        answer = None, error
      pipe.send(answer)
