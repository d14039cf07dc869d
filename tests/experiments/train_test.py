"""A whole run on real files: records, resuming, faults, evaluation."""

import json
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import datasets
from datasets import from_images, generate
from experiments.support import held_out, interrupts, resume, runs, scoring
from experiments.support.errors import Refusal
from experiments.support.progress import Progress
from experiments.support.subjects import names_of
from experiments.train import command
from iodine import evaluation
from iodine.errors import UserError
from iodine.files import write_json
from tests.experiments.conftest import run_experiment


def variables(run):
  _, model, _ = runs.load_run(run, "last")
  return [v.numpy() for v in model.trainable_variables]


def test_a_run_records_everything(trained_run):
  names = {p.name for p in trained_run.rglob("*")}
  assert {"config.json", "run.json", "metrics.json", "cout.txt", "tensorboard"} <= names
  assert {"decomposition.png", "decomposition.pdf", "refinement.png", "iterations.png"} <= names
  assert sorted(p.name for p in (trained_run / "checkpoints").glob("*.index")) == [
    "ckpt-3.index",
    "ckpt-6.index",
  ]
  scalars = json.loads((trained_run / "metrics.json").read_text())
  assert scalars["train.loss"]["steps"] == [2, 4, 6]
  assert scalars["validation.ari_fg"]["steps"] == [3, 6]
  record = json.loads((trained_run / "run.json").read_text())
  sources = {name for name, _ in record["experiment"]["sources"]}
  assert {"experiments/train.py", "iodine/model.py"} <= {s.replace(os.sep, "/") for s in sources}
  printed = (trained_run / "cout.txt").read_text()
  assert "train 40 (records 0 to 39)" in printed
  assert "ARI-FG" in printed
  assert str(trained_run / "test" / "decomposition.png") in printed
  events = list((trained_run / "tensorboard").iterdir())
  tags = {v.tag for e in events for r in tf.compat.v1.train.summary_iterator(str(e))
          for v in r.summary.value}  # fmt: skip
  assert {"train/loss", "train/grad_norm", "validation/ari_fg"} <= tags


