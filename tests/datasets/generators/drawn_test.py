"""The drawn data sets against their rules, the tests of which need no renderer."""

import gzip
import io

import numpy as np
import pytest
from scipy import stats

import datasets
from datasets import files as records
from datasets import generate
from datasets.generators import multi_dsprites, shapes, tetrominoes, textured_mnist

MODULES = {
  "tetrominoes": (tetrominoes, {}),
  "tetrominoes_quick": (tetrominoes, {"image_size": 14, "block_size": 2}),
  "multi_dsprites": (multi_dsprites, {"variant": "colored_on_grayscale"}),
  "multi_dsprites_binarized": (multi_dsprites, {"variant": "binarized"}),
  "multi_dsprites_colored_on_colored": (multi_dsprites, {"variant": "colored_on_colored"}),
  "shapes": (shapes, {}),
  "textured_mnist": (textured_mnist, {"variant": "pair"}),
  "textured_mnist_single": (textured_mnist, {"variant": "single"}),
}


@pytest.fixture(scope="module")
def chunks():
  """name -> four chunks of every drawn dataset, stacked."""
  made = {}
  for name, (module, parameters) in MODULES.items():
    parts = [module.generate_chunk(7, c, **parameters) for c in range(4)]
    made[name] = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
  return made


def _uniform(values, categories, where=""):
  counts = np.bincount(np.asarray(values, int).ravel(), minlength=categories)
  p = stats.chisquare(counts).pvalue
  assert p > 1e-4, f"{where}: {counts}, p = {p}"


@pytest.mark.parametrize("name", MODULES)
def test_stored_form(chunks, name):
  spec, arrays = datasets.get_spec(name), chunks[name]
  assert arrays["image"].shape[1:] == spec.image_shape
  assert arrays["mask"].shape[1:] == spec.mask_shape
  assert arrays["image"].dtype == arrays["mask"].dtype == np.uint8
  assert set(arrays) == {"image", "mask", *records.stored_factors(spec)}
  for factor_name, factor in records.stored_factors(spec).items():
    assert arrays[factor_name].dtype == factor.dtype, factor_name
    assert arrays[factor_name].shape[1:] == (spec.max_entities, *factor.shape), factor_name
    if factor.num_categories:
      assert arrays[factor_name].max() < factor.num_categories
  axis = 1 + spec.mask_layout.index("L")
  assert set(np.unique(arrays["mask"])) == {0, 255}
  held = arrays["mask"].sum(axis=axis, dtype=int)
  if name != "shapes":  # where some pixels belong to no entity
    assert (held == 255).all()  # one-hot, and covering
  assert held.max() == 255
  assert (arrays["visibility"][:, 0] == 1).all()
  hidden = arrays["visibility"] == 0
  for factor_name in spec.factors:
    assert (arrays[factor_name][hidden] == 0).all()


@pytest.mark.parametrize("name", MODULES)
def test_chunks_are_pure_and_differ(name):
  module, parameters = MODULES[name]
  first, again = (module.generate_chunk(3, 5, **parameters) for _ in range(2))
  for key in first:
    np.testing.assert_array_equal(first[key], again[key])
  for seed, chunk in ((3, 6), (4, 5)):
    assert (module.generate_chunk(seed, chunk, **parameters)["image"] != first["image"]).any()


def test_nineteen_fixed_tetrominoes():
  """Every orientation of seven free pieces, by turning and mirroring, and no other."""
  found = {tuple(sorted(map(tuple, blocks.tolist()))) for blocks in tetrominoes.BLOCKS}
  assert len(tetrominoes.BLOCKS) == len(found) == 19

  def normal(cells):
    low = np.min(cells, axis=0)
    return tuple(sorted(tuple(int(v) for v in c - low) for c in np.array(cells)))

  grown = {((0, 0),)}  # all polyominoes of four cells, grown cell by cell
  for _ in range(3):
    grown = {
      normal([*piece, (r + dr, c + dc)])
      for piece in grown
      for r, c in piece
      for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0))
      if (r + dr, c + dc) not in piece
    }
  assert found == grown


