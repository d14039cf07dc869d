"""Which scenes a file holds: they are known by the file that they were first stored in."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from datasets.files.codec import fingerprint

KEY = "pieces"  # of a file's index


class Piece(NamedTuple):
  """Records that follow one another, as they did in the file that they were first stored in.

  Attributes:
    fingerprint: of that file.
    first: the number there of the first of these records.
    count: how many they are; None: all that a file holds.
  """

  fingerprint: str
  first: int = 0
  count: int | None = None

  def part(self, start: int, stop: int) -> "Piece":
    """The records start <= number < stop of this piece, counted from its first."""
    stop = stop if self.count is None else min(stop, self.count)
    return Piece(self.fingerprint, self.first + start, max(0, stop - start))

  def overlaps(self, other: "Piece") -> bool:
    """Whether a record is in both; their counts are known."""
    last = min(self.first + self.count, other.first + other.count)
    return self.fingerprint == other.fingerprint and max(self.first, other.first) < last


def pieces_of(index: Mapping[str, Any], first_image: Callable[[], np.ndarray]) -> list[Piece]:
  """What a file is made of.

  Args:
    index: of the file, {} without one.
    first_image: gives the file's first scene, where the index does not tell.
  """
  if KEY in index:
    return [Piece(*piece) for piece in index[KEY]]
  return [Piece(index.get("fingerprint") or fingerprint(first_image()))]


def cut(pieces: Iterable[Piece], start: int, stop: int) -> list[Piece]:
  """What the records start <= number < stop of a file of these pieces are made of."""
  found, begin = [], 0
  for piece in pieces:
    part = piece.part(max(0, start - begin), max(0, stop - begin))
    if part.count:
      found.append(part)
    if piece.count is None:
      break
    begin += piece.count
  return found


def add(pieces: list[Piece], more: Iterable[Piece]) -> None:
  """Appends pieces; what goes on where the last one ends is one with it."""
  for piece in more:
    if pieces:
      last = pieces[-1]
      if (piece.fingerprint, piece.first) == (last.fingerprint, last.first + last.count):
        pieces[-1] = last._replace(count=last.count + piece.count)
        continue
    pieces.append(piece)
