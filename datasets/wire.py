"""The bytes of a TFRecord file: CRC-32C, record frames and tf.train.Example, in NumPy.

Why not `tf.io`: processes that generate or recode stay free of TensorFlow, and damage can be told
by record where TensorFlow's reader only gives up. A released CLEVR record is 1.08 million one-byte
strings; their encoding repeats every three bytes, so that NumPy takes them apart at one stroke.

Format: a record is `length uint64 | crc(length) | payload | crc(payload)`, little endian, where
crc is CRC-32C rotated and shifted ("masked"); the payload is a serialized tf.train.Example.
"""

import functools
import struct
from typing import NamedTuple

import numpy as np

HEADER = 12  # bytes before a payload: its length and the checksum of the length
FOOTER = 4  # bytes behind it: its checksum


class Strings(NamedTuple):
  """A bytes_list: how many strings, and their bytes one after the other (uint8 [n])."""

  count: int
  data: np.ndarray


# ---------------------------------------------------------------------------------- checksums


@functools.cache
def _tables():
  """The register's change for every value of one byte (uint32 [256]) and of two ([65536])."""
  one = np.arange(256, dtype=np.uint32)
  for _ in range(8):
    one = (one >> 1) ^ (np.uint32(0x82F63B78) * (one & 1))
  low = one[np.arange(65536) & 255]  # the register after the first byte, before the second
  two = (low >> 8) ^ one[(low & 255) ^ (np.arange(65536) >> 8).astype(np.uint32)]
  return one, two


