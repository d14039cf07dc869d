"""Grids of runs: restarts, failures, and what the figures are made of. Training is played."""

import json
import shutil
import signal
import sys

import numpy as np
import pytest

import datasets
from experiments import ablation, sweep
from experiments.support import curves, grid, interrupts
from experiments.support.errors import Refusal
from experiments.support.training import command
from iodine import auxiliary
from iodine.build import make_config
from iodine.errors import UserError
from iodine.files import write_json
from tests.experiments.studies import read_json, rows, settings, study

# Plays a training: records itself as run N of its storage, as the seed's place in `outcomes` says.
PLAYER = """
import json, pathlib, sys, time
storage = pathlib.Path(sys.argv[sys.argv.index("-F") + 1])
words = sys.argv[sys.argv.index("with") + 1 :]
number = 1 + sum(p.name.isdigit() for p in storage.iterdir())
run = storage / str(number)
(run / "checkpoints").mkdir(parents=True)
(run / "checkpoints" / "ckpt-3.index").touch()
resumed = [w for w in words if w.startswith("resume_from=")]
seed = 0 if resumed else int(words[-1].partition("=")[2])
outcome = "COMPLETED" if resumed else OUTCOMES.get(seed, "COMPLETED")
print("words", *words)
if outcome == "FAILED":
  print("train.py: the learning rate is too high", file=sys.stderr)
if outcome == "HANGS":
  time.sleep(60)
test = {"ari_fg": 0.1 * seed, "ari": 0.2, "mse": 0.3, "kl": 4.0}
steps = [2, 4]
values = {"steps": steps, "values": [1.0 * seed, 2.0 * seed], "timestamps": steps}
(run / "config.json").write_text(json.dumps({"seed": seed}))
(run / "info.json").write_text(json.dumps({"test": test}))
(run / "metrics.json").write_text(json.dumps({"train.loss": values, "validation.ari_fg": values}))
(run / "run.json").write_text(json.dumps({"status": outcome}))
"""


@pytest.fixture
def player(tmp_path, monkeypatch):
  """Sets how trainings end, by seed."""

  def play(**outcomes):
    outcomes = {int(name[1:]): outcome for name, outcome in outcomes.items()}
    script = tmp_path / "player.py"
    script.write_text(PLAYER.replace("OUTCOMES", repr(outcomes)))
    monkeypatch.setattr(grid, "COMMAND", (sys.executable, str(script)))
    monkeypatch.setattr(grid.runs, "check_data", lambda data: None)  # it reads none

  return play


def config(folder, **updates):
  return settings(sweep, **{"folder": str(folder), "seeds": [1, 2], **updates})


def outputs(folder):
  return {path.parent.name: path.read_text() for path in folder.glob("*/output.txt")}


def test_a_grid_is_every_combination():
  jobs = sweep.jobs({"num_slots": [4, 7], "num_iterations": [3], "seeds": [1, 2]})
  assert [job.name for job in jobs] == [f"K={k},T=3,seed={seed}" for k in (4, 7) for seed in (1, 2)]
  assert jobs[2].words(["clevr6"]) == ["clevr6", "num_slots=7", "num_iterations=3", "seed=1"]
  assert [job.group for job in sweep.jobs({**config("x"), "seeds": [5]})] == ["all"]
  named = grid.Job("a", 3, {"batch_size": 4}, ("clevr6", "monet"))
  assert named.words(["num_steps=9"]) == [
    "clevr6",
    "monet",
    "num_steps=9",
    "batch_size=4",
    "seed=3",
  ]


