"""datasets.files.origins: pieces tell each record's place in the file it was first stored in."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np

from datasets import files
from datasets.files import origins
from datasets.files.origins import Piece

PLACES = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 8)), max_size=12)


def packed(places):
  pieces = []
  for name, number in places:
    origins.add(pieces, [Piece(name, number, 1)])
  return pieces


def unpacked(pieces):
  return [(piece.fingerprint, piece.first + i) for piece in pieces for i in range(piece.count)]


@hypothesis.given(PLACES, st.integers(0, 14), st.integers(0, 14))
def test_pieces_are_the_places_of_records(places, start, stop):
  pieces = packed(places)
  assert unpacked(pieces) == places
  assert unpacked(origins.cut(pieces, start, stop)) == places[start:stop]
  assert all(piece.count for piece in pieces)
  for one, two in itertools.pairwise(pieces):
    assert two[:2] != (one.fingerprint, one.first + one.count)


@hypothesis.given(PLACES, PLACES)
def test_pieces_overlap_where_a_record_is_in_both(one, two):
  found = any(a.overlaps(b) for a in packed(one) for b in packed(two))
  assert found == bool(set(one) & set(two))


def test_a_file_of_its_own_is_one_piece():
  image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
  [piece] = origins.pieces_of({}, lambda: image)
  assert piece == Piece(files.fingerprint(image), 0, None)
  assert origins.cut([piece], 3, 5) == [Piece(piece.fingerprint, 3, 2)]
  assert origins.pieces_of({"fingerprint": "x"}, None) == [Piece("x")]
  assert origins.pieces_of({origins.KEY: [["x", 2, 3], ["y", 0, 1]]}, None) == [
    Piece("x", 2, 3),
    Piece("y", 0, 1),
  ]
