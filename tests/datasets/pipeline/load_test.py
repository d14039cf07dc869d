"""datasets.load: splits, filters, order, resuming, slices, damage, and what a batch holds."""

import dataclasses
import gzip
import importlib
import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import datasets
from datasets import files as records
from datasets import generate, recode
from datasets.generators import multi_dsprites, tetrominoes
from datasets.pipeline.order import Batches
from datasets.pipeline.source import Source
from tests.datasets.helpers import SPEC, stored

TETRIS = datasets.get_spec("tetrominoes_quick")
SPRITES = datasets.get_spec("multi_dsprites")


@pytest.fixture(scope="module")
def tetris():
  arrays = tetrominoes.generate_chunk(0, 0, image_size=14, block_size=2)
  return [{k: v[i] for k, v in arrays.items()} for i in range(100)]


@pytest.fixture(scope="module")
def records_of(tmp_path_factory, tetris):
  """A hundred scenes: name -> path, for both layouts and for ten per shard."""
  folder = tmp_path_factory.mktemp("files")
  paths = {}
  for layout in ("compact", "released"):
    paths[layout] = str(folder / layout)
    records.write_records(paths[layout], tetris, TETRIS, layout)
  paths["shards"] = [str(folder / f"shard-{i}") for i in range(4)]
  for i, path in enumerate(paths["shards"]):
    records.write_records(
      path, tetris[25 * i : 25 * i + 25], TETRIS, ["compact", "released"][i % 2]
    )
  return paths


WAYS = [("compact", True), ("compact", False), ("released", True), ("released", False)]
SMALL = {"num_validation": 20, "num_test": 10}
GROUPS = {
  "splits": datasets.Splits,
  "filter": datasets.Filter,
  "order": datasets.Order,
  "form": datasets.Form,
}


def load(path, spec=TETRIS, **kwargs):
  """datasets.load with its groups of options spelt flat."""
  defaults = {"batch_size": 8, "shuffle": True, "drop_remainder": True, "num_epochs": 1, **SMALL}
  options = {**defaults, **kwargs}
  groups = {
    name: kind(
      **{f.name: options.pop(f.name) for f in dataclasses.fields(kind) if f.name in options}
    )
    for name, kind in GROUPS.items()
  }
  return datasets.load(spec, path, **groups, **options)


def flat(batches):
  return list(itertools.chain.from_iterable(batches))


def indices(*args, **kwargs):
  return [batch["index"].numpy().tolist() for batch in load(*args, **kwargs)]


@pytest.mark.parametrize(("layout", "cache"), WAYS)
def test_a_batch_is_the_scenes_it_says(records_of, tetris, layout, cache):
  dataset = load(records_of[layout], cache=cache, split="all", num_epochs=None)
  batch = next(iter(dataset))
  for name, value in {**batch, **batch["factors"]}.items():
    if name != "factors":
      assert value.shape[0] == 8, name
  spec = dataset.element_spec
  assert spec["image"] == tf.TensorSpec((8, 14, 14, 3), tf.float32)
  assert spec["mask"] == tf.TensorSpec((8, 4, 14, 14, 1), tf.float32)
  assert spec["factors"]["shape"] == tf.TensorSpec((8, 4), tf.int32)
  assert spec["factors"]["color"] == tf.TensorSpec((8, 4, 3), tf.float32)
  for i, number in enumerate(batch["index"].numpy()):
    wanted = tetris[number]
    np.testing.assert_allclose(batch["image"][i], wanted["image"] / 255.0, atol=1e-7)
    np.testing.assert_array_equal(batch["mask"][i], wanted["mask"] / 255)
    for name in ("x", "y", "shape", "color"):
      np.testing.assert_array_equal(batch["factors"][name][i], wanted[name])
    np.testing.assert_array_equal(batch["visibility"][i], 1)


@pytest.mark.parametrize("cache", [True, False])
def test_several_files_of_mixed_layouts_are_numbered_through(records_of, tetris, cache):
  kwargs = {"split": "all", "shuffle": False, "drop_remainder": False, "cache": cache}
  assert flat(indices(records_of["shards"], **kwargs)) == list(range(100))
  for batch in load(records_of["shards"], **kwargs):
    for image, number in zip(batch["image"], batch["index"].numpy(), strict=True):
      np.testing.assert_allclose(image, tetris[number]["image"] / 255.0, atol=1e-7)


