"""datasets.recode: cropping, resizing, shards and damaged records."""

import gzip
import importlib

import numpy as np
import pytest

import datasets
from datasets import files as records
from datasets import generate, recode
from datasets.generators import multi_dsprites, shapes
from tests.datasets.helpers import SPEC, assert_equal, flip, offset_of, read, stored


def test_recode_crops_and_resizes_as_the_pipeline_does(tmp_path):
  spec = datasets.get_spec("clevr")
  ramp = np.add.outer(np.arange(240), np.arange(320)).astype(np.float32) / 560 * 255
  record = stored(spec, 1)[0]
  record["image"] = np.repeat(ramp[..., None], 3, -1).astype(np.uint8)
  records.write_records(str(tmp_path / "a"), [record], spec, "released")
  recode.recode(spec, tmp_path / "a", str(tmp_path / "b"), crop=True, size=(128, 128))
  one, two = (
    next(iter(datasets.load(spec, str(tmp_path / n), split="all", batch_size=1)))
    for n in ("a", "b")
  )
  assert one["image"].shape == two["image"].shape == (1, 128, 128, 3)
  np.testing.assert_allclose(one["image"], two["image"], atol=0.5 / 255 + 1e-5)  # rounded to uint8
  np.testing.assert_array_equal(one["mask"], two["mask"])


def test_recode_takes_files_of_any_size(tmp_path):
  generate.generate("tetrominoes", 3, tmp_path, image_size=20, block_size=4, layout="compact")
  generate.generate("tetrominoes", 3, tmp_path)
  small, usual = (str(tmp_path / f"tetrominoes_train{n}.tfrecords") for n in ("_20x20", ""))
  recode.main([small, "--out", str(tmp_path / "a"), "--dataset", "tetrominoes"])
  form, order = datasets.Form(image_size=(20, 20)), datasets.Order(shuffle=False)
  one, two = (
    next(
      iter(
        datasets.load(
          datasets.get_spec("tetrominoes"), p, split="all", batch_size=3, form=form, order=order
        )
      )
    )
    for p in (small, str(tmp_path / "a"))
  )
  np.testing.assert_array_equal(one["image"], two["image"])
  np.testing.assert_array_equal(one["mask"], two["mask"])
  for mixed, first in (([small, usual], "20 x 20"), ([usual, small], "35 x 35")):
    with pytest.raises(datasets.DataError, match=rf"record 0: image is .*{first}"):
      recode.recode("tetrominoes", mixed, str(tmp_path / "b"))
  assert not list(tmp_path.glob("b*"))


def test_recode_keeps_black_and_white(tmp_path):
  spec = datasets.get_spec("multi_dsprites_binarized")
  arrays = multi_dsprites.generate_chunk(0, 0, variant=spec.variant)
  scenes = [{k: v[i] for k, v in arrays.items()} for i in range(3)]
  records.write_records(str(tmp_path / "a"), scenes, spec)
  recode.recode(spec, tmp_path / "a", str(tmp_path / "b"), size=(20, 28))
  form, order = datasets.Form(image_size=(20, 28)), datasets.Order(shuffle=False)
  one, two = (
    next(iter(datasets.load(spec, str(path), split="all", batch_size=3, form=form, order=order)))
    for path in (tmp_path / "a", tmp_path / "b")
  )
  np.testing.assert_array_equal(one["image"], two["image"])
  np.testing.assert_array_equal(one["mask"], two["mask"])
  np.testing.assert_array_equal(np.unique(one["image"]), [0, 1])


def test_recode_shards_and_skips(files, tmp_path, caplog):
  wanted = read(SPEC, files["compact"])
  flip(files["compact"], offset_of(files["compact"], 7) + 100)
  out = str(tmp_path / "out")
  names = recode.recode(SPEC, files["compact"], out, shards=3, on_error="skip")
  assert [n.rpartition("/")[2] for n in names] == [f"out-0000{i}-of-00003" for i in range(3)]
  left = wanted[:7] + wanted[8:]
  assert [len(read(SPEC, name)) for name in names] == [6, 6, 7]
  assert_equal([record for name in names for record in read(SPEC, name)], left)
  said = [record.getMessage() for record in caplog.records]  # once, however often it was read
  assert said == [f"skipped 1 damaged records of {files['compact']} (7)"]
  with pytest.raises(datasets.DataError, match="record 7"):
    recode.recode(SPEC, files["compact"], out)
  with pytest.raises(datasets.DataError, match="is one of the files to read"):
    recode.recode(SPEC, files["released"], str(files["released"]))


