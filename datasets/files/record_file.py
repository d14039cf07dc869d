"""One TFRecord file: its records by number, checksums verified, damage told by record."""

import contextlib
import functools
import json
import logging
import mmap
import os
import struct
from collections.abc import Iterable

import numpy as np

from datasets.errors import DataError
from datasets.files import framing
from datasets.files.writing import replacing

_log = logging.getLogger("datasets")
_LARGE = 1 << 26  # bytes of a file of which it takes seconds to count the records


class RecordFile:
  """One TFRecord file.

  Attributes:
    path: where it lies.
    compression: "GZIP", "ZLIB" or "".
    skipped: numbers of the damaged records passed over so far (`on_error="skip"`).
    lost_from: the number of the record from which on nothing could be read, or None.
  """

  def __init__(self, path, on_error: str = "raise"):
    if on_error not in ("raise", "skip"):
      raise DataError(f'on_error must be "raise" or "skip", got {on_error!r}')
    self.path = os.fspath(path)
    self.on_error = on_error
    self.compression = framing.compression_of(self.path)
    self.skipped, self.lost_from = [], None
    self._offsets = self._map = None

  @property
  def random_access(self) -> bool:
    """Whether a record can be reached without reading those before it."""
    return not self.compression

  def error(self, number: int, reason) -> DataError:
    return DataError(
      f"{self.path}, record {number}: {reason}; get or generate the file anew, or pass over "
      'damaged records with on_error="skip" (data.on_error=skip in training; '
      "python -m datasets.recode --on-error skip writes a file without them)"
    )

  def index(self) -> dict | None:
    """The sidecar `<file>.index.json`, where there is one that belongs to this very file."""
    sidecar = self.path + ".index.json"
    try:
      index = _read_index(sidecar, os.stat(sidecar).st_mtime_ns)
    except (OSError, ValueError):
      return None
    return index if index.get("size_bytes") == os.path.getsize(self.path) else None

  def write_index(self, **values):
    """Writes the sidecar; a folder that cannot be written to is not an error."""
    values = {"size_bytes": os.path.getsize(self.path), **values}
    with contextlib.suppress(OSError), replacing(self.path + ".index.json") as temporary:  # noqa: SIM117
      with open(temporary, "w") as file:
        json.dump(values, file)

  def __iter__(self):
    return self.iterate()

  def iterate(self, start: int = 0, stop: int | None = None):
    """Yields (number, payload bytes), checksums verified, for records start <= number < stop.

    Raises:
      DataError: a record is damaged and `on_error` is "raise".
    """
    for block in self.blocks(start, stop):
      yield from block

  def blocks(self, start: int = 0, stop: int | None = None):
    """As `iterate`, in lists of about two megabytes of payloads."""
    number = start
    framed = self._frames_by_offset(start, stop) if self.random_access else None
    framed = framed or framing.frames(self.path, self.compression, start)
    for block, damage in framing.blocks(framed):
      good = []
      for payload, crc in block:
        if stop is not None and number >= stop:
          break
        if crc == framing.masked_crc(payload):
          good.append((number, payload))
        else:
          if good:  # what is whole comes before the complaint
            yield good
            good = []
          self._pass_over(number, "its checksum is wrong: the record is corrupted")
        number += 1
      if good:
        yield good
      if stop is not None and number >= stop:
        return
      if damage is not None:
        self._pass_over(number, str(damage))
        self.lost_from = number

  def _pass_over(self, number, reason):
    if self.on_error == "raise":
      raise self.error(number, reason)
    self.skip(number)

  def skip(self, number: int) -> None:
    """Notes that a record was passed over, however often it is met."""
    if number not in self.skipped:
      self.skipped.append(number)

  def _frames_by_offset(self, start, stop):
    offsets = self.offsets()
    for offset, length in offsets[start:stop].tolist():
      yield (
        self._map[offset : offset + length],
        struct.unpack_from("<I", self._map, offset + length)[0],
      )

  def offsets(self) -> np.ndarray:
    """int64 [n, 2], offset and length of every payload of an uncompressed file.

    Raises:
      DataError: a record's length is corrupted or the file is cut off (`on_error` "raise").
    """
    if self._offsets is None:
      with open(self.path, "rb") as file:
        state = os.fstat(file.fileno())
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
      found, reason = _locate(self.path, _identity(state))
      if reason:
        self._pass_over(len(found), reason)
        self.lost_from = len(found)
      self._offsets = found
    return self._offsets

  def read(self, numbers) -> list[bytes]:
    """The payloads of chosen records of an uncompressed file, checksums verified.

    Raises:
      DataError: one is damaged, whatever `on_error` says.
    """
    places, data, payloads = self.offsets()[numbers].tolist(), self._map, []
    for number, (offset, length) in zip(numbers, places, strict=True):
      end = offset + length
      payload = data[offset:end]
      if framing.masked_crc(payload) != int.from_bytes(data[end : end + 4], "little"):
        raise self.error(number, "its checksum is wrong: the record is corrupted")
      payloads.append(payload)
    return payloads

  def count(self, limit: int | None = None, progress=None) -> int:
    """How many records the file holds; a compressed file without an index is read for it.

    What was found is remembered: in this process, and in the index where it took long.

    Args:
      limit: stop counting here.
      progress: called with a sentence before a file has to be read through.
    """
    if self.random_access:
      return len(self.offsets())
    index = self.index() or {}
    if "num_records" in index:
      return index["num_records"]
    if limit is not None and limit <= index.get("at_least", 0):
      return limit
    known = _counted(self.path, _identity(os.stat(self.path)))
    if not known.covers(limit):
      large = os.path.getsize(self.path) > _LARGE
      if progress and large:
        progress(f"counting the records of {self.path}: no index tells their number")
      known.count(framing.frames(self.path, self.compression), limit)
      if large and not known.damage:  # it took long enough to be remembered
        found = {"num_records" if known.whole else "at_least": known.number}
        self.write_index(**{**index, **found})
    if limit is not None and limit <= known.number:
      return limit
    if known.damage:
      self._pass_over(known.number, known.damage)
      self.lost_from = known.number
    return known.number


