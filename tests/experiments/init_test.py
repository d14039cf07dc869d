"""Beginning with another model's variables, and looking at a model at another image size."""

import json

import numpy as np
import pytest
import tensorflow as tf

import iodine
from experiments import export
from experiments.support import held_out, runs, scoring
from experiments.support.errors import Refusal
from iodine import IodineConfig, build_model, make_config
from iodine.errors import UserError
from iodine.training.checkpoints import Checkpoints
from tests.experiments.conftest import run_experiment

TINY = {
  "image_size": (8, 8, 3),
  "num_slots": 2,
  "num_iterations": 1,
  "latent_size": 3,
  "decoder_channels": (4,),
  "encoder_channels": (4,),
  "mlp_sizes": (4,),
  "lstm_size": 0,
}


def made(**changes):
  model = build_model(IodineConfig(**{**TINY, **changes}))
  model.create_variables()
  return model


@pytest.fixture
def source(monkeypatch):
  model = made()
  for i, variable in enumerate(model.trainable_variables):
    variable.assign_add(np.full(variable.shape, 0.01 * (i + 1), np.float32))
  monkeypatch.setattr(runs, "load_run", lambda folder, which: ({}, model, 7))
  return model


def test_all_that_fits_is_taken_whatever_the_image_size(source):
  model = made(image_size=(12, 10, 3))
  assert runs.initialise(model, "runs/1") == (
    f"begins with {len(model.trainable_variables)} of {len(model.trainable_variables)} variables "
    "of runs/1, step 7"
  )
  for ours, theirs in zip(model.trainable_variables, source.trainable_variables, strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_the_best_checkpoint_or_the_last(tmp_path):
  model, step = made(), tf.Variable(0, dtype=tf.int64)
  state = {"model": model, "step": step, "best_score": tf.Variable(0.0)}
  checkpoints = Checkpoints(tmp_path / runs.CHECKPOINTS, state, model.config)
  step.assign(3)
  checkpoints.save_best(0.5)
  for variable in model.trainable_variables:
    variable.assign_add(tf.ones_like(variable))
  step.assign(4)
  checkpoints.save()
  data = {**runs.DATA, "name": "tetrominoes", "image_size": [8, 8]}
  (tmp_path / "config.json").write_text(json.dumps({**model.config.flat(), "data": data}))

  first = lambda other: other.trainable_variables[0].numpy()
  best, last = made(), made()
  assert "step 3" in runs.initialise(best, tmp_path)
  assert "step 4" in runs.initialise(last, tmp_path, "last")
  np.testing.assert_array_equal(first(last), first(model))
  np.testing.assert_allclose(first(best), first(model) - 1, atol=1e-6)


def test_what_does_not_fit_is_named_and_stays(source):
  model = made(mlp_sizes=(5,))
  before = {v.name.removesuffix(":0"): v.numpy() for v in model.trainable_variables}
  told = runs.initialise(model, "runs/1")
  assert "as new: " in told
  misfits = told.split("as new: ")[1].split(", ")
  assert set(misfits) == {"iodine/refinement/mlp_0/b", "iodine/refinement/mlp_0/w",
                          "iodine/refinement/head/w"}  # fmt: skip
  for variable in model.trainable_variables:
    name = variable.name.removesuffix(":0")
    theirs = next(v for v in source.trainable_variables if v.name == variable.name)
    np.testing.assert_array_equal(variable, before[name] if name in misfits else theirs)


def test_a_training_begins_with_it_and_knows_what_it_has_learned(trained_run, tiny_data, tmp_path):
  data = {"dir": str(tiny_data)}
  with pytest.raises(Refusal, match="learned from the first 40"):
    run_experiment(tmp_path, init_from=str(trained_run), data={**data, "num_train": 20})
  still = {"num_steps": 1, "learning_rate": 1e-9, "validate_every": 0, "init_checkpoint": "last"}
  data |= {"num_train": 44, "num_validation": 4}
  run_experiment(tmp_path, init_from=str(trained_run), data=data, **still)
  [folder] = [path.parent for path in tmp_path.glob("*/checkpoints")]
  assert [entry.stop for entry in held_out.learned(folder)] == [40, 44]
  ours, theirs = (runs.load_run(run, "last")[1] for run in (folder, trained_run))
  for a, b in zip(ours.trainable_variables, theirs.trainable_variables, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_another_kind_of_model_is_refused(monkeypatch):
  vae = build_model(make_config({"model": "vae", "image_size": (8, 8, 3)}))
  vae.create_variables()
  monkeypatch.setattr(runs, "load_run", lambda folder, which: ({}, vae, 7))
  with pytest.raises(UserError, match="no variable of that model fits this one"):
    runs.initialise(made(), "runs/1")


@pytest.mark.parametrize("changes", [{}, {"image_size": [24, 20]}])
def test_a_shipped_model_at_its_own_and_at_another_size(changes):
  config, model, _ = runs.load_run("models/tetrominoes", changes=changes)
  size = tuple(changes.get("image_size", (35, 35)))
  assert tuple(model.config.image_size) == (*size, 3)
  images = np.zeros([1, *size, 3], np.float32)
  assert model(images, num_iterations=1, seed=[0, 0]).masks.shape[3:5] == list(size)
  assert config["data"]["name"] == "tetrominoes"


def test_other_channels_are_refused():
  with pytest.raises(UserError, match=r"3 channels, the images of multi_dsprites_binarized have 1"):
    runs.load_run("models/tetrominoes", changes={"name": "multi_dsprites_binarized"})


def test_the_scores_know_the_size(tmp_path, monkeypatch):
  """What `evaluate` hands on: the changed data reaches the model."""
  seen = {}

  def load_run(run, which, changes, num_starts):
    seen.update(changes)
    raise UserError("enough")

  monkeypatch.setattr(runs, "load_run", load_run)
  with pytest.raises(UserError, match="enough"):
    scoring.evaluate_run("runs/1", tmp_path, data={"image_size": [24, 24]})
  assert json.loads(json.dumps(seen)) == {"image_size": [24, 24]}


def test_an_export_may_take_images_of_another_size(tmp_path):
  updates = {"run": "models/tetrominoes", "out": str(tmp_path / "saved"), "image_size": [14, 21]}
  export.command.run(updates=updates, folder=tmp_path / "runs")
  loaded = iodine.load(tmp_path / "saved")
  assert loaded.metadata["image_size"] == [14, 21, 3]
  assert loaded.metadata["size"] == [14, 21]
  assert loaded.metadata["ari_fg"] is None  # that of another size says nothing here
  assert loaded.infer(np.zeros([14, 21, 3], np.uint8)).segmentation.shape == (14, 21)
