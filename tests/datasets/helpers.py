"""Random records of any spec, and damage done to them, for the tests of this folder."""

import numpy as np
import pytest

import datasets
from datasets import files as records

SPEC = datasets.get_spec("tetrominoes_quick")


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


def error_of(path, spec=SPEC):
  with pytest.raises(datasets.DataError) as error:
    read(spec, path)
  message = str(error.value)
  assert str(path) in message
  assert "\n" not in message
  return message


def flip(path, position):
  data = bytearray(path.read_bytes())
  data[position] ^= 0x10
  path.write_bytes(data)


def offset_of(path, number):
  return int(records.RecordFile(path).offsets()[number][0])
