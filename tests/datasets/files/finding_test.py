"""datasets.files.finding: which files are taken, and what is said where there are none."""

import pathlib
import tempfile

import hypothesis
import hypothesis.strategies as st
import pytest

import datasets
from datasets import files


def test_a_missing_file_says_how_to_get_it(tmp_path):
  with pytest.raises(datasets.DataError) as error:
    datasets.check(datasets.get_spec("clevr"), data_dir=str(tmp_path))
  assert "gs://multi-object-datasets/clevr_with_masks/" in str(error.value)
  command = f"`python -m datasets.generate clevr --num 100000 --out {tmp_path}`"
  assert command in str(error.value)


TETRIS = datasets.get_spec("tetrominoes")


def _touch(folder, *names):
  for name in names:
    (folder / name).write_bytes(b"x")
  return [str(folder / name) for name in names]


def test_a_set_of_files_with_one_missing_is_refused(tmp_path):
  name = "tetrominoes_train.tfrecords"
  shards = _touch(tmp_path, *(f"{name}-{i:05}-of-00003" for i in range(3)))
  _touch(tmp_path, f"{name}-00000-of-00003.index.json")
  assert files.find_files(TETRIS, data_dir=str(tmp_path)) == shards
  (tmp_path / f"{name}-00001-of-00003").unlink()
  missing = rf"is missing, {tmp_path}/{name}-00001-of-00003, of a set of 3"
  with pytest.raises(datasets.DataError, match=missing):
    files.find_files(TETRIS, data_dir=str(tmp_path))
  with pytest.raises(datasets.DataError, match=missing):
    files.find_files(TETRIS, str(tmp_path / f"{name}*"))
  assert files.find_files(TETRIS, shards[::2]) == shards[::2]  # named one by one


def test_two_sets_of_files_side_by_side_are_refused(tmp_path):
  name = "tetrominoes_train.tfrecords"
  _touch(tmp_path, *(f"{name}-{i:05}-of-{n:05}" for n in (2, 3) for i in range(n)))
  with pytest.raises(datasets.DataError, match="side by side in two sets") as error:
    files.find_files(TETRIS, data_dir=str(tmp_path))
  for n in (2, 3):
    assert str(tmp_path / f"{name}-00000-of-{n:05}") in str(error.value)
  _touch(tmp_path, name)  # the whole file comes first, and a pattern for both is refused
  assert files.find_files(TETRIS, data_dir=str(tmp_path)) == [str(tmp_path / name)]
  with pytest.raises(datasets.DataError, match="side by side"):
    files.find_files(TETRIS, str(tmp_path / "*-00003")[:-6] + "*")


def test_a_selection_is_read_from_the_whole_only_where_it_was_released(tmp_path):
  (whole,) = _touch(tmp_path, "clevr_with_masks_train.tfrecords")
  assert files.find_files(datasets.get_spec("clevr6"), data_dir=tmp_path) == [whole]
  with pytest.raises(datasets.DataError, match=r"`python -m datasets.generate clevr_single"):
    files.find_files(datasets.get_spec("clevr_single"), data_dir=tmp_path)
  (sized,) = _touch(tmp_path, "clevr_with_masks_train_64x64.tfrecords")
  spec = datasets.get_spec("clevr6")
  assert files.find_files(spec, data_dir=tmp_path, image_size=(64, 64)) == [sized]
  (own,) = _touch(tmp_path, "clevr6_train.tfrecords")
  assert files.find_files(spec, data_dir=tmp_path) == [own]


def test_a_larger_file_of_the_same_proportions_is_found_last(tmp_path):
  spec = datasets.get_spec("clevr6")
  larger, _, _ = _touch(
    tmp_path, *(f"clevr6_train_{size}.tfrecords" for size in ("64x64", "128x128", "120x160"))
  )
  for size, found in (((48, 48), [larger]), ((64, 64), [larger])):
    assert files.find_files(spec, data_dir=tmp_path, image_size=size) == found
  with pytest.raises(datasets.DataError, match=r"clevr6_train.tfrecords does not exist"):
    files.find_files(spec, data_dir=tmp_path, image_size=(48, 49))
  with pytest.raises(
    datasets.DataError, match="clevr6 --quality quick --num 8640 --image-size 96 --out"
  ):
    files.find_files(spec, data_dir=tmp_path / "none", image_size=(96, 96))
  shards = _touch(tmp_path, *(f"clevr6_train_32x32.tfrecords-0000{i}-of-00002" for i in (0, 1)))
  assert files.find_files(spec, data_dir=tmp_path, image_size=(16, 16)) == shards
  (whole,) = _touch(tmp_path, "clevr_with_masks_train.tfrecords")
  assert files.find_files(spec, data_dir=tmp_path, image_size=(48, 48)) == [whole]
  (exact,) = _touch(tmp_path, "clevr6_train_48x48.tfrecords")
  assert files.find_files(spec, data_dir=tmp_path, image_size=(48, 48)) == [exact]


def test_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  (path,) = _touch(tmp_path, "tetrominoes_train.tfrecords")
  assert files.find_files(TETRIS, data_dir="~") == [path]
  assert files.find_files(TETRIS, "~/tetro*") == [path]


FOLDERS = st.text(
  st.one_of(
    st.sampled_from("[]{}*?!~ $'\"-,#%"),
    st.characters(exclude_characters="/\0", exclude_categories=("Cs", "Cc")),
  ),
  min_size=1,
  max_size=12,
).filter(lambda name: name.strip(".") and len(name.encode()) < 200)


@hypothesis.settings(max_examples=60)
@hypothesis.given(FOLDERS)
def test_any_name_of_a_folder_will_do(name):
  with tempfile.TemporaryDirectory() as parent:
    folder = pathlib.Path(parent, name)
    folder.mkdir()
    path, first, second = _touch(
      folder,
      "tetrominoes_train.tfrecords",
      "shapes_train.tfrecords-00000-of-00002",
      "shapes_train.tfrecords-00001-of-00002",
    )
    assert files.find_files(TETRIS, data_dir=str(folder)) == [path]
    assert files.find_files(TETRIS, path) == [path]
    assert files.find_files(TETRIS, str(folder / "tetro*")) == [path]
    shapes = datasets.get_spec("shapes")
    assert files.find_files(shapes, data_dir=str(folder)) == [first, second]
