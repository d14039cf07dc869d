"""Errors of what the user has at hand become a sentence; ours keep their traceback."""

import sys
import types

import pytest

from experiments.support.errors import sentence


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
