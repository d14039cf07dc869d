"""datasets.specs: specs found by name, and lightness of the import."""

import subprocess
import sys

import numpy as np
import pytest

import datasets


def test_specs_are_consistent():
  for spec in datasets.SPECS.values():
    assert datasets.get_spec(spec.name) is spec
    if spec.image_size is not None:
      size = np.prod(spec.image_shape[:-1]) * spec.max_entities
      assert np.prod(spec.mask_shape) == size, spec.name


def test_released_sizes():
  sizes = {n: (s.image_shape, s.mask_shape) for n, s in datasets.SPECS.items() if s.image_size}
  assert sizes["clevr"] == ((240, 320, 3), (11, 240, 320, 1))
  assert sizes["multi_dsprites_binarized"] == ((64, 64, 1), (64, 64, 4, 1))
  assert sizes["cater_train"] == ((33, 64, 64, 3), (33, 11, 64, 64, 1))


def test_variants_and_aliases():
  assert datasets.get_spec("multi_dsprites", "binarized").name == "multi_dsprites_binarized"
  assert datasets.get_spec("clevr_with_masks").name == "clevr"
  clevr6 = datasets.get_spec("clevr6")  # 3 to 6 objects is part of what it means
  assert (clevr6.min_objects, clevr6.max_objects, clevr6.stored_name) == (3, 6, "clevr")
  assert datasets.get_spec("objects_room", "empty_room").max_entities == 4


@pytest.mark.parametrize(
  ("name", "variant", "says"),
  [
    ("tetromino", "", 'no dataset is called "tetromino": did you mean "tetrominoes"?'),
    ("multi_dsprites", "binarised", 'did you mean "binarized"?'),
    ("tetrominoes", "red", "no variants"),
  ],
)
def test_misspelt_names(name, variant, says):
  with pytest.raises(ValueError, match="no ") as error:
    datasets.get_spec(name, variant)
  assert says in str(error.value)


def test_generators_do_without_tensorflow():
  code = (
    "import sys, datasets.generate, datasets.generators.tetrominoes, datasets.recode; "
    "sys.exit('tensorflow' in sys.modules)"
  )
  assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