def test_tetrominoes_follow_the_released_records(reference):
  """Drawing the factors of the real records gives the real pixels."""
  spec = datasets.get_spec("tetrominoes")
  file = records.RecordFile(reference / "tetrominoes_mini.tfrecords")
  for _, payload in file:
    real = records.decode(payload, spec)
    codes = real["shape"][1:].astype(int)[None] - 1
    corners = np.stack([real["x"][1:], real["y"][1:]], -1).astype(int)[None]
    held, shade = tetrominoes._draw(codes, corners, 35, 5)
    image = (shade[0, ..., None] * real["color"][1:, None, None].astype(np.uint8)).sum(0)
    np.testing.assert_array_equal(image, real["image"])
    np.testing.assert_array_equal(held[0], real["mask"][1:, ..., 0] > 0)


def test_tetrominoes_distributions(chunks):
  arrays = chunks["tetrominoes"]
  _uniform(arrays["shape"][:, 1:] - 1, 19, "shape")
  _uniform(arrays["color"][:, 1:] @ [1, 2, 4] - 1, 6, "color")
  mask = arrays["mask"][:, 1:, ..., 0] > 0
  assert (mask.sum(axis=(2, 3)) == 100).all()  # four blocks of 25 pixels: nothing is hidden
  rows = mask.any(axis=3).argmax(axis=2)
  np.testing.assert_array_equal(rows, arrays["x"][:, 1:])
  np.testing.assert_array_equal(mask.any(axis=2).argmax(axis=2), arrays["y"][:, 1:])
  assert arrays["y"].max() == 30  # a standing I reaches the right edge
  _uniform(chunks["tetrominoes_quick"]["shape"][:, 1:] - 1, 19, "quick shape")


def test_tetrominoes_refuse_what_does_not_fit():
  with pytest.raises(ValueError, match="image_size must be at least 40"):
    tetrominoes.generate_chunk(0, 0, block_size=10)


@pytest.mark.parametrize("variant", multi_dsprites.NUM_SPRITES)
def test_multi_dsprites_distributions(chunks, variant):
  arrays = chunks[datasets.get_spec("multi_dsprites", variant).name]
  visible = arrays["visibility"][:, 1:] > 0
  low, high = multi_dsprites.NUM_SPRITES[variant]
  _uniform(visible.sum(1) - low, high - low + 1, "number")
  _uniform(arrays["shape"][:, 1:][visible] - 1, 3, "shape")
  for name, start, end in (("x", 0, 1), ("y", 0, 1), ("scale", 0.5, 1), ("orientation", 0, 6.2832)):
    values = arrays[name][:, 1:][visible]
    _uniform(np.floor((values - start) / (end - start) * 10).clip(0, 9), 10, name)
  image, color = arrays["image"], arrays["color"]
  for i in range(50):  # every pixel has its entity's colour
    entity = arrays["mask"][i, ..., 0].argmax(-1)
    np.testing.assert_allclose(image[i] / 255, color[i][entity], atol=1e-6)
  if variant == "binarized":
    assert set(np.unique(image)) == {0, 255}
  elif variant == "colored_on_grayscale":
    assert (np.ptp(color[:, 0], axis=-1) == 0).all()
    sprites = color[:, 1:][visible]
    assert (1 - sprites.min(-1) / sprites.max(-1) > 0.49).all()  # saturation
  else:
    _uniform(np.floor(color[:, 0] * 255.999 / 25.6), 10, "background")


def test_sprites_have_the_areas_of_their_shapes(chunks):
  """Square and ellipse from geometry, the heart from its outline (shoelace)."""
  t = np.linspace(0, 2 * np.pi, 20001)
  x = 16 * np.sin(t) ** 3 * 20 / 32
  y = (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) * 20 / 32
  heart = abs(np.sum(x[:-1] * np.diff(y) - y[:-1] * np.diff(x))) / 2
  areas = {1: 19.2**2, 2: np.pi * 12.8 * 7.2, 3: heart}
  arrays = chunks["multi_dsprites_colored_on_colored"]
  alone = arrays["visibility"].sum(1) == 2  # nothing hides a single sprite
  code, scale = arrays["shape"][alone, 1], arrays["scale"][alone, 1]
  pixels = (arrays["mask"][alone][:, :, :, 1, 0] > 0).sum((1, 2))
  for shape, area in areas.items():
    ratio = pixels[code == shape] / (area * scale[code == shape] ** 2)
    assert abs(ratio.mean() - 1) < 0.01, (shape, ratio.mean())


