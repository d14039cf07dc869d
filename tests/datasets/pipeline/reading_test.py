"""datasets.pipeline.reading: compressed files, by several readers at a time, in any order."""

import gzip

import numpy as np
import pytest
import tensorflow as tf

import datasets
from datasets import files as records
from datasets.files import framing
from datasets.pipeline.source import Source
from tests.datasets.helpers import SPEC, read


def _numbers(dataset):
  return [batch["index"].numpy().tolist() for batch in dataset]


def test_readers_do_not_disturb_one_another(files):
  """More iterators of one data set than are kept open, each asked in turn."""
  dataset = datasets.load(
    SPEC,
    str(files["released"]),
    batch_size=3,
    split="all",
    cache=False,
    order=datasets.Order(shuffle=True, seed=2, num_epochs=2),
  )
  wanted = _numbers(dataset)
  assert sorted(number for batch in wanted[:7] for number in batch) == list(range(20))
  iterators = [iter(dataset) for _ in range(5)]
  together = [[next(it)["index"].numpy().tolist() for it in iterators] for _ in wanted]
  assert together == [[numbers] * 5 for numbers in wanted]


def test_released_records_in_any_order_of_features(files, tmp_path):
  """As in the released files, where a record's features stand as the writer's hashes had them."""
  rng, path = np.random.default_rng(0), tmp_path / "mixed"
  with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
    for _, payload in records.RecordFile(files["released"]):
      feature = dict(tf.train.Example.FromString(payload).features.feature)
      parts = [
        tf.train.Features(feature={name: feature[name]}).SerializeToString()
        for name in rng.permutation(sorted(feature)).tolist()
      ]
      body = b"".join(parts)
      length = [len(body) & 127 | 128, len(body) >> 7 & 127 | 128, len(body) >> 14]
      writer.write(b"\x0a" + bytes(length if length[2] else [length[0], length[1] & 127]) + body)
  source = Source(SPEC, str(path))
  decoded = [source.decode(items) for items in source.blocks(0, source.count())]
  wanted = read(SPEC, files["compact"])
  image = np.concatenate([d["image"] for d in decoded])
  labels = np.concatenate([d["labels"] for d in decoded])
  for i, record in enumerate(wanted):
    np.testing.assert_array_equal(image[i], record["image"])
    np.testing.assert_array_equal(labels[i], record["mask"][..., 0].argmax(0))
  for name in ("x", "shape", "color"):
    np.testing.assert_array_equal(
      np.concatenate([d[name] for d in decoded]), [record[name] for record in wanted]
    )


@pytest.mark.parametrize("layout", ["compact", "released"])
def test_a_damaged_record_is_named_while_reading(files, layout, tmp_path):
  """In a stream the damage is met in another thread, and must come through all the same."""
  path = tmp_path / "damaged"
  payloads = [payload for _, payload in records.RecordFile(files[layout])]
  framed = [framing.frame(payload) for payload in payloads]
  framed[13] = framed[13][:-5] + bytes([framed[13][-5] ^ 1]) + framed[13][-4:]
  with open(path, "wb") as file:
    file.write(b"".join(framed))
  if layout == "released":
    path.write_bytes(gzip.compress(path.read_bytes()))
  dataset = datasets.load(SPEC, str(path), batch_size=4, split="all", cache=False)
  batches = iter(dataset)
  for first in (0, 4, 8):
    assert next(batches)["index"].numpy().tolist() == list(range(first, first + 4))
  with pytest.raises(tf.errors.OpError) as error:
    next(batches)
  message = str(datasets.data_error(error.value))
  assert f"{path}, record 13: its checksum is wrong" in message
