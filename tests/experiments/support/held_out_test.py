"""No record that a model has learned from is ever scored."""

import contextlib
import dataclasses
import json
import shutil
import types

import pytest

from datasets import files, generate, recode
from experiments import decompositions
from experiments.support import held_out, runs, scoring
from experiments.support.errors import Refusal
from experiments.support.subjects import open_run
from iodine.files import write_json
from tests.experiments.conftest import run_experiment
from tests.experiments.studies import settings

TRAINED = r"would hold records that the model was trained on: .* learned from the first 40"


@pytest.fixture(scope="module")
def elsewhere(tiny_data, tmp_path_factory):
  """The same file in another folder."""
  folder = tmp_path_factory.mktemp("moved")
  shutil.copytree(tiny_data, folder, dirs_exist_ok=True)
  return folder


@pytest.fixture(scope="module")
def others(tmp_path_factory):
  """Other scenes in a file of the same name."""
  folder = tmp_path_factory.mktemp("others")
  generate.generate("tetrominoes_quick", 60, out=str(folder), seed=5, progress=False)
  return folder


def test_a_run_keeps_what_it_learned_from(trained_run):
  [entry] = held_out.learned(trained_run)
  assert entry.stop == 40
  assert entry.data["name"] == "tetrominoes_quick"
  source = held_out.open_source(runs.training_config(trained_run)["data"])
  assert entry.fingerprint == source.fingerprint()


@pytest.mark.parametrize(
  "data", [{"num_train": 5}, {"num_train": 0, "num_test": 60}, {"num_train": 5, "num_test": 0}]
)
def test_no_command_scores_one(trained_run, tmp_path, data):
  split = "test" if data.get("num_test", 12) else "validation"
  with pytest.raises(Refusal, match=TRAINED):
    scoring.evaluate_run(trained_run, tmp_path, split=split, data=data)
  with pytest.raises(Refusal, match=TRAINED):
    open_run(settings(decompositions, run=str(trained_run), split=split, data=data))
  with pytest.raises(Refusal, match="never looks at training records"):
    held_out.scenes(runs.training_config(trained_run)["data"], "all", 4, 4, [])
  assert list(tmp_path.iterdir()) == []


def check(run, **data):
  data = {**runs.training_config(run)["data"], **data}
  held_out.check(held_out.learned(run), data, ["validation", "test"])


def test_a_file_is_known_in_another_place(trained_run, elsewhere, others):
  check(trained_run)
  check(trained_run, dir=str(elsewhere))  # the held-out records are the same
  with pytest.raises(Refusal, match=TRAINED):
    check(trained_run, dir=str(elsewhere), num_train=39)
  with pytest.raises(Refusal, match=TRAINED):
    check(
      trained_run, dir="x", path=[str(next(elsewhere.glob("tetrominoes*.tfrecords")))], num_train=39
    )
  check(trained_run, dir=str(others), num_train=0)
  check(trained_run, num_train=41)  # further back


def test_a_file_that_has_become_shorter_is_split_elsewhere(bundle, tmp_path):
  """Its last records are for testing now: the generator's first ones, which were learned from."""
  generate.generate("tetrominoes_quick", 30, out=str(tmp_path), progress=False)
  with pytest.raises(Refusal, match=TRAINED):
    check(bundle, dir=str(tmp_path))
  with pytest.raises(Refusal, match=r"another --seed"):
    check(bundle, dir=str(tmp_path), num_train=10)


def test_other_scenes_under_the_same_name_are_others(bundle, others):
  [entry] = held_out.learned(bundle)
  entry = entry._replace(data={**entry.data, "dir": str(others)})
  data = {**runs.training_config(bundle)["data"], "dir": str(others), "num_train": 0}
  held_out.check([entry], data, ["test"])
  held_out.check([entry], {**data, "image_size": [70, 70]}, ["test"])
  with pytest.raises(Refusal, match=TRAINED):  # a list that is older than fingerprints
    held_out.check([entry._replace(fingerprint=None)], data, ["test"])


def test_the_seed_of_generated_scenes_is_kept(bundle, others):
  data = {**runs.training_config(bundle)["data"], "dir": str(others)}
  assert [entry.seed for entry in held_out.learned(bundle)] == [0]
  assert held_out.seed_of(held_out.open_source(data)) not in (None, 0)


