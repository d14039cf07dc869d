"""SIGINT and SIGTERM: finish the step, save, stop with the usual exit code."""

import contextlib
import signal
from collections.abc import Iterator


class Stopped(KeyboardInterrupt):
  """The run was asked to stop and has saved; Sacred records it as interrupted."""

  STATUS = "INTERRUPTED"

  def __init__(self, signum: int, message: str):
    super().__init__(message)
    self.exit_code = 128 + signum


@contextlib.contextmanager
def termination() -> Iterator[None]:
  """Makes an exception of SIGTERM, as SIGINT is one, so that the record says how the run ended."""

  def handle(signum, frame):
    raise Stopped(signum, "stopped by SIGTERM")

  previous = None
  with contextlib.suppress(ValueError):  # signals can be handled in the main thread only
    previous = signal.signal(signal.SIGTERM, handle)
  try:
    yield
  finally:
    if previous is not None:
      signal.signal(signal.SIGTERM, previous)


class Request:
  """What was asked for: `signum` is None until a signal came."""

  signum: int | None = None


@contextlib.contextmanager
def requests() -> Iterator[Request]:
  """Turns the first SIGINT or SIGTERM into a request; a second SIGINT interrupts at once."""
  request, previous = Request(), {}

  def handle(signum, frame):
    if request.signum is not None and signum == signal.SIGINT:
      raise KeyboardInterrupt
    request.signum = signum

  with contextlib.suppress(ValueError):  # signals can be handled in the main thread only
    for signum in (signal.SIGINT, signal.SIGTERM):
      previous[signum] = signal.signal(signum, handle)
  try:
    yield request
  finally:
    for signum, handler in previous.items():
      signal.signal(signum, handler)
