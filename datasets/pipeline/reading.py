"""Batches of records: from memory, by their place in a file, or from front to back."""

import collections
import itertools
import queue
import threading

import numpy as np
import tensorflow as tf

from datasets.options import Filter
from datasets.pipeline.form import Shaping
from datasets.pipeline.order import Batches
from datasets.pipeline.source import Source

# What `map` takes has no tensor to branch on, and to look for one takes a third of a second.
_plain = tf.autograph.experimental.do_not_convert
_WINDOW_BYTES = 1 << 28  # how much a compressed file is shuffled through


def num_objects(decoded: dict, spec) -> np.ndarray:
  """Visible foreground entities, int [n]."""
  return (decoded["visibility"][..., spec.num_background :] > 0).sum(axis=-1)


def read_all(source: Source, numbers: range, shaping: Shaping, wanted: Filter) -> dict:
  """Parses a split into arrays, filtered: name -> array [n, ...]; {} where nothing passes."""
  kept, total = [], 0
  for items in source.blocks(numbers.start, numbers.stop):
    decoded = source.decode(items, shaping.crop)
    if not len(decoded["index"]):
      continue
    passed = np.flatnonzero(wanted.keeps(num_objects(decoded, source.spec)))
    if wanted.num_images is not None:
      passed = passed[: wanted.num_images - total]
    kept.append({name: value[passed] for name, value in shaping.arrays(decoded).items()})
    total += len(passed)
    if total == wanted.num_images:
      break
  return {name: np.concatenate([k[name] for k in kept]) for name in kept[0]} if kept else {}


def select(source: Source, numbers: range, wanted: Filter, log) -> np.ndarray:
  """The numbers of a split's records that pass the filter (and are whole, under "skip")."""
  if source.on_error == "raise":
    if not wanted.by_number:
      return np.arange(numbers.start, numbers.stop)[: wanted.num_images]
    if (objects := source.num_objects(numbers.start, numbers.stop)) is not None:
      return numbers.start + np.flatnonzero(wanted.keeps(objects))[: wanted.num_images]
  if len(numbers) > 1000:
    log("reading %s once, to select records", source.files[0].path)
  selected = [np.zeros(0, np.int64)]
  for items in source.blocks(numbers.start, numbers.stop):
    decoded = source.decode(items)
    if len(decoded["index"]):
      selected.append(decoded["index"][wanted.keeps(num_objects(decoded, source.spec))])
  return np.concatenate(selected)[: wanted.num_images]


def from_memory(arrays: dict, batches: Batches, num_parallel_calls: int) -> tf.data.Dataset:
  """(step, batch of arrays) out of arrays that hold all examples."""
  with tf.device("CPU"):
    kept = {name: tf.constant(value) for name, value in arrays.items()}

  def batch(step):
    examples = batches.examples(step)
    return step, {name: tf.gather(value, examples) for name, value in kept.items()}

  steps = tf.data.Dataset.range(*batches.steps())
  return steps.map(_plain(batch), num_parallel_calls=num_parallel_calls, deterministic=True)


def by_offset(
  source: Source, numbers, shaping: Shaping, batches: Batches, num_parallel_calls: int
) -> tf.data.Dataset:
  """(step, batch of arrays) out of files whose records can be reached one by one."""
  signature = shaping.signature(batches.static_size)
  names = sorted(signature)

  def read(examples):
    if len(examples):
      batch = shaping.arrays(source.decode(source.read(numbers[examples]), shaping.crop))
    else:
      batch = _nothing(shaping)
    return [batch[name] for name in names]

  def batch(step):
    examples = batches.examples(step)
    values = tf.numpy_function(read, [examples], [signature[n].dtype for n in names])
    for name, value in zip(names, values, strict=True):
      value.set_shape(signature[name].shape)
    return step, dict(zip(names, values, strict=True))

  steps = tf.data.Dataset.range(*batches.steps())
  return steps.map(_plain(batch), num_parallel_calls=num_parallel_calls, deterministic=True)