def test_what_is_done_is_not_repeated(tmp_path, player):
  player(s2="FAILED")
  folder = tmp_path / "sweep"
  with pytest.raises(Refusal, match=r"1 of 2 runs failed, all,seed=2 first: .*rate is too high"):
    grid.run_jobs(config(folder), sweep.jobs(config(folder)))
  index = read_json(folder / grid.INDEX)
  assert {name: entry["status"] for name, entry in index.items()} == {
    "all,seed=1": "done", "all,seed=2": "failed"
  }  # fmt: skip
  assert grid.done_runs(folder) == [folder / "all,seed=1" / "1"]
  more = config(folder, seeds=[1, 2, 3])
  groups = grid.run_jobs(more, sweep.jobs(more))
  assert groups == {
    "all": [folder / "all,seed=1/1", folder / "all,seed=2/2", folder / "all,seed=3/1"]
  }
  said = outputs(folder)
  assert said["all,seed=1"].count("words") == 1
  assert f"words resume_from={folder / 'all,seed=2' / '1'}" in said["all,seed=2"]
  grid.run_jobs(more, sweep.jobs(more))
  assert outputs(folder) == said


def test_failures_may_be_allowed_and_are_said(tmp_path, player, capsys):
  player(s1="FAILED")
  told = []
  options = {"after": lambda index: told.append(index["all,seed=1"]["status"])}
  both = config(tmp_path / "sweep")
  groups = grid.run_jobs(both, sweep.jobs(both), allow_failures=True, **options)
  assert groups == {"all": [tmp_path / "sweep" / "all,seed=2" / "1"]}
  assert told == ["failed", "failed"]
  assert "all,seed=1 failed: train.py: the learning rate is too high" in capsys.readouterr().out


def test_a_run_that_was_killed_goes_on(tmp_path, player):
  player()
  folder = tmp_path / "sweep"
  one = config(folder, seeds=[4])
  grid.run_jobs(one, sweep.jobs(one))
  write_json(folder / "all,seed=4" / "1" / "run.json", {"status": "RUNNING"})
  [run] = grid.run_jobs(one, sweep.jobs(one))["all"]
  assert run.name == "2"
  shutil.rmtree(folder / "all,seed=4" / "1" / "checkpoints")  # nothing to go on from
  shutil.rmtree(run)
  [run] = grid.run_jobs(one, sweep.jobs(one))["all"]
  assert outputs(folder)["all,seed=4"].strip().endswith("seed=4")


def test_a_signal_stops_the_trainings(tmp_path, player):
  player(s1="HANGS")
  both = config(tmp_path / "sweep", processes=2)
  previous = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGTERM))
  signal.setitimer(signal.ITIMER_REAL, 1.5)
  try:
    with pytest.raises(interrupts.Stopped, match="the same command goes on"):
      grid.run_jobs(both, sweep.jobs(both))
  finally:
    signal.signal(signal.SIGALRM, previous)
  index = read_json(tmp_path / "sweep" / grid.INDEX)
  assert index["all,seed=1"]["status"] != "done"


@pytest.mark.parametrize(
  ("updates", "message"),
  [
    ({"folder": None}, "say where the runs go"),
    ({"train": "tetromino quick"}, "did you mean 'tetrominoes'"),
    ({"train": "tetrominoes num_step=5"}, "did you mean 'num_steps'"),
    ({"train": "tetrominoes data.dir=nowhere"}, "nowhere/tetrominoes.* does not exist"),
  ],
)
def test_trainings_that_cannot_be_are_refused_before_any(tmp_path, updates, message):
  wrong = {**config(tmp_path), **updates}
  with pytest.raises((UserError, datasets.DataError), match=message):
    grid.run_jobs(wrong, sweep.jobs(wrong))
  assert not list(tmp_path.iterdir())


def test_another_training_wants_another_folder(tmp_path, player):
  player()
  one = config(tmp_path / "sweep", seeds=[1])
  grid.run_jobs(one, sweep.jobs(one))
  other = {**one, "train": "tetrominoes quick num_steps=7"}
  with pytest.raises(Refusal, match=r"begun with tetrominoes quick seed=1, not with .*num_steps=7"):
    grid.run_jobs(other, sweep.jobs(other))


