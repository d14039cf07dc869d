"""datasets.records: layouts, round trips and damage; recode, inspect and from_images on top."""

import dataclasses
import gzip
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import datasets
from datasets import files as records
from datasets import from_images, inspect, recode
from datasets.generators import tetrominoes


def stored(spec, num, seed=0):
  """Random stored features for any spec, masks that share the image out."""
  rng = np.random.default_rng(seed)
  made = []
  for _ in range(num):
    labels = rng.integers(spec.max_entities, size=spec.image_shape[:-1]).astype(np.uint8)
    record = {
      "image": rng.integers(256, size=spec.image_shape).astype(np.uint8),
      "mask": records.mask_from_labels(labels, spec.mask_layout, spec.max_entities),
    }
    for name, factor in records.stored_factors(spec).items():
      lead = () if name in spec.context else (spec.max_entities,)
      top = factor.num_categories or 2
      value = rng.integers(top, size=(*lead, *factor.shape))
      record[name] = value.astype(factor.dtype)
    made.append(record)
  return made


def read(spec, path, **kwargs):
  decoded = [
    records.decode(payload, spec, where=f"{path}, record {number}")
    for number, payload in records.RecordFile(path, **kwargs)
  ]
  return [records.stored_features(d, spec) for d in decoded]


def assert_equal(got, wanted):
  assert len(got) == len(wanted)
  for a, b in zip(got, wanted, strict=True):
    assert a.keys() == b.keys()
    for name in a:
      assert a[name].dtype == b[name].dtype, name
      np.testing.assert_array_equal(a[name], b[name], err_msg=name)


NAMES = [n for n, s in datasets.SPECS.items() if s.image_size]


@pytest.mark.parametrize("name", NAMES)
def test_generate_read_recode_read_gives_the_same(name, tmp_path):
  spec = datasets.get_spec(name)
  wanted = stored(spec, 2)
  for first, second in (("released", "compact"), ("compact", "released")):
    one, two = str(tmp_path / f"{first}1"), str(tmp_path / f"{second}2")
    records.write_records(one, wanted, spec, first)
    assert_equal(read(spec, one), wanted)
    recode.recode(spec, one, two, layout=second)
    assert_equal(read(spec, two), wanted)


def test_masks_that_overlap_survive(tmp_path):
  spec = datasets.get_spec("shapes")
  wanted = stored(spec, 1)
  wanted[0]["mask"][1:3, :5] = 255
  wanted[0]["mask"][:, 20:] = 0
  records.write_records(tmp_path / "x", wanted, spec)
  assert_equal(read(spec, tmp_path / "x"), wanted)
  decoded = records.decode(next(records.RecordFile(tmp_path / "x").iterate())[1], spec)
  assert (decoded["labels"][20:] == records.NO_ENTITY).all()


@pytest.mark.parametrize("name", ["tetrominoes", "multi_dsprites_binarized", "clevr"])
def test_released_layout_is_what_the_published_readers_parse(name, tmp_path):
  """Oracle: the published feature description, one string per byte, through tf.io."""
  spec = datasets.get_spec(name)
  wanted = stored(spec, 1)
  records.write_records(str(tmp_path / "x"), wanted, spec, "released")
  features = {
    "image": tf.io.FixedLenFeature(spec.image_shape, tf.string),
    "mask": tf.io.FixedLenFeature(spec.mask_shape, tf.string),
  }
  for key, factor in records.stored_factors(spec).items():
    dtype = tf.string if factor.dtype == "uint8" else tf.float32
    features[key] = tf.io.FixedLenFeature((spec.max_entities, *factor.shape), dtype)
  (serialized,) = tf.data.TFRecordDataset(str(tmp_path / "x"), compression_type="GZIP")
  parsed = tf.io.parse_single_example(serialized, features)
  for key, value in parsed.items():
    if value.dtype == tf.string:
      value = tf.squeeze(tf.io.decode_raw(value, tf.uint8), axis=-1)
    np.testing.assert_array_equal(value, wanted[0][key])


