"""datasets.files.record_file: damage is found, named, and passed over if asked."""

import gzip
import pathlib

import pytest
import tensorflow as tf

import datasets
from datasets import files as records
from datasets.files import framing, record_file
from tests.datasets.helpers import SPEC, assert_equal, error_of, flip, offset_of, read


def test_a_flipped_bit_is_found_and_only_its_record_lost(files):
  wanted = read(SPEC, files["compact"])
  flip(files["compact"], offset_of(files["compact"], 7) + 100)
  message = error_of(files["compact"])
  assert "record 7: its checksum is wrong" in message
  assert 'on_error="skip" (data.on_error=skip in training; ' in message
  file = records.RecordFile(files["compact"], on_error="skip")
  assert [n for n, _ in file] == [*range(7), *range(8, 20)]
  assert file.skipped == [7]
  assert_equal(read(SPEC, files["compact"], on_error="skip"), wanted[:7] + wanted[8:])


def test_a_flipped_bit_in_a_length(files):
  flip(files["compact"], offset_of(files["compact"], 7) - 12)
  assert "record 7: the record's length is corrupted" in error_of(files["compact"])
  file = records.RecordFile(files["compact"], on_error="skip")
  assert [n for n, _ in file] == list(range(7))
  assert (file.skipped, file.lost_from) == ([7], 7)


def test_every_place_to_cut_a_compact_file(files):
  data, offsets = files["compact"].read_bytes(), records.RecordFile(files["compact"]).offsets()
  start = int(offsets[5][0])
  for cut in (start - 11, start - 5, start, start + 10, start + int(offsets[5][1]) + 3):
    files["compact"].write_bytes(data[:cut])
    assert "record 5: the file is cut off" in error_of(files["compact"]), cut
    assert len(read(SPEC, files["compact"], on_error="skip")) == 5


