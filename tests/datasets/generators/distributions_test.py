"""What the drawn datasets are uniform and independent in, by chi-square on 4,000 scenes each.

`generate_test.py` tests each generator's rules; here are the joint distributions and the places.
"""

import colorsys

import numpy as np
import pytest
from scipy import stats
from sklearn import datasets as digits

from datasets.generators import multi_dsprites, shapes, tetrominoes, textured_mnist

LEAST = 1e-4  # p-value; everything is seeded, so a test that passes goes on passing


def _scenes(module, num_chunks=8, **parameters):
  parts = [module.generate_chunk(11, chunk, **parameters) for chunk in range(num_chunks)]
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _uniform(values, categories):
  """Every one of `categories` integers from 0 is equally likely."""
  counts = np.bincount(np.asarray(values, int).ravel(), minlength=categories)
  assert len(counts) == categories, counts
  assert stats.chisquare(counts).pvalue > LEAST, counts


def _uniform_between(values, low, high, bins=10):
  scaled = (np.asarray(values, float).ravel() - low) / (high - low) * bins
  assert scaled.min() >= -1e-6
  assert scaled.max() <= bins + 1e-6
  _uniform(scaled.clip(0, bins - 1), bins)


def _independent(a, b):
  table = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
  np.add.at(table, (np.asarray(a, int).ravel(), np.asarray(b, int).ravel()), 1)
  table = table[table.any(1)][:, table.any(0)]
  assert stats.chi2_contingency(table).pvalue > LEAST, table


@pytest.mark.parametrize("code", [1, 2, 13, 19])
def test_a_single_tetromino_may_stand_anywhere(code):
  arrays = _scenes(tetrominoes, num_pieces=1, image_size=20, block_size=3)
  height, width = 3 * (tetrominoes.BLOCKS[code - 1].max(0) + 1)
  mine = arrays["shape"][:, 1] == code
  assert mine.sum() > 100
  _uniform(arrays["x"][mine, 1], 20 - height + 1)
  _uniform(arrays["y"][mine, 1], 20 - width + 1)


def test_tetrominoes_are_independent_of_one_another():
  arrays = _scenes(tetrominoes)
  color = (arrays["color"] @ [1, 2, 4]).astype(int)
  assert (arrays["visibility"] == 1).all()
  _independent(arrays["shape"][:, 1], arrays["shape"][:, 2])
  _independent(color[:, 1], color[:, 3])
  _independent(arrays["shape"][:, 2], color[:, 2])
  # Three pieces keep out of each other's way, but none is favoured by its rank.
  for name, middle in (("x", 15), ("y", 15)):
    side = arrays[name][:, 1:] >= middle
    assert stats.chi2_contingency([side.sum(0), (~side).sum(0)]).pvalue > LEAST


@pytest.mark.parametrize("variant", multi_dsprites.NUM_SPRITES)
def test_sprites_are_independent_of_one_another(variant):
  arrays = _scenes(multi_dsprites, variant=variant)
  visible = arrays["visibility"][:, 1:] > 0
  number = visible.sum(1)
  both = visible[:, 1]
  _independent(arrays["shape"][both, 1], arrays["shape"][both, 2])
  _independent(number, arrays["shape"][:, 1])
  tenths = lambda name, k: np.floor(arrays[name][:, k] * 9.999)
  _independent(tenths("x", 1), tenths("y", 1))
  _independent(tenths("x", 1)[both], tenths("x", 2)[both])
  _independent(tenths("scale", 1), arrays["shape"][:, 1])
  assert (visible[:, :-1] >= visible[:, 1:]).all()  # sprites come before padding


def test_colours_of_sprites_on_gray():
  arrays = _scenes(multi_dsprites, variant="colored_on_grayscale")
  colors = arrays["color"][:, 1:][arrays["visibility"][:, 1:] > 0]
  hsv = np.array([colorsys.rgb_to_hsv(*color) for color in colors.astype(float)])
  _uniform_between(hsv[:, 0], 0, 1)
  # In steps of 1/255 saturation strays by up to a hundredth.
  _uniform_between(hsv[:, 1].clip(0.5, 1), 0.5, 1)
  _uniform_between(hsv[:, 2].clip(0.5, 1), 0.5, 1)
  _uniform_between(arrays["color"][:, 0, 0], 0, 1)


def test_colours_of_sprites_on_colour():
  arrays = _scenes(multi_dsprites, variant="colored_on_colored")
  colors = arrays["color"][:, 1:][arrays["visibility"][:, 1:] > 0]
  for channel in range(3):
    _uniform_between(colors[:, channel], 0, 1)
    _uniform_between(arrays["color"][:, 0, channel], 0, 1)
  _independent(np.floor(colors[:, 0] * 9.999), np.floor(colors[:, 1] * 9.999))


def test_places_of_shapes():
  arrays = _scenes(shapes)
  code, x, y = (arrays[name][:, 1:] for name in ("shape", "x", "y"))
  assert (arrays["visibility"] == 1).all()
  for shape, width in ((1, 7), (2, 12), (3, 12)):
    _uniform(x[code == shape], 28 - width + 1)
    _uniform(y[code == shape], 28 - 7 + 1)
  _independent(x[:, 0][code[:, 0] == 1], y[:, 0][code[:, 0] == 1])
  _independent(code[:, 0], code[:, 1])


def test_digits_and_textures():
  arrays = _scenes(textured_mnist)
  assert (arrays["visibility"] == 1).all()
  counts = np.bincount(arrays["digit"][:, 1:].ravel().astype(int), minlength=11)[1:]
  wanted = np.bincount(digits.load_digits().target)
  assert stats.chisquare(counts, wanted / wanted.sum() * counts.sum()).pvalue > LEAST
  _independent(arrays["digit"][:, 1], arrays["digit"][:, 2])
  _independent(arrays["digit"][:, 1], arrays["texture"][:, 1])
  _uniform(arrays["texture"][:, 0] - 1, 20)
