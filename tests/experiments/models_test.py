"""Every model through every command: what works for IODINE works, or a sentence says why not.

The models are as small as they can be and learn for a few steps; all tests share them.
"""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import iodine
from datasets import generate
from experiments import (
  evaluate,
  export,
  factors,
  fig5,
  fig6,
  generalization,
  infer,
  iterations,
  multistability,
  projections,
  report,
  slots,
  starts,
  table1,
  traversals,
)
from experiments.support import held_out, runs
from experiments.support.errors import Refusal
from experiments.train import command
from iodine.evaluation import Evaluator, summarize
from tests.experiments.conftest import TINY
from tests.experiments.studies import NUM_TEST, read_json, rows, study

COMMON = {k: v for k, v in TINY.items() if k not in (
  "num_slots", "num_iterations", "latent_size", "decoder_channels", "encoder_channels", "mlp_sizes",
  "data",
)}  # fmt: skip
MODELS = {
  "monet": {
    "num_slots": 3,
    "latent_size": 4,
    "attention_channels": [3, 4],
    "attention_sizes": [8],
    "encoder_channels": [4, 4],
    "encoder_size": 8,
    "decoder_channels": [4, 4],
  },
  "r_nem": {
    "num_iterations": 2,
    "hidden_size": 6,
    "relation_sizes": [6, 6, 6, 4],
    "encoder_channels": [3, 4],
    "encoder_size": 8,
    "decoder_channels": [4, 3],
    "decoder_size": 8,
  },
  "vae": {
    "latent_size": 4,
    "encoder_channels": [4, 4],
    "encoder_size": 8,
    "decoder_channels": [4],
  },
}
PRESET = {"monet": "tetrominoes", "r_nem": "shapes", "vae": "tetrominoes"}
METHOD = {"monet": "MONet", "r_nem": "R-NEM", "vae": "VAE"}


@pytest.fixture(scope="session")
def scenes(tiny_data, tmp_path_factory):
  """A folder of small Tetrominoes, with as many Shapes beside them."""
  folder = tmp_path_factory.mktemp("scenes")
  shutil.copytree(tiny_data, folder, dirs_exist_ok=True)  # others find there what they expect
  generate.generate("shapes", 60, out=str(folder), progress=False)
  return folder


def run_model(name, scenes, folder, **updates):
  """Trains for a few steps; returns the run's folder."""
  names = ()
  if "resume_from" not in updates:
    data = {**TINY["data"], "dir": str(scenes), **updates.pop("data", {})}
    if PRESET[name] == "shapes":
      data["name"] = "shapes"
    names = (PRESET[name], name, "quick")
    updates = {**COMMON, **MODELS[name], "data": data, **updates}
  command.run(names, updates, folder)
  return folder / str(max(int(p.name) for p in folder.glob("[0-9]*")))


@pytest.fixture(scope="session")
def trained(scenes, tmp_path_factory):
  """Folder of the finished run of each model, which is trained when it is asked for."""
  found = {}

  def run_of(name):
    if name not in found:
      found[name] = run_model(name, scenes, tmp_path_factory.mktemp(name))
    return found[name]

  return run_of


def loaded(folder):
  config, model, step = runs.load_run(folder, "last")
  return config, model, step


@pytest.fixture(autouse=True)
def any_overlap(monkeypatch):
  """Slots of a model that has learned nothing hold no object; here any overlap will do."""
  monkeypatch.setattr("iodine.matching.MIN_IOU", 0.0)