@functools.lru_cache(maxsize=64)
def _shift_tables(num_bytes):
  """What `num_bytes` zero bytes do to the register: linear, so four tables (uint32 [4, 256])."""
  if num_bytes == 1:
    columns = np.uint32(1) << np.arange(32, dtype=np.uint32)
    columns = (columns >> 8) ^ _tables()[0][columns & 255]
  else:  # twice half the way
    columns = _shift_tables(num_bytes // 2)[
      np.arange(32) // 8, 1 << (np.arange(32, dtype=np.uint32) % 8)
    ]
    columns = _shift(columns, num_bytes // 2)
    if num_bytes % 2:
      columns = _shift(columns, 1)
  bits = (np.arange(256)[:, None] >> np.arange(8)) & 1  # [256, 8]
  parts = columns.reshape(4, 1, 8) * bits.astype(np.uint32)  # [4, 256, 8]
  return np.bitwise_xor.reduce(parts, axis=-1)


def _shift(register, num_bytes):
  tables = _shift_tables(num_bytes)
  return (
    tables[0][register & 255]
    ^ tables[1][(register >> 8) & 255]
    ^ tables[2][(register >> 16) & 255]
    ^ tables[3][register >> 24]
  )


def masked_crc(payloads) -> np.ndarray:
  """Masked CRC-32C of many payloads at once.

  Payloads are cut into rows of equal length (zeros in front do not change a register that starts
  at zero), all rows go through the byte loop together, and rows are then joined pairwise.

  Args:
    payloads: sequence of bytes-like, best of similar lengths.

  Returns:
    uint32 [len(payloads)].
  """
  lengths = np.array([len(p) for p in payloads], dtype=np.int64)
  # Half a row is that many NumPy calls, so few and short payloads take shorter rows.
  row = 1 << min(9, max(4, round(np.log2(1 + lengths.sum() / 8) / 2)))
  rows = 1 << max(0, -(-int(lengths.max()) // row) - 1).bit_length()
  data = np.zeros((len(payloads), rows * row), np.uint8)
  for i, payload in enumerate(payloads):
    if len(payload):
      data[i, -len(payload) :] = np.frombuffer(payload, np.uint8)
  pairs = np.ascontiguousarray(data.view("<u2").reshape(-1, row // 2).T)
  _, two = _tables()
  register = np.zeros(pairs.shape[1], np.uint32)
  change = np.empty_like(register)
  for pair in pairs:
    np.take(two, register.astype(np.uint16) ^ pair, out=change, mode="wrap")
    register >>= 16
    register ^= change
  register = register.reshape(len(payloads), rows)
  while register.shape[1] > 1:
    register = _shift(register[:, ::2], row) ^ register[:, 1::2]
    row *= 2
  register = register[:, 0]
  # The real register starts at all ones, not at zero: add what that becomes after `length` bytes.
  ones, inverse = np.unique(lengths, return_inverse=True)
  start = np.array([_shift_any(int(n)) for n in ones], np.uint32)
  crc = ~(register ^ start[inverse])
  return ((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)


@functools.lru_cache(maxsize=1 << 16)
def _shift_any(num_bytes):
  """The all-ones register after `num_bytes` zero bytes, by powers of two."""
  register = np.full(1, 0xFFFFFFFF, np.uint32)
  power = 1
  while num_bytes:
    if num_bytes & 1:
      register = _shift(register, power)
    num_bytes >>= 1
    power *= 2
  return register[0]


def frame(payloads) -> list[bytes]:
  """The records of a TFRecord file: every payload with its length and checksums."""
  lengths = [struct.pack("<Q", len(p)) for p in payloads]
  length_crcs, crcs = masked_crc(lengths), masked_crc(payloads)
  return [
    b"".join((n, struct.pack("<I", nc), p, struct.pack("<I", c)))
    for n, nc, p, c in zip(lengths, length_crcs, payloads, crcs, strict=True)
  ]


@functools.lru_cache(maxsize=1 << 12)  # records of one file are often equally long
def header_length(header: bytes) -> int:
  """The payload's length out of the 12 bytes before it; -1 where they are no record header."""
  length, crc = struct.unpack("<QI", header)
  return length if masked_crc([header[:8]])[0] == crc else -1


# --------------------------------------------------------------------------- tf.train.Example


def _varint(number):
  out = bytearray()
  while number > 127:
    out.append(number & 127 | 128)
    number >>= 7
  out.append(number)
  return bytes(out)


def _field(tag, body):
  return b"".join((bytes([tag]), _varint(len(body)), body))


def _encode_feature(value):
  if isinstance(value, bytes):
    return _field(0x0A, _field(0x0A, value))
  value = np.asarray(value)
  if value.dtype == np.float32:
    return _field(0x12, _field(0x0A, value.astype("<f4").tobytes()))
  if value.dtype == np.int64:
    return _field(0x1A, _field(0x0A, b"".join(_varint(int(v) % 2**64) for v in value.flat)))
  if value.dtype == np.uint8:  # one string per byte
    entries = np.empty((value.size, 3), np.uint8)
    entries[:, 0], entries[:, 1], entries[:, 2] = 0x0A, 1, value.ravel()
    return _field(0x0A, entries.tobytes())
  raise TypeError(f"expected bytes, float32, int64 or uint8, got {value.dtype}")


def encode_example(features) -> bytes:
  """Serializes a tf.train.Example, features in alphabetical order.

  Args:
    features: name -> bytes (one string), or an array: float32, int64, or uint8, which becomes one
      string per byte, as in the released files.
  """
  body = b"".join(
    _field(0x0A, _field(0x0A, name.encode()) + _field(0x12, _encode_feature(features[name])))
    for name in sorted(features)
  )
  return _field(0x0A, body)


def _fields(view):
  """The (tag, body) pairs of a message whose fields are all length-delimited."""
  position, end = 0, len(view)
  while position < end:
    tag = view[position]
    if tag & 7 != 2:
      raise ValueError("not a tf.train.Example")
    position += 1
    length = shift = 0
    while True:
      if position >= end or shift > 63:
        raise ValueError("not a tf.train.Example")
      byte = view[position]
      position += 1
      length |= (byte & 127) << shift
      if byte < 128:
        break
      shift += 7
    if position + length > end:
      raise ValueError("not a tf.train.Example")
    yield tag, view[position : position + length]
    position += length


def _decode_strings(view):
  if len(view) % 3 == 0 and len(view):
    entries = np.frombuffer(view, np.uint8).reshape(-1, 3)
    if (entries[:, 0] == 0x0A).all() and (entries[:, 1] == 1).all():
      return Strings(len(entries), entries[:, 2])
  strings = [body for tag, body in _fields(view) if tag == 0x0A]
  return Strings(len(strings), np.frombuffer(b"".join(strings), np.uint8))


def _decode_floats(view):
  if len(view) % 5 == 0 and len(view) and view[0] == 0x0D:  # not packed: a tag before each
    return np.frombuffer(view, np.uint8).reshape(-1, 5)[:, 1:].copy().view("<f4")[:, 0]
  return np.concatenate(
    [np.frombuffer(body, "<f4") for _, body in _fields(view)] or [np.zeros(0, np.float32)]
  )


def _decode_ints(view):
  numbers, number, shift = [], 0, 0
  packed = view[:1] == b"\x0a"
  for body in [body for _, body in _fields(view)] if packed else [view]:
    for byte in body:
      if not packed and shift == 0 and byte == 0x08 and number == 0 and len(numbers) % 2 == 0:
        numbers.append(None)  # the tag in front of an unpacked number
        continue
      number |= (byte & 127) << shift
      shift += 7
      if byte < 128:
        numbers.append(number)
        number = shift = 0
  values = [n - 2**64 if n >= 2**63 else n for n in numbers if n is not None]
  return np.array(values, np.int64)


def decode_example(payload) -> dict:
  """Takes a serialized tf.train.Example apart.

  Returns:
    name -> Strings, float32 [n] or int64 [n].

  Raises:
    ValueError: the bytes are not a tf.train.Example.
  """
  result = {}
  decoders = {0x0A: _decode_strings, 0x12: _decode_floats, 0x1A: _decode_ints}
  for tag, features in _fields(memoryview(payload)):
    if tag != 0x0A:
      continue
    for _, entry in _fields(features):
      parts = dict(_fields(entry))
      if 0x0A not in parts:
        raise ValueError("not a tf.train.Example")
      name = bytes(parts[0x0A]).decode(errors="replace")
      for kind, body in _fields(parts.get(0x12, b"")):
        if kind not in decoders:
          raise ValueError("not a tf.train.Example")
        result[name] = decoders[kind](body)
  return result
