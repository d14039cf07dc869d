"""Trainings that are killed, and what is left of them."""

import re
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from experiments.support import runs
from experiments.support.errors import Refusal
from experiments.support.recording import check_writable
from iodine.errors import UserError
from iodine.training import Trainer
from tests.experiments.conftest import run_experiment
from tests.experiments.victims import Fault, Launcher

STEPS_A_KILL = 8  # at most as many steps between two kills
OPTIONS = {
  "log_every": 1,
  "checkpoint_every": 3,
  "validate_every": 40,
  "num_validation_images": 4,
}


def random_fault(rng, number):
  """A kill some steps after the start of a training; every kind comes up in the first seven."""
  step = int(rng.integers(1, STEPS_A_KILL + 1))
  delay = float(rng.uniform(0, 0.02))
  kinds = [
    Fault("step", step, delay),
    Fault("change", int(rng.integers(1, 4)), count=int(rng.integers(1, 8))),
    Fault("step", step, delay, signum=signal.SIGTERM),
    Fault("cut", int(rng.integers(1, 4)), count=int(rng.integers(1, 20_000))),
    Fault("start", delay=float(rng.uniform(0, 3))),
    Fault("replace", int(rng.integers(1, 4)), count=int(rng.integers(2))),
    Fault("change", int(rng.integers(2, 4)), count=int(rng.integers(1, 8))),
    Fault("step", step, delay),
    Fault("step", step, delay, signum=signal.SIGTERM),
    Fault("change", 2, count=int(rng.integers(1, 8))),
  ]
  return kinds[number % len(kinds)]


@pytest.fixture(scope="module")
def data(tiny_data):
  return {"dir": str(tiny_data)}