@pytest.mark.parametrize("name", MODELS)
def test_trained_and_scored_as_the_model_itself_says(name, trained):
  folder = trained(name)
  config, model, _ = runs.load_run(folder)
  assert config["model"] == model.config.model
  batch = next(iter(held_out.scenes(config["data"], "test", NUM_TEST, NUM_TEST, [])))
  expected = summarize(Evaluator(model, seed=0)([batch]))
  found = read_json(folder / "test" / "metrics.json")
  for key in ("ari_fg", "ari", "mse", "nll", *(["kl"] if name != "r_nem" else [])):
    assert found[key] == pytest.approx(expected[key], rel=2e-3, abs=1e-4), key
  recorded = read_json(folder / "metrics.json")
  for term in model.latent_terms:
    assert np.isfinite(recorded[f"train.{term}"]["values"]).all()
  assert len(recorded["train.loss"]["values"]) == 3
  assert list((folder / "tensorboard").glob("events*"))


@pytest.mark.parametrize("name", MODELS)
def test_resumed_it_is_the_run_that_never_stopped(name, trained, scenes, tmp_path):
  short = {"num_steps": 3, "validate_every": 0, "data": {"num_test": 0}}
  stopped = run_model(name, scenes, tmp_path, **short)
  resumed = run_model(name, scenes, tmp_path, resume_from=str(stopped), num_steps=6)
  _, once, _ = loaded(trained(name))
  _, twice, step = loaded(resumed)
  assert step == 6
  for a, b in zip(once.variables, twice.variables, strict=True):
    np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("name", MODELS)
def test_evaluated_exported_and_inferred(name, trained, tmp_path):
  folder = trained(name)
  out = study(evaluate, tmp_path / "evaluate", run=folder)
  own, again = (read_json(f / "test" / "metrics.json") for f in (folder, out))
  assert own["mse"] == pytest.approx(again["mse"], rel=1e-4)
  saved = tmp_path / "saved"
  study(export, tmp_path / "export", run=folder, out=str(saved))
  client = iodine.load(saved)
  config, model, _ = runs.load_run(folder)
  images = next(iter(held_out.scenes(config["data"], "test", 3, 3, [])))["image"]
  seed = 5
  found = client.infer(images.numpy(), seed=seed)
  expected = model(images, seed=tf.constant([seed, 1]), shared_noise=True).at(-1)  # as it serves
  np.testing.assert_allclose(found.masks, expected.masks.numpy(), rtol=1e-3, atol=1e-4)
  picture = tmp_path / "a.png"
  pixels = np.squeeze((images[0].numpy() * 255).astype(np.uint8))
  Image.fromarray(pixels).save(picture)
  out = study(infer, tmp_path / "infer", model=str(saved), images=[str(picture)])
  with Image.open(out / "pictures" / "a" / "mask.png") as mask:
    assert np.asarray(mask).max() < model.config.num_slots