def test_splits():
  ranges = datasets.split_ranges(100, None, 20, 10)
  assert ranges == {
    "train": range(70), "validation": range(70, 90), "test": range(90, 100), "all": range(100)
  }  # fmt: skip
  ranges = datasets.split_ranges(100, 30, 20, 10)
  assert (ranges["train"], ranges["test"]) == (range(30), range(50, 60))
  assert len(datasets.split_ranges(100, 90, 20, 10)["train"]) == 70  # shrinks
  assert len(datasets.split_ranges(10, None, 320, 320)["train"]) == 0


@pytest.mark.parametrize(("layout", "cache"), WAYS)
def test_every_epoch_holds_every_scene_once_in_another_order(records_of, layout, cache):
  batches = indices(records_of[layout], cache=cache, drop_remainder=False, num_epochs=2)
  assert [len(b) for b in batches] == ([8] * 8 + [6]) * 2
  one, two = flat(batches[:9]), flat(batches[9:])
  assert sorted(one) == sorted(two) == list(range(70))
  assert one != two
  assert one != sorted(one)
  validation = indices(records_of[layout], split="validation", shuffle=False, cache=cache)
  assert flat(validation) == list(range(70, 86))


@pytest.mark.parametrize(("layout", "cache"), WAYS)
def test_resuming_and_slices(records_of, layout, cache):
  kwargs = {"cache": cache, "num_epochs": 3, "seed": 5}
  whole = indices(records_of[layout], **kwargs)
  assert whole == indices(records_of[layout], **kwargs)
  for start in (1, 8, 11, 23):
    assert indices(records_of[layout], start_batch=start, **kwargs) == whole[start:]
  halves = [
    indices(records_of[layout], batch_size=4, input_pipeline_id=i, num_input_pipelines=2, **kwargs)
    for i in range(2)
  ]
  assert [a + b for a, b in zip(*halves, strict=True)] == whole
  assert indices(records_of[layout], **{**kwargs, "seed": 6}) != whole


def test_slices_of_a_last_smaller_batch(records_of):
  kwargs = {"drop_remainder": False, "num_train": 13, "shuffle": False, "batch_size": 3}
  slices = [
    indices(records_of["compact"], input_pipeline_id=i, num_input_pipelines=2, **kwargs)
    for i in range(2)
  ]
  assert sorted(flat(slices[0] + slices[1])) == list(range(13))
  assert [len(b) for b in slices[0]] == [3, 3, 0]
  assert [len(b) for b in slices[1]] == [3, 3, 1]


def test_the_order_does_not_depend_on_the_cache(records_of):
  assert indices(records_of["compact"], cache=True) == indices(records_of["compact"], cache=False)
  assert indices(records_of["compact"]) == indices(
    records_of["released"]
  )  # small enough for the cache


@pytest.mark.parametrize(("layout", "cache"), WAYS)
def test_object_filter(tmp_path, layout, cache):
  arrays = multi_dsprites.generate_chunk(0, 0)
  scenes = [{k: v[i] for k, v in arrays.items()} for i in range(60)]
  path = str(tmp_path / "sprites")
  records.write_records(path, scenes, SPRITES, layout)
  number = arrays["visibility"][:60].sum(1) - 1  # the background is no object
  kwargs = {"split": "all", "shuffle": False, "drop_remainder": False, "cache": cache}
  for low, high in ((3, 4), (None, 2), (5, None)):
    wanted = np.flatnonzero((number >= (low or 0)) & (number <= (high or 9)))
    got = indices(path, SPRITES, min_objects=low, max_objects=high, **kwargs)
    assert flat(got) == wanted.tolist()
    first = indices(path, SPRITES, min_objects=low, max_objects=high, num_images=3, **kwargs)
    assert flat(first) == wanted[:3].tolist()
  with pytest.raises(datasets.NoSceneError, match="has at least 6 objects"):
    indices(path, SPRITES, min_objects=6, **kwargs)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_object_filter_by_an_index_stays_in_its_split(tmp_path, split):
  arrays = multi_dsprites.generate_chunk(0, 0)
  scenes = [{k: v[i] for k, v in arrays.items()} for i in range(60)]
  path = str(tmp_path / "sprites")
  records.write_records(path, scenes, SPRITES, "compact")
  number = arrays["visibility"][:60].sum(1).astype(int) - 1
  records.RecordFile(path).write_index(num_records=60, num_objects=number.tolist())
  part = datasets.split_ranges(60, None, 20, 10)[split]
  wanted = [n for n in part if 3 <= number[n] <= 4]
  assert 0 < len(wanted) < len(part)
  kwargs = {"cache": False, "shuffle": False, "drop_remainder": False, "batch_size": 2}
  assert flat(indices(path, SPRITES, split=split, min_objects=3, max_objects=4, **kwargs)) == wanted