def _contents(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
  ("sources", "out", "shards"),
  [
    (["x-*-of-00003"], "x", 3),  # its second pass would read what the first had replaced
    (["x-00002-of-00003"], "x", 3),
    (["x-*-of-00003"], "x-00001-of-00003", 1),
    (["again/x-00001-of-00003"], "x", 3),
    (["other", "hard"], "x", 3),
    (["x-*-of-00003"], "again/soft", 1),
    (["cut.partial"], "cut", 1),  # what an interrupted program left: our own name while writing
    (["cut-00001-of-00002.partial"], "cut", 2),
  ],
)
def test_what_is_read_is_never_written(files, tmp_path, sources, out, shards):
  folder = tmp_path / "folder"
  folder.mkdir()
  recode.recode(SPEC, files["compact"], folder / "x", shards=3)
  (folder / "again").symlink_to(folder)
  (folder / "soft").symlink_to("x-00000-of-00003")
  (folder / "hard").hardlink_to(folder / "x-00002-of-00003")
  for name in ("other", "cut.partial", "cut-00001-of-00002.partial"):
    (folder / name).write_bytes(files["compact"].read_bytes())
  before = _contents(folder)
  with pytest.raises(datasets.DataError, match="is one of the files to read: choose another --out"):
    recode.recode(SPEC, [str(folder / name) for name in sources], folder / out, shards=shards)
  assert _contents(folder) == before


def test_a_shard_without_a_record_is_refused_before_any_is_written(files, tmp_path):
  folder = tmp_path / "folder"
  folder.mkdir()

  def refused(shard, **kwargs):
    with pytest.raises(datasets.DataError, match=f"left for .*/x-{shard:05}-of-.* fewer shards"):
      recode.recode(SPEC, files["compact"], folder / "x", **kwargs)
    assert not list(folder.iterdir())

  refused(20, shards=21)
  refused(2, shards=3, num=2)
  data = files["compact"].read_bytes()
  flip(files["compact"], offset_of(files["compact"], 7) + 100)
  refused(19, shards=20, on_error="skip")
  files["compact"].write_bytes(data)
  names = recode.recode(SPEC, files["compact"], folder / "x", shards=20)
  assert [len(read(SPEC, name)) for name in names] == [1] * 20


@pytest.mark.parametrize("name", ["recode", "inspect", "benchmark"])
def test_a_file_without_records_gets_one_sentence(name, tmp_path, capsys):
  path = tmp_path / "tetrominoes_train.tfrecords"
  path.write_bytes(gzip.compress(b""))
  arguments = [str(path), *(["--out", str(tmp_path / "out")] if name == "recode" else [])]
  with pytest.raises(SystemExit) as stopped:
    importlib.import_module(f"datasets.{name}").main(arguments)
  assert stopped.value.code == 2
  message = capsys.readouterr().err.strip()
  assert f"{path} holds no record" in message
  assert len(message.splitlines()) == 1
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (["--num", "0"], "num must be at least 1, got 0"),
    (["--num", "-1"], "num must be at least 1, got -1"),
    (["--shards", "0"], "shards must be at least 1, got 0"),
    (["--num", "2", "--shards", "3"], "no record is left for"),
    (["--resize", "1", "2", "3"], "--resize wants a height and a width in pixels, got 1 2 3"),
    (["--resize", "0"], "--resize wants a height and a width in pixels, got 0 0"),
  ],
)
def test_what_is_refused_leaves_what_was_there(files, tmp_path, capsys, words, says):
  out = tmp_path / "out"
  out.write_text("dear")
  dataset = ["--dataset", SPEC.name, "--out", str(out)]
  with pytest.raises(SystemExit) as stopped:
    recode.main([str(files["compact"]), *dataset, *words])
  assert stopped.value.code == 2
  assert says in capsys.readouterr().err
  assert out.read_text() == "dear"