def test_shapes_distributions(chunks):
  arrays = chunks["shapes"]
  _uniform(arrays["shape"][:, 1:] - 1, 3, "shape")
  assert set(np.unique(arrays["image"])) == {0, 255}
  square = arrays["shape"][:, 1:] == 1
  _uniform(arrays["y"][:, 1:][square], 22, "row of squares")
  _uniform(arrays["x"][:, 1:][~square], 17, "column of triangles")
  np.testing.assert_array_equal(arrays["image"][..., 0] == 0, arrays["mask"][:, 0, ..., 0] > 0)


def test_pixels_where_shapes_overlap_belong_to_none(chunks):
  """Oracle: every shape drawn by itself, and counted."""
  arrays = chunks["shapes"]
  lines = shapes.outlines(7)
  shared = 0
  for i in range(50):
    drawn = np.zeros((4, 28, 28), int)
    for p in range(1, 4):
      line = lines[int(arrays["shape"][i, p]) - 1]
      x, y = int(arrays["x"][i, p]), int(arrays["y"][i, p])
      drawn[p, y : y + line.shape[0], x : x + line.shape[1]] = line
    number = drawn.sum(0)
    drawn[0] = number == 0
    wanted = np.where(number > 1, 0, drawn) * 255
    np.testing.assert_array_equal(arrays["mask"][i, ..., 0], wanted)
    np.testing.assert_array_equal(arrays["image"][i, ..., 0], (number > 0) * 255)
    shared += (number > 1).sum()
  assert shared > 100


def test_textured_mnist_reads_a_copy_of_mnist(tmp_path):
  images = np.zeros((2, 28, 28), np.uint8)
  images[0, 10:20], images[1, :, 10:20] = 255, 255
  np.savez(tmp_path / "mnist.npz", x_train=images, y_train=[3, 8])
  header = b"\0\0\x08\x03" + np.array([2, 28, 28], ">u4").tobytes()
  (tmp_path / "t-images-idx3-ubyte").write_bytes(header + images.tobytes())
  (tmp_path / "t-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x02\x03\x08")
  made = [
    textured_mnist.generate_chunk(0, 0, mnist=str(tmp_path / name))
    for name in ("mnist.npz", "t-images-idx3-ubyte")
  ]
  assert set(np.unique(made[0]["digit"])) == {0, 4, 9}
  for key in made[0]:
    np.testing.assert_array_equal(made[0][key], made[1][key])
  with pytest.raises(ValueError, match="does not exist"):
    textured_mnist.generate_chunk(0, 0, mnist=str(tmp_path / "no.npz"))


_PICTURES, _CLASSES = np.full((50, 28, 28), 200, np.uint8), np.arange(50) % 10


def _npz(images=_PICTURES, classes=_CLASSES, damage=None):
  file = io.BytesIO()
  np.savez_compressed(file, x_train=images, y_train=classes)
  data = bytearray(file.getvalue())
  if damage:
    data[damage] ^= 0xFF
  return bytes(data)


@pytest.mark.parametrize(
  ("name", "data", "says"),
  [
    ("images-idx3-ubyte.gz", bytes(20), "Not a gzipped file"),
    ("images-idx3-ubyte.gz", gzip.compress(bytes(500))[:-9], "ended before"),
    ("images-idx3-ubyte.gz", b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 9, "Error -3"),
    ("images-idx3-ubyte", b"\0\0\x08", "is no IDX file"),
    ("images-idx3-ubyte", b"\0\0\x08\x03" + bytes(4), "is no IDX file"),
    ("m.npz", b"", "cannot be read as MNIST"),
    ("m.npz", b"no archive" * 9, "cannot be read as MNIST"),
    ("m.npz", _npz()[:-30], "cannot be read as MNIST: File is not a zip file"),
    ("m.npz", _npz(damage=70), "cannot be read as MNIST"),
    ("m.npz", _npz(np.array([None] * 50)), "cannot be read as MNIST: Object arrays"),
    ("m.npz", _npz(_PICTURES / 255), "expected images uint8 from 0 to 255, got float64"),
    ("m.npz", _npz(_PICTURES, _CLASSES / 2), "expected classes that are whole numbers"),
    ("m.npz", _npz(_PICTURES, _CLASSES + 1), "from 0 to 9"),
    ("m.npz", _npz(_PICTURES, np.eye(10)[_CLASSES]), "and n classes, got (50, 28, 28), (50, 10)"),
    ("m.npz", _npz(_PICTURES[:0], _CLASSES[:0]), "expected images [n, H, W]"),
  ],
  ids=lambda value: "" if isinstance(value, bytes) else None,  # gzip writes the time
)
def test_what_is_no_mnist_is_told_in_a_sentence(tmp_path, name, data, says):
  path = tmp_path / name
  path.write_bytes(data)
  (tmp_path / name.replace("images-idx3", "labels-idx1")).write_bytes(data)
  with pytest.raises(datasets.DataError) as raised:
    textured_mnist.generate_chunk(0, 0, mnist=str(path))
  assert says in str(raised.value)
  assert str(path) in str(raised.value)
  assert "\n" not in str(raised.value)