def _bilinear(image, size, half_pixel):
  """Oracle in float64: one output pixel at a time."""
  scale = np.array(image.shape[:2]) / size
  out = np.zeros((*size, image.shape[2]))
  for i in range(size[0]):
    for j in range(size[1]):
      at = (np.array([i, j]) + 0.5) * scale - 0.5 if half_pixel else np.array([i, j]) * scale
      at = np.clip(at, 0, np.array(image.shape[:2]) - 1)
      (r, c), (fr, fc) = np.floor(at).astype(int), at % 1
      r1, c1 = min(r + 1, image.shape[0] - 1), min(c + 1, image.shape[1] - 1)
      top = image[r, c] * (1 - fc) + image[r, c1] * fc
      bottom = image[r1, c] * (1 - fc) + image[r1, c1] * fc
      out[i, j] = top * (1 - fr) + bottom * fr
  return out


@pytest.mark.parametrize("legacy", [False, True])
def test_crop_and_resize(tmp_path, legacy):
  spec = dataclasses.replace(TETRIS, crop=(1, 13, 2, 14), training_size=(8, 8))
  arrays = tetrominoes.generate_chunk(0, 0, image_size=14, block_size=2)
  scenes = [{k: v[i] for k, v in arrays.items()} for i in range(3)]
  records.write_records(str(tmp_path / "x"), scenes, spec)
  kwargs = {"split": "all", "shuffle": False, "batch_size": 3, "legacy_resize": legacy}
  (batch,) = load(str(tmp_path / "x"), spec, **kwargs)
  assert batch["image"].shape == (3, 8, 8, 3)
  for got, record in zip(batch["image"], scenes, strict=True):
    wanted = _bilinear(record["image"][1:13, 2:14] / 255.0, (8, 8), not legacy)
    np.testing.assert_allclose(got, wanted, atol=1e-6)
  np.testing.assert_array_equal(tf.reduce_sum(batch["mask"], axis=1), 1)
  (gray,) = load(str(tmp_path / "x"), spec, grayscale=True, image_size=(12, 12), **kwargs)
  mean = arrays["image"][:3, 1:13, 2:14].mean(axis=-1) / 255  # the released code's
  np.testing.assert_allclose(gray["image"][..., 0], mean, atol=1e-6)


@pytest.mark.parametrize(("layout", "cache"), WAYS)
def test_masks_are_cropped_where_their_image_is(tmp_path, tetris, layout, cache):
  spec = dataclasses.replace(TETRIS, crop=(1, 13, 2, 14), training_size=(12, 12))
  path = str(tmp_path / "x")
  records.write_records(path, tetris[:3], spec, layout)
  (batch,) = load(path, spec, split="all", shuffle=False, batch_size=3, cache=cache)
  for mask, record in zip(batch["mask"], tetris, strict=False):
    np.testing.assert_array_equal(mask, record["mask"][:, 1:13, 2:14] / 255)


BINARY = sorted(name for name, spec in datasets.SPECS.items() if spec.binary)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", BINARY)
def test_black_and_white_stays_so_in_another_size(name, legacy, tmp_path):
  """A pixel is white where a true mask, resized as well, has an object: there are no gray edges."""
  spec = datasets.get_spec(name)
  generator = importlib.import_module(spec.generator)
  arrays = generator.generate_chunk(0, 0, **({"variant": spec.variant} if spec.variant else {}))
  scenes = [{k: v[i] for k, v in arrays.items()} for i in range(4)]
  records.write_records(str(tmp_path / "x"), scenes, spec)
  kwargs = {"split": "all", "shuffle": False, "batch_size": 4, "legacy_resize": legacy}
  for size in [(32, 32), (20, 20), (80, 80)]:
    (batch,) = load(str(tmp_path / "x"), spec, image_size=size, **kwargs)
    ground = batch["mask"][:, 0]  # Shapes: where they overlap no mask has the pixel
    np.testing.assert_array_equal(batch["image"], 1 - ground)
    assert 0.02 < np.mean(batch["image"]) < 0.98