def test_a_scene_rendered_at_another_size_is_the_same(monkeypatch, bundle, others):
  [entry] = held_out.learned(bundle)
  entry = entry._replace(data={**entry.data, "dir": str(others)})
  data = {**runs.training_config(bundle)["data"], "dir": str(others), "num_train": 0}
  rendered = dataclasses.replace(runs.dataset_spec(data), rendered=True)
  monkeypatch.setattr(runs, "dataset_spec", lambda data: rendered)
  held_out.check([entry], data, ["test"])  # of this size these are others
  small = {**data, "image_size": [70, 70]}
  seed = held_out.seed_of(held_out.open_source(data))
  elsewhere = entry._replace(data={**entry.data, "dir": "elsewhere"})
  for own, same in (
    (entry._replace(seed=None), True),  # nothing but the place is known
    (elsewhere._replace(seed=None), False),
    (entry._replace(seed=seed + 1), False),
    (entry._replace(seed=seed), True),
    (elsewhere._replace(seed=seed), True),
  ):
    if own.seed is not None:  # nor does it matter that this very size has been rendered anew
      refused = pytest.raises(Refusal, match=TRAINED) if same else contextlib.nullcontext()
      with refused:
        held_out.check([own], data, ["test"])
    if same:
      with pytest.raises(Refusal, match=TRAINED):
        held_out.check([own], small, ["test"])
    else:
      held_out.check([own], small, ["test"])


def test_scenes_that_were_chosen_are_not_the_seed_s(tmp_path):
  folder = tmp_path / "data"
  generate.generate("tetrominoes_quick", 60, out=str(folder), seed=7, progress=False)
  [path] = folder.glob("*.tfrecords")
  index = files.RecordFile(path).index()
  for key, seed in ((None, 7), ("without", None), ("having", None)):
    parameters = {"without": "", "having": "", **({key: "green sphere"} if key else {})}
    files.RecordFile(path).write_index(**{**index, "parameters": parameters})
    source = types.SimpleNamespace(files=[files.RecordFile(path)])
    assert held_out.seed_of(source) == seed


@pytest.mark.parametrize("how", [{"size": (20, 20)}, {"layout": "released"}, {"num": 50}])
def test_a_recoded_file_is_known(trained_run, tiny_data, tmp_path, how):
  [path] = tiny_data.glob("tetrominoes*.tfrecords")
  out = str(tmp_path / path.name)
  recode.recode("tetrominoes_quick", path, out, **how)
  with pytest.raises(Refusal, match=TRAINED):
    check(trained_run, path=[out], num_train=39, image_size=how.get("size"))
  if "size" in how:
    return
  again = str(tmp_path / "again.tfrecords")
  recode.recode("tetrominoes_quick", out, again, size=(10, 10))
  with pytest.raises(Refusal, match=TRAINED):
    check(trained_run, path=[again], num_train=39, image_size=(10, 10))


def test_the_shards_of_a_file_are_known(trained_run, tiny_data, tmp_path):
  """Those behind the first 40 records, in the last three of six files of ten, are others."""
  [path] = tiny_data.glob("tetrominoes*.tfrecords")
  shards = recode.recode("tetrominoes_quick", path, str(tmp_path / "x"), shards=6)
  split = {"num_train": 0, "num_validation": 0, "num_test": 10}
  for shard in shards[:4]:
    with pytest.raises(Refusal, match=TRAINED):
      check(trained_run, path=[shard], **split)
  for shard in shards[4:]:
    check(trained_run, path=[shard], **split)
  check(trained_run, path=shards)
  with pytest.raises(Refusal, match=TRAINED):
    check(trained_run, path=shards, num_train=39)
  whole = str(tmp_path / "whole")  # in another order
  recode.recode("tetrominoes_quick", [shards[5], *shards[:5]], whole)
  with pytest.raises(Refusal, match=TRAINED):
    check(trained_run, path=[whole])
  check(trained_run, path=[whole], num_train=0, num_validation=0, num_test=10)


