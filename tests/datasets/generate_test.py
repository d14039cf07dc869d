"""The generators against their rules, and datasets.generate: determinism, resuming, refusals."""

import errno
import gzip
import hashlib
import os
import pathlib
import threading
import time
from concurrent import futures

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
  "textured_mnist": (textured_mnist, {}),
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


def test_textured_mnist_distributions(chunks):
  arrays = chunks["textured_mnist"]
  _uniform(arrays["texture"] - 1, 20, "texture")
  assert all(len(set(row)) == 3 for row in arrays["texture"].tolist())
  _uniform(arrays["x"][:, 1:], 11, "x")


# ------------------------------------------------------------------------------- the command


def _make(folder, num=1200, **kwargs):
  return generate.generate("tetrominoes_quick", num, str(folder), progress=False, **kwargs)


@pytest.mark.parametrize("layout", ["compact", "released"])
def test_the_same_bytes_from_one_go_many_workers_and_a_resume(tmp_path, monkeypatch, layout):
  whole = _make(tmp_path / "a", layout=layout)
  spread = _make(tmp_path / "b", layout=layout, workers=2)

  drawn = []
  original = tetrominoes.generate_chunk

  def failing(seed, chunk, **parameters):
    drawn.append(chunk)
    if drawn == [0, 1, 2]:
      raise KeyboardInterrupt
    return original(seed, chunk, **parameters)

  monkeypatch.setattr(tetrominoes, "generate_chunk", failing)
  monkeypatch.setattr(
    generate, "parameters_of", lambda spec: {"image_size": 14, "block_size": 2, "num_pieces": 3}
  )
  with pytest.raises(KeyboardInterrupt):
    _make(tmp_path / "c", layout=layout)
  name = os.path.basename(whole)
  assert sorted(os.listdir(tmp_path / "c")) == [
    f"{name}.lock",
    f"{name}.partial",
    f"{name}.partial.log",
  ]
  with open(tmp_path / "c" / f"{name}.partial", "ab") as file:
    file.write(b"half a chunk")
  resumed = _make(tmp_path / "c", layout=layout)
  assert drawn == [0, 1, 2, 2]  # the first two were not drawn again
  contents = [pathlib.Path(path).read_bytes() for path in (whole, spread, resumed)]
  assert contents[0] == contents[1] == contents[2]
  indices = [pathlib.Path(f"{path}.index.json").read_text() for path in (whole, spread, resumed)]
  assert indices[0] == indices[1] == indices[2]
  assert not [n for n in os.listdir(tmp_path / "c") if "partial" in n]


def test_the_bytes_are_those_of_earlier_versions(tmp_path):
  """Golden: SHA-256 of the records, as they were before CRC-32C and Example came from libraries."""
  wanted = {
    ("tetrominoes_quick", "compact", 30): "a8e0ede7932f9339",
    ("tetrominoes_quick", "released", 30): "72760421d91e0c66",
    ("multi_dsprites", "compact", 10): "f8b745594ad95d2f",
    ("multi_dsprites", "released", 3): "f504ca58f5b4f934",
  }
  for (name, layout, num), digest in wanted.items():
    path = generate.generate(
      name, num, str(tmp_path / layout), seed=4, layout=layout, progress=False
    )
    data = pathlib.Path(path).read_bytes()
    data = gzip.decompress(data) if layout == "released" else data
    assert hashlib.sha256(data).hexdigest()[:16] == digest, (name, layout)


def test_two_at_once_wait_for_one_another(tmp_path, monkeypatch, capfd):
  """A second process on the same file waits, says so, and finds it whole."""
  started, go_on, drawn = threading.Event(), threading.Event(), []
  original = tetrominoes.generate_chunk

  def slow(seed, chunk, **parameters):
    drawn.append(chunk)
    started.set()
    assert go_on.wait(30)
    return original(seed, chunk, **parameters)

  monkeypatch.setattr(tetrominoes, "generate_chunk", slow)
  monkeypatch.setattr(
    generate, "parameters_of", lambda spec: {"image_size": 14, "block_size": 2, "num_pieces": 3}
  )
  with futures.ThreadPoolExecutor(2) as pool:
    one = pool.submit(_make, tmp_path, num=20)
    assert started.wait(30)
    two = pool.submit(_make, tmp_path, num=20)
    said = ""
    while "another process is making" not in said:
      assert not two.done()
      said += capfd.readouterr().err
      time.sleep(0.01)
    go_on.set()
    assert one.result(30) == two.result(30)
  assert drawn == [0]
  left = sorted(os.listdir(tmp_path))
  assert left == ["tetrominoes_quick.tfrecords", "tetrominoes_quick.tfrecords.index.json"]


