"""Which runs and which scenes an experiment takes, and what it refuses."""

import pathlib
import shutil
import types

import numpy as np
import pytest

import datasets
from experiments import decompositions, factors, train
from experiments.support import runs, scoring, subjects
from experiments.support.errors import Refusal
from iodine.errors import UserError
from iodine.files import write_json
from tests.experiments import studies
from tests.experiments.studies import study


def settings(**updates):
  return studies.settings(decompositions, **updates)


def test_runs_by_one_name_several_and_patterns(trained_run):
  [one] = subjects.open_runs(settings(run=str(trained_run)))
  assert one.dataset == "tetrominoes (14 x 14)"
  several = subjects.open_runs(settings(runs=f"[{trained_run},{trained_run.parent}/*]"))
  assert [s.folder for s in several] == [str(trained_run)]  # once, and no other folders


def test_results_lie_beside_the_runs(trained_run, tmp_path):
  folder, beside = subjects.beside("slots"), trained_run.parent / "slots"
  assert folder({"run": str(trained_run)}) == str(trained_run / "slots")
  other = tmp_path / trained_run.name
  shutil.copytree(trained_run, other)
  assert folder({"runs": [str(trained_run), str(other)]}) == str(beside)
  for missing in ({}, {"run": str(tmp_path / "3")}):
    with pytest.raises(Refusal, match=r"say which run|there is no run"):
      folder(missing)
  assert not (tmp_path / "3").exists()


def test_changed_data_comes_from_held_out_records(trained_run):
  [subject] = subjects.open_runs(settings(run=str(trained_run), data={"num_test": 5}))
  [batch] = subjects.scenes(subject, settings(num_images=320))
  np.testing.assert_array_equal(batch["index"], np.arange(48, 53))


def test_another_folder_is_looked_at_in_place_of_a_file(trained_run, tmp_path):
  run = tmp_path / "run"
  shutil.copytree(trained_run, run)
  config = runs.load_config(run)
  [file] = map(str, pathlib.Path(config["data"]["dir"]).glob("*.tfrecords"))
  write_json(run / "config.json", {**config, "data": {**config["data"], "path": [file]}})
  assert subjects.open_run(settings(run=str(run))).data["path"] == [file]
  with pytest.raises(datasets.DataError, match="nowhere/"):
    subjects.open_run(settings(run=str(run), data={"dir": "nowhere"}))
  with pytest.raises(datasets.DataError, match="nowhere/"):
    scoring.evaluate_run(str(run), tmp_path / "out", data={"dir": "nowhere"})
  again = {"dir": "nowhere", "path": [file]}
  assert subjects.open_run(settings(run=str(run), data=again)).data["path"] == [file]


@pytest.mark.parametrize(
  ("updates", "message"),
  [
    ({"run": None}, "say which run"),
    ({"run": "nowhere/3"}, "there is no run in nowhere/3"),
    ({"runs": "nowhere/*"}, "there is no run nowhere/"),
    ({"run": 3}, "there is no run in 3"),
    ({"split": "train"}, "must be one of 'test' or 'validation', got 'train'"),
    ({"checkpoint": "first"}, "must be one of 'best' or 'last'"),
    ({"data": {"name": "shapes"}}, "images of 3 channels, the images of shapes have 1"),
    ({"data": {"name": "clever"}}, "no dataset is called"),
    (
      {"split": "validation", "data": {"num_validation": 20}},
      r"records that the model was trained on: .* first 40",
    ),
    ({"data": {"num_train": 20}}, r"records that the model was trained on"),
    ({"data": {"dir": "nowhere"}}, "nowhere"),
  ],
)
def test_refusals(trained_run, updates, message):
  updates = {"run": str(trained_run), **updates}
  if "runs" in updates:
    updates["run"] = None
  with pytest.raises((UserError, datasets.DataError, ValueError), match=message):
    subjects.open_runs(settings(**updates))


def test_a_run_without_checkpoint(trained_run, tmp_path):
  (tmp_path / "1").mkdir()
  shutil.copy(trained_run / "config.json", tmp_path / "1")
  with pytest.raises(UserError, match="no checkpoint"):
    study(decompositions, tmp_path / "out", run=tmp_path / "1")


def test_one_run_where_one_is_meant(trained_run, tmp_path):
  other = tmp_path / "2"
  shutil.copytree(trained_run, other)
  with pytest.raises(Refusal, match="about one run, got 2"):
    study(decompositions, tmp_path / "out", runs=f"{trained_run},{other}")


def test_runs_of_a_sweep(trained_run, tmp_path):
  shutil.copytree(trained_run, tmp_path / "a" / "2")
  index = {
    "a": {"words": [], "status": "done", "run": "2"},
    "b": {"words": [], "status": "stopped", "run": "1"},
  }
  write_json(tmp_path / "index.json", index)
  [one] = subjects.open_runs(settings(runs=str(tmp_path)))
  assert one.folder == str(tmp_path / "a" / "2")


def test_different_data_is_not_compared(trained_run):
  [one] = subjects.open_runs(settings(run=str(trained_run)))
  other = one._replace(config={**one.config, "preset": "shapes"})
  with pytest.raises(Refusal, match="compare runs on the same data set"):
    subjects.same_data([one, other])


def test_factors_that_the_data_lacks(trained_run, tmp_path):
  with pytest.raises(
    Refusal, match=r"tetrominoes_quick has no factor 'size'; there are: x, y, shape"
  ):
    study(factors, tmp_path, run=trained_run, factors="[x,size]")


def test_every_key_is_declared():
  for module in (decompositions, factors):
    data = {"name": "clevr", "max_objects": 9}
    assert studies.settings(module, run="runs/3", seed=1, data=data)["data"]["max_objects"] == 9
    with pytest.raises(UserError, match="no config key 'num_slot': did you mean 'num_slots'"):
      studies.settings(module, num_slot=3)


@pytest.mark.parametrize(
  ("words", "name"),
  [
    (["tetrominoes"], "tetrominoes"),
    (["clevr6"], "clevr6"),
    (["clevr6", "data.name=clevr6"], "clevr6"),
    (["clevr6", "quick"], "clevr6 (48 x 48)"),
    (["multi_dsprites", "quick"], "multi_dsprites (35 x 35)"),
    (
      ["multi_dsprites", "data.name=multi_dsprites_colored_on_colored"],
      "multi_dsprites_colored_on_colored",
    ),
    (["clevr6", "data.name=objects_room"], "objects_room"),
    (["multi_dsprites", "data.name=tetrominoes"], "tetrominoes"),
    (["multi_dsprites", "quick", "data.name=tetrominoes"], "tetrominoes"),
    (["tetrominoes", "data.name=tetrominoes_quick"], "tetrominoes (14 x 14)"),
  ],
)
def test_results_are_named_after_their_data(words, name):
  config = train.command.configure(words)
  assert subjects.names_of(config, config["data"], runs.image_size(config["data"]))[1] == name


def test_methods_are_told_apart_where_there_are_several():
  def labels(*methods):
    return subjects.told_apart([types.SimpleNamespace(method=name) for name in methods])

  assert labels("IODINE", "MONet", "IODINE") == ["IODINE, ", "MONet, ", "IODINE, "]
  assert labels("IODINE", "IODINE") == ["", ""]
