"""Checkpoints: resuming, damage, full disks, other configurations."""

import itertools
import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from iodine import Iodine
from iodine.training import CheckpointError, restore
from tests.iodine.training.scenes import MODEL, TRAINING, run, scenes, values


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_resuming_is_bit_identical(tmp_path, make_trainer, optimizer):
  training = TRAINING.replace(optimizer=optimizer)
  whole = make_trainer(MODEL, training)
  run(whole, 6)
  expected = values(whole)
  make_trainer.release()
  first = make_trainer(MODEL, training, tmp_path)
  run(first, 3)
  first.checkpoints.save()
  make_trainer.release()
  second = make_trainer(MODEL, training)
  assert second.restore(tmp_path) == []
  assert second.steps_done == 3
  run(second, 3, lambda *args: scenes(*args, start=3))
  for ours, theirs in zip(values(second), expected, strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_the_last_few_and_the_best_are_kept(tmp_path, make_trainer):
  trainer = make_trainer(MODEL, TRAINING, tmp_path, keep=2)
  for score in (0.1, 0.9, 0.5):
    run(trainer, 1)
    trainer.checkpoints.save_best(score)
    trainer.checkpoints.save()
  assert sorted(p.name for p in tmp_path.glob("*.index")) == ["ckpt-2.index", "ckpt-3.index"]
  assert [p.name for p in (tmp_path / "best").glob("*.index")] == ["best-2.index"]
  model = Iodine(MODEL)
  model.create_variables()
  step = tf.Variable(0, dtype=tf.int64)
  restore({"model": model, "step": step}, model, tmp_path, "best")
  assert int(step) == 2
  with pytest.raises(AssertionError):
    np.testing.assert_array_equal(model.trainable_variables[0], trainer.variables[0])


def test_a_damaged_best_one_gives_way_to_the_last(tmp_path, make_trainer):
  trainer = make_trainer(MODEL, TRAINING, tmp_path)
  run(trainer, 1)
  trainer.checkpoints.save_best(0.5)
  run(trainer, 1)
  trainer.checkpoints.save()
  (tmp_path / "best" / "best-1.data-00000-of-00001").write_bytes(b"")
  model = Iodine(MODEL)
  model.create_variables()
  found = restore({"model": model}, model, tmp_path, "best")
  assert found == (str(tmp_path / "ckpt-2"), [str(tmp_path / "best" / "best-1")])


@pytest.mark.parametrize(("before", "now"), itertools.permutations(["adam", "muon", "rmsprop"], 2))
def test_another_optimizer_does_not_go_on(tmp_path, make_trainer, before, now):
  make_trainer(MODEL, TRAINING.replace(optimizer=before), tmp_path).checkpoints.save()
  make_trainer.release()
  trainer = make_trainer(MODEL, TRAINING.replace(optimizer=now))
  with pytest.raises(CheckpointError, match=f"(?i)another optimizer, {before}.* with {now}"):
    trainer.restore(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "bit", "missing"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage, make_trainer):
  trainer = make_trainer(MODEL, TRAINING, tmp_path)
  for _ in range(2):
    run(trainer, 1)
    trainer.checkpoints.save()
  data = tmp_path / "ckpt-2.data-00000-of-00001"
  content = bytearray(data.read_bytes())
  if damage == "missing":
    data.unlink()
  else:
    content[len(content) // 2] ^= 255
    data.write_bytes(content[: len(content) // 2] if damage == "truncated" else content)
  other = make_trainer(MODEL, TRAINING)
  assert other.restore(tmp_path) == [str(tmp_path / "ckpt-2")]
  assert other.steps_done == 1
  for path in tmp_path.glob("ckpt-1.data*"):
    path.write_bytes(b"")
  with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"):
    other.restore(tmp_path)


def test_another_configuration_is_refused_with_the_keys(tmp_path, make_trainer):
  trainer = make_trainer(MODEL, TRAINING, tmp_path)
  trainer.checkpoints.save()
  other = make_trainer(MODEL.replace(latent_size=5, num_slots=4), TRAINING)
  with pytest.raises(CheckpointError, match="latent_size: 4 saved, 5 now") as error:
    other.restore(tmp_path)
  assert "num_slots" not in str(error.value)  # K may change
  assert json.loads((tmp_path / "config.json").read_text())["latent_size"] == 4


def test_resumed_with_another_weight_of_the_kl_and_sigma(tmp_path, make_trainer):
  trainer = make_trainer(MODEL, TRAINING, tmp_path)
  trainer.checkpoints.save()
  other = make_trainer(MODEL.replace(kl_weight=0.25, sigma=0.2), TRAINING)
  other.restore(tmp_path)
  assert other.model.kl_weight.numpy() == 0.25
  assert other.model.sigma.numpy() == np.float32(0.2)
  annealing = TRAINING.replace(sigma_start=0.6, anneal_steps=2)
  other = make_trainer(MODEL.replace(kl_weight=0.25), annealing)
  other.restore(tmp_path)
  assert other.model.kl_weight.numpy() == 0.25  # the one that is not annealed


def test_no_checkpoint_and_no_folder(tmp_path, make_trainer):
  trainer = make_trainer(MODEL, TRAINING)
  with pytest.raises(CheckpointError, match="no checkpoint in"):
    trainer.restore(tmp_path / "absent")
  (tmp_path / "file").write_text("")
  blocked = make_trainer(MODEL, TRAINING, tmp_path / "file" / "checkpoints")
  with pytest.raises(CheckpointError, match="cannot write a checkpoint to"):
    blocked.checkpoints.save()


def test_a_full_file_system(tmp_path, make_trainer):
  mount = ["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", str(tmp_path)]
  if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
    pytest.skip("no file system can be mounted here")
  try:
    trainer = make_trainer(MODEL, TRAINING, tmp_path / "run", keep=100)

    def train_on():
      for _ in range(100):
        run(trainer, 1)
        trainer.checkpoints.save()

    with pytest.raises(CheckpointError, match=r"No space left.*the ones before are intact"):
      train_on()
    left = {p.name for p in (tmp_path / "run").glob("ckpt-*")}
    # the last one is whole, too, if what found no room was the folder's list of checkpoints
    last = trainer.steps_done - (f"ckpt-{trainer.steps_done}.index" not in left)
    kinds = ("index", "data-00000-of-00001")
    assert left == {f"ckpt-{n}.{kind}" for n in range(1, last + 1) for kind in kinds}
    other = make_trainer(MODEL, TRAINING)
    assert other.restore(tmp_path / "run") == []
    assert other.steps_done == last > 0
  finally:
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize(
  "name", ["a[1]", "b*c", "d{e}, f", "g\\h", "i?", "ö ü", b"\xff".decode(errors="surrogateescape")]
)
def test_a_folder_of_any_name(tmp_path, name, make_trainer):
  directory = tmp_path / name / "checkpoints"
  trainer = make_trainer(MODEL, TRAINING, directory, keep=2)
  for score in (1.0, 2.0, 3.0):
    run(trainer, 1)
    path = trainer.checkpoints.save_best(score)
    assert path == str(directory / "best" / f"best-{trainer.steps_done}")
    trainer.checkpoints.save()
  names = sorted(p.name for p in directory.iterdir() if p.name.endswith(".index"))
  assert names == ["ckpt-2.index", "ckpt-3.index"]  # the older ones are deleted
  assert [p.name for p in (directory / "best").iterdir() if p.suffix == ".index"] == [
    "best-3.index"
  ]
  other = make_trainer(MODEL, TRAINING)
  assert other.restore(directory) == []
  assert other.steps_done == 3
