"""How much memory this process may use: the machine's, or less where a control group limits it."""

import contextlib
import os
import pathlib


def limit(root="/") -> int:
  """Bytes: the smallest of the machine's memory and the limits of the process's control groups.

  Args:
    root: where `proc` and `sys` are, for tests.
  """
  found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
  for file in _limit_files(pathlib.Path(root)):
    with contextlib.suppress(OSError, ValueError):  # "max": no limit
      found.append(int(file.read_text()))
  return min(found)


def _limit_files(root):
  """The files with limits of the groups the process is in, and of those around them."""
  try:
    lines = (root / "proc/self/cgroup").read_text().splitlines()
  except OSError:
    return
  mounted = root / "sys/fs/cgroup"
  for line in lines:
    _, controllers, path = line.split(":", 2)
    if not controllers:  # version 2
      top, name = mounted, "memory.max"
    elif "memory" in controllers.split(","):
      top, name = mounted / "memory", "memory.limit_in_bytes"
    else:
      continue
    group = top / path.lstrip("/")
    while True:
      yield group / name
      if group in (top, group.parent):
        break
      group = group.parent