def test_compact_layout_is_what_its_documentation_says(tmp_path):
  spec = datasets.get_spec("clevr")
  wanted = stored(spec, 1)
  records.write_records(str(tmp_path / "x"), wanted, spec)
  (serialized,) = tf.data.TFRecordDataset(str(tmp_path / "x"))
  feature = tf.train.Example.FromString(serialized.numpy()).features.feature
  image = zlib.decompress(feature["image"].bytes_list.value[0])
  np.testing.assert_array_equal(np.frombuffer(image, np.uint8), wanted[0]["image"].ravel())
  labels = np.frombuffer(zlib.decompress(feature["mask"].bytes_list.value[0]), np.uint8)
  np.testing.assert_array_equal(labels, wanted[0]["mask"][..., 0].argmax(0).ravel())
  assert list(feature["image/shape"].int64_list.value) == [240, 320, 3]
  assert feature["color"].bytes_list.value[0] == wanted[0]["color"].tobytes()
  assert feature["dataset"].bytes_list.value[0] == b"clevr"


def test_the_real_records(reference):
  spec = datasets.get_spec("tetrominoes")
  real = read(spec, reference / "tetrominoes_mini.tfrecords")
  assert real[0]["shape"].tolist() == [0, 6, 5, 15]
  assert (np.stack([r["mask"] for r in real]).sum(axis=1, dtype=int) == 255).all()
  assert all(r["image"].max() == 255 for r in real)


# ------------------------------------------------------------------------------------- damage

SPEC = datasets.get_spec("tetrominoes_quick")


@pytest.fixture
def files(tmp_path):
  """Twenty scenes, compact and released."""
  arrays = tetrominoes.generate_chunk(0, 0, image_size=14, block_size=2)
  scenes = [{k: v[i] for k, v in arrays.items()} for i in range(20)]
  paths = {}
  for layout in ("compact", "released"):
    paths[layout] = tmp_path / layout
    records.write_records(str(paths[layout]), scenes, SPEC, layout)
  return paths


def _error(path, spec=SPEC):
  with pytest.raises(datasets.DataError) as error:
    read(spec, path)
  message = str(error.value)
  assert str(path) in message
  assert "\n" not in message
  return message


def _flip(path, position):
  data = bytearray(path.read_bytes())
  data[position] ^= 0x10
  path.write_bytes(data)


def _offset(path, number):
  return int(records.RecordFile(path).offsets()[number][0])


def test_a_flipped_bit_is_found_and_only_its_record_lost(files):
  wanted = read(SPEC, files["compact"])
  _flip(files["compact"], _offset(files["compact"], 7) + 100)
  message = _error(files["compact"])
  assert "record 7: its checksum is wrong" in message
  assert 'on_error="skip"' in message
  file = records.RecordFile(files["compact"], on_error="skip")
  assert [n for n, _ in file] == [*range(7), *range(8, 20)]
  assert file.skipped == [7]
  assert_equal(read(SPEC, files["compact"], on_error="skip"), wanted[:7] + wanted[8:])


def test_a_flipped_bit_in_a_length(files):
  _flip(files["compact"], _offset(files["compact"], 7) - 12)
  assert "record 7: the record's length is corrupted" in _error(files["compact"])
  file = records.RecordFile(files["compact"], on_error="skip")
  assert [n for n, _ in file] == list(range(7))
  assert (file.skipped, file.lost_from) == ([7], 7)


def test_every_place_to_cut_a_compact_file(files):
  data, offsets = files["compact"].read_bytes(), records.RecordFile(files["compact"]).offsets()
  start = int(offsets[5][0])
  for cut in (start - 11, start - 5, start, start + 10, start + int(offsets[5][1]) + 3):
    files["compact"].write_bytes(data[:cut])
    assert "record 5: the file is cut off" in _error(files["compact"]), cut
    assert len(read(SPEC, files["compact"], on_error="skip")) == 5


