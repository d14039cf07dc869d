"""iodine.tf_paths: whatever a folder is called, TensorFlow finds what it wrote there."""

import os
import pathlib
import shutil

import hypothesis
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from iodine import tf_paths

NAMES = [
  "plain", "a b", "ü", "~", "{a,b}", "a'b\"", "$x", "a[1]", "[", "a]", "a*b", "a?b", "a\\b", "[!a]",
  "a\nb", os.fsdecode(b"\xff[\\"),
]  # fmt: skip


class Adder(tf.Module):
  """A SavedModel that adds its variable."""

  def __init__(self):
    self.variable = tf.Variable(2.0)
    self.add = tf.function(
      lambda x: x + self.variable, input_signature=[tf.TensorSpec([], tf.float32)]
    )


@pytest.fixture(scope="module")
def adder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("adder") / "model"
  tf.saved_model.save(Adder(), str(folder))
  return folder


def manage(folder, numbers=range(4), keep=2):
  """Saves a number several times, as training does; returns what was restored."""
  number = tf.Variable(0, dtype=tf.int64)
  checkpoint = tf.train.Checkpoint(number=number)
  plain = tf_paths.literal(folder, create=True)
  manager = tf.train.CheckpointManager(checkpoint, plain, keep)
  for n in numbers:
    number.assign(n)
    manager.save(checkpoint_number=n)
  number.assign(-1)
  checkpoint.restore(tf.train.latest_checkpoint(plain)).assert_existing_objects_matched()
  return int(number)


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints(name, tmp_path):
  folder = tmp_path / name / "checkpoints"
  assert manage(folder) == 3
  kept = sorted(p.name for p in folder.glob("*.index"))
  assert kept == ["ckpt-2.index", "ckpt-3.index"]  # the others are deleted
  assert manage(folder, range(4, 6)) == 5
  state = (folder / "checkpoint").read_text()
  assert "iodine-" not in state  # no link, which another process would not have
  assert str(tmp_path) not in state
  prefix = tf_paths.literal(folder / "ckpt-5")
  assert tf.train.load_checkpoint(prefix).get_variable_to_shape_map()


@pytest.mark.parametrize("name", NAMES)
def test_saved_models(name, adder, tmp_path):
  shutil.copytree(adder, tmp_path / name)
  loaded = tf.saved_model.load(tf_paths.literal(tmp_path / name))
  assert loaded.add(tf.constant(1.0)).numpy() == 3
  written = tmp_path / f"{name} 2" / "saved_model"
  model = Adder()
  tf.saved_model.save(model, tf_paths.literal(written, create=True))
  loaded = tf.saved_model.load(tf_paths.literal(written))
  assert loaded.add(tf.constant(1.0)).numpy() == 3


def test_a_neighbour_whose_name_the_pattern_matches_keeps_its_checkpoints(tmp_path):
  manage(tmp_path / "axb", range(2))
  manage(tmp_path / "a*b")
  assert len(list((tmp_path / "axb").glob("*.index"))) == 2


@pytest.mark.parametrize("name", ["a[1]", "a\\b", os.fsdecode(b"a\xff")])
def test_event_files_and_records(name, tmp_path):
  folder = tf_paths.literal(tmp_path / name, create=True)
  with tf.io.TFRecordWriter(f"{folder}/x") as writer:
    writer.write(b"scene")
  [record] = tf.data.TFRecordDataset(f"{folder}/x")
  assert record.numpy() == b"scene"
  with tf.summary.create_file_writer(folder).as_default():
    tf.summary.scalar("loss", 1.0, step=1)
  assert len(list((tmp_path / name).glob("events*"))) == 1


def test_most_paths_stay_as_they_are(tmp_path, monkeypatch):
  for path in ("runs/3/checkpoints", "/data/ü x/{a}", pathlib.Path("a/b"), "gs://bucket/a"):
    assert tf_paths.literal(path) == os.fspath(path)
  (tmp_path / "[a]").mkdir()
  monkeypatch.chdir(tmp_path / "[a]")
  assert tf_paths.literal("runs/3") == "runs/3"
  assert manage("runs/3") == 3
  assert tf_paths.literal("../[a]/runs") != "../[a]/runs"


def test_a_link_that_somebody_tidied_up_comes_back(tmp_path):
  folder = tmp_path / "[a]"
  plain = pathlib.Path(tf_paths.literal(folder, create=True))
  assert pathlib.Path(tf_paths.literal(folder / "b")) == plain / "b"
  shutil.rmtree(plain.parent)
  assert tf_paths.literal(folder) == str(plain)
  assert plain.samefile(folder)


def test_links_go_with_the_process(tmp_path):
  """And what they lead to stays."""
  (tmp_path / "[a]" / "b").mkdir(parents=True)
  pid = os.fork()
  if pid == 0:  # as a process that ends: its links are its own
    try:
      tf_paths._links.clear()
      link = pathlib.Path(tf_paths.literal(tmp_path / "[a]"))
      (tmp_path / "told").write_text(str(link))
      for folder in tf_paths._links.values():
        folder.cleanup()
    finally:
      os._exit(0)
  os.waitpid(pid, 0)
  assert not os.path.lexists((tmp_path / "told").read_text())
  assert (tmp_path / "[a]" / "b").is_dir()


def test_temporary_folders_that_are_patterns_themselves(tmp_path, monkeypatch):
  (tmp_path / "[t]").mkdir()
  (tmp_path / "*").mkdir()
  monkeypatch.setattr(tf_paths.tempfile, "gettempdir", lambda: str(tmp_path / "[t]"))
  assert "[" not in tf_paths.literal(tmp_path / "*")
  monkeypatch.setattr(tf_paths.os, "access", lambda *_: False)
  (tmp_path / "?").mkdir()
  with pytest.raises(ValueError, match="expected a folder for temporary files"):
    tf_paths.literal(tmp_path / "?")


@hypothesis.settings(max_examples=60, derandomize=True)
@hypothesis.given(name=st.binary(min_size=1, max_size=24))
def test_any_name_that_the_file_system_takes(tmp_path_factory, name):
  name = os.fsdecode(name.replace(b"\0", b"[").replace(b"/", b"\\"))
  hypothesis.assume(name not in (".", ".."))
  base = tmp_path_factory.getbasetemp() / "any"
  shutil.rmtree(base, ignore_errors=True)
  assert manage(base / name, range(3), 1) == 2
  assert len(list((base / name).glob("*.index"))) == 1
