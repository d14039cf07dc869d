"""Chunks of a data set into a file that can be gone on with.

A file is a pure function of its recipe. Until it is whole it is called `<path>.partial`, and
`<path>.partial.log` tells how far it is.
"""

import contextlib
import errno
import json
import os
import sys
import time

import filelock
import numpy as np
from tqdm import tqdm

from datasets import files
from datasets.errors import DataError
from datasets.generators import generator_of, workers


class _Jobs:
  """The chunks of one file, as picklable calls."""

  def __init__(self, spec, chunk_size, num, seed, layout, parameters):
    self.spec, self.chunk_size, self.num = spec, chunk_size, num
    self.seed, self.layout, self.parameters = seed, layout, parameters

  def __len__(self):
    return -(-self.num // self.chunk_size)

  def size(self, chunk):
    return min(self.chunk_size, self.num - chunk * self.chunk_size)

  def __call__(self, chunk):
    """The bytes of one chunk and the number of objects of each of its scenes."""
    module = generator_of(self.spec)
    arrays = module.generate_chunk(self.seed, chunk, **self.parameters)
    payloads, num_objects = [], []
    for i in range(self.size(chunk)):
      record = {name: value[i] for name, value in arrays.items()}
      payloads.append(files.encode(record, self.spec, self.layout))
      if "visibility" in record:
        visible = record["visibility"] > 0
      else:
        axis = self.spec.mask_layout.index("L")
        visible = (
          np.moveaxis(record["mask"], axis, 0).reshape(record["mask"].shape[axis], -1).any(1)
        )
      num_objects.append(int(visible[self.spec.num_background :].sum()))
    return files.seal(payloads, self.layout), num_objects


@contextlib.contextmanager
def alone(path):
  """Only one process at a time goes on here for a path; others wait, and say so."""
  name = f"{path}.lock"
  lock = filelock.FileLock(name)
  try:
    lock.acquire(timeout=0)
  except filelock.Timeout:
    print(f"another process is making {path}: waiting for it", file=sys.stderr, flush=True)
    lock.acquire()
  except OSError as error:
    raise DataError(f"{path} cannot be written to ({error.strerror or error})") from error
  try:
    yield
  finally:
    # whole, as all will find who wait or come later; or refused, as they will be
    if os.path.exists(path) or not os.path.exists(f"{path}.partial"):
      with contextlib.suppress(OSError):
        os.remove(name)
    lock.release()


def write(path, spec, num, recipe, parameters, num_workers=1, progress=True) -> list[int]:
  """Writes what is missing of `<path>.partial`, then renames it.

  Args:
    path: of the file.
    spec: the dataset.
    num: how many records.
    recipe: what the file is a function of, as JSON gives it back, with "seed" and "layout"; the
      first line of the log. A line [bytes, objects of each scene] for each chunk follows.
    parameters: of the generator.
    num_workers: number of processes.
    progress: whether to tell how far it is.

  Returns:
    The number of objects of each scene.

  Raises:
    DataError: the disk is full, or cannot be written to, or a worker was killed: what is there is
      gone on with; or a parameter is wrong. Where no chunk was done nothing is left behind.
  """
  jobs = _Jobs(
    spec, generator_of(spec).CHUNK_SIZE, num, recipe["seed"], recipe["layout"], parameters
  )
  partial, log = f"{path}.partial", f"{path}.partial.log"
  ends, num_objects = _resume(partial, log, jobs, recipe)
  done = len(num_objects)
  bar = _Progress(os.path.basename(path), done, jobs.num, progress)
  chunks = range(len(ends), len(jobs))
  made = workers.ordered(jobs, chunks, min(num_workers, len(chunks)))
  try:
    with (
      open(partial, "r+b" if ends else "wb") as data,
      open(log, "a" if ends else "w") as journal,
      contextlib.closing(made),
    ):
      data.truncate(ends[-1] if ends else 0)
      data.seek(0, os.SEEK_END)
      if not ends:
        journal.write(json.dumps(recipe) + "\n")
      for blob, objects in made:
        data.write(blob)
        data.flush()
        num_objects.extend(objects)
        journal.write(json.dumps([data.tell(), objects]) + "\n")
        journal.flush()
        bar.update(len(num_objects))
      os.fsync(data.fileno())
  except DataError:
    if not num_objects:
      for name in (partial, log):
        os.remove(name)
    raise
  except OSError as error:
    remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "put that right"
    raise DataError(
      f"{error.filename or partial}: {error.strerror or error} at record {len(num_objects):,} of "
      f"{jobs.num:,}: {remedy} and run the same command again, it goes on from there"
    ) from error
  finally:
    bar.close()
  os.replace(partial, path)
  os.remove(log)
  return num_objects


def _resume(partial, log, jobs, recipe):
  """What an interrupted run left that can be gone on with: chunk ends in bytes, object counts."""
  ends, num_objects = [], []
  with contextlib.suppress(OSError, ValueError), open(log) as journal:
    size = os.path.getsize(partial)
    if json.loads(next(journal, "null")) != recipe:
      return [], []
    for line in journal:
      end, objects = json.loads(line)
      whole = len(objects) == jobs.chunk_size and len(ends) < jobs.num // jobs.chunk_size
      if end > size or not whole:
        break
      ends.append(end)
      num_objects.extend(objects)
  if ends:  # drop lines behind the last good one
    with open(log) as journal:
      lines = journal.readlines()[: len(ends) + 1]
    with files.replacing(log + ".new") as temporary, open(temporary, "w") as journal:
      journal.writelines(lines)
    os.replace(log + ".new", log)
  return ends, num_objects


class _Progress:
  """A bar on a terminal, a line every ten seconds elsewhere, on the standard error output."""

  def __init__(self, name, done, total, enabled):
    self.total, self.first, self.name = total, done, name
    self.enabled, self.bar = enabled, None
    self.start = self.last = time.monotonic()
    if enabled and sys.stderr.isatty():
      self.bar = tqdm(total=total, initial=done, unit=" scenes", desc=name)
    elif enabled and done:
      print(f"{name}: going on at {done:,} of {total:,}", file=sys.stderr, flush=True)

  def update(self, done):
    now = time.monotonic()
    if self.bar is not None:
      self.bar.update(done - self.bar.n)
    elif self.enabled and (now - self.last > 10 or done == self.total):
      rate = (done - self.first) / max(now - self.start, 1e-9)
      left = tqdm.format_interval((self.total - done) / rate)
      speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
      print(
        f"{self.name}: {done:,} of {self.total:,}, {speed} scenes/s, {left} left",
        file=sys.stderr,
        flush=True,
      )
      self.last = now

  def close(self):
    if self.bar is not None:
      self.bar.close()