def test_larger_pictures_of_the_same_proportions_are_resized(files):
  """A file that was made at another size than the spec's (CLEVR's squares) serves smaller ones."""
  spec = dataclasses.replace(SPEC, image_size=(24, 32, 3))
  kwargs = {"split": "all", "shuffle": False, "batch_size": 20}
  path = str(files["compact"])
  (whole,) = load(path, spec, image_size=(14, 14), **kwargs)
  (half,) = load(path, spec, image_size=(7, 7), **kwargs)
  wanted = tf.reshape(whole["image"], [20, 7, 2, 7, 2, 3])
  np.testing.assert_allclose(half["image"], tf.reduce_mean(wanted, axis=[2, 4]), atol=1e-6)
  for size in ((7, 8), (15, 15)):
    with pytest.raises(datasets.DataError, match=r"image is 14 x 14 x 3, wanted 24 x 32 x 3"):
      load(path, spec, image_size=size, **kwargs)


@pytest.mark.parametrize("cache", [True, False])
def test_video_and_context(tmp_path, cache):
  spec = datasets.get_spec("cater_train")
  rng = np.random.default_rng(0)
  labels = rng.integers(3, size=(33, 64, 64)).astype(np.uint8)
  labels[labels == 1] = 5
  record = {
    "image": rng.integers(256, size=spec.image_shape).astype(np.uint8),
    "mask": records.mask_from_labels(labels, "TLHW1", 11),
    "object_positions": rng.random((11, 33, 3)).astype(np.float32),
    "camera_matrix": rng.random((33, 4, 4)).astype(np.float32),
  }
  records.write_records(str(tmp_path / "x"), [record] * 2, spec)
  (batch,) = load(str(tmp_path / "x"), spec, batch_size=2, split="all", cache=cache)
  assert batch["image"].shape == (2, 33, 64, 64, 3)
  np.testing.assert_array_equal(batch["mask"][1], record["mask"] / 255)
  np.testing.assert_array_equal(batch["visibility"][0], [1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0])
  np.testing.assert_array_equal(batch["factors"]["object_positions"][0], record["object_positions"])
  np.testing.assert_array_equal(batch["context"]["camera_matrix"][0], record["camera_matrix"])
  kwargs = {"batch_size": 2, "split": "all", "cache": cache, "num_frames": 5, "seed": 1}
  (batch,) = load(str(tmp_path / "x"), spec, **kwargs)
  for i in range(2):  # what is stored frame by frame is cut with the frames
    (start,) = [
      s
      for s in range(29)
      if np.array_equal(batch["context"]["camera_matrix"][i], record["camera_matrix"][s : s + 5])
    ]
    window = slice(start, start + 5)
    np.testing.assert_array_equal(batch["mask"][i], record["mask"][window] / 255)
    np.testing.assert_array_equal(
      batch["factors"]["object_positions"][i], record["object_positions"][:, window]
    )


@pytest.mark.parametrize("cache", [True, False])
def test_damage(records_of, tmp_path, cache, caplog):
  path = tmp_path / "damaged"
  data = bytearray(pathlib.Path(records_of["compact"]).read_bytes())
  data[int(records.RecordFile(records_of["compact"]).offsets()[7][0]) + 50] ^= 1
  path.write_bytes(data)
  kwargs = {"cache": cache, "shuffle": False, "drop_remainder": False}
  if cache:
    with pytest.raises(datasets.DataError, match=f"{path}, record 7: its checksum is wrong"):
      indices(str(path), **kwargs)
  else:
    with pytest.raises(tf.errors.OpError) as error:
      indices(str(path), **kwargs)
    assert f"{path}, record 7: its checksum is wrong" in str(datasets.data_error(error.value))
    assert datasets.data_error(ValueError("other")) is None
  assert flat(indices(str(path), on_error="skip", **kwargs)) == [*range(7), *range(8, 70)]
  assert f"skipped 1 damaged records of {path} (7)" in caplog.text