def test_a_wrong_mnist_is_not_told_as_a_full_disk(tmp_path, capsys):
  path = tmp_path / "images-idx3-ubyte.gz"
  path.write_bytes(bytes(20))
  (tmp_path / "labels-idx1-ubyte.gz").write_bytes(bytes(20))
  with pytest.raises(SystemExit):
    generate.main(
      f"textured_mnist --num 10 --workers 1 --mnist {path} --out {tmp_path / 'made'}".split()
    )
  message = capsys.readouterr().err
  assert f"{path} cannot be read as MNIST: Not a gzipped file" in message
  assert "make room" not in message
  assert not list((tmp_path / "made").iterdir())


def test_textured_mnist_distributions(chunks):
  for name, num in (("textured_mnist", 3), ("textured_mnist_single", 2)):
    arrays = chunks[name]
    _uniform(arrays["texture"] - 1, 20, "texture")
    assert all(len(set(row)) == num for row in arrays["texture"].tolist())
  np.testing.assert_array_equal(chunks["textured_mnist"]["x"][:, 1:], [[-2, 2]] * 2000)
  np.testing.assert_array_equal(chunks["textured_mnist_single"]["x"][:, 1], 0)


def test_every_texture_is_one_coefficient_of_its_grid():
  """Oracle: the inverse transform of that coefficient alone, and the transform of the surface."""
  rng = np.random.default_rng(0)
  for code, (down, across) in enumerate(textured_mnist.COEFFICIENTS, start=1):
    phase = rng.uniform(0, 2 * np.pi)
    spectrum = np.zeros((38, 38), complex)
    spectrum[down, across] = np.exp(1j * phase)
    wave = np.fft.ifft2(spectrum).real * 38**2
    made = textured_mnist.textures(28, np.array([phase]), np.array([code]))[0]
    np.testing.assert_allclose(made, 0.5 + 0.5 * wave[:28, :28], atol=1e-9)
  assert len(textured_mnist.COEFFICIENTS) == 20
  assert len({tuple(c) for c in textured_mnist.COEFFICIENTS.tolist()}) == 20


def test_digits_are_laid_over_one_another_by_their_opacity(tmp_path):
  """Oracle: pixel by pixel, for a digit of opacity 0.8 that covers a square."""
  images = np.zeros((1, 28, 28), np.uint8)
  images[0, 8:20, 8:20] = 204
  np.savez(tmp_path / "mnist.npz", x_train=images, y_train=[3])
  arrays = textured_mnist.generate_chunk(0, 0, mnist=str(tmp_path / "mnist.npz"))
  labels = arrays["mask"][..., 0].argmax(1)
  one, two = np.zeros((28, 28), bool), np.zeros((28, 28), bool)
  one[6:18, 6:18] = two[10:22, 10:22] = True
  both, neither = one & two, ~(one | two)
  assert (labels[:, neither] == 0).all()
  assert (labels[:, one & ~two] == 1).all()
  assert (labels[:, two & ~one] == 2).all()
  front = labels[:, 12, 12]
  assert set(front) == {1, 2}  # either digit may be in front
  assert (labels[:, both] == front[:, None]).all()
  # The ground's wave shines through by a fifth, and through both digits by a twenty-fifth.
  image = arrays["image"][..., 0] / 255
  for i in range(5):
    contrast = [np.ptp(image[i][part]) for part in (neither, both)]
    assert contrast[0] > 0.9
    assert contrast[1] > 0