@pytest.mark.parametrize("num_kills", [7, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_again_and_again_a_run_ends_bit_identical(num_kills, data, tmp_path):
  unscored = {**data, "num_test": 0}
  options = {"num_steps": STEPS_A_KILL * num_kills + 5, "data": unscored, **OPTIONS}
  whole = Launcher(tmp_path / "whole")
  code, printed = whole.run(**options)
  assert code == 0, printed

  killed, rng, reached = Launcher(tmp_path / "killed"), np.random.default_rng(num_kills), 0
  for number in range(num_kills):
    fault, run = random_fault(rng, number), killed.last_run()
    code, printed = killed.run(fault, resume_from=run, **({} if run else options))
    told = f"{fault}: exit code {code}\n{printed}"
    began = re.search(r"from step (\d+) to", printed)
    if began:  # nothing that had been saved is lost
      assert int(began[1]) >= reached, told
      reached = int(began[1])
    if fault.kind == "cut":
      assert code == -signal.SIGXFSZ, told
    elif fault.signum == signal.SIGTERM:
      stopped = re.search(r"stopped at step (\d+) and saved", printed)
      assert code == 143, told
      assert stopped, told
      reached = int(stopped[1])
    else:
      assert code == -signal.SIGKILL, told
  code, printed = killed.run(resume_from=killed.last_run())
  assert code == 0, printed
  assert reached > num_kills  # the kills are spread over the training

  for which in (f"ckpt-{options['num_steps']}", "best"):
    ours, theirs = (checkpoint(launcher.last_run(), which) for launcher in (killed, whole))
    assert_same(ours, theirs)
  ours, theirs = (curves(launcher.last_run()) for launcher in (killed, whole))
  assert len(theirs["train/loss"]) == options["num_steps"]
  assert ours == theirs


SENTENCE = re.compile(r"^train: (.*)$", re.MULTILINE)


def refusal(code, printed):
  """The one sentence with which a run ended."""
  assert code == 2, printed
  assert "Traceback" not in printed
  assert len(SENTENCE.findall(printed)) == 1, printed
  return SENTENCE.findall(printed)[0]


def files(folder):
  return sorted(path.name for path in folder.iterdir())


def test_a_full_disk_leaves_the_checkpoints_before(data, tmp_path):
  launcher = Launcher(tmp_path / "runs")
  options = {"num_steps": 9, "checkpoint_every": 2, "validate_every": 0, "data": data}
  code, printed = launcher.run(Fault("full", at=3, count=20_000), **options)
  run = launcher.last_run()
  sentence = refusal(code, printed)
  assert sentence.startswith(f"cannot write a checkpoint to {run}/checkpoints: ")
  assert "File too large" in sentence
  assert sentence.endswith("the ones before are intact")
  left = [f"ckpt-{n}.{kind}" for n in (2, 4) for kind in ("data-00000-of-00001", "index")]
  assert files(run / "checkpoints") == ["checkpoint", *left, "config.json"]
  assert checkpoint(run, "ckpt-4")["step/.ATTRIBUTES/VARIABLE_VALUE"] == 4


def test_a_folder_that_cannot_be_written(data, tmp_path):
  launcher = Launcher(tmp_path / "runs")
  options = {"num_steps": 9, "checkpoint_every": 2, "validate_every": 0, "data": data}
  code, printed = launcher.run(Fault("blocked", at=2), **options)
  assert "cannot write a checkpoint to" in refusal(code, printed)
  moved = launcher.last_run() / "moved"
  assert {"ckpt-2.index", "ckpt-2.data-00000-of-00001"} <= set(files(moved))
  (tmp_path / "file").write_text("")
  with pytest.raises(Refusal, match=r"cannot record runs in .*file/runs: Not a directory"):
    check_writable(tmp_path / "file" / "runs")


def test_a_damaged_last_checkpoint_costs_the_steps_since_the_one_before(
  trained_run, data, tmp_path, capsys
):
  shutil.copytree(trained_run, tmp_path / "damaged")
  path = tmp_path / "damaged" / "checkpoints" / "ckpt-6.data-00000-of-00001"
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 255
  path.write_bytes(content)
  damaged = str(tmp_path / "damaged")
  run_experiment(tmp_path / "runs", resume_from=damaged, scored=False, data=data)
  printed = capsys.readouterr().out
  assert f"{tmp_path}/damaged/checkpoints/ckpt-6 is damaged; took the one before" in printed
  assert "from step 3 to 6" in printed
  assert_same(checkpoint(tmp_path / "runs" / "1", "ckpt-6"), checkpoint(trained_run, "ckpt-6"))


def test_validation_and_pictures_change_nothing(trained_run, data, tmp_path):
  run_experiment(tmp_path, validate_every=0, image_every=2, scored=False, data=data)
  ours, theirs = (checkpoint(run, "ckpt-6") for run in (tmp_path / "1", trained_run))
  for tensors in (ours, theirs):
    del tensors["best_score/.ATTRIBUTES/VARIABLE_VALUE"]
  assert_same(ours, theirs)


@pytest.mark.parametrize("on_nan", ["stop", "skip"])
def test_nan_in_the_data(on_nan, data, tmp_path, monkeypatch, capsys):
  load_data = runs.load_data

  def broken(data, split, *args, **kwargs):
    dataset = load_data(data, split, *args, **kwargs)
    if split != "train":
      return dataset
    nan = lambda i, scene: {**scene, "image": tf.where(i == 4, np.nan, scene["image"])}
    return dataset.enumerate().map(nan)

  monkeypatch.setattr(runs, "load_data", broken)
  options = {"log_every": 1, "validate_every": 0, "on_nan": on_nan, "data": data}
  if on_nan == "stop":
    with pytest.raises(
      UserError, match=r"step 5: nll, .*not finite in 1 step.*checkpoint is intact"
    ):
      run_experiment(tmp_path, **options)
    assert "ckpt-3.index" in files(tmp_path / "1" / "checkpoints")
    assert "ckpt-6.index" not in files(tmp_path / "1" / "checkpoints")
  else:
    run_experiment(tmp_path, scored=False, **options)
    assert "which updated nothing; 1 so far" in capsys.readouterr().out
    for value in checkpoint(tmp_path / "1", "ckpt-6").values():
      assert value.dtype.kind != "f" or not np.isnan(value).any()


def test_data_that_disappears(tiny_data, tmp_path, monkeypatch):
  shutil.copytree(tiny_data, tmp_path / "data")
  train_step = Trainer.train_step

  def step(self, batch):
    for path in (tmp_path / "data").glob("*"):
      path.unlink()
    return train_step(self, batch)

  monkeypatch.setattr(Trainer, "train_step", step)
  with pytest.raises(Refusal, match=r"does not exist.*what was saved is intact: resume_from="):
    run_experiment(
      tmp_path / "runs",
      checkpoint_every=2,
      data={"dir": str(tmp_path / "data")},
    )
  assert "ckpt-2.index" in files(tmp_path / "runs" / "1" / "checkpoints")


def assert_same(ours, theirs):
  assert ours.keys() == theirs.keys()
  for name in ours:
    np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def checkpoint(run, which):
  """All of a training's state in a checkpoint: name -> array."""
  folder = run / "checkpoints"
  path = folder / which
  if which == "best":
    path = max((folder / "best").glob("*.index"), key=lambda p: int(p.stem.split("-")[1]))
    path = path.with_suffix("")
  reader = tf.train.load_checkpoint(str(path))
  names = reader.get_variable_to_shape_map()
  other = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter")  # how often it was written, no more
  return {n: reader.get_tensor(n) for n in names if not n.startswith(other)}


def curves(run):
  """What TensorBoard shows: name -> {step: value}; the same step twice has the same value."""
  found = {}
  for path in sorted((run / "tensorboard").iterdir()):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        if value.HasField("tensor") and "images_per_second" not in value.tag:
          number = tf.make_ndarray(value.tensor)
          if number.ndim == 0:
            curve = found.setdefault(value.tag, {})
            assert curve.setdefault(event.step, float(number)) == float(number)
  return found
