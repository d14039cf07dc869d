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


def _in_order(features, names):
  """A serialized example whose features stand in a given order, as writers' hashes have it."""
  parts = [example.encode_example({name: features[name]}) for name in names]
  merged = tf.train.Example()
  entries = b"".join(tf.train.Example.FromString(p).features.SerializeToString() for p in parts)
  payload = b"\x0a" + _length(len(entries)) + entries
  merged.ParseFromString(payload)
  assert set(merged.features.feature) == set(features)
  return payload


def _length(number):
  out = b""
  while number > 127:
    out, number = out + bytes([number & 127 | 128]), number >> 7
  return out + bytes([number])


def _random_features(rng):
  return {
    "image": rng.integers(256, size=300).astype(np.uint8),
    "mask": rng.integers(2, size=200).astype(np.uint8) * np.uint8(255),
    "x": rng.normal(size=4).astype(np.float32),
    "kind": rng.integers(10, size=4).astype(np.uint8),
  }


def test_records_laid_out_alike_are_read_without_a_parser():
  """Whatever the order of the features, values are those of protobuf's parser."""
  rng = np.random.default_rng(0)
  made = [_random_features(rng) for _ in range(40)]
  payloads = [_in_order(f, rng.permutation(sorted(f)).tolist()) for f in made]
  seen = []
  for places, _, values in example.match_templates(payloads):
    seen.extend(places.tolist())
    for name, (one_byte, value) in values.items():
      assert one_byte == (made[0][name].dtype == np.uint8)
      for row, place in zip(value, places, strict=True):
        np.testing.assert_array_equal(row, made[place][name])
  assert sorted(seen) == list(range(40))  # each of them once
  for features, payload in zip(made, payloads, strict=True):
    decoded = example.decode_example(payload)
    for name, value in features.items():
      got = decoded[name].data if value.dtype == np.uint8 else decoded[name]
      np.testing.assert_array_equal(got, value)


def test_an_odd_record_among_many_is_left_to_the_parser():
  """Of the same length, but with a string of two bytes in place of two strings of none and one."""
  rng = np.random.default_rng(1)
  made = [_random_features(rng) for _ in range(6)]
  payloads = [example.encode_example(features) for features in made]
  image = made[3]["image"]
  # Three strings of one byte are nine bytes; so are strings of 0, 0 and 3 bytes.
  odd = payloads[3].replace(
    b"".join(bytes([10, 1, b]) for b in image[:3]),
    b"\x0a\x00\x0a\x00\x0a\x03" + image[:3].tobytes(),
  )
  assert len(odd) == len(payloads[3])
  assert odd != payloads[3]
  payloads[3] = odd
  seen = [p for places, _, _ in example.match_templates(payloads) for p in places.tolist()]
  assert sorted(seen) == [0, 1, 2, 4, 5]
  strings = list(tf.train.Example.FromString(odd).features.feature["image"].bytes_list.value)
  assert strings[:3] == [b"", b"", image[:3].tobytes()]
  decoded = example.decode_example(odd)["image"]
  assert decoded.count == len(strings) == 300
  assert decoded.data.tobytes() == b"".join(strings)
