"""The C library's memory allocator, told to keep what TensorFlow frees.

On the CPU, TensorFlow allocates every tensor with malloc and frees it a moment later. glibc maps
large blocks afresh each time and gives them back when they are freed, so that the system has to
clear and map each of their pages again: up to half of a training's time on some machines.
"""

import ctypes
import os
import platform

# glibc's names for what mallopt sets (malloc.h), and what its environment variables are called
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_SETTINGS = {
  "MALLOC_ARENA_MAX": (_M_ARENA_MAX, 1),  # a block freed by one thread serves all the others
  "MALLOC_MMAP_MAX_": (_M_MMAP_MAX, 0),  # no block is a mapping of its own
  "MALLOC_TRIM_THRESHOLD_": (_M_TRIM_THRESHOLD, -1),  # nothing goes back to the system
}


def keep_freed_memory() -> bool:
  """Makes glibc's malloc reuse freed memory; must come before TensorFlow starts its threads.

  A setting that stands in the environment (MALLOC_ARENA_MAX, ...) is the user's and is left alone.
  Where malloc is another library's (jemalloc, tcmalloc by LD_PRELOAD) it changes nothing.

  Returns:
    whether the C library is glibc, so that something was set.
  """
  if platform.libc_ver()[0] != "glibc":
    return False
  mallopt = ctypes.CDLL(None).mallopt
  for name, (parameter, value) in _SETTINGS.items():
    if name not in os.environ:
      mallopt(parameter, value)
  return True