def _damaged(path, source, where, compression=""):
  """Copies TFRecords, cut off in record 20 (if compressed: in half) or with the first one wrong."""
  data, offsets = bytearray(pathlib.Path(source).read_bytes()), records.RecordFile(source).offsets()
  if where == "first":
    data[int(offsets[0][0]) + 50] ^= 1
  elif not compression:
    data = data[: int(offsets[20][0]) + 10]
  if compression:
    data = gzip.compress(data)
    data = data[: len(data) // 2] if where == "cut" else data
  path.write_bytes(data)
  return path


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("compression", ["", "GZIP"])
@pytest.mark.parametrize("where", ["cut", "first"])
def test_damage_met_before_the_records_are_read_is_told(
  records_of, tmp_path, caplog, where, compression, cache
):
  """While the file is opened or its records are counted; what is lost is said in any split."""
  path = _damaged(tmp_path / "damaged", records_of["compact"], where, compression)
  whole = [number for number, _ in records.RecordFile(path, "skip")]
  if where == "first":
    assert whole == list(range(1, 100))
  else:
    assert whole == list(range(20)) if not compression else 9 < len(whole) < 99
  kwargs = {"cache": cache, "shuffle": False, "drop_remainder": False, "on_error": "skip"}
  assert flat(indices(str(path), split="all", **kwargs)) == whole
  indices(str(path), split="validation", num_validation=2, num_test=2, batch_size=2, **kwargs)
  said = f"skipped 1 damaged records of {path} ({0 if where == 'first' else len(whole)})"
  if where == "cut":
    said += "; nothing behind the damage can be read"
  assert [record.getMessage() for record in caplog.records] == [said] * 2


def test_damage_is_told_where_it_leaves_too_few_records(records_of, tmp_path, caplog):
  path = _damaged(tmp_path / "damaged", records_of["compact"], "cut")
  with pytest.raises(datasets.DataError, match="holds 20 records, too few for a train split"):
    load(str(path), on_error="skip")
  assert "nothing behind the damage" in caplog.text


def test_damage_at_the_end_of_a_file_and_at_the_start_of_the_next(records_of, tmp_path, caplog):
  """Both are number 20 of what can be read, and yet two records."""
  paths = [_damaged(tmp_path / where, records_of["compact"], where) for where in ("cut", "first")]
  read = indices(list(map(str, paths)), split="all", on_error="skip", drop_remainder=False)
  assert sorted(flat(read)) == [*range(20), *range(21, 120)]
  assert [record.getMessage() for record in caplog.records] == [
    f"skipped 1 damaged records of {paths[0]} (20); nothing behind the damage can be read",
    f"skipped 1 damaged records of {paths[1]} (0)",
  ]


def test_refusals(records_of, tmp_path):
  compact = records_of["compact"]
  for kwargs, error, says in (
    ({"batch_size": 71}, datasets.DataError, "batch of 71 is larger than the train split"),
    ({"num_validation": 320}, datasets.DataError, "holds 100 records, too few for a train split"),
    ({"split": "tests"}, datasets.DataError, 'did you mean "test"'),
    ({"batch_size": 0}, datasets.DataError, "batch_size must be at least 1, got 0"),
    ({"input_pipeline_id": 1}, datasets.DataError, "input_pipeline_id must be in 0..0, got 1"),
    ({"on_error": "ignore"}, datasets.DataError, 'must be "raise" or "skip"'),
    ({"cache": "no"}, datasets.DataError, "cache must be"),
    ({"path": str(tmp_path)}, datasets.DataError, "is a folder"),
  ):
    with pytest.raises(error, match=says.replace("(", r"\(")):
      load(**{"path": compact, **kwargs})


def test_check_and_describe(records_of, tmp_path):
  seen = datasets.check(TETRIS, records_of["released"])
  assert seen == {
    "files": [records_of["released"]],
    "layout": "released",
    "compression": "GZIP",
    "image_shape": (14, 14, 3),
  }
  text = datasets.describe(TETRIS, records_of["compact"], splits=datasets.Splits(90, **SMALL))
  assert "train 70 (records 0 to 69), validation 20 (records 70 to 89)" in text
  assert "the file has 100 records, so training has fewer than the 90 asked" in text
  cut = tmp_path / "cut"
  cut.write_bytes(pathlib.Path(records_of["compact"]).read_bytes()[:-3])
  with pytest.raises(datasets.DataError, match="record 99: the file is cut off"):
    datasets.check(TETRIS, cut)


def test_a_split_of_no_records_is_allowed_and_says_so_when_loaded(records_of, tmp_path):
  path = records_of["compact"]
  kwargs = {"num_validation": 0, "num_test": 0}
  text = datasets.describe(TETRIS, path, splits=datasets.Splits(**kwargs))
  assert "train 100 (records 0 to 99), no validation, no test" in text
  assert sorted(flat(indices(path, **kwargs, drop_remainder=False))) == list(range(100))
  for split in ("validation", "test"):
    with pytest.raises(datasets.DataError, match=f"is empty, as num_{split}=0 says"):
      load(path, split=split, **kwargs)


def test_a_selection_is_filtered(tmp_path):
  """Generated clevr6 records are CLEVR's, and either name reads them, with its own filter."""
  spec = datasets.get_spec("clevr6")
  scenes = stored(spec, 5)
  for number, record in enumerate(scenes):
    record["visibility"][:] = np.arange(11) <= number + 2  # 2 to 6 objects
  path = str(tmp_path / "x")
  records.write_records(path, scenes, spec)
  for name, wanted in (("clevr6", [1, 2, 3, 4]), ("clevr", [0, 1, 2, 3, 4])):
    for cache in (True, False):
      kwargs = {"split": "all", "shuffle": False, "batch_size": 1, "image_size": (16, 16)}
      assert flat(indices(path, datasets.get_spec(name), cache=cache, **kwargs)) == wanted
  with pytest.raises(datasets.NoSceneError, match="has exactly 1 objects"):
    load(path, datasets.get_spec("clevr_single"), split="all", image_size=(16, 16))


def _videos(tmp_path, num=12, num_frames=6):
  """Flights whose frame t is of gray value t, with one object in the first frame only."""
  spec = datasets.get_spec("objects_room_flights")
  scenes = []
  for _ in range(num):
    image = np.broadcast_to(np.arange(num_frames)[:, None, None, None], (num_frames, 64, 64, 3))
    labels = np.zeros((num_frames, 64, 64), np.uint8)
    labels[0, :4] = 5
    mask = records.mask_from_labels(labels, "TLHW1", 7)
    scenes.append({"image": image.astype(np.uint8), "mask": mask})
  path = str(tmp_path / "videos")
  records.write_records(path, scenes, spec)
  return spec, path


def _first_frames(batches):
  return [np.rint(batch["image"][:, 0, 0, 0, 0] * 255).astype(int).tolist() for batch in batches]


def test_windows_of_videos(tmp_path):
  spec, path = _videos(tmp_path)
  kwargs = {"split": "all", "num_frames": 3, "batch_size": 4, "num_epochs": 2, "seed": 3}
  for cache in (True, False):
    batches = list(load(path, spec, shuffle=False, cache=cache, **kwargs))
    assert batches[0]["image"].shape == (4, 3, 64, 64, 3)
    assert batches[0]["mask"].shape == (4, 3, 7, 64, 64, 1)
    assert _first_frames(batches) == [[0] * 4] * 6
    np.testing.assert_array_equal(batches[0]["visibility"][0], [1, 1, 1, 1, 0, 1, 0])
  batches = list(load(path, spec, cache=True, **kwargs))
  starts = _first_frames(batches)
  assert set(flat(starts)) == {0, 1, 2, 3}
  assert starts == _first_frames(load(path, spec, cache=False, **kwargs))
  assert starts[2:] == _first_frames(load(path, spec, start_batch=2, **kwargs))
  assert starts != _first_frames(load(path, spec, **{**kwargs, "seed": 4}))
  for batch, firsts in zip(batches, starts, strict=True):
    frames = np.rint(batch["image"][..., 0, 0, 0] * 255)
    np.testing.assert_array_equal(frames, np.add.outer(firsts, range(3)))
    # The object is there where the window holds the first frame.
    np.testing.assert_array_equal(batch["visibility"][:, 5], np.array(firsts) == 0)
  halves = [
    _first_frames(
      load(
        path,
        spec,
        **{**kwargs, "batch_size": 2},
        input_pipeline_id=i,
        num_input_pipelines=2,
      )
    )
    for i in range(2)
  ]
  assert [a + b for a, b in zip(*halves, strict=True)] == starts


def test_videos_too_short_and_no_videos(records_of, tmp_path):
  spec, path = _videos(tmp_path, num=1)
  with pytest.raises(datasets.DataError, match="holds videos of 6 frames, wanted num_frames=7"):
    load(path, spec, num_frames=7, split="all")
  with pytest.raises(datasets.DataError, match="holds images, not videos"):
    load(records_of["compact"], num_frames=2)


def test_the_window_order_is_a_permutation():
  order = Batches(datasets.Order(shuffle=True, seed=3, drop_remainder=True), 100, 10)
  for window in (1, 7, 1000):
    numbers = order.window_order(2, window)
    assert sorted(numbers) == list(range(100))
    assert (numbers - np.arange(100) < window).all()


def test_real_records_load(reference):
  path = str(reference / "tetrominoes_mini.tfrecords")
  spec = datasets.get_spec("tetrominoes")
  (batch,) = load(path, spec, split="all", batch_size=10, shuffle=False)
  assert batch["image"].shape == (10, 35, 35, 3)
  np.testing.assert_array_equal(tf.reduce_sum(batch["mask"], axis=1), 1)
  assert batch["factors"]["shape"][0].numpy().tolist() == [0, 6, 5, 15]


@pytest.mark.parametrize(("layout", "cache"), WAYS)
def test_no_tuner_whose_next_round_the_end_of_an_iterator_could_wait_for(records_of, layout, cache):
  assert load(records_of[layout], cache=cache).options().autotune.enabled is False


def test_a_fingerprint_takes_the_first_scene_and_no_count(records_of, monkeypatch):
  def count(*_, **__):
    raise AssertionError("the whole file was read")

  monkeypatch.setattr(records.RecordFile, "count", count)
  found = {Source(TETRIS, records_of[name]).fingerprint() for name in records_of}
  assert len(found) == 1


def test_a_data_set_may_be_named(records_of):
  path = records_of["compact"]
  by_name, by_spec = (
    [batch["index"].numpy().tolist() for batch in load(path, spec)]
    for spec in (TETRIS.name, TETRIS)
  )
  assert by_name == by_spec
  assert datasets.check(TETRIS.name, path)["files"] == [path]
  assert datasets.describe(TETRIS.name, path).startswith(f"{TETRIS.name}: {path}")
  with pytest.raises(datasets.DataError, match="did you mean"):
    datasets.check("tetromino", path)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_pipeline_whose_part_of_the_last_batch_is_empty(records_of, tmp_path, shuffle, cache):
  path = str(tmp_path / "21")
  recode.recode(TETRIS, records_of["compact"], path, num=21)
  options = {"split": "all", "batch_size": 2, "drop_remainder": False, "cache": cache}
  options |= {"shuffle": shuffle}
  found = [indices(path, num_input_pipelines=2, input_pipeline_id=i, **options) for i in range(2)]
  assert sorted(map(len, (part for of_one in found for part in of_one))) == [0, 1] + [2] * 10
  assert sorted(flat(found[0]) + flat(found[1])) == list(range(21))


@pytest.mark.parametrize("cache", [True, False])
def test_a_file_whose_records_have_two_sizes(tmp_path, cache):
  paths = [generate.generate("tetrominoes", 3, tmp_path, image_size=n) for n in (70, 35)]
  path = tmp_path / "both"
  path.write_bytes(b"".join(pathlib.Path(p).read_bytes() for p in paths))
  how = {"spec": "tetrominoes", "split": "all", "batch_size": 1, "cache": cache}
  how |= {"image_size": (70, 70), "shuffle": False}
  with pytest.raises((datasets.DataError, tf.errors.OpError)) as error:
    list(load(str(path), **how))
  told = datasets.pipeline.data_error(error.value) or error.value
  assert "record 3: image is 35 x 35 x 3, the first is 70 x 70 x 3" in str(told)
  assert len(list(load(str(path), on_error="skip", **how))) == 3
