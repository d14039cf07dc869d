"""From a run to a SavedModel, a bundle, and pictures on the command line."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import datasets
import iodine
from experiments import infer, train
from experiments.support import bundles, curves, runs, scoring
from experiments.support.errors import Refusal
from iodine.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def metadata(bundle):
  return iodine.load(bundle).metadata


def test_a_bundle_is_the_run_without_its_checkpoints(bundle, trained_run):
  files = {str(p.relative_to(bundle)) for p in bundle.rglob("*.*")}
  assert {"config.json", "metrics.json", "saved_model/saved_model.pb"} <= files
  assert str(trained_run.parent) not in "".join(p.read_text() for p in bundle.rglob("*.json"))
  assert json.loads((bundle / "config.json").read_text())["data"]["dir"]
  _, model, step = runs.load_run(trained_run, "last")
  _, ours, our_step = runs.load_run(bundle)
  assert step == our_step == 6
  for a, b in zip(ours.variables, model.variables, strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_bundle_takes_no_run_s_place(trained_run, tmp_path):
  other = tmp_path / "other"
  shutil.copytree(trained_run, other)
  before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
  for run in (trained_run, other):
    with pytest.raises(Refusal, match="other holds a training run: give another folder"):
      bundles.bundle_run(run, other, which="last")
  assert {path: path.read_bytes() for path in other.rglob("*") if path.is_file()} == before


def test_an_export_into_this_very_folder(trained_run, tmp_path, monkeypatch):
  run = trained_run.resolve()
  monkeypatch.setattr(bundles.serving, "export", lambda model, out, about: out.mkdir() or about)
  folder = tmp_path / "here"
  folder.mkdir()
  monkeypatch.chdir(folder)
  bundles.export_run(run, ".", "last")
  assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_bundle_has_the_curves_of_all_of_the_training(trained_run, tmp_path, monkeypatch):
  monkeypatch.setattr(bundles, "export_run", lambda run, out, which, **_: (out, {"step": 6}))
  run = tmp_path / "resumed"
  run.mkdir()
  config = {**runs.load_config(trained_run), "resume_from": str(trained_run)}
  (run / "config.json").write_text(json.dumps(config))
  (run / "metrics.json").write_text('{"train.loss": {"steps": [7], "values": [null]}}')
  (run / "checkpoints").symlink_to(trained_run / "checkpoints")
  bundles.bundle_run(run, tmp_path / "bundle", which="last")
  whole, bundled = curves.read(run), curves.read(tmp_path / "bundle")
  assert bundled["train.loss"][0][-1] == 7 > bundled["train.loss"][0][0]
  assert whole.keys() == bundled.keys()
  for name in whole:
    np.testing.assert_array_equal(bundled[name], whole[name])
  assert runs.load_config(tmp_path / "bundle")["resume_from"] is None  # no run of another's


def test_a_bundle_is_begun_from_and_not_resumed(bundle, trained_run, tiny_data, tmp_path):
  """Not even where a run has the name of the one that the model came from."""
  copy = tmp_path / "copy"
  shutil.copytree(bundle, copy)
  config = {**runs.load_config(bundle), "resume_from": str(trained_run)}
  (copy / "config.json").write_text(json.dumps(config))
  updates = {"resume_from": str(copy), "data.dir": str(tiny_data)}
  with pytest.raises(UserError, match=f"begin a new run with init_from={re.escape(str(copy))}"):
    train.command.run((), updates, tmp_path / "runs")
  own = curves.read(bundle)
  for name, (steps, _) in curves.read(copy).items():
    np.testing.assert_array_equal(steps, own[name][0])


def test_a_bundle_has_the_scores_of_its_own_step_alone(trained_run, tmp_path, monkeypatch):
  run, bundle = tmp_path / "run", tmp_path / "bundle"
  shutil.copytree(trained_run, run)

  def at(step):
    return lambda run, out, which, **_: (out, {"step": step})

  for step in (6, 3, 6):
    (run / "test" / "metrics.json").write_text(json.dumps({"step": 3, "ari_fg": 0.5}))
    monkeypatch.setattr(bundles, "export_run", at(step))
    bundles.bundle_run(run, bundle)  # over the earlier one
    assert (bundle / "test" / "metrics.json").exists() == (step == 3)


def test_a_bundle_is_evaluated_like_a_run(bundle, trained_run, tiny_data, tmp_path):
  ours = scoring.evaluate_run(bundle, tmp_path, data={"dir": str(tiny_data)}, num_images=4)
  theirs = scoring.evaluate_run(trained_run, tmp_path, "last", num_images=4)
  assert ours["summary"] == theirs["summary"]
  for folder in (bundle, trained_run):
    assert runs.load_run(folder, num_starts=3)[1].config.num_starts == 3


def test_what_is_scored_and_exported_computes_in_float32(trained_run, tmp_path):
  """Whatever it was trained in: a processor without units for that takes many times as long."""
  run = tmp_path / "run"
  shutil.copytree(trained_run, run)
  config = {**runs.load_config(run), "precision": "mixed_bfloat16"}
  (run / "config.json").write_text(json.dumps(config))
  assert runs.load_run(run, "last")[1].config.precision == "float32"
  bundles.bundle_run(run, tmp_path / "low", "last", precision="mixed_bfloat16")
  low = iodine.load(tmp_path / "low")
  assert low.metadata["model"]["precision"] == low.restore().config.precision == "mixed_bfloat16"
  assert runs.load_run(tmp_path / "low")[1].config.precision == "float32"
  image = np.full([14, 14, 3], 128, np.uint8)
  bundles.bundle_run(run, tmp_path / "full", "last")
  full = iodine.load(tmp_path / "full")
  assert full.metadata["model"]["precision"] == "float32"
  ours, theirs = low.infer(image).means, full.infer(image).means
  assert 0 < np.abs(ours - theirs).max() < 0.05  # rounding, and no more
  # what the training was is not forgotten
  assert runs.load_config(tmp_path / "full")["precision"] == "mixed_bfloat16"


def test_the_metadata_tells_where_the_model_comes_from(metadata, trained_run):
  assert metadata["data_set"] == "tetrominoes_quick"
  assert metadata["image_size"] == [14, 14, 3]
  assert metadata["size"] == [14, 14]
  assert metadata["stored_size"] == [14, 14]
  assert metadata["step"] == 6
  report = {"step": 6, "ari_fg": 0.25, "mse": float("nan"), "num_images": 9}
  described = bundles.metadata(runs.load_config(trained_run), 6, report)
  assert described["ari_fg"] == 0.25
  assert described["mse"] is None
  assert "ARI-FG 0.250" in bundles.sentence({**metadata, **described})


def test_clevr_is_cropped(tmp_path):
  """The picture of a stored image is what the pipeline makes of the record."""
  config = {"name": "clevr", "image_size": None, "grayscale": False, "legacy_resize": False}
  config = {"data": {**config, "min_objects": 3, "max_objects": 6}}
  described = {**bundles.metadata(config, 0), "image_size": [128, 128, 3]}
  assert described["crop"] == [29, 221, 64, 256]
  spec = datasets.get_spec("clevr")
  stored = np.random.default_rng(0).integers(256, size=spec.image_size, dtype=np.uint8)
  Image.fromarray(stored).save(tmp_path / "stored.png")
  picture = infer.read(tmp_path / "stored.png", described)
  cropped = tf.constant(stored[29:221, 64:256] / np.float32(255))
  np.testing.assert_allclose(picture, tf.image.resize(cropped, [128, 128]), atol=1e-5)


def test_black_and_white_pictures_are_resized_as_in_training(tmp_path):
  config = {"name": "multi_dsprites_binarized", "image_size": [20, 20]}
  config |= {"grayscale": False, "legacy_resize": False, "min_objects": None, "max_objects": None}
  described = {**bundles.metadata({"data": config}, 0), "image_size": [20, 20, 1]}
  stored = np.random.default_rng(0).choice(np.uint8([0, 255]), size=[64, 64])
  rows = ((np.arange(20) + 0.5) * 64 / 20).astype(int)
  for size in (64, 63):  # as stored, and of another size
    Image.fromarray(stored[:size, :size]).save(tmp_path / "stored.png")
    picture = infer.read(tmp_path / "stored.png", described, resize=True)
    assert set(np.unique(picture)) == {0, 1}
    if size == 64:
      np.testing.assert_array_equal(picture[..., 0], stored[rows[:, None], rows] / 255)


@pytest.mark.parametrize(
  ("name", "asked", "objects"),
  [
    ("clevr", (None, None), [None, None]),
    ("clevr6", (None, None), [3, 6]),
    ("clevr_single", (None, None), [1, 1]),
    ("clevr6", (None, 4), [None, 4]),  # what is asked for stands, whole
    ("clevr", (3, 6), [3, 6]),
  ],
)
def test_how_many_objects_the_scenes_had(name, asked, objects):
  data = {"name": name, "image_size": None, "grayscale": False, "legacy_resize": False}
  data |= {"min_objects": asked[0], "max_objects": asked[1]}
  assert bundles.metadata({"data": data}, 0)["objects"] == objects


def test_other_sizes_are_refused_or_resized(metadata, tmp_path):
  pixels = np.zeros([30, 60, 3], np.uint8)
  pixels[:, 15:45, 0] = 255  # the central square is red
  Image.fromarray(pixels).save(tmp_path / "wide.png")
  with pytest.raises(Refusal, match=r"wide.png is 30 x 60 pixels.*takes 14 x 14 or, as stored, 35"):
    infer.read(tmp_path / "wide.png", {**metadata, "stored_size": [35, 35]})
  resized = infer.read(tmp_path / "wide.png", metadata, resize=True)
  assert resized.shape == (14, 14, 3)
  np.testing.assert_array_equal(resized, np.broadcast_to([1, 0, 0], [14, 14, 3]))


def test_the_command_lines(bundle, tmp_path):
  pictures = np.random.default_rng(0).integers(256, size=[3, 14, 14, 3], dtype=np.uint8)
  for i, picture in enumerate(pictures):
    Image.fromarray(picture).save(tmp_path / f"{i}.png")
  words = [f"model={bundle}", f"images={tmp_path}/*.png", f"out={tmp_path / 'out'}", "num_slots=5"]
  command = [sys.executable, "-m", "experiments.infer", "with", *words, "noise_seed=2"]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
  assert done.returncode == 0, done.stderr
  out = tmp_path / "out" / "1"
  assert str(out / "overview.png") in done.stdout
  found = iodine.load(bundle).infer(pictures, num_slots=5, seed=2)
  latents = np.load(out / "latents.npz")
  assert list(latents["names"]) == ["0", "1", "2"]
  np.testing.assert_allclose(latents["posterior_mean"], found.posterior_mean, atol=1e-6)
  for i in range(3):
    with Image.open(out / "pictures" / str(i) / "mask.png") as mask:
      assert mask.mode == "P"
      np.testing.assert_array_equal(np.asarray(mask), found.segmentation[i])
    folder = out / "pictures" / str(i)
    slots = [np.asarray(Image.open(folder / f"slot_{k + 1}.png")) for k in range(5)]
    opacity = np.stack(slots)[..., 3:] / 255
    np.testing.assert_allclose(opacity, found.masks[i], atol=1 / 255)
  assert (out / "overview.png").stat().st_size > 10_000


def test_what_cannot_be_exported(trained_run, tmp_path):
  with pytest.raises(Refusal, match="there is no run in"):
    bundles.export_run(tmp_path / "3")
  (tmp_path / "thesis.tex").write_text("all my work")
  with pytest.raises(Refusal, match="exists and is no SavedModel"):
    bundles.export_run(trained_run, tmp_path)
  assert (tmp_path / "thesis.tex").exists()
