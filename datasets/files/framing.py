"""The frames of a TFRecord file, read as far as they are whole.

A record is `length uint64 | crc(length) | payload | crc(payload)`, little endian, where crc is
CRC-32C rotated and shifted ("masked"). `tf.io` reads this too, but stops at the first damage
without saying which record it is, and it needs TensorFlow in every process that generates.
"""

import functools
import struct
import zlib

import google_crc32c

from datasets.errors import DataError

HEADER = 12  # bytes before a payload: its length and the checksum of the length
FOOTER = 4  # bytes behind it: its checksum
_PIECE = 1 << 14  # compressed bytes fed to zlib at a time
_BLOCK = 1 << 21  # payload bytes given out together


def masked_crc(data: bytes) -> int:
  """CRC-32C as TFRecords store it."""
  crc = google_crc32c.value(data)
  return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
  """A payload with its length and checksums."""
  length = struct.pack("<Q", len(payload))
  crcs = (struct.pack("<I", masked_crc(data)) for data in (length, payload))
  length_crc, payload_crc = crcs
  return b"".join((length, length_crc, payload, payload_crc))


@functools.lru_cache(maxsize=1 << 12)  # records of one file are often equally long
def payload_length(header: bytes) -> int:
  """The payload's length out of the 12 bytes before it; -1 where they are no record header."""
  length, crc = struct.unpack("<QI", header)
  return length if masked_crc(header[:8]) == crc else -1


def compression_of(path) -> str:
  """How a file is compressed, from its first bytes: "GZIP", "ZLIB" or "".

  Raises:
    DataError: the file is empty or its first bytes are not those of a TFRecord file.
  """
  with open(path, "rb") as file:
    head = file.read(HEADER)
  if not head:
    raise DataError(f"{path} is empty (0 bytes), expected TFRecords: delete it and get it anew")
  if len(head) == HEADER and payload_length(head) >= 0:
    return ""
  if head[:2] == b"\x1f\x8b":
    return "GZIP"
  if head[0] == 0x78 and len(head) > 1 and int.from_bytes(head[:2], "big") % 31 == 0:
    return "ZLIB"
  known = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}
  for magic, name in known.items():
    if head.startswith(magic):
      raise DataError(
        f"{path} is compressed with {name}, wanted GZIP, ZLIB or none: uncompress it first"
      )
  raise DataError(
    f"{path} does not begin with a TFRecord (first bytes {head[:8].hex(' ')}): it is another kind "
    "of file or damaged in record 0; get it anew"
  )


class Damage(Exception):
  """Why a record, and everything behind it, could not be read."""


def _uncompressed(path, compression):
  """The bytes of a file in pieces, some of them empty, as far as they can be had; then Damage."""
  with open(path, "rb") as file:
    if not compression:
      while piece := file.read(1 << 20):
        yield piece
      return
    window = zlib.MAX_WBITS | 32  # gzip or zlib, by the header
    inflate = zlib.decompressobj(window)
    while piece := file.read(_PIECE):
      while piece:
        if inflate.eof:  # several compressed streams may follow one another
          inflate = zlib.decompressobj(window)
        before = inflate.copy()
        try:
          out = inflate.decompress(piece)
        except zlib.error as error:
          out = bytearray()
          for i in range(len(piece)):  # as many bytes as can be had before the damage
            try:
              out += before.decompress(piece[i : i + 1])
            except zlib.error:
              break
          yield bytes(out)
          raise Damage(f"the {compression} stream is corrupted ({error})") from None
        yield out
        piece = inflate.unused_data
    if not inflate.eof:
      raise Damage(f"the {compression} stream ends too early: the file is cut off")


def frames(path, compression, start=0):
  """Yields (payload, stored checksum) of each record from number `start`.

  Raises:
    Damage: nothing behind the last record given can be read.
  """
  buffer, position = b"", 0
  pieces = _uncompressed(path, compression)
  number, wanted = 0, HEADER
  length = None
  while True:
    parts, have = [], len(buffer) - position
    while have < wanted:
      piece = next(pieces, None)
      if piece is None:  # b"" is no end: a gzip header or trailer holds no bytes of records
        if not have and length is None:
          return
        raise Damage("the file is cut off")
      parts.append(piece)
      have += len(piece)
    if parts:
      buffer, position = b"".join([buffer[position:], *parts]), 0
    if length is None:
      length = payload_length(buffer[position : position + HEADER])
      if length < 0:
        raise Damage("the record's length is corrupted")
      position += HEADER
      wanted = length + FOOTER
    else:
      if number >= start:
        payload = buffer[position : position + length]
        yield payload, struct.unpack_from("<I", buffer, position + length)[0]
      position += wanted
      number, wanted, length = number + 1, HEADER, None


def blocks(framed):
  """Lists of (payload, stored checksum) of a few megabytes each, and the Damage that ends them.

  Args:
    framed: as `frames` yields.

  Yields:
    (list, None), and last (list, Damage or None).
  """
  block, size = [], 0
  try:
    for payload, crc in framed:
      block.append((payload, crc))
      size += len(payload)
      if size >= _BLOCK:
        yield block, None
        block, size = [], 0
  except Damage as damage:
    yield block, damage
    return
  yield block, None
