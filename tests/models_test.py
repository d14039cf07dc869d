"""The models in the repository do what their metadata say, on scenes made anew."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import iodine
from datasets import generate
from datasets.generators import tetrominoes
from experiments.support import scoring
from iodine import metrics

MODELS = pathlib.Path(__file__).resolve().parent.parent / "models"


def test_tetrominoes():
  folder = MODELS / "tetrominoes"
  model = iodine.load(folder)
  scenes = tetrominoes.generate_chunk(seed=2026, chunk=0)
  masks = scenes["mask"][:320] / np.float32(255)
  found = model.infer(scenes["image"][:320], seed=0)
  scores = metrics.ari_fg(masks, found.masks).numpy()
  # Both are means over 320 scenes: four standard errors of their difference.
  tolerance = 4 * np.sqrt(2 / 320) * scores.std()
  assert abs(scores.mean() - model.metadata["ari_fg"]) < tolerance
  assert model.metadata["num_images"] == 320
  report = json.loads((folder / "test" / "metrics.json").read_text())
  assert report["ari_fg"] == model.metadata["ari_fg"]
  several = model.infer(scenes["image"][:64], seed=0, num_starts=8)
  best = metrics.ari_fg(masks[:64], several.masks).numpy()
  assert best.mean() > max(0.97, scores[:64].mean())  # README: 0.997


@pytest.mark.parametrize(
  "name", ["multi_dsprites", "multi_dsprites_64", "multi_dsprites_binarized", "shapes"]
)
def test_scenes_that_are_drawn(name, tmp_path):
  folder = MODELS / name
  generate.generate(name.removesuffix("_64"), 320, out=str(tmp_path), seed=2026, progress=False)
  data = {"dir": str(tmp_path), "num_train": 0, "num_validation": 0}
  scores = scoring.evaluate_run(folder, tmp_path / "scores", data=data)["summary"]
  known = iodine.load(folder).metadata
  assert known["num_images"] == scores["num_images"] == 320
  assert abs(scores["ari_fg"] - known["ari_fg"]) < 0.08  # four standard errors of the difference


@pytest.mark.skipif(not importlib.util.find_spec("mitsuba"), reason="scenes need Mitsuba")
@pytest.mark.parametrize(("name", "size"), [("clevr6", 48), ("clevr6_64", 64)])
def test_clevr6(name, size, tmp_path):
  # in a process of its own: Mitsuba does not bear TensorFlow beside it
  words = ["clevr6", "--num", "48", "--image-size", str(size), "--quality", "quick"]
  out = ["--seed", "2026", "--out", str(tmp_path)]
  command = [sys.executable, "-m", "datasets.generate", *words, *out]
  subprocess.run(command, check=True, cwd=MODELS.parent, capture_output=True)
  data = {"dir": str(tmp_path), "num_train": 0, "num_validation": 0, "num_test": 48}
  folder = MODELS / name
  scores = scoring.evaluate_run(folder, tmp_path / "scores", data=data)["summary"]
  known = iodine.load(folder).metadata
  assert (known["num_images"], scores["num_images"]) == (320, 48)
  assert abs(scores["ari_fg"] - known["ari_fg"]) < 0.1


def test_models_are_small_and_serve_any_machine():
  for folder in MODELS.iterdir():
    described = json.loads((folder / "saved_model" / "assets" / "metadata.json").read_text())
    assert described["model"]["precision"] == "float32"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size < 5_000_000, folder
    assert {"saved_model", "config.json", "metrics.json"} <= {p.name for p in folder.iterdir()}