def test_a_partial_file_of_another_seed_is_not_gone_on_with(tmp_path):
  other = tmp_path / "tetrominoes_quick.tfrecords.partial"
  other.write_bytes(b"x" * 100)
  (tmp_path / (other.name + ".log")).write_text('{"seed": 9}\n[50, [3]]\n')
  made = _make(tmp_path, num=20, seed=1)
  afresh = _make(tmp_path / "b", num=20, seed=1)
  assert pathlib.Path(made).read_bytes() == pathlib.Path(afresh).read_bytes()


def test_an_existing_file_is_kept(tmp_path):
  path = _make(tmp_path, num=20)
  stamp = os.stat(path).st_mtime_ns
  assert _make(tmp_path, num=20) == path
  assert os.stat(path).st_mtime_ns == stamp
  with pytest.raises(datasets.DataError, match="exists and was not made by this very command"):
    _make(tmp_path, num=21)


def test_a_full_disk_leaves_no_file_under_the_final_name(tmp_path, monkeypatch):
  def full(payloads, layout):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with monkeypatch.context() as patched:
    patched.setattr(records, "seal", full)
    with pytest.raises(datasets.DataError, match=r"No space left on device at record 0 of 30"):
      _make(tmp_path, num=30)
    assert not [n for n in os.listdir(tmp_path) if n.endswith(".tfrecords")]
  assert records.RecordFile(_make(tmp_path, num=30)).count() == 30


@pytest.mark.parametrize(
  ("arguments", "says"),
  [
    (["tetromino", "--num", "3"], 'did you mean "tetrominoes"?'),
    (["tetrominoes", "--nun", "3"], 'no option "--nun": did you mean "--num"?'),
    (["tetrominoes", "--num", "3", "--blocksize", "3"], 'did you mean "--block-size"?'),
    (["tetrominoes"], "--num"),
    (["tetrominoes", "--num", "0"], "num must be at least 1, got 0"),
    (["tetrominoes", "--num", "x"], "invalid int value"),
    (["cater_train", "--num", "3"], "no generator"),
    (["--num", "3"], "name"),
    (["tetrominoes", "--num", "3", "--seed", "-1"], "seed must be at least 0, got -1"),
  ],
)
def test_misspelt_commands_get_one_sentence(arguments, says, capsys, tmp_path):
  with pytest.raises(SystemExit) as stopped:
    generate.main([*arguments, "--out", str(tmp_path)])
  message = capsys.readouterr().err
  assert stopped.value.code == 2
  assert says in message
  assert len(message.strip().splitlines()) == 1
  assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_gets_one_sentence(tmp_path, capsys):
  (tmp_path / "data").write_text("")
  with pytest.raises(SystemExit) as stopped:
    generate.main(["tetrominoes_quick", "--num", "3", "--out", str(tmp_path / "data")])
  message = capsys.readouterr().err.strip()
  assert stopped.value.code == 2
  assert f"{tmp_path / 'data'} cannot be made a folder" in message
  assert len(message.splitlines()) == 1


def test_the_command_makes_a_file_that_loads(tmp_path, capsys):
  generate.main(
    f"tetrominoes --num 8 --out {tmp_path} --workers 1 --block-size 2 --image-size 14".split()
  )
  path = tmp_path / "tetrominoes_train_14x14.tfrecords"
  assert str(path) in capsys.readouterr().out
  spec = datasets.get_spec("tetrominoes")
  seen = datasets.check(spec, data_dir=str(tmp_path), image_size=(14, 14))
  assert seen["image_shape"] == (14, 14, 3)
  with pytest.raises(datasets.DataError, match=r"14 x 14 x 3, wanted 35 x 35 x 3"):
    datasets.check(spec, path)