def test_a_resumed_run_ends_bit_identical(tiny_data, tmp_path):
  # a rate that falls over num_steps would know where the run ends
  options = {"data": {"dir": str(tiny_data)}, "learning_rate_schedule": "constant"}
  options |= {"validate_every": 0, "scored": False}
  run_experiment(tmp_path, **options)
  run_experiment(tmp_path, num_steps=3, **options)
  resumed = run_experiment(tmp_path, resume_from=str(tmp_path / "2"), **options)
  assert resumed.info["resumed_from"] == {"run": str(tmp_path / "2"), "step": 3}
  for ours, theirs in zip(variables(tmp_path / "3"), variables(tmp_path / "1"), strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_images_that_grow_are_resumed_bit_identical(tiny_data, tmp_path, monkeypatch):
  """Stopped among the steps on smaller images, and behind them."""
  parts, restart = [], Progress.restart

  def spy(self, step, left=None):
    parts.append((step, left))
    restart(self, step, left)

  monkeypatch.setattr(Progress, "restart", spy)
  options = {"learning_rate_schedule": "constant", "validate_every": 0, "scored": False}
  options |= {"curriculum": [{"until": 3, "image_size": [12, 12]}]}
  run_experiment(tmp_path, data={"dir": str(tiny_data)}, **options)
  growth = (14 / 12) ** 2  # 6 steps
  assert [parts[-2], parts[-1]] == [(0, pytest.approx(3 + 3 * growth)), (3, 3)]
  beside = tmp_path / "data"  # with other scenes of that size, which are not to be read
  shutil.copytree(tiny_data, beside)
  generate.generate("tetrominoes_quick", 60, beside, seed=5, progress=False, image_size=12)
  options["data"] = {"dir": str(beside), "image_size": [14, 14]}
  stopped = run_experiment(tmp_path, num_steps=2, **options)
  for steps in (4, 6):
    origin = str(tmp_path / stopped._id)
    stopped = run_experiment(tmp_path, resume_from=origin, num_steps=steps, **options)
  ours, theirs = (variables(tmp_path / run) for run in (stopped._id, "1"))
  for one, another in zip(ours, theirs, strict=True):
    np.testing.assert_array_equal(one, another)


def best(run):
  return [p.stem for p in (run / "checkpoints" / "best").glob("*.index")]


@pytest.fixture
def perfect(trained_run, tmp_path):
  """A run whose best checkpoint no other can beat."""
  folder = tmp_path / "perfect"
  shutil.copytree(trained_run, folder)
  write_json(folder / "validation.json", {"3": 2.0, "6": 3.0})
  return folder


@pytest.mark.usefixtures("uncompiled")
def test_the_best_on_other_scenes_is_not_the_one_to_beat(perfect, tiny_data, tmp_path):
  generate.generate("tetrominoes_quick", 60, out=str(tmp_path), seed=5, progress=False)
  shutil.copytree(tiny_data, tmp_path / "moved")

  def best_on(num_images=4, **data):
    data = {"dir": str(tiny_data), **data}
    options = {"num_steps": 9, "data": data, "num_validation_images": num_images, "scored": False}
    return best(tmp_path / run_experiment(tmp_path, resume_from=str(perfect), **options)._id)

  before = best(perfect)
  assert best_on(dir=str(tmp_path / "moved")) == before
  for other in ({"min_objects": 1}, {"dir": str(tmp_path)}, {"num_validation": 7}):
    assert best_on(**other) == ["best-9"], other
  assert best_on(num_images=3) == ["best-9"]


@pytest.mark.parametrize(
  "changes", [{}, {"num_starts": 8}, {"num_slots": 5}, {"num_iterations": 9}]
)
def test_scores_of_another_inference_do_not_compare(trained_run, changes):
  config = {**runs.training_config(trained_run), **changes}
  assert resume._same_scores(trained_run, config, trained_run) == (not changes)


@pytest.mark.usefixtures("uncompiled")
def test_the_best_by_another_score_is_not_the_one_to_beat(perfect, tiny_data, tmp_path):
  options = {"num_steps": 9, "data": {"dir": str(tiny_data)}, "scored": False}
  run_experiment(tmp_path, resume_from=str(perfect), best_by="nll", **options)
  assert best(tmp_path / "1") == ["best-9"]


def test_a_signal_saves_and_stops(trained_run, tiny_data, tmp_path):
  def send():
    while not list(tmp_path.glob("1/checkpoints/*.index")):
      time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

  thread = threading.Thread(target=send)
  thread.start()
  data = {"dir": str(tiny_data)}
  with pytest.raises(interrupts.Stopped, match="saved: resume_from=") as stopped:
    run_experiment(tmp_path, num_steps=10_000, checkpoint_every=1, validate_every=0, data=data)
  thread.join()
  assert stopped.value.exit_code == 143
  assert json.loads((tmp_path / "1" / "run.json").read_text())["status"] == "INTERRUPTED"
  _, _, step = runs.load_run(tmp_path / "1", "last")
  assert step >= 1


def test_a_missing_file_says_where_to_get_it(tmp_path):
  with pytest.raises(
    datasets.DataError, match=r"gs://multi-object-datasets.*python -m datasets\.generate"
  ):
    run_experiment(tmp_path, data={"dir": str(tmp_path), "name": "tetrominoes"})


@pytest.mark.parametrize(
  ("updates", "message"),
  [
    ({"num_slots": 1}, "num_slots must be at least 2"),
    ({"num_iterations": 0}, "num_iterations must be at least 1"),
    ({"inputs": ["image", "mas"]}, "did you mean 'mask'"),
    ({"cpu_devices": 0}, "cpu_devices must be at least 1"),
    ({"batch_size": 41}, "batch of 41 is larger than the train split"),
    ({"learning_rate": -1.0}, "learning_rate"),
    ({"decoder_channels": [400_000, 400_000]}, "not enough memory .* a batch_size below"),
    ({"resume_from": "nowhere"}, "there is no run in nowhere"),
  ],
)
def test_bad_settings_are_refused(tiny_data, tmp_path, updates, message):
  with pytest.raises((UserError, datasets.DataError), match=message):
    run_experiment(tmp_path, scored=False, data={"dir": str(tiny_data)}, **updates)


def test_another_configuration_is_not_resumed(trained_run, tiny_data, tmp_path):
  with pytest.raises(UserError, match="latent_size: 4 saved, 5 now"):
    run_experiment(
      tmp_path, resume_from=str(trained_run), latent_size=5, data={"dir": str(tiny_data)}
    )


BLOWN_UP = {"learning_rate": 1e30, "clip_norm": 1e30, "validate_every": 0, "log_every": 1}


def test_a_loss_that_is_not_finite_stops_the_run(tiny_data, tmp_path):
  with pytest.raises(UserError, match=r"step \d.*not finite.*checkpoint is intact"):
    run_experiment(tmp_path, num_steps=20, data={"dir": str(tiny_data)}, **BLOWN_UP)


@pytest.mark.usefixtures("uncompiled")
def test_rewinding_has_an_end_and_other_batches(tiny_data, tmp_path, monkeypatch):
  seeds, load_data = [], runs.load_data

  def seen(data, split, *args, **kwargs):
    if split == "train":
      seeds.append(kwargs["seed"])
    return load_data(data, split, *args, **kwargs)

  monkeypatch.setattr(runs, "load_data", seen)
  options = {"on_nan": "rewind", "max_rewinds": 2, "checkpoint_every": 0, **BLOWN_UP}
  with pytest.raises(UserError, match="not finite"):
    run_experiment(tmp_path, num_steps=20, data={"dir": str(tiny_data)}, **options)
  printed = (tmp_path / "1" / "cout.txt").read_text()
  assert printed.count("back to step 0") == 2
  assert len(set(seeds)) == len(seeds) == 3


def test_evaluation_with_other_k_and_t(trained_run, tmp_path):
  report = scoring.evaluate_run(
    trained_run, tmp_path, which="last", num_images=10, num_iterations=4, num_slots=5, seed=3
  )
  saved = json.loads((tmp_path / "test" / "metrics.json").read_text())
  assert saved["num_images"] == report["summary"]["num_images"] == 10
  assert saved["step"] == 6
  config, model, _ = runs.load_run(trained_run, "last")
  scenes = held_out.scenes(config["data"], "test", 10, 16, [])
  scores = evaluation.Evaluator(model, 4, 5, seed=3)(scenes)
  for name, value in evaluation.summarize(scores).items():
    assert report["summary"][name] == pytest.approx(value, rel=1e-5), name
  medians = np.median(scores["mse"], axis=0)  # by decode
  np.testing.assert_allclose(saved["quantiles"]["mse"]["0.5"], medians, rtol=1e-5)
  assert all(os.path.getsize(path) > 10_000 for path in report["figures"])


@pytest.mark.usefixtures("uncompiled")
def test_evaluation_keeps_the_best_of_several_starts(trained_run, tmp_path):
  one, three = (
    scoring.evaluate_run(trained_run, tmp_path / str(n), "last", num_images=10, num_starts=n)
    for n in (1, 3)
  )
  elbo = [report["summary"]["nll"] + report["summary"]["kl"] for report in (one, three)]
  assert elbo[1] < elbo[0]


def test_evaluation_never_reads_training_records(trained_run, tmp_path):
  with pytest.raises(Refusal, match="never looks at training records"):
    scoring.evaluate_run(trained_run, tmp_path, split="train")


def test_a_run_that_is_not_there(tmp_path):
  with pytest.raises(Refusal, match="there is no run in"):
    runs.load_run(tmp_path / "3")
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(Refusal, match="damaged"):
    runs.load_run(tmp_path)


def test_missing_data_are_generated_if_asked_for(tmp_path):
  data = {**runs.DATA, "name": "shapes", "dir": str(tmp_path), "num_train": 20}
  data |= {"num_validation": 3, "num_test": 2}
  with pytest.raises(datasets.DataError, match=r"datasets\.generate shapes"):
    runs.check_data(data)
  for _ in range(2):  # the second time it is there
    runs.check_data({**data, "generate": True})
  assert "train 20 " in runs.describe_data(data)
  with pytest.raises(datasets.DataError, match="download"):  # rendering takes hours
    runs.check_data({**data, "name": "clevr", "generate": True})


@pytest.mark.usefixtures("uncompiled")
def test_images_of_ones_own_train(tmp_path):
  pixels = np.random.default_rng(0).integers(256, size=(12, 20, 30, 3), dtype=np.uint8)
  (tmp_path / "pictures").mkdir()
  for number, picture in enumerate(pixels):
    Image.fromarray(picture).save(tmp_path / "pictures" / f"{number}.png")
  data = {"name": "images", "dir": str(tmp_path), "num_train": None}
  data |= {"num_validation": 4, "num_test": 4}
  with pytest.raises(datasets.DataError, match=r"datasets\.from_images"):
    run_experiment(tmp_path / "runs", data=data)
  from_images.pack(tmp_path / "pictures", tmp_path / "images.tfrecords", size=16)
  data |= {"image_size": [8, 8]}
  run = run_experiment(tmp_path / "runs", num_steps=2, validate_every=0, data=data)
  assert run.info["test"]["num_images"] == 4
  assert run.info["test"]["num_foreground"] == 0  # there are no true masks
  config, model, _ = runs.load_run(tmp_path / "runs" / "2")
  assert model.config.image_size == (8, 8, 3)
  assert names_of(config, config["data"], (8, 8, 3)) == ("images", "images")


@pytest.mark.usefixtures("uncompiled")
def test_a_failing_validation_loses_nothing(tiny_data, tmp_path, monkeypatch):
  def broken(self, batches, first_index=0):
    raise datasets.DataError("records 40 to 47 are gone")

  monkeypatch.setattr(evaluation.Evaluator, "__call__", broken)
  with pytest.raises(Refusal, match=r"40 to 47 are gone; what was saved is intact: resume_from="):
    run_experiment(tmp_path, data={"dir": str(tiny_data)})
  assert (tmp_path / "1/checkpoints/ckpt-3.index").is_file()


@pytest.mark.usefixtures("uncompiled")
def test_a_validation_that_was_lost_is_made_up_for(trained_run, tiny_data, tmp_path):
  """A run that is killed between its checkpoint and its scores."""
  shutil.copytree(trained_run, tmp_path / "0")
  resume.write_history(tmp_path / "0", {3: -1.0})  # that of step 6 is not there
  options = {"data": {"dir": str(tiny_data)}, "scored": False}
  run_experiment(tmp_path, resume_from=str(tmp_path / "0"), **options)
  history = resume.read_history(tmp_path / "1")
  assert history == pytest.approx({3: -1.0, 6: resume.read_history(trained_run)[6]})
  scalars = json.loads((tmp_path / "1/metrics.json").read_text())
  assert scalars["validation.mse"]["steps"] == [6]


@pytest.mark.usefixtures("uncompiled")
def test_best_by_the_likelihood(tiny_data, tmp_path):
  run_experiment(tmp_path, best_by="nll", scored=False, data={"dir": str(tiny_data)})
  scores = json.loads((tmp_path / "1/metrics.json").read_text())["validation.nll"]
  kept = resume.read_history(tmp_path / "1")
  assert [-kept[step] for step in scores["steps"]] == pytest.approx(scores["values"])
  best = scores["steps"][int(np.argmin(scores["values"]))]
  assert [p.stem for p in (tmp_path / "1/checkpoints/best").glob("*.index")] == [f"best-{best}"]


@pytest.mark.parametrize(
  ("origin", "options", "message"),
  [
    ("", {"num_steps": 5}, "has done 6 steps already: num_steps=5 is less"),
    ("/checkpoints", {}, "holds a run's checkpoints; the run is"),
    ("", {"best_by": "luck"}, "best_by must be one of"),
    ("", {"optimizer": "adam"}, "was trained with optimizer=muon, whose state"),
    ("", {"data.grayscale": True}, "image channels: 3 saved, 1 now"),
  ],
)
def test_what_cannot_be_resumed(trained_run, tiny_data, tmp_path, origin, options, message):
  options = {"data.dir": str(tiny_data), **options}
  with pytest.raises(UserError, match=message):
    command.run((), {"resume_from": f"{trained_run}{origin}", **options}, tmp_path)


def test_a_cluster_s_garbage_is_no_affair_of_one_machine(monkeypatch):
  monkeypatch.setenv("TF_CONFIG", "{garbage")
  config = {"strategy": "cpu", "num_devices": None, "cpu_devices": 1, "batch_size": 4, "jit": False}
  assert runs.strategy(config).num_replicas_in_sync == 1
  assert "TF_CONFIG" not in os.environ


@pytest.mark.usefixtures("uncompiled")
def test_the_best_of_steps_that_were_lost_is_not_taken_over(perfect, tiny_data, tmp_path):
  """The parent was killed behind a validation and before the next checkpoint."""
  for path in (perfect / "checkpoints").glob("ckpt-6.*"):
    path.unlink()
  for path in (perfect / "checkpoints" / "best").glob("best-*.*"):
    path.rename(path.with_stem("best-6"))
  data = {"dir": str(tiny_data)}
  options = {"num_steps": 4, "validate_every": 4, "learning_rate": 0.01, "scored": False}
  run_experiment(tmp_path, resume_from=str(perfect), data=data, **options)
  assert best(tmp_path / "1") == ["best-4"]
  _, _, step = runs.load_run(tmp_path / "1", "best")
  assert step == 4


@pytest.mark.usefixtures("uncompiled")
def test_likelihoods_compare_only_once_sigma_stands(tiny_data, tmp_path):
  """With another sigma it is another measure, by which the first validation would stay the best."""
  annealed = {"sigma_start": 0.5, "sigma": 0.1, "anneal_steps": 4}
  data = {"dir": str(tiny_data)}
  options = {"best_by": "nll", "scored": False, "validate_every": 2, "data": data}
  run_experiment(tmp_path, **annealed, **options)
  kept = resume.read_history(tmp_path / "1")
  assert [step for step in (2, 4, 6) if np.isfinite(kept[step])] == [6]
  assert best(tmp_path / "1") == ["best-6"]
  wider = {"sigma": 0.4, "sigma_start": None, "anneal_steps": 0, "num_steps": 8}
  run_experiment(tmp_path, resume_from=str(tmp_path / "1"), **wider, **options)
  assert best(tmp_path / "2") == ["best-8"]  # the narrower sigma's is gone


@pytest.mark.usefixtures("uncompiled")
def test_a_signal_while_scores_are_made(tiny_data, tmp_path, monkeypatch):
  def evaluated(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

  monkeypatch.setattr(scoring, "evaluate_run", evaluated)
  data = {"dir": str(tiny_data)}
  with pytest.raises(interrupts.Stopped) as stopped, interrupts.termination():
    run_experiment(tmp_path, num_steps=1, validate_every=0, data=data)
  assert stopped.value.exit_code == 143
  assert json.loads((tmp_path / "1" / "run.json").read_text())["status"] == "INTERRUPTED"
  assert runs.load_run(tmp_path / "1", "last")[2] == 1


@pytest.mark.parametrize("damage", ["cut", "first"])
@pytest.mark.usefixtures("uncompiled")
def test_damaged_records_are_passed_over_where_that_is_asked_for(tiny_data, tmp_path, damage):
  [path] = tiny_data.glob("tetrominoes*.tfrecords")
  content = bytearray(path.read_bytes())
  if damage == "cut":
    content = content[:-100]
  else:
    content[40] ^= 255
  (tmp_path / "damaged").write_bytes(content)
  data = {"path": [str(tmp_path / "damaged")]}
  options = {"num_steps": 1, "validate_every": 0, "scored": False}
  with pytest.raises(datasets.DataError, match=r"cut off|checksum"):
    run_experiment(tmp_path, data=data, **options)
  run_experiment(tmp_path, data={**data, "on_error": "skip"}, **options)


def test_the_cpu_has_no_more_devices_than_cores(monkeypatch):
  made = []
  monkeypatch.setattr(runs, "num_cores", lambda: 3)
  monkeypatch.setattr(runs, "split_cpu", lambda parts: made.append(parts) or 1)
  config = {"strategy": "auto", "num_devices": None, "jit": False}
  assert runs.strategy({**config, "cpu_devices": 8, "batch_size": 9}) is not None
  assert made == [3]
  runs.strategy({**config, "cpu_devices": 8, "batch_size": 32})  # which three do not divide
  assert made == [3]
