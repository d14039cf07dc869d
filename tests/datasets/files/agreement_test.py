"""datasets.files.agreement: records of another data set or size are refused in one sentence."""

import dataclasses

import datasets
from tests.datasets.helpers import SPEC, error_of


def test_file_of_another_dataset(files):
  message = error_of(files["compact"], datasets.get_spec("shapes"))
  assert 'is of dataset "tetrominoes_quick", wanted "shapes"' in message
  message = error_of(files["released"], datasets.get_spec("clevr"))
  assert "no feature material, pixel_coords" in message
  assert "it looks like tetrominoes_quick" in message
  message = error_of(files["released"], datasets.get_spec("tetrominoes"))
  assert "image has 588 values, wanted 35 x 35 x 3 = 3,675" in message
  gray = dataclasses.replace(SPEC, image_size=(14, 14, 1))
  assert "image is 14 x 14 x 3, wanted 14 x 14 x 1" in error_of(files["compact"], gray)
  more = dataclasses.replace(SPEC, max_entities=9)
  assert "the mask has 4 entities, wanted 9" in error_of(files["compact"], more)
