"""Experiments on latents: factors, traversals, projections, multistability."""

import types

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets import Factor
from experiments import factors, fig5, multistability, projections, traversals
from experiments.support import slot_latents, subjects
from experiments.support.errors import Refusal
from iodine import factors as library
from iodine import metrics
from tests.experiments.studies import NUM_TEST, read_json, reference, rows, settings, study


def gathered(run, split, num_images):
  """Objects straight from the unrolled model."""
  _, output, batch = reference(run, split, num_images)
  slots = library.match_slots(batch["mask"], output.masks[-1])
  values = {name: value.numpy() for name, value in batch["factors"].items()}
  return library.gather_objects(output.latents.mean[-1], slots, values, batch["visibility"])


def test_factors_are_fitted_on_validation_and_scored_on_test(trained_run, tmp_path):
  out = study(factors, tmp_path, run=trained_run, factors="[x,color]", num_trees=2)
  train, test = gathered(trained_run, "validation", 8), gathered(trained_run, "test", NUM_TEST)
  kinds = {"x": Factor("continuous"), "color": Factor("continuous", shape=(3,))}
  expected = library.regress_factors(train, test, kinds)
  table = {row["factor"]: row for row in rows(out / "factors.csv")}
  assert list(table) == ["x", "color"]
  for name, score in expected.items():
    assert float(table[name]["score"]) == pytest.approx(score.score, rel=0.02, abs=0.02)
    assert float(table[name]["constant"]) == pytest.approx(score.constant, abs=1e-3)
  numbers = read_json(out / "factors.json")
  _, output, batch = reference(trained_run)
  slots = library.match_slots(batch["mask"], output.masks[-1])[:, 1:]
  matched = (slots[batch["visibility"].numpy()[:, 1:] > 0] >= 0).mean()
  assert numbers["objects"] == {
    "fitted": len(train.latents), "scored": len(test.latents), "matched": pytest.approx(matched)
  }  # fmt: skip
  assert np.shape(numbers["dci"]["importance"]) == (4, 2)
  assert (out / "importances.png").is_file()


@pytest.fixture(autouse=True)
def any_overlap(monkeypatch):
  """Slots of a model that has learned nothing hold no object; here any overlap will do."""
  monkeypatch.setattr("iodine.matching.MIN_IOU", 0.0)


@pytest.mark.parametrize("module", [factors, projections, fig5])
def test_a_factor_that_is_none_is_refused_before_anything_is_inferred(
  trained_run, tmp_path, monkeypatch, module
):
  monkeypatch.setattr(slot_latents.latents, "collect", None)
  with pytest.raises(Refusal, match=r"has no factor 'colour'; there are: .*color"):
    study(module, tmp_path, run=trained_run, factors="[colour]")


def test_factors_that_do_not_vary_are_left_out(capsys):
  values = {"x": np.arange(3.0), "color": np.ones([3, 1])}
  objects = types.SimpleNamespace(factors=values)
  assert list(slot_latents.varying({"x": None, "color": None}, objects)) == ["x"]
  assert "color is left out" in capsys.readouterr().out
  with pytest.raises(Refusal, match="no factor that varies"):
    slot_latents.varying({"color": None}, objects)


def test_traversed_latents_come_in_order_of_kl(trained_run, tmp_path):
  out = study(traversals, tmp_path, run=trained_run, num_latents=3, num_steps=5, image=2)
  _, output, _ = reference(trained_run)
  kl = metrics.latent_kl(output.latents.mean[-1], output.latents.stddev[-1])
  kl = kl.numpy().mean(axis=(0, 1))
  table = rows(out / "latents.csv")
  assert [int(row["latent"]) for row in table] == np.argsort(-kl)[:3].tolist()
  np.testing.assert_allclose(
    [float(r["KL (nats)"]) for r in table], np.sort(kl)[::-1][:3], rtol=0.01
  )
  with Image.open(out / "traversals.gif") as gif:
    assert gif.n_frames == 8  # to and fro
  with pytest.raises(Refusal, match="there is no slot 4: there are 0 to 3"):
    study(traversals, tmp_path, run=trained_run, slot=4)


def test_a_gif_shows_every_step(tmp_path):
  grid = np.linspace(0, 1, 3)[None, :, None, None, None] * np.ones([2, 3, 4, 4, 1])
  traversals.write_gif(tmp_path / "a.gif", grid)
  with Image.open(tmp_path / "a.gif") as gif:
    levels = []
    for frame in range(gif.n_frames):
      gif.seek(frame)
      levels.append(np.asarray(gif.convert("L"))[20, 20])
  np.testing.assert_allclose(levels, [0, 128, 255, 128], atol=2)


def test_projections(trained_run, tmp_path):
  out = study(projections, tmp_path, run=trained_run, max_points=30, perplexity=5.0)
  table = rows(out / "projections.csv")
  assert len(table) == 30
  assert list(table[0]) == ["PCA x", "PCA y", "t-SNE x", "t-SNE y", "x", "y", "shape", "color"]
  assert table[0]["color"].startswith("#")
  assert (out / "all_slots.png").is_file()


def test_latents_that_do_not_differ_are_not_projected(trained_run, tmp_path):
  with pytest.raises(Refusal, match="do not differ, as before the first update"):
    study(projections, tmp_path, run=trained_run, num_iterations=1, perplexity=5.0)


