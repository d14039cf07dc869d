"""Runs on clips, from the training to the tables; and Fig. 11's panels."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import adjusted_rand_score

import datasets
from experiments import hard_cases, iterations, multistability, report, starts, tracking
from experiments.support import clips, runs
from experiments.support.errors import Refusal
from tests.experiments.conftest import run_experiment
from tests.experiments.studies import read_json, rows, study
from tests.experiments.videos import write_flights

NAMES = ("objects_room_flights", "quick")
SIZE = 8


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
  """Folder with 20 clips of 16 frames of a square that moves over a ground in four parts."""
  folder = tmp_path_factory.mktemp("flights")
  write_flights(folder, num=20, size=SIZE)
  return {
    "name": "objects_room_flights",
    "dir": str(folder),
    "image_size": [SIZE, SIZE],
    "num_frames": 3,
    "num_train": 10,
    "num_validation": 4,
    "num_test": 6,
  }


@pytest.fixture(scope="module")
def run(flights, tmp_path_factory):
  folder = tmp_path_factory.mktemp("runs")
  run_experiment(folder, NAMES, data=flights, image_every=3, first_iterations=2)
  return folder / "1"


def test_a_run_on_clips_records_scores_and_a_clip_that_moves(run):
  summary = read_json(run / "test" / "metrics.json")
  assert summary["clips"][clips.UPDATED]["num_clips"] == 6
  assert (run / "test" / "sequence.png").stat().st_size > 5_000
  [events] = (run / "tensorboard").glob("events*")
  tags = {}
  for event in tf.compat.v1.train.summary_iterator(str(events)):
    for value in event.summary.value:
      tags[value.tag] = value
  width, height, gif = tags["validation/clip"].tensor.string_val
  assert gif.startswith(b"GIF89a")
  assert int(width) > int(height) >= 128


def test_a_resumed_run_on_clips_ends_bit_identical(run, flights, tmp_path):
  options = {"data": {**flights, "num_test": 0}, "validate_every": 0}
  run_experiment(tmp_path, NAMES, num_steps=3, first_iterations=2, **options)
  run_experiment(tmp_path, resume_from=str(tmp_path / "1"), num_steps=6, **options)
  ours, theirs = (runs.load_run(folder, "last")[1] for folder in (tmp_path / "2", run))
  for a, b in zip(ours.variables, theirs.variables, strict=True):
    np.testing.assert_array_equal(a, b)


def test_several_starts_are_refused_before_the_training(flights, tmp_path):
  with pytest.raises(Refusal, match="num_starts is for images: a video is followed from one"):
    run_experiment(tmp_path, NAMES, data=flights, num_starts=2)
  assert not list(tmp_path.rglob("ckpt*"))


def test_tracking_scores_are_those_of_scikit_learn(run, tmp_path):
  folder = study(tracking, tmp_path, run=str(run), batch_size=4, num_shown=1)
  table = {row["masks"]: row for row in rows(folder / "tracking.csv")}
  assert list(table) == [clips.PREDICTED, clips.UPDATED, clips.STILL, clips.CHANCE]
  config, model, _ = runs.load_run(run)
  data = runs.load_data(config["data"], "test", 6, num_epochs=1)
  batch = next(iter(data))
  # Decode d has seen the frames before d: of frame t, d = t predicts and d = t + 1 has seen it. The
  # first frame has a decode more before all these.
  assert model.pace == (2, 1)
  longer = tf.concat([batch["image"], batch["image"][:, -1:]], axis=1)
  output = model(longer, seed=[0, 1])
  true = batch["mask"].numpy()[:, :, 4:, ..., 0]  # [B, T, objects, H, W]
  for name, first in ((clips.PREDICTED, 1), (clips.UPDATED, 2)):
    slots = output.masks.numpy()[first : first + 3, :, :, ..., 0].argmax(axis=2)  # [T, B, H, W]
    joint = []
    for b in range(6):
      seen = true[b].any(axis=1)
      joint.append(adjusted_rand_score(true[b].argmax(axis=1)[seen], slots[:, b][seen]))
    assert float(table[name]["joint ARI-FG"]) == pytest.approx(np.mean(joint), abs=1e-3)
    frames = output.reconstruction.numpy()[first : first + 3]
    error = np.square(frames - np.moveaxis(batch["image"].numpy(), 1, 0)).mean()
    assert float(table[name]["MSE"]) == pytest.approx(error, rel=1e-3)
  counts = {row["masks"]: row for row in rows(folder / "counts.csv")}
  row = counts[clips.UPDATED]
  pairs = [int(row[name]) for name in ("kept", "switched", "lost", "out of view")]
  assert sum(pairs) == 6 * 2 * 2  # two objects, two pairs of frames
  assert pairs[3] > 0  # one of them leaves the view
  for name in ("clip_1.png", "clip_1.pdf", "clip_1.gif", "frames.png"):
    assert (folder / name).stat().st_size > 1_000


def test_clips_are_the_same_in_any_batch(run):
  config, model, _ = runs.load_run(run)
  found = []
  for batch_size in (1, 2, 6):
    data = runs.load_data(config["data"], "test", batch_size, num_epochs=1)
    found.append(clips.score(model, data, 4, yardsticks=True))
  for other in found[1:]:
    for name in (clips.PREDICTED, clips.UPDATED, clips.STILL, clips.CHANCE):
      assert other[name].summary()["num_clips"] == 6
      np.testing.assert_allclose(other[name].mse, found[0][name].mse, rtol=1e-4)
      np.testing.assert_allclose(other[name].clip_ari, found[0][name].clip_ari, atol=1e-6)


def test_images_are_not_tracked_and_clips_can_be_too_short(trained_run, flights, tmp_path):
  with pytest.raises(Refusal, match="tetrominoes_quick holds images: tracking is about clips"):
    study(tracking, tmp_path, run=str(trained_run))
  with pytest.raises(
    datasets.DataError, match="videos of 16 frames, wanted num_frames=17: ask for fewer"
  ):
    run_experiment(tmp_path, NAMES, data={**flights, "num_frames": 17})
  with pytest.raises(
    datasets.DataError, match="holds images, not videos: leave out num_frames, got 2"
  ):
    run_experiment(tmp_path, data={"dir": trained_data(trained_run), "num_frames": 2})


@pytest.mark.parametrize("module", [starts, multistability, iterations, report])
def test_studies_of_images_refuse_clips(run, tmp_path, module):
  with pytest.raises(Refusal, match="holds clips, which experiments"):
    study(module, tmp_path, run=str(run))


def trained_data(run):
  return runs.load_config(run)["data"]["dir"]


def test_hard_cases_draws_a_panel_a_run(trained_run, tmp_path):
  folder = study(hard_cases, tmp_path, runs=[str(trained_run)], num_shown=2, num_images=8)
  assert (folder / "hard_cases.png").stat().st_size > 5_000
  [row] = rows(folder / "scores.csv")
  assert row["run"] == str(trained_run)
  assert 0 <= float(row["by colour"]) <= 1


def test_masks_that_are_the_colours():
  image = np.zeros([1, 4, 4, 1])
  image[0, :2] = 1
  mask = np.stack([image, 1 - image], axis=1)
  assert hard_cases.by_color(image, mask) == 1
  left = np.zeros([1, 4, 4, 1])
  left[0, :, :2] = 1
  assert hard_cases.by_color(image, np.stack([left, 1 - left], axis=1)) == 0
