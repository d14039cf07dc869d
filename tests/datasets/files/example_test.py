"""datasets.files.example and framing against protobuf and TensorFlow's own record writer."""

import numpy as np
import pytest
import tensorflow as tf

from datasets.files import example, framing


def test_checksum_of_the_standard_check_string():
  crc = 0xE3069283  # CRC-32C of "123456789", RFC 3720
  assert framing.masked_crc(b"123456789") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32


def test_frames_are_those_of_tensorflow(tmp_path):
  rng = np.random.default_rng(0)
  payloads = [rng.bytes(n) for n in (0, 1, 2, 3, 15, 16, 17, 511, 512, 513, 1025, 70_001)]
  with tf.io.TFRecordWriter(str(tmp_path / "x")) as writer:
    for payload in payloads:
      writer.write(payload)
  assert b"".join(map(framing.frame, payloads)) == (tmp_path / "x").read_bytes()


def _feature(value):
  if value.dtype == np.float32:
    return tf.train.Feature(float_list=tf.train.FloatList(value=value))
  if value.dtype == np.int64:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=value))
  strings = [bytes([b]) for b in value]
  return tf.train.Feature(bytes_list=tf.train.BytesList(value=strings))


FEATURES = {
  "floats": np.float32([1.5, -2, np.inf]),
  "ints": np.int64([0, -1, 8, 300, 2**62, -(2**63)]),
  "bytes": np.arange(256, dtype=np.uint8),
  "ints/8": np.int64([8, 8, 8]),
  "none": np.zeros(0, np.float32),
}


def test_examples_are_those_of_protobuf():
  oracle = tf.train.Example()
  for name, value in FEATURES.items():
    oracle.features.feature[name].CopyFrom(_feature(value))
  oracle.features.feature["string"].bytes_list.value.append(b"\n\x01a" * 5)
  mine = example.encode_example({**FEATURES, "string": b"\n\x01a" * 5})
  assert tf.train.Example.FromString(mine) == oracle
  decoded = example.decode_example(oracle.SerializeToString())
  for name, value in FEATURES.items():
    got = decoded[name]
    if value.dtype == np.uint8:
      assert got.count == 256
      got = got.data
    np.testing.assert_array_equal(got, value)
    assert got.dtype == value.dtype
  assert decoded["string"].count == 1
  assert decoded["string"].data.tobytes() == b"\n\x01a" * 5


def test_unpacked_numbers_are_read():
  def field(tag, body):
    return bytes([tag, len(body)]) + body

  floats = b"".join(b"\x0d" + np.float32(v).tobytes() for v in (1, 2.5))
  ints = b"\x08\x05\x08\x08\x08\xac\x02"  # 5, 8, 300, a tag before each
  entries = [("f", 0x12, floats), ("i", 0x1A, ints)]
  body = b"".join(
    field(0x0A, field(0x0A, name.encode()) + field(0x12, field(tag, value)))
    for name, tag, value in entries
  )
  payload = field(0x0A, body)
  oracle = tf.train.Example.FromString(payload).features.feature
  assert list(oracle["i"].int64_list.value) == [5, 8, 300]
  decoded = example.decode_example(payload)
  assert decoded["f"].tolist() == list(oracle["f"].float_list.value)
  assert decoded["i"].tolist() == [5, 8, 300]


@pytest.mark.parametrize("junk", [b"hello world", b"\x0a\xff\xff", b"\x0a\x05abc"])
def test_junk_is_refused(junk):
  with pytest.raises(ValueError, match="not a tf"):
    example.decode_example(junk)
