"""datasets.files.codec: both layouts, and round trips between them."""

import zlib

import numpy as np
import pytest
import tensorflow as tf

import datasets
from datasets import files as records
from datasets import recode
from tests.datasets.helpers import assert_equal, read, stored

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