@pytest.mark.parametrize("of_one", [False, True])
def test_what_was_learned_from_shards_is_known(trained_run, tiny_data, tmp_path, of_one):
  [path] = tiny_data.glob("tetrominoes*.tfrecords")
  shards = recode.recode("tetrominoes_quick", path, str(tmp_path / "x"), shards=6)
  data = {**runs.training_config(trained_run)["data"], "num_validation": 0}
  used = {"path": shards[2:3], "num_train": 8} if of_one else {"path": shards, "num_train": 28}
  held_out.record(tmp_path, {**data, **used, "num_test": 2})
  seen = range(20, 28) if of_one else range(28)

  def refused(**where):
    entries = held_out.learned(tmp_path)
    try:
      held_out.check(entries, {**data, "num_train": 0, **where}, ["test"])
    except Refusal:
      return True
    return False

  for number, shard in enumerate(shards):
    start = 10 * number
    for behind in (10, 2):
      wanted = range(start + 10 - behind, start + 10)
      skipped = {"num_train": 10 - behind, "num_test": behind}
      assert refused(path=[shard], **skipped) == bool(set(wanted) & set(seen)), (shard, behind)
      whole = {"num_train": wanted.start, "num_test": behind}
      assert refused(**whole) == bool(set(wanted) & set(seen)), wanted


def test_a_selection_of_a_file_is_of_that_file(trained_run, monkeypatch):
  data = runs.training_config(trained_run)["data"]
  [entry] = held_out.learned(trained_run)
  part = dataclasses.replace(runs.dataset_spec(data), name="part", part_of=data["name"])
  monkeypatch.setattr("datasets.get_spec", lambda name: part)
  entry = entry._replace(data={**entry.data, "name": "part"})
  with pytest.raises(Refusal, match=TRAINED):
    held_out.check([entry], {**data, "num_train": 39}, ["validation"])


def test_a_bundle_tells_too(bundle, trained_run, elsewhere):
  text = (bundle / held_out.FILE).read_text()
  assert str(trained_run.parent) not in text
  with pytest.raises(Refusal, match=TRAINED):
    check(bundle, dir=str(elsewhere), num_train=39)


def test_the_whole_chain_counts(trained_run, tiny_data, tmp_path):
  options = {"resume_from": str(trained_run), "num_steps": 6, "validate_every": 0}
  with pytest.raises(Refusal, match=TRAINED):  # it would test on what its parent learned from
    run_experiment(tmp_path, data={"dir": str(tiny_data), "num_train": 20}, **options)
  assert not list(tmp_path.glob("*/checkpoints"))
  data = {"dir": str(tiny_data), "num_train": 44, "num_validation": 4}
  run_experiment(tmp_path, data=data, **options)
  [run] = [path.parent for path in tmp_path.glob("*/checkpoints")]
  assert [entry.stop for entry in held_out.learned(run)] == [40, 44]
  with pytest.raises(Refusal, match="learned from the first 44"):
    check(run, num_train=40, num_validation=8)


def test_runs_that_are_older_than_the_list(trained_run, tiny_data, tmp_path):
  config = json.loads((trained_run / "config.json").read_text())
  for name, count, origin in (("1", 40, None), ("2", 30, "1")):
    (tmp_path / name).mkdir()
    own = {**config, "resume_from": origin and str(tmp_path / origin)}
    write_json(
      tmp_path / name / "config.json", {**own, "data": {**own["data"], "num_train": count}}
    )
  assert len(held_out.learned(tmp_path / "2")) == 2
  with pytest.raises(Refusal, match="learned from the first 40"):
    check(tmp_path / "2")
  check(tmp_path / "2", num_train=40)
  (tmp_path / "2" / held_out.FILE).write_text("{")
  with pytest.raises(Refusal, match="damaged"):
    held_out.learned(tmp_path / "2")


def test_without_validation_and_test_records(tiny_data, tmp_path, capsys):
  data = {"dir": str(tiny_data), "num_validation": 0, "num_test": 0}
  run = run_experiment(tmp_path, num_steps=2, image_every=1, checkpoint_every=0, data=data)
  assert run.result is None
  assert "not scored" in capsys.readouterr().out
  assert (tmp_path / "1/checkpoints/ckpt-2.index").is_file()  # the end is always saved
  assert "validation.mse" not in json.loads((tmp_path / "1/metrics.json").read_text())
