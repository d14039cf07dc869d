"""Files with scenes, for the tests of this folder."""

import pytest

from datasets import files as records
from datasets.generators import tetrominoes
from tests.datasets.helpers import SPEC


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
