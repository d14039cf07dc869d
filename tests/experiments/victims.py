"""Trainings in processes of their own which come to a chosen end; for faults_test.py.

A server process imports TensorFlow once, without starting it, and forks a child for each training.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import resource
import signal
import sys
import threading
import time

import tensorflow as tf

from experiments.train import command, commandline
from iodine.training import Trainer
from tests.experiments.conftest import TINY

MODULE = "tests.experiments.victims"
ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Fault:
  """How a training ends.

  Attributes:
    kind: "step", a signal some time after a step began; "start", a signal some time after the
      process began; "cut", SIGKILL's like at a byte of a checkpoint's file; "change", SIGKILL at a
      change in the checkpoint folder while one is written; "replace", SIGKILL before or after
      `config.json` is moved into place; "full", no file grows beyond a size from a checkpoint on;
      "blocked", a checkpoint's folder can no longer be written.
    at: number of the step, from 1, or of the checkpoint, from 1, both in this process.
    delay: seconds, for "step" and "start".
    count: bytes for "cut" and "full"; number of the change for "change"; 0 (before) or 1 (after)
      for "replace".
    signum: for "step" and "start".
  """

  kind: str
  at: int = 1
  delay: float = 0.0
  count: int = 0
  signum: int = signal.SIGKILL


class Launcher:
  """Starts trainings as the command line does, which record under `folder`."""

  def __init__(self, folder):
    self.folder = pathlib.Path(folder)
    self.folder.mkdir(exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    self._context = multiprocessing.get_context("forkserver")
    self._context.set_forkserver_preload([MODULE])

  def start(self, fault=None, prepare=None, resume_from=None, **updates):
    """Starts a training.

    Args:
      fault: Fault, or None.
      prepare: called in the process before all else.
      resume_from: a run's folder, whose configuration it takes; None: the tiny one of conftest.py.
      **updates: of the configuration.

    Returns:
      the process; its `log` is the path of what it prints.
    """
    if resume_from is None:
      data = {**TINY["data"], **updates.get("data", {})}
      words = ["tetrominoes", "quick", *_words({**TINY, **updates, "data": data})]
    else:
      words = [f"resume_from={resume_from}", *_words(updates)]
    log = self.folder / f"log-{time.monotonic_ns()}.txt"
    process = self._context.Process(
      target=_train, args=(str(self.folder), log, fault, prepare, words), daemon=True
    )
    process.log = log
    process.start()
    return process

  def run(self, *args, **kwargs):
    """As `start`, and waits: (exit code, negative for a signal, what was printed)."""
    return finish(self.start(*args, **kwargs))

  def last_run(self):
    """The folder of the last run that has begun, or None."""
    begun = [int(path.parent.name) for path in self.folder.glob("*/config.json")]
    return self.folder / str(max(begun)) if begun else None


def finish(process, timeout=600):
  """Waits for a process of `Launcher.start`: (exit code, negative for a signal, printed text)."""
  process.join(timeout)
  if process.exitcode is None:
    process.kill()
    process.join()
    raise TimeoutError(process.log.read_text())
  return process.exitcode, process.log.read_text() if process.log.exists() else ""


def set_environment(**values):
  """For `prepare`: sets environment variables."""
  os.environ.update(values)


def _words(updates, prefix=""):
  words = []
  for key, value in updates.items():
    if isinstance(value, dict):
      words += _words(value, f"{prefix}{key}.")
    else:
      words.append(f"{prefix}{key}={value!r}")
  return words


def _train(folder, log, fault, prepare, words):
  out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
  os.dup2(out, 1)
  os.dup2(out, 2)
  sys.stdout = sys.__stdout__ = os.fdopen(1, "w", buffering=1)
  sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1)
  tf.config.threading.set_intra_op_parallelism_threads(1)  # tiny steps mostly wait for threads
  if fault is not None:
    arrange(fault)
  if prepare is not None:
    prepare()
  code = 0
  try:
    command.run_commandline(commandline(["train", "-F", folder, "with", *words]))
  except SystemExit as end:
    code = end.code
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)  # saves the seconds that TensorFlow takes to leave


def arrange(fault):
  """Lets this process come to its end."""
  if fault.kind == "start":
    _later(fault)
  elif fault.kind == "step":
    _before(Trainer, "train_step", fault.at, lambda: _later(fault))
  elif fault.kind == "cut":
    _before(tf.train.CheckpointManager, "save", fault.at, lambda: limit_files(fault.count, True))
  elif fault.kind == "change":
    _before(tf.train.CheckpointManager, "save", fault.at, lambda: _watch(fault.count), manager=True)
  elif fault.kind == "full":
    _before(tf.train.CheckpointManager, "save", fault.at, lambda: limit_files(fault.count, False))
  elif fault.kind == "blocked":
    _before(tf.train.CheckpointManager, "save", fault.at, _block, manager=True)
  elif fault.kind == "replace":
    _around_replace(fault)
  else:
    raise ValueError(fault.kind)


def _later(fault):
  def wait():
    time.sleep(fault.delay)
    os.kill(os.getpid(), fault.signum)

  threading.Thread(target=wait, daemon=True).start()


def _before(owner, name, number, action, manager=False):
  """Calls `action` before the number-th call of a method."""
  original, calls = getattr(owner, name), [0]

  def method(self, *args, **kwargs):
    calls[0] += 1
    if calls[0] == number:
      if manager:
        _watched[:] = [self.directory]
      action()
    return original(self, *args, **kwargs)

  setattr(owner, name, method)


_watched = []


def limit_files(size, deadly):
  """No file may grow beyond `size` bytes: a write there fails, or is `deadly` to the process."""
  signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _watch(number):
  """Kills this process at the number-th change in the folder of the checkpoint being written."""

  def listing():
    found = []
    for folder, _, names in os.walk(_watched[0]):
      for name in names:
        with contextlib.suppress(OSError):
          path = os.path.join(folder, name)
          found.append((path, os.path.getsize(path)))
    return sorted(found)

  def watch():
    changes, before = 0, listing()
    while changes < number:
      now = listing()
      changes, before = changes + (now != before), now
    os.kill(os.getpid(), signal.SIGKILL)

  threading.Thread(target=watch, daemon=True).start()


def _block():
  """Puts a file where the checkpoint folder was; for root may write into a read-only folder."""
  folder = pathlib.Path(_watched[0])
  folder.rename(folder.with_name("moved"))
  folder.write_text("")


def _around_replace(fault):
  original, calls = pathlib.Path.replace, [0]

  def replace(self, target):
    calls[0] += 1
    if calls[0] == fault.at and not fault.count:
      os.kill(os.getpid(), signal.SIGKILL)
    result = original(self, target)
    if calls[0] == fault.at:
      os.kill(os.getpid(), signal.SIGKILL)
    return result

  pathlib.Path.replace = replace