def tell_skipped(files: Iterable[RecordFile]) -> None:
  """Warns of the records that were passed over, if there are any."""
  for file in files:
    if file.skipped:
      numbers = ", ".join(map(str, sorted(file.skipped)[:10]))
      more = ", ..." if len(file.skipped) > 10 else ""
      rest = "" if file.lost_from is None else "; nothing behind the damage can be read"
      _log.warning(
        "skipped %d damaged records of %s (%s%s)%s",
        len(file.skipped), file.path, numbers, more, rest,
      )  # fmt: skip


class _Count:
  """What is known of how many records a file holds.

  Attributes:
    number: so many there are at least.
    whole: whether these are all that can be read.
    damage: why there are no more, "" where it is the end of the file.
  """

  def __init__(self):
    self.number, self.whole, self.damage = 0, False, ""

  def covers(self, limit: int | None) -> bool:
    return self.whole or (limit is not None and limit <= self.number)

  def count(self, frames, limit: int | None):
    """Goes through the records, to number `limit` at most."""
    number, whole, damage = 0, False, ""
    try:
      for number, _ in enumerate(frames, 1):
        if number == limit:
          break
      else:
        whole = True
    except framing.Damage as error:
      whole, damage = True, str(error)
    if not self.whole and (whole or number > self.number):  # not so where another thread went on
      self.number, self.damage, self.whole = number, damage, whole


def _identity(state):
  """What tells one state of a file from another."""
  return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


@functools.lru_cache(maxsize=32)
def _counted(path, identity):
  """The `_Count` of a file, to be filled; `identity` makes a rewritten file another entry."""
  return _Count()


@functools.lru_cache(maxsize=32)
def _read_index(sidecar, mtime):
  """A sidecar's content; `mtime` makes a rewritten one another entry of the cache."""
  with open(sidecar) as file:
    index = json.load(file)
  if not isinstance(index, dict):
    raise ValueError(f"{sidecar} holds no object")
  return index


@functools.lru_cache(maxsize=32)
def _locate(path, identity):
  """Where the payloads lie, int64 [n, 2], and why the search ended early (None if it did not).

  A validation opens the same file again and again, and finding 100,000 records takes a second;
  `identity` makes a rewritten file another entry of the cache.
  """
  found, reason, offset = [], None, 0
  with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
    size = len(data)
    while offset < size:
      header = data[offset : offset + framing.HEADER]
      if len(header) < framing.HEADER:
        reason = "the file is cut off"
        break
      length = framing.payload_length(header)
      if length < 0:
        reason = "the record's length is corrupted"
        break
      offset += framing.HEADER
      if offset + length + framing.FOOTER > size:
        reason = "the file is cut off"
        break
      found.append((offset, length))
      offset += length + framing.FOOTER
  offsets = np.array(found, np.int64).reshape(-1, 2)
  offsets.setflags(write=False)
  return offsets, reason
