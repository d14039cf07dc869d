"""datasets.files.framing: compressed streams of several members, and where they are damaged."""

import gzip
import itertools
import zlib
from unittest import mock

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from datasets.files import framing

COMPRESS = {"GZIP": gzip.compress, "ZLIB": zlib.compress}
ANY_PAYLOADS = st.lists(st.lists(st.binary(max_size=9), max_size=3), min_size=1, max_size=4)


def read(path, compression, piece=framing._PIECE):
  """The payloads that can be had, and why there are no more (None at the end of the file)."""
  payloads = []
  try:
    with mock.patch.object(framing, "_PIECE", piece):
      for payload, crc in framing.frames(path, compression):
        assert crc == framing.masked_crc(payload)
        payloads.append(payload)
  except framing.Damage as damage:
    return payloads, str(damage)
  return payloads, None


def framed(payloads):
  return b"".join(map(framing.frame, payloads))


def test_a_member_that_ends_anywhere_around_the_end_of_a_piece(tmp_path):
  path, noise = tmp_path / "two", np.random.default_rng(0).bytes(framing._PIECE)
  behind = [noise[:50], noise[50:99]]
  second, ends = gzip.compress(framed(behind)), set()
  for length in range(framing._PIECE - 200, framing._PIECE):
    first = gzip.compress(framed([noise[:length]]), compresslevel=0)  # as long as its content
    path.write_bytes(first + second)
    ends.add(len(first) - framing._PIECE)
    assert read(path, "GZIP") == ([noise[:length], *behind], None), ends
  assert ends >= set(range(-120, 10))


@hypothesis.settings(max_examples=80, derandomize=True)
@hypothesis.given(
  members=ANY_PAYLOADS,
  compression=st.sampled_from(sorted(COMPRESS)),
  piece=st.integers(1, 40),
  data=st.data(),
)
def test_members_are_read_whole_or_damage_is_told(
  tmp_path_factory, members, compression, piece, data
):
  """Of any lengths, read in pieces of any size, and cut off anywhere."""
  path = tmp_path_factory.getbasetemp() / "members"
  streams = [COMPRESS[compression](framed(payloads)) for payloads in members]
  path.write_bytes(b"".join(streams))
  payloads = list(itertools.chain.from_iterable(members))
  assert read(path, compression, piece) == (payloads, None)
  ends = list(itertools.accumulate(map(len, streams)))
  cut = data.draw(st.integers(1, ends[-1] - 1), label="cut")
  path.write_bytes(b"".join(streams)[:cut])
  whole = sum(map(len, members[: sum(end <= cut for end in ends)]))
  got, damage = read(path, compression, piece)
  assert got == payloads[: len(got)]
  assert len(got) >= whole
  assert (damage is None) == (cut in ends)
  if damage is None:
    assert len(got) == whole


@pytest.mark.parametrize("piece", [1, 7, framing._PIECE])
@pytest.mark.parametrize("compression", sorted(COMPRESS))
@pytest.mark.parametrize("members", [0, 1, 3])
def test_what_is_no_stream_is_damage(tmp_path, members, compression, piece):
  """From the start, where the compression was guessed wrong, or behind whole members."""
  path = tmp_path / "foreign"
  stream = COMPRESS[compression](framed([b"one", b"two"]))
  for foreign in (framed([b"three"]), b"text", bytes(20)):
    path.write_bytes(stream * members + foreign)
    payloads, damage = read(path, compression, piece)
    assert payloads == [b"one", b"two"] * members
    assert f"the {compression} stream is corrupted" in damage


@pytest.mark.parametrize("piece", [1, 7, framing._PIECE])
@pytest.mark.parametrize("compression", sorted(COMPRESS))
def test_a_wrong_checksum_behind_the_last_record_is_damage(tmp_path, compression, piece):
  path = tmp_path / "flipped"
  stream = bytearray(COMPRESS[compression](framed([b"one", b"two"])))
  stream[-5 if compression == "GZIP" else -1] ^= 1
  path.write_bytes(stream)
  payloads, damage = read(path, compression, piece)
  assert payloads == [b"one", b"two"]
  assert f"the {compression} stream is corrupted" in damage
