"""What TensorFlow says while it is imported, at the level that is asked for."""

import contextlib
import glob
import os
import shutil
import subprocess
from collections.abc import Iterator

_LETTERS = "IWE"  # information, warnings, errors: what levels 1, 2 and 3 leave out
_GPUS = ("/dev/nvidia*", "/dev/nvhost*", "/dev/dxg")  # of a driver's: a card, a Jetson, WSL


@contextlib.contextmanager
def at_log_level() -> Iterator[None]:
  """Leaves out of standard error, inside, lines of TensorFlow's below TF_CPP_MIN_LOG_LEVEL.

  For its import: TensorFlow 2.21 then says several lines before it looks at that level. Where no
  driver has made a device, it is no error that CUDA finds none. Another process filters, so that
  the last words of one that crashes are seen. Nothing is left out where there is no `grep`, or no
  standard error.
  """
  left_out = _LETTERS[: _level()]
  if not left_out or shutil.which("grep") is None:
    yield
    return
  try:
    whole = os.dup(2)
  except OSError:  # closed
    yield
    return
  lines = f"^(WARNING: All log messages before absl|[{left_out}][0-9]{{4}} )"
  if not has_gpu_driver():
    lines += "|failed call to cuInit"
  command = ["grep", "--line-buffered", "-Ev", lines]
  try:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=whole, stderr=whole) as grep:
      os.dup2(grep.stdin.fileno(), 2)
      try:
        yield
      finally:
        os.dup2(whole, 2)
  finally:
    os.close(whole)


def has_gpu_driver() -> bool:
  """Whether a driver has made a device, so that CUDA may find it."""
  return any(map(glob.glob, _GPUS))


def _level():
  try:
    return max(0, int(os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0")))
  except ValueError:
    return 0