def by_stream(source: Source, numbers, shaping: Shaping, batches: Batches) -> tf.data.Dataset:
  """(step, batch of arrays) out of compressed files, shuffled through a window."""
  window = int(np.clip(_WINDOW_BYTES // shaping.stored_bytes, 64, 10_000))
  start, total = batches.steps()
  signature = shaping.signature(batches.static_size)
  names = sorted(signature)

  def read_from(start):
    for epoch in itertools.count(start // batches.batches):
      first = epoch * batches.batches
      steps = range(max(start, first), min(total, first + batches.batches))
      if not steps:
        return
      order = numbers[batches.window_order(epoch, window)]
      taken = [order[batches.positions(step)[1]] for step in steps]
      low, high = int(numbers[0]), int(numbers[-1]) + 1
      wanted = np.zeros(high - low, bool)
      wanted[np.concatenate(taken) - low] = True
      pool = _Pool()
      with _Ahead(source.blocks(low, high, wanted)) as blocks:
        for chosen in taken:
          while len(chosen) and pool.last < chosen.max():
            pool.add(shaping.arrays(source.decode(next(blocks), shaping.crop)))
          yield pool.take(chosen) if len(chosen) else _nothing(shaping)

  passes = _Passes(read_from)

  def read(number, step):
    batch = passes.batch(int(number), int(step))
    return [batch[name] for name in names]

  def batch(number, step):
    values = tf.numpy_function(read, [number, step], [signature[n].dtype for n in names])
    for name, value in zip(names, values, strict=True):
      value.set_shape(signature[name].shape)
    return step, dict(zip(names, values, strict=True))

  # `Dataset.from_generator` would do, but costs more than all the reading of a small record.
  number = tf.data.Dataset.from_tensors(0).map(
    _plain(lambda _: tf.ensure_shape(tf.numpy_function(passes.begin, [], tf.int64), []))
  )
  steps = tf.data.Dataset.range(start, total)
  of_pass = lambda number: steps.map(_plain(lambda step: batch(number, step)))
  return number.flat_map(_plain(of_pass))


class _Passes:
  """Readers that are under way, one for each time a data set is iterated.

  A reader that was forgotten, because others were begun after it, starts anew where it was.
  """

  _MOST = 3

  def __init__(self, read_from):
    self._read_from, self._readers = read_from, collections.OrderedDict()
    self._numbers, self._lock = itertools.count(), threading.Lock()

  def begin(self):
    return np.int64(next(self._numbers))

  def batch(self, number, step):
    with self._lock:
      reader, following = self._readers.pop(number, (None, None))
    if following != step:
      reader = self._read_from(step)
    result = next(reader)
    with self._lock:
      self._readers[number] = reader, step + 1
      while len(self._readers) > self._MOST:
        self._readers.popitem(last=False)[1][0].close()
    return result


def _nothing(shaping):
  """A batch of no scenes: what a pipeline has of a last batch that is too small to be shared."""
  signature = shaping.signature(0)
  return {name: np.zeros(s.shape, s.dtype.as_numpy_dtype) for name, s in signature.items()}


class _Pool:
  """Examples that were read and not yet given out.

  Attributes:
    last: the highest number that was read.
  """

  def __init__(self):
    self.last, self._slots, self._free, self._arrays = -1, {}, [], {}

  def add(self, batch):
    numbers = batch["index"].tolist()
    lacking = len(numbers) - len(self._free)
    if lacking > 0:
      size = len(self._slots) + len(self._free)
      more = max(lacking, size)
      for name, value in batch.items():
        grown = np.empty((size + more, *value.shape[1:]), value.dtype)
        if name in self._arrays:
          grown[:size] = self._arrays[name]
        self._arrays[name] = grown
      self._free.extend(range(size, size + more))
    slots = [self._free.pop() for _ in numbers]
    for name, value in batch.items():
      self._arrays[name][slots] = value
    self._slots.update(zip(numbers, slots, strict=True))
    self.last = max(self.last, numbers[-1]) if numbers else self.last

  def take(self, numbers):
    slots = [self._slots.pop(number) for number in numbers.tolist()]
    self._free.extend(slots)
    return {name: value[slots] for name, value in self._arrays.items()}


class _Ahead:
  """An iterator whose items are made by a thread of its own, a few ahead.

  Inflating and checking a block goes on while the one before is decoded.
  """

  def __init__(self, items, depth=4):
    self._items, self._queue = items, queue.Queue(depth)
    self._stopped = threading.Event()
    self._thread = threading.Thread(target=self._work, daemon=True)

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *error):
    self._stopped.set()
    while self._thread.is_alive():  # it may wait for room
      try:
        self._queue.get(timeout=0.05)
      except queue.Empty:
        continue
    self._thread.join()

  def __iter__(self):
    return self

  def __next__(self):
    item, error = self._queue.get()
    if error is not None:
      raise error
    return item

  def _work(self):
    try:
      for item in self._items:
        self._queue.put((item, None))
        if self._stopped.is_set():
          return
      self._queue.put((None, RuntimeError("no record is left, but some are missing")))
    except BaseException as error:  # raised where the items are used
      self._queue.put((None, error))