def test_the_table_has_mean_and_deviation_over_seeds(tmp_path, player):
  player()
  folder = tmp_path / "sweep"
  out = study(sweep, tmp_path, folder=folder, num_slots=[3, 4], seeds=[1, 2, 6], processes=3)
  first, second = rows(out / "scores.csv")
  assert (first["runs"], second["runs"], first["number"]) == ("K=3", "K=4", "3")
  values = [0.1, 0.2, 0.6]
  assert float(first["ARI-FG"]) == pytest.approx(np.mean(values))
  assert float(first["ARI-FG std"]) == pytest.approx(np.std(values, ddof=1))
  assert (out / "curves.png").is_file()
  assert (out / "scores.pdf").is_file()


def test_each_ablation_lacks_one_thing(tmp_path, player):
  jobs = ablation.jobs(settings(ablation, seeds=1))
  assert len(jobs) == len(auxiliary.ALL_INPUTS) + 2
  assert jobs[0].updates == {}
  for job, name in zip(jobs[1:-1], auxiliary.ALL_INPUTS, strict=True):
    assert job.group == f"without {name}"
    assert set(auxiliary.ALL_INPUTS) - set(job.updates["inputs"]) == {name}
  config = command.configure(jobs[-1].words(["tetrominoes"]))
  decoder = make_config({**config, "image_size": (35, 35, 3)}).decoder
  assert decoder.kind == "deconv"  # of the paper's sizes, whatever the preset's are
  assert (decoder.channels, decoder.kernel) == ((64, 64, 64, 64), 5)
  with pytest.raises(ValueError, match="did you mean 'likelihood'"):
    ablation.jobs(settings(ablation, without="likelihod"))
  player()
  options = {"folder": tmp_path / "ablation", "seeds": [1], "processes": 3}
  out = study(ablation, tmp_path, without="[grad_posterior]", **options)
  assert {p.stem for p in out.glob("*.png")} == {
    "scores", "without_grad_posterior", "deconv_decoder"
  }  # fmt: skip


def record(folder, steps, values, **config):
  folder.mkdir()
  (folder / "config.json").write_text(json.dumps(config))
  curve = {"steps": steps, "values": values, "timestamps": steps}
  (folder / "metrics.json").write_text(json.dumps({"train.loss": curve}))


def test_curves_of_a_resumed_run_join(tmp_path):
  record(tmp_path / "1", [2, 4, 6], [9.0, 8.0, 7.0])
  record(tmp_path / "2", [6, 8], [6.5, 6.0], resume_from=str(tmp_path / "1"))
  steps, values = curves.read(tmp_path / "2")["train.loss"]
  np.testing.assert_array_equal(steps, [2, 4, 6, 8])
  np.testing.assert_array_equal(values, [9.0, 8.0, 6.5, 6.0])


def test_curves_of_several_runs_meet_at_common_steps(tmp_path):
  record(tmp_path / "1", [2, 4, 6], [9.0, 8.0, 7.0])
  record(tmp_path / "2", [4, 6, 8], [5.0, 4.0, 3.0])
  records = {"a": [curves.read(tmp_path / "1")], "b": [curves.read(tmp_path / "2")]}
  steps, values = curves.aligned(records, "train.loss")
  np.testing.assert_array_equal(steps, [4, 6])
  np.testing.assert_array_equal(values["a"], [[8.0, 7.0]])
  np.testing.assert_array_equal(values["b"], [[5.0, 4.0]])
  assert curves.aligned(records, "train.kl") is None


def test_curves_keep_what_was_done_last(tmp_path):
  record(tmp_path / "1", [50, 100, 150, 100, 150, 200], [9.0, 8.0, 7.0, 6.0, 5.0, 4.0])
  steps, values = curves.read(tmp_path / "1")["train.loss"]
  np.testing.assert_array_equal(steps, [50, 100, 150, 200])
  np.testing.assert_array_equal(values, [9.0, 6.0, 5.0, 4.0])