def test_damage_in_a_gzip_stream(files):
  data = files["released"].read_bytes()
  files["released"].write_bytes(data[: len(data) // 2])
  assert "the GZIP stream ends too early: the file is cut off" in error_of(files["released"])
  good = len(read(SPEC, files["released"], on_error="skip"))
  assert 0 < good < 20
  assert f"record {good}:" in error_of(files["released"])
  files["released"].write_bytes(data)
  flip(files["released"], len(data) - 6)  # gzip's own checksum, behind the data
  assert "GZIP stream is corrupted" in error_of(files["released"])
  assert len(read(SPEC, files["released"], on_error="skip")) == 20


def test_a_record_damaged_before_it_was_compressed(files):
  data = bytearray(gzip.decompress(files["released"].read_bytes()))
  data[len(data) // 20 * 3 + 500] ^= 1
  files["released"].write_bytes(gzip.compress(bytes(data)))
  assert "record 3: its checksum is wrong" in error_of(files["released"])
  assert len(read(SPEC, files["released"], on_error="skip")) == 19


def test_other_files(files, tmp_path):
  empty = tmp_path / "empty"
  empty.touch()
  assert "is empty (0 bytes)" in error_of(empty)
  text = tmp_path / "text"
  text.write_text("<html>404 not found</html>")
  assert "does not begin with a TFRecord" in error_of(text)
  zipped = tmp_path / "zip"
  zipped.write_bytes(b"PK\x03\x04" + bytes(30))
  assert "compressed with zip, wanted GZIP, ZLIB or none" in error_of(zipped)
  gzipped_text = tmp_path / "text.gz"
  gzipped_text.write_bytes(gzip.compress(b"hello" * 100))
  assert "record 0: the record's length is corrupted" in error_of(gzipped_text)
  other = tmp_path / "other"
  with tf.io.TFRecordWriter(str(other)) as writer:
    writer.write(b"something else")
  assert "not a tf.train.Example" in error_of(other)
  with tf.io.TFRecordWriter(str(other)) as writer:
    writer.write(tf.train.Example().SerializeToString())
  assert "no feature color, image, mask" in error_of(other)


@pytest.mark.parametrize("content", ["", "[]", "3", "{", '{"size_bytes": 1, "num_records": 99}'])
def test_a_sidecar_that_is_none_is_ignored(files, content):
  pathlib.Path(f"{files['released']}.index.json").write_text(content)
  assert records.RecordFile(files["released"]).index() is None
  assert len(read(SPEC, files["released"])) == 20


@pytest.mark.parametrize("compression", ["GZIP", "ZLIB", ""])
def test_any_compression_is_recognised(files, tmp_path, compression):
  for layout in files:
    path = str(tmp_path / "again")
    with tf.io.TFRecordWriter(path, compression) as writer:
      for _, payload in records.RecordFile(files[layout]):
        writer.write(payload)
    file = records.RecordFile(path)
    assert file.compression == compression
    assert file.count() == 20
    assert_equal(read(SPEC, path), read(SPEC, files["compact"]))


def test_records_are_located_once_for_every_state_of_a_file(files, monkeypatch):
  looked = []
  original = framing.payload_length
  monkeypatch.setattr(framing, "payload_length", lambda h: looked.append(h) or original(h))
  first = records.RecordFile(files["compact"]).offsets()
  number = len(looked)
  assert number >= 20
  again = records.RecordFile(files["compact"]).offsets()
  assert len(looked) == number + 1  # which tells the compression
  assert first is again
  data = files["compact"].read_bytes()
  files["compact"].write_bytes(data[: int(first[10][0]) - 12])
  assert len(records.RecordFile(files["compact"]).offsets()) == 10


@pytest.fixture
def counting(files, monkeypatch):
  """A gzipped file that passes for a large one, and what was read of it so far."""
  read, original = [], framing.frames

  def frames(*args):
    for number, frame in enumerate(original(*args)):
      read.append(number)
      yield frame

  monkeypatch.setattr(framing, "frames", frames)
  monkeypatch.setattr(record_file, "_LARGE", 0)
  record_file._counted.cache_clear()
  return files["released"], read


def test_a_limited_count_is_remembered_by_the_process(counting, monkeypatch):
  path, read = counting
  monkeypatch.setattr(records.RecordFile, "write_index", lambda self, **values: None)
  said = []
  for limit in (12, 12, 5):
    assert records.RecordFile(path).count(limit, progress=said.append) == limit
  assert (len(said), len(read)) == (1, 12)
  assert records.RecordFile(path).count(15, progress=said.append) == 15
  assert (len(said), len(read)) == (2, 27)
  for limit in (None, None, 30):
    assert records.RecordFile(path).count(limit) == 20
  assert records.RecordFile(path).count(7) == 7
  assert len(read) == 47
  path.write_bytes(path.read_bytes() + gzip.compress(b""))  # another state of the file
  assert records.RecordFile(path).count(3) == 3
  assert len(read) == 50


def test_a_limited_count_is_remembered_by_the_index(counting):
  path, read = counting
  records.RecordFile(path).write_index(fingerprint="kept")
  for limit, passed in ((12, 12), (12, 12), (5, 12), (None, 32), (30, 32)):
    record_file._counted.cache_clear()  # as in another process
    assert records.RecordFile(path).count(limit) == (limit if limit in (5, 12) else 20)
    assert len(read) == passed
  assert records.RecordFile(path).index()["fingerprint"] == "kept"
  assert records.RecordFile(path).index()["num_records"] == 20


def test_damage_is_told_again_by_a_count_that_is_remembered(counting):
  path, read = counting
  path.write_bytes(path.read_bytes()[:-200])
  for _ in range(2):
    file = records.RecordFile(path, on_error="skip")
    number = file.count()
    assert 0 < number < 20
    assert (file.skipped, file.lost_from) == ([number], number)
    with pytest.raises(datasets.DataError, match=f"record {number}: .* ends too early"):
      records.RecordFile(path).count()
  assert len(read) == number
  assert records.RecordFile(path).index() is None


def test_a_file_without_records(tmp_path):
  path = tmp_path / "none"
  path.write_bytes(gzip.compress(b""))
  assert list(records.RecordFile(path)) == []
  with pytest.raises(datasets.DataError, match="holds no readable record"):
    datasets.check(SPEC, str(path))