def test_pca_is_that_of_the_singular_values():
  points = np.random.default_rng(0).normal(size=[40, 6]) * [5, 3, 1, 1, 1, 1]
  found = projections.project(points, {"perplexity": 30.0, "seed": 0})
  assert found["t-SNE"].shape == (40, 2)
  u, s, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
  np.testing.assert_allclose(np.abs(found["PCA"]), np.abs(u[:, :2] * s[:2]), rtol=1e-5, atol=1e-8)


def test_a_single_latent_is_drawn_in_a_plane():
  latents = np.random.default_rng(0).normal(size=[12, 1])
  found = projections.project(latents, {"perplexity": 5, "seed": 0})
  assert {name: points.shape for name, points in found.items()} == {
    "PCA": (12, 2),
    "t-SNE": (12, 2),
  }
  order = np.argsort(latents[:, 0])
  assert abs(np.diff(np.argsort(found["PCA"][order, 0]))).max() == 1  # as they lie


def test_colors_by_kind_of_factor():
  values = np.random.default_rng(0).uniform(size=[7, 3])
  [rgb] = projections.color_by("color", Factor("continuous", (3,), unit="RGB in [0, 1]"), values)
  assert rgb.kind == "rgb"
  parts = projections.color_by("pixel_coords", Factor("continuous", (3,)), values)
  assert [p.name for p in parts] == ["pixel_coords 1", "pixel_coords 2", "pixel_coords 3"]
  np.testing.assert_array_equal(parts[1].values, values[:, 1])
  [angle] = projections.color_by("rotation", Factor("angle", period=360.0), values[:, 0])
  assert (angle.kind, angle.period) == ("angle", 360.0)


def test_multistability_takes_the_image_that_is_seen_most_differently(trained_run, tmp_path):
  out = study(multistability, tmp_path, run=trained_run, num_seeds=3)
  found = [float(row["ARI between seeds"]) for row in rows(out / "agreement.csv")]
  assert len(found) == NUM_TEST
  table = rows(out / "seeds.csv")
  assert [row["seed"] for row in table] == ["0", "1", "2"]
  assert float(table[0]["ARI to the first"]) == 1.0
  scores, _, _ = reference(trained_run)
  chosen = int(np.argmin(found))
  assert float(table[0]["ARI-FG"]) == pytest.approx(scores["ari_fg"][chosen, -1], abs=2e-3)
  assert float(table[0]["KL"]) == pytest.approx(scores["kl"][chosen, -1], rel=1e-2)


def test_a_picture_of_ones_own_needs_no_data(trained_run, tmp_path):
  pixels = np.random.default_rng(0).integers(256, size=[14, 14, 3], dtype=np.uint8)
  Image.fromarray(pixels).save(tmp_path / "mine.png")
  options = {"run": trained_run, "stimulus": str(tmp_path / "mine.png"), "num_seeds": 2}
  options["data"] = {"dir": str(tmp_path / "nowhere")}
  out = study(multistability, tmp_path, **options)
  assert [row["seed"] for row in rows(out / "seeds.csv")] == ["0", "1"]
  with pytest.raises(Refusal, match="give one of them"):
    study(multistability, tmp_path, image=3, **options)


def test_agreement_of_seeds_that_agree(trained_run):
  config = settings(multistability, run=str(trained_run), num_images=5)
  subject = subjects.open_run(config)
  count = config["batch_size"]

  def infer(images, seed, first):
    masks = np.random.default_rng(seed % 2).uniform(size=[count, 4, 14, 14, 1])[: len(images)]
    return types.SimpleNamespace(masks=masks)

  np.testing.assert_array_equal(multistability.agreement(subject, config, infer, [0, 2, 4]), 1.0)
  assert (multistability.agreement(subject, config, infer, [0, 1]) < 0.3).all()


def test_segments_keep_their_place_whichever_slot_they_came_in():
  masks = np.eye(4, dtype=np.float32)[np.arange(36).reshape(6, 6) // 9]
  masks = np.moveaxis(masks, -1, 0)[..., None]  # [K, H, W, 1]
  shuffled = np.stack([masks, masks[[2, 0, 3, 1]], masks[::-1]])
  np.testing.assert_array_equal(multistability.align(shuffled), np.stack([masks] * 3))
  empty = np.stack([masks, np.concatenate([masks[1:] * 0, masks.sum(0, keepdims=True)])])
  np.testing.assert_array_equal(multistability.align(empty)[1].sum(0), 1.0)


def test_pictures_of_ones_own(trained_run, tmp_path):
  Image.fromarray(np.full([14, 14], 128, np.uint8)).save(tmp_path / "gray.png")
  Image.fromarray(np.zeros([15, 14, 3], np.uint8)).save(tmp_path / "large.png")
  config = settings(multistability, run=str(trained_run))
  model = subjects.open_run(config).model
  picture = multistability.read_picture(tmp_path / "gray.png", model)
  assert picture.shape == (1, 14, 14, 3)
  np.testing.assert_allclose(picture, 128 / 255, rtol=1e-6)
  with pytest.raises(Refusal, match="picture of 14 x 14, got 15 x 14"):
    multistability.read_picture(tmp_path / "large.png", model)
  with pytest.raises(datasets.DataError, match="there is no picture"):
    multistability.read_picture(tmp_path / "none.png", model)
