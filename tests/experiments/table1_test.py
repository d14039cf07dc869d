"""Table 1: which trainings it is, what is made of them, and that it goes on. Training is played."""

import shlex
import sys

import pytest

import datasets
from experiments import table1
from experiments.support import grid, runs
from experiments.support.training import command
from iodine.errors import UserError
from tests.experiments.studies import read_json, rows, settings, study

# Plays a training: records a run of the model that the words name, with an ARI-FG of its own.
PLAYER = """
import json, pathlib, sys
storage = pathlib.Path(sys.argv[sys.argv.index("-F") + 1])
words = sys.argv[sys.argv.index("with") + 1 :]
run = storage / str(1 + sum(p.name.isdigit() for p in storage.iterdir()))
(run / "test").mkdir(parents=True)
seed = int(words[-1].partition("=")[2])
kind = "nem" if "r_nem" in words else "monet" if "monet" in words else "iodine"
if kind == FAILS and seed == 2:
  print("train.py: it diverged", file=sys.stderr)
  (run / "run.json").write_text(json.dumps({"status": "FAILED"}))
  sys.exit(2)
data = {"name": words[0], "image_size": None, "grayscale": False}
config = {"preset": words[0], "model": kind, "cell": "relational", "num_slots": 4, "data": data}
ari = {"nem": 0.5, "monet": 0.7, "iodine": 0.9}[kind] + 0.01 * seed
scores = {"ari_fg": ari, "ari": 0.1, "covering": 0.2, "mse": 0.3, "kl": None, "num_images": 320}
(run / "config.json").write_text(json.dumps(config))
(run / "test" / "metrics.json").write_text(json.dumps({**scores, "step": 30}))
(run / "run.json").write_text(json.dumps({"status": "COMPLETED"}))
"""


@pytest.fixture
def played(tmp_path, monkeypatch):
  """Sets which model's second seed fails; data are not made."""
  lacking = lambda data, budget, num: "nobody renders" if data["name"] == "clevr6" else None
  monkeypatch.setattr(table1, "generate_missing", lacking)

  def play(fails):
    script = tmp_path / "player.py"
    script.write_text(PLAYER.replace("FAILS", repr(fails)))
    monkeypatch.setattr(grid, "COMMAND", (sys.executable, str(script)))

  return play


def test_the_cells_are_the_papers_and_every_training_is_valid():
  jobs = table1.jobs(settings(table1, seeds=2, words="num_steps=9"))
  words = {job.name: job.words(["num_steps=9"]) for job in jobs}
  assert len(words) == 2 * sum(map(len, table1.CELLS.values()))
  assert words["shapes,r_nem,seed=2"] == ["shapes", "r_nem", "quick", "num_steps=9", "seed=2"]
  for own in words.values():
    assert command.configure(own)["num_steps"] == 9
  scenes = {}
  for own in words.values():
    scenes.setdefault(own[0], set()).add(str(command.configure(own)["data"]))
  assert all(len(of_row) == 1 for of_row in scenes.values())  # what is compared is alike
  paper = table1.jobs(settings(table1, budget="paper", seeds=1, models="monet"))
  assert [shlex.join(job.words([])) for job in paper] == [
    f"{preset} monet seed=1" for preset in ("clevr6", "multi_dsprites", "tetrominoes")
  ]


