"""datasets.files.writing: a file is whole or not there."""

import pytest

from datasets import files as records
from tests.datasets.helpers import SPEC, stored


def test_writing_is_atomic(tmp_path):
  def broken():
    yield from stored(SPEC, 3)
    raise OSError("no space")

  with pytest.raises(OSError, match="no space"):
    records.write_records(str(tmp_path / "x"), broken(), SPEC)
  assert list(tmp_path.iterdir()) == []