STUDIES = {
  "report": (report, {"num_pictures": 1, "test_iterations": 3}, "report.html"),
  "slots": (slots, {"test_slots": [2, 3]}, "slots.csv"),
  "generalization": (generalization, {"counts": [3], "num_pictures": 1}, "generalization.csv"),
  "traversals": (traversals, {"num_latents": 2, "num_steps": 3}, "traversals.gif"),
  "projections": (projections, {"max_points": 20, "perplexity": 5.0}, "projections.csv"),
  "factors": (factors, {"num_trees": 0, "factors": ["x"]}, "factors.csv"),
  "iterations": (iterations, {"num_iterations": 3}, "iterations.csv"),
  "starts": (starts, {"most": 2}, "starts.csv"),
  "multistability": (multistability, {"num_seeds": 2, "image": 1}, "seeds.csv"),
}
NO_LATENTS, ONCE, ONE_SLOT = "no latents", "decodes once", "parts no objects"
SENSELESS = {
  ("r_nem", "traversals"): NO_LATENTS,
  ("r_nem", "projections"): NO_LATENTS,
  ("r_nem", "factors"): NO_LATENTS,
  ("r_nem", "multistability"): NO_LATENTS,
  ("monet", "iterations"): ONCE,
  ("monet", "multistability"): ONCE,
  ("vae", "iterations"): ONCE,
  ("vae", "multistability"): ONCE,
  ("vae", "slots"): ONE_SLOT,
  ("vae", "starts"): ONE_SLOT,
  ("vae", "generalization"): ONE_SLOT,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("which", STUDIES)
def test_studies(name, which, trained, tmp_path):
  module, options, file = STUDIES[which]
  folder = trained(name)
  if (name, which) in SENSELESS:
    with pytest.raises(Refusal, match=f"is {METHOD[name]}, .*{SENSELESS[name, which]}"):
      study(module, tmp_path, run=folder, **options)
    assert not list(tmp_path.rglob(file))
    return
  out = study(module, tmp_path, run=folder, **options)
  assert (out / file).stat().st_size


def test_one_table_of_all_of_them(trained, trained_run, tmp_path):
  folders = [str(trained(name)) for name in MODELS]
  out = study(table1, tmp_path, folder=str(tmp_path / "none"), runs=[*folders, str(trained_run)])
  table = {row["ARI-FG"]: row for row in rows(out / "table1.csv")}
  assert list(table)[:5] == [
    "CLEVR6", "Multi-dSprites", "Multi-dSprites, binarized", "Shapes", "Tetrominoes"
  ]  # fmt: skip
  own = {name: read_json(trained(name) / "test" / "metrics.json")["ari_fg"] for name in MODELS}
  tetris, shapes = table["Tetrominoes"], table["Shapes"]
  assert float(tetris["MONet"]) == pytest.approx(own["monet"])
  assert float(shapes["R-NEM"]) == pytest.approx(own["r_nem"])
  assert (tetris["IODINE (paper)"], tetris["IODINE (paper) std"]) == ("0.992", "0.004")
  assert (shapes["R-NEM (paper)"], shapes["RNN-NEM"]) == ("0.776", "not trained")
  assert (tetris["R-NEM"], table["CLEVR6"]["MONet"]) == ("", "not trained")
  assert (out / "table1.pdf").stat().st_size > 3000
  assert "MONet" in (out / "table1.tex").read_text()


def test_other_scores_than_those_of_training_are_made_anew(trained, tmp_path):
  folder = str(trained("monet"))
  out = study(table1, tmp_path, folder=str(tmp_path / "none"), run=folder, num_images=5)
  [row] = rows(out / "scores.csv")
  assert row["images"] == "5"
  with pytest.raises(Refusal, match="say which runs"):
    study(table1, tmp_path, folder=str(tmp_path / "none"))


def test_factors_of_slots_beside_those_of_a_scene(trained, trained_run, tmp_path):
  both = [str(trained_run), str(trained("vae"))]
  out = study(fig5, tmp_path, runs=both, factors=["position", "shape"])
  slot, scene, constant = rows(out / "fig5.csv")
  assert [slot["model"], scene["model"]] == ["IODINE", "VAE"]
  assert float(scene["objects with a slot"]) == 1.0
  assert np.isfinite(float(scene["position (R2)"]))
  assert 0 <= float(scene["shape (accuracy)"]) <= 1
  assert float(constant["position (R2)"]) <= 0
  with pytest.raises(Refusal, match="no latents"):
    study(fig5, tmp_path, runs=[str(trained("r_nem"))])
  with pytest.raises(Refusal, match="no factor 'weight'"):
    study(fig5, tmp_path, runs=both, factors=["weight"])


def test_traversals_of_models_side_by_side(trained, trained_run, tmp_path):
  both = [str(trained("vae")), str(trained_run)]
  out = study(fig6, tmp_path, runs=both, num_latents=2, num_steps=3)
  table = rows(out / "latents.csv")
  assert [row["model"] for row in table] == ["VAE"] * 2 + ["IODINE"] * 2
  assert (out / "fig6.png").is_file()
  small, large = np.zeros([1, 2, 4, 4, 1]), np.ones([2, 2, 8, 8, 3])
  assert fig6.joined([small, large]).shape == (3, 2, 8, 8, 3)