@pytest.mark.parametrize("budget", ["quick", "paper"])
@pytest.mark.parametrize("words", ["", "num_steps=90", "curriculum='[{\"until\": 50}]'"])
def test_a_share_shortens_every_schedule_alike(budget, words):
  base = shlex.split(words)
  options = {"budget": budget, "words": words, "seeds": 1}
  whole, third = (table1.jobs(settings(table1, share=share, **options)) for share in (1, 1 / 3))
  annealed = 0
  for job, own in zip(whole, third, strict=True):
    assert own.name == job.name
    wanted, got = (command.configure(j.words(base)) for j in (job, own))
    changed = {key for key in wanted if wanted[key] != got[key]}
    assert "num_steps" in changed
    untils = {1800: 600, 2700: 900, 3150: 1050, 3600: 1200, 81: 27, 50: 17}  # quick's, the words'
    stages = [{**stage, "until": untils[stage["until"]]} for stage in wanted["curriculum"]]
    assert got["curriculum"] == stages
    assert changed <= {*table1.SCHEDULE, *(["curriculum"] if stages else [])}
    for key in table1.SCHEDULE:
      assert got[key] == -(-wanted[key] // 3)
    annealed += got["anneal_steps"] > 0
  assert annealed or budget == "paper"


def test_scenes_are_rendered_at_the_size_that_is_trained(tmp_path, monkeypatch):
  asked = []
  record = lambda spec, num, out, workers, **rest: asked.append((spec.name, num, rest))
  monkeypatch.setattr(table1.generate, "generate", record)
  monkeypatch.setattr(table1.generators, "generator_of", lambda spec: None)
  clevr6, tetrominoes = (
    command.configure([*words, f"data.dir={tmp_path}"])["data"]
    for words in (["clevr6", "monet", "quick"], ["tetrominoes", "data.image_size=[14,14]"])
  )
  small = {"image_size": (48, 48)}
  for data, budget, num_scenes, wanted in (
    (clevr6, "quick", None, ("clevr6", 8_640, {"quality": "quick", **small})),
    (clevr6, "paper", 48, ("clevr6", 48, small)),
    (tetrominoes, "quick", 48, ("tetrominoes", 48, {})),
    (tetrominoes, "quick", None, ("tetrominoes", 60_640, {})),
  ):
    assert table1.generate_missing(data, budget, num_scenes) is None
    assert asked.pop() == wanted
  assert "num_scenes=2000" in table1.generate_missing(clevr6, "paper", None)
  assert not asked


def test_without_a_renderer_the_row_is_left_out(tmp_path, monkeypatch):
  def lacks(spec):
    raise datasets.DataError(f"generating {spec.name} needs a package")

  monkeypatch.setattr(table1.generators, "generator_of", lacks)
  data = command.configure(["clevr6", "quick", f"data.dir={tmp_path}"])["data"]
  assert table1.generate_missing(data, "quick", None) == "generating clevr6 needs a package"


def test_few_scenes_leave_some_to_be_scored():
  [job] = table1.jobs(settings(table1, seeds=1, num_scenes=100, models="monet",
                               data_sets="clevr6", data={"dir": "x"}))  # fmt: skip
  data = command.configure(job.words([]))["data"]
  assert (data["name"], data["dir"], data["min_objects"]) == ("clevr6", "x", None)
  assert (data["num_train"], data["num_validation"], data["num_test"]) == (None, 25, 25)


@pytest.mark.parametrize(
  ("words", "told"),
  [
    ({"models": "monnet"}, "models: there is no 'monnet': did you mean 'monet'"),
    ({"data_sets": "clevr"}, "data_sets: there is no 'clevr': did you mean 'clevr6'"),
    ({"models": "r_nem", "data_sets": "clevr6"}, "Table 1 has no cell of clevr6 and r_nem"),
  ],
)
def test_cells_that_there_are_not(words, told):
  with pytest.raises(UserError, match=told):
    table1.jobs(settings(table1, **words))


def test_it_trains_tabulates_and_goes_on(tmp_path, played, capsys):
  played("monet")
  folder = tmp_path / "sweep"
  options = {
    "train": True,
    "seeds": 2,
    "folder": str(folder),
    "models": ["iodine", "r_nem", "monet"],
  }
  out = study(table1, tmp_path / "1", **options)
  said = capsys.readouterr().out
  assert "clevr6 is not trained: nobody renders" in said
  assert "tetrominoes,monet,seed=2 failed: train.py: it diverged" in said
  assert "2/2 done, 0.915" in said
  assert "1/2 done, 0.710, 1 failed" in said
  table = {row["ARI-FG"]: row for row in rows(out / "table1.csv")}
  shapes, tetris = table["Shapes"], table["Tetrominoes"]
  assert float(shapes["R-NEM"]) == pytest.approx(0.515)
  assert float(shapes["R-NEM std"]) == pytest.approx(0.01 / 2**0.5)
  assert (shapes["R-NEM (paper)"], shapes["RNN-NEM"], shapes["MONet"]) == (
    "0.776", "not trained", ""
  )  # fmt: skip
  assert (float(tetris["MONet"]), tetris["MONet std"]) == (pytest.approx(0.71), "")
  assert table["CLEVR6"]["IODINE"] == "not trained"
  assert "32 x 32" not in said  # played runs have the full size
  played(None)
  out = study(table1, tmp_path / "2", **options)
  index = read_json(folder / grid.INDEX)
  assert {entry["status"] for entry in index.values()} == {"done"}
  assert [p.name for p in (folder / "shapes,r_nem,seed=1").glob("[0-9]*")] == ["1"]
  assert read_json(out / "table1.json")["ari_fg"]["tetrominoes"]["MONet"]["mean"] == (
    pytest.approx(0.715)
  )


def test_scenes_of_another_folder_are_scored_anew(trained_run, monkeypatch):
  monkeypatch.setattr(table1, "recorded", lambda folder: dict.fromkeys(("num_images", "step"), 7))
  monkeypatch.setattr(table1, "SCORES", {})
  own = runs.training_config(trained_run)["data"]["dir"]
  for data in ({}, {"dir": own}):
    assert table1.scored(trained_run, settings(table1, data=data)).step == 7
  with pytest.raises(datasets.DataError, match="nowhere/"):
    table1.scored(trained_run, settings(table1, data={"dir": "nowhere"}))
