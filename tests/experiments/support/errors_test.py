"""Errors of what the user has at hand become a sentence; ours keep their traceback."""

import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from experiments.support.errors import refusal_for, sentence


class DatabaseError(Exception):
  pass


@pytest.mark.parametrize(
  ("module", "kind", "met", "told"),
  [
    (
      "pymongo.errors",
      "PyMongoError",
      "host:27017: [Errno 111] Connection refused (configured timeouts: 20000.0ms), Timeout: 30s",
      "cannot record to MongoDB: host:27017: [Errno 111] Connection refused",
    ),
    (
      "sqlalchemy.exc",
      "SQLAlchemyError",
      "(sqlite3.OperationalError) unable to open database file\n(Background on this error: ...)",
      "cannot record to the SQL database: (sqlite3.OperationalError) unable to open database file",
    ),
  ],
)
def test_a_database_out_of_reach(monkeypatch, module, kind, met, told):
  assert sentence(DatabaseError(met)) is None  # whoever it belongs to
  monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{kind: DatabaseError}))
  assert sentence(DatabaseError(met)) == told


def _tensor():
  tf.random.stateless_normal([200_000, 400_000], [0, 1])


def _array():
  np.zeros((10**6, 10**8))


@pytest.mark.parametrize(
  ("allocate", "shape"), [(_tensor, "200000 x 400000"), (_array, "1000000 x 100000000")]
)
@pytest.mark.parametrize(
  ("config", "advice"),
  [
    (
      {"batch_size": 32, "recompute": False},
      "a batch_size below 32, recompute=True, smaller sizes",
    ),
    ({"batch_size": 1, "recompute": True}, "smaller sizes"),
    ({}, "smaller sizes"),
  ],
)
def test_too_little_memory(allocate, shape, config, advice):
  with pytest.raises((tf.errors.ResourceExhaustedError, MemoryError)) as met:
    allocate()
  told = str(refusal_for(met.value, config))
  assert told == f"not enough memory for an array of {shape}: {advice} would take less"


def test_other_errors_of_tensorflow_are_bugs():
  with pytest.raises(tf.errors.InvalidArgumentError) as met:
    tf.reshape(tf.zeros([3]), [2])
  assert refusal_for(met.value, {"batch_size": 32}) is None