@pytest.mark.parametrize("name", ["recode", "inspect", "benchmark", "from_images"])
def test_an_interrupted_command_says_so(files, tmp_path, capsys, monkeypatch, name):
  def interrupt(*args, **kwargs):
    raise KeyboardInterrupt

  module = importlib.import_module(f"datasets.{name}")
  job = {"recode": "recode", "inspect": "report", "benchmark": "measure", "from_images": "pack"}
  monkeypatch.setattr(module, job[name], interrupt)
  source = [str(tmp_path if name == "from_images" else files["compact"])]
  out = ["--out", str(tmp_path / "out")] if name in ("recode", "from_images") else []
  dataset = [] if name == "from_images" else ["--dataset", SPEC.name]
  with pytest.raises(SystemExit) as stopped:
    module.main([*source, *out, *dataset])
  assert stopped.value.code == 130
  assert capsys.readouterr().err.strip() == f"python -m datasets.{name}: interrupted"


@pytest.mark.parametrize("damage", ["cut", "first"])
def test_the_file_says_what_it_is_in_spite_of_damage(damage, tmp_path):
  path = tmp_path / "x.tfrecords"
  spec = datasets.get_spec("shapes")
  arrays = shapes.generate_chunk(0, 0)
  records.write_records(path, [{k: v[i] for k, v in arrays.items()} for i in range(3)], spec)
  if damage == "cut":
    path.write_bytes(path.read_bytes()[:-10])
  else:
    flip(path, offset_of(path, 0) + 20)
  out = tmp_path / "out"
  recode.main([str(path), "--on-error", "skip", "--out", str(out)])
  assert len(read(spec, out)) == 2
  with pytest.raises(SystemExit) as stopped:
    recode.main([str(path), "--out", str(out)])
  assert stopped.value.code == 2


def test_objects_that_resizing_loses_are_counted_no_more(tmp_path):
  """One pixel of an object is left at half the size where it is an odd one."""
  spec = datasets.get_spec("objects_room")
  scenes = []
  for i in range(6):
    image = np.zeros([64, 64, 3], np.uint8)
    labels = np.zeros([64, 64], np.uint8)
    labels[9, 20 + i] = spec.num_background  # the first object
    mask = (labels == np.arange(spec.max_entities)[:, None, None])[..., None]
    scenes.append({"image": image, "mask": mask.astype(np.uint8) * 255})
  records.write_records(str(tmp_path / "a"), scenes, spec)
  recode.recode(spec, tmp_path / "a", str(tmp_path / "b"), size=(32, 32))
  counts = {
    cache: len(
      list(
        datasets.load(
          spec, str(tmp_path / "b"), split="all", batch_size=1,
          filter=datasets.Filter(min_objects=1), order=datasets.Order(shuffle=False, num_epochs=1),
          form=datasets.Form(image_size=(32, 32)), cache=cache,
        )
      )
    )
    for cache in (True, False)
  }  # fmt: skip
  assert counts == {True: 3, False: 3}


def test_what_would_not_be_read_is_not_written(tmp_path, capsys):
  spec = datasets.get_spec("images")
  scene = {"image": np.zeros([4, 5, 3], np.uint8), "mask": np.zeros([1, 4, 5, 1], np.uint8)}
  path = tmp_path / "images.tfrecords"
  records.write_records(str(path), [{**scene, "visibility": np.ones(1, np.float32)}], spec)
  with pytest.raises(datasets.DataError, match="released layout does not tell the size of images"):
    recode.recode(spec, path, str(tmp_path / "b"), layout="released")
  assert not (tmp_path / "b").exists()
  with pytest.raises(SystemExit):
    recode.main([str(tmp_path / "clevr_none.tfrecords"), "--out", str(tmp_path / "b")])
  assert capsys.readouterr().err.strip().endswith("clevr_none.tfrecords does not exist")