def test_damage_in_a_gzip_stream(files):
  data = files["released"].read_bytes()
  files["released"].write_bytes(data[: len(data) // 2])
  assert "the GZIP stream ends too early: the file is cut off" in _error(files["released"])
  good = len(read(SPEC, files["released"], on_error="skip"))
  assert 0 < good < 20
  assert f"record {good}:" in _error(files["released"])
  files["released"].write_bytes(data)
  _flip(files["released"], len(data) - 6)  # gzip's own checksum, behind the data
  assert "GZIP stream is corrupted" in _error(files["released"])
  assert len(read(SPEC, files["released"], on_error="skip")) == 20


def test_a_record_damaged_before_it_was_compressed(files):
  data = bytearray(gzip.decompress(files["released"].read_bytes()))
  data[len(data) // 20 * 3 + 500] ^= 1
  files["released"].write_bytes(gzip.compress(bytes(data)))
  assert "record 3: its checksum is wrong" in _error(files["released"])
  assert len(read(SPEC, files["released"], on_error="skip")) == 19


def test_other_files(files, tmp_path):
  empty = tmp_path / "empty"
  empty.touch()
  assert "is empty (0 bytes)" in _error(empty)
  text = tmp_path / "text"
  text.write_text("<html>404 not found</html>")
  assert "does not begin with a TFRecord" in _error(text)
  zipped = tmp_path / "zip"
  zipped.write_bytes(b"PK\x03\x04" + bytes(30))
  assert "compressed with zip, wanted GZIP, ZLIB or none" in _error(zipped)
  gzipped_text = tmp_path / "text.gz"
  gzipped_text.write_bytes(gzip.compress(b"hello" * 100))
  assert "record 0: the record's length is corrupted" in _error(gzipped_text)
  other = tmp_path / "other"
  with tf.io.TFRecordWriter(str(other)) as writer:
    writer.write(b"something else")
  assert "not a tf.train.Example" in _error(other)
  with tf.io.TFRecordWriter(str(other)) as writer:
    writer.write(tf.train.Example().SerializeToString())
  assert "no feature color, image, mask" in _error(other)


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


def test_file_of_another_dataset(files):
  message = _error(files["compact"], datasets.get_spec("shapes"))
  assert 'is of dataset "tetrominoes_quick", wanted "shapes"' in message
  message = _error(files["released"], datasets.get_spec("clevr"))
  assert "no feature material, pixel_coords" in message
  assert "it looks like tetrominoes_quick" in message
  message = _error(files["released"], datasets.get_spec("tetrominoes"))
  assert "image has 588 values, wanted 35 x 35 x 3 = 3,675" in message
  gray = dataclasses.replace(SPEC, image_size=(14, 14, 1))
  assert "image is 14 x 14 x 3, wanted 14 x 14 x 1" in _error(files["compact"], gray)
  more = dataclasses.replace(SPEC, max_entities=9)
  assert "the mask has 4 entities, wanted 9" in _error(files["compact"], more)


def test_a_missing_file_says_how_to_get_it(tmp_path):
  with pytest.raises(datasets.DataError) as error:
    datasets.check(datasets.get_spec("clevr"), data_dir=str(tmp_path))
  assert "gs://multi-object-datasets/clevr_with_masks/" in str(error.value)
  command = f"`python -m datasets.generate clevr --num 70640 --out {tmp_path}`"
  assert command in str(error.value)


def test_writing_is_atomic(tmp_path):
  def broken():
    yield from stored(SPEC, 3)
    raise OSError("no space")

  with pytest.raises(OSError, match="no space"):
    records.write_records(str(tmp_path / "x"), broken(), SPEC)
  assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------- recode, inspect, from_images


def test_recode_crops_and_resizes_as_the_pipeline_does(tmp_path):
  spec = datasets.get_spec("clevr")
  ramp = np.add.outer(np.arange(240), np.arange(320)).astype(np.float32) / 560 * 255
  record = stored(spec, 1)[0]
  record["image"] = np.repeat(ramp[..., None], 3, -1).astype(np.uint8)
  records.write_records(str(tmp_path / "a"), [record], spec, "released")
  recode.recode(spec, tmp_path / "a", str(tmp_path / "b"), crop=True, size=(128, 128))
  one, two = (
    next(iter(datasets.load(spec, str(tmp_path / n), split="all", batch_size=1)))
    for n in ("a", "b")
  )
  assert one["image"].shape == two["image"].shape == (1, 128, 128, 3)
  np.testing.assert_allclose(one["image"], two["image"], atol=0.5 / 255 + 1e-5)  # rounded to uint8
  np.testing.assert_array_equal(one["mask"], two["mask"])


def test_recode_shards_and_skips(files, tmp_path):
  wanted = read(SPEC, files["compact"])
  _flip(files["compact"], _offset(files["compact"], 7) + 100)
  out = str(tmp_path / "out")
  names = recode.recode(SPEC, files["compact"], out, shards=3, on_error="skip")
  assert [n.rpartition("/")[2] for n in names] == [f"out-0000{i}-of-00003" for i in range(3)]
  left = wanted[:7] + wanted[8:]
  for i, name in enumerate(names):
    assert_equal(read(SPEC, name), left[i::3])
  with pytest.raises(datasets.DataError, match="record 7"):
    recode.recode(SPEC, files["compact"], out)
  with pytest.raises(datasets.DataError, match="is one of the files to read"):
    recode.recode(SPEC, files["released"], str(files["released"]))


def test_inspect(files, tmp_path, capsys):
  inspect.main([str(files["compact"]), "--sheet", str(tmp_path / "sheet.png")])
  said = capsys.readouterr().out
  for words in ("records: 20", "objects in a scene: 3: 20", "shape: 1 to", "all checksums right"):
    assert words in said
  with Image.open(tmp_path / "sheet.png") as sheet:
    assert sheet.size[0] > 100
  _flip(files["compact"], _offset(files["compact"], 7) + 100)
  with pytest.raises(SystemExit) as stopped:
    inspect.main([str(files["compact"]), "--sheet", str(tmp_path / "sheet.png")])
  assert stopped.value.code == 1
  assert "DAMAGED: 1 records (7)" in capsys.readouterr().out


def test_inspect_reads_a_file_of_another_size(tmp_path):
  spec = dataclasses.replace(SPEC, image_size=(14, 14, 3))
  records.write_records(tmp_path / "x", stored(spec, 2), spec)
  text, sheet = inspect.report(str(tmp_path / "x"))
  assert "image: 14 x 14 x 3" in text
  assert "all checksums right" in text
  assert sheet is not None


def test_from_images(tmp_path):
  (tmp_path / "pictures").mkdir()
  (tmp_path / "masks").mkdir()
  rng = np.random.default_rng(0)
  for i, size in enumerate([(16, 16), (16, 24)]):
    picture = rng.integers(256, size=(*size, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "pictures" / f"{i}.png")
    mask = np.zeros(size, np.uint8)
    mask[4:8, 4:8], mask[10:, 10:] = 1, 2
    Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
  out = str(tmp_path / "images.tfrecords")
  masks = str(tmp_path / "masks")
  assert from_images.pack(str(tmp_path / "pictures"), out, size=16, masks=masks) == 2
  batch = next(
    iter(
      datasets.load(
        datasets.get_spec("images"), out, split="all", batch_size=2)
    )
  )  # fmt: skip
  assert batch["mask"].shape == (2, 3, 16, 16, 1)
  with Image.open(tmp_path / "pictures" / "0.png") as picture:
    np.testing.assert_allclose(batch["image"][0] * 255, np.asarray(picture), atol=1e-3)
  assert batch["mask"][0, 1, 4:8, 4:8].numpy().all()
  (tmp_path / "masks" / "1.png").unlink()
  with pytest.raises(datasets.DataError, match="does not exist: every picture needs its mask"):
    from_images.pack(str(tmp_path / "pictures"), out, size=16, masks=masks)
  with pytest.raises(datasets.DataError, match=r"holds no \.png"):
    from_images.pack(masks[:-5] + "pictures/..", out, size=16)
