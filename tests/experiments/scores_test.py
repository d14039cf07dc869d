"""Experiments that score: the numbers they write against those of the model itself."""

import types

import numpy as np
import pytest

import datasets
from experiments import (
  decompositions,
  generalization,
  iterations,
  multistability,
  report,
  segmentation,
  slots,
  starts,
)
from experiments.support import results, runs, shown, subjects
from experiments.support.errors import Refusal
from experiments.support.paper import SCORES
from iodine import evaluation, metrics
from iodine.errors import UserError
from tests.experiments.studies import (
  NUM_TEST,
  assert_quantiles,
  read_json,
  reference,
  rows,
  settings,
  study,
  unrecorded,
)


@pytest.fixture(scope="module")
def expected(trained_run):
  return reference(trained_run)


def test_segmentation_writes_the_scores_of_the_evaluator(trained_run, tmp_path, expected):
  out = study(segmentation, tmp_path, runs=str(trained_run), batch_size=5)
  summary = evaluation.summarize(expected[0])
  [row] = rows(out / "scores.csv")
  for key, column in SCORES.items():
    assert float(row[column]) == pytest.approx(summary[key], rel=2e-3, abs=1e-4), key
  paper, ours = rows(out / "table1.csv")
  name = "tetrominoes (14 x 14)"
  assert (float(paper[name]), float(paper[f"{name} std"])) == (0.992, 0.004)
  assert float(ours[name]) == pytest.approx(summary["ari_fg"], abs=1e-4)
  assert "pm 0.004" in (out / "table1.tex").read_text()
  assert (out / "table1.pdf").stat().st_size > 3000


def test_segmentation_over_several_seeds(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  written = results.Results(unrecorded())
  summary = dict.fromkeys(SCORES, 0.5)
  subject = subjects.Subject("runs/1", {}, None, 7, {})
  scored = [(subject._replace(folder=f"runs/{i}"), {**summary, "ari_fg": v})
            for i, v in enumerate((0.7, 0.8, 0.9))]  # fmt: skip
  segmentation.write(written, {"clevr6": ("clevr6", scored), "shapes": ("shapes", scored[:1])})
  paper, ours = rows(written.folder / "table1.csv")
  assert (paper["clevr6"], paper["clevr6 std"], paper["shapes"]) == ("0.988", "0.0", "0.91")
  np.testing.assert_allclose([float(ours["clevr6"]), float(ours["clevr6 std"])], [0.8, 0.1])
  assert (float(ours["shapes"]), ours["shapes std"]) == (0.7, "")
  both = {
    "clevr6": ("clevr6", [*scored, (scored[0][0]._replace(config={"model": "monet"}), summary)])
  }
  segmentation.write(written, both)
  table = {row["ARI-FG"]: row["clevr6"] for row in rows(written.folder / "table1.csv")}
  assert list(table) == ["IODINE (paper)", "IODINE (ours)", "MONet (paper)", "MONet (ours)"]
  assert (table["MONet (paper)"], table["MONet (ours)"]) == ("0.962", "0.5")
  numbers = read_json(written.folder / "segmentation.json")
  assert numbers["clevr6"]["IODINE"]["ari_fg"]["std"] == pytest.approx(0.1)


def test_a_scene_has_the_same_scores_wherever_it_is_picked(trained_run, tmp_path, expected):
  out = study(decompositions, tmp_path, run=trained_run, images=[9, 2], num_detailed=1)
  table = rows(out / "scores.csv")
  assert [row["image"] for row in table] == ["9", "2"]
  for row, n in zip(table, (9, 2), strict=True):
    for key, column in SCORES.items():
      assert float(row[column]) == pytest.approx(expected[0][key][n, -1], rel=2e-3, abs=1e-4)
  assert {p.name for p in out.glob("*.p*")} == {
    f"{name}.{suffix}" for name in ("decompositions", "slots") for suffix in ("png", "pdf")
  }
  with pytest.raises(Refusal, match="there is no image 12: the split has 12"):
    study(decompositions, tmp_path, run=trained_run, images=[12])


def test_what_is_drawn_is_what_the_model_says(trained_run, expected):
  config = settings(decompositions, run=str(trained_run), batch_size=3)
  subject = subjects.open_run(config)
  found = shown.decompose(subject, config, shown.pick(subject, config, [4, 11]))
  _, output, batch = expected
  np.testing.assert_array_equal(found["images"], batch["image"].numpy()[[4, 11]])
  for name in ("masks", "means", "mask_logits"):
    own = getattr(output, name)[-1].numpy()[[4, 11]]
    np.testing.assert_allclose(found[name], own, rtol=1e-3, atol=1e-4, err_msg=name)
  own = output.reconstruction[-1].numpy()[[4, 11]]
  np.testing.assert_allclose(found["reconstructions"], own, rtol=1e-3, atol=1e-4)


def test_studies_keep_the_best_of_several_starts(trained_run, tmp_path, expected):
  out = study(segmentation, tmp_path, run=trained_run, num_starts=3)
  [by_method] = read_json(out / "segmentation.json").values()
  best = by_method["IODINE"]["runs"][str(trained_run)]
  single = evaluation.summarize(expected[0])
  assert best["nll"] + best["kl"] < single["nll"] + single["kl"] - 1e-3
  with pytest.raises(Refusal, match="this study is about single starts"):
    study(multistability, tmp_path, run=trained_run, num_starts=3)


def test_starts(trained_run, tmp_path):
  out = study(starts, tmp_path, run=trained_run, most=3, batch_size=5)
  _, model, _ = runs.load_run(trained_run)
  _, _, batch = reference(trained_run)
  scores = [evaluation.Evaluator(model, seed=seed)([batch]) for seed in range(3)]
  last = {key: np.stack([s[key][:, -1] for s in scores]) for key in ("ari_fg", "mse", "nll", "kl")}
  energy = last["nll"] + last["kl"]
  for number, row in enumerate(rows(out / "starts.csv"), 1):
    best, images = energy[:number].argmin(axis=0), np.arange(energy.shape[1])
    for key, column in (("ari_fg", "ARI-FG"), ("mse", "MSE")):
      chosen = np.nanmean(last[key][best, images])
      assert float(row[column]) == pytest.approx(chosen, rel=2e-3, abs=1e-4)
    lowest = energy[:number].min(axis=0).mean()
    assert float(row["negative ELBO"]) == pytest.approx(lowest, rel=1e-4)
    oracle = np.nanmean(last["ari_fg"][:number].max(axis=0))
    assert float(row["highest ARI-FG"]) == pytest.approx(oracle, abs=1e-3)
  assert number == 3
  with pytest.raises(Refusal, match="this study counts starts itself"):
    study(starts, tmp_path, run=trained_run, num_starts=3)


def test_iterations(trained_run, tmp_path):
  out = study(iterations, tmp_path, run=trained_run, num_iterations=4, shown=[1, 3], image=5)
  scores, _, _ = reference(trained_run, num_iterations=4)
  table = rows(out / "iterations.csv")
  assert {row["label"] for row in table} == {"T = 2"}
  for metric in ("ari_fg", "mse", "kl"):
    for t in (1, 4):
      assert_quantiles(table, scores, metric, "iteration", t, t - 1)
  assert (out / "refinement.png").is_file()


@pytest.mark.parametrize("command", [iterations, report], ids=["iterations", "report"])
def test_an_image_that_is_not_there_is_refused_before_others_are_scored(
  trained_run, tmp_path, monkeypatch, command
):
  monkeypatch.setattr(command, "score", lambda *_, **__: pytest.fail("scored first"))
  with pytest.raises(Refusal, match="there is no image 12: the split has 12"):
    study(command, tmp_path, run=trained_run, image=12)


def test_iterations_of_different_models(monkeypatch):
  """The released model decodes once more; another model is another curve."""

  def subject(method, decodes):
    config = types.SimpleNamespace(num_iterations=2)
    return types.SimpleNamespace(
      method=method, num_decodes=decodes, folder="", step=1, dataset="",
      model=types.SimpleNamespace(config=config),
    )  # fmt: skip

  monkeypatch.setattr(
    iterations, "score", lambda subject, _: {"mse": np.full([3, subject.num_decodes], 0.5)}
  )
  both, _ = iterations.by_iteration([subject("IODINE", 2), subject("IODINE", 3)], {})
  assert {label: scores["mse"].shape for label, scores in both.items()} == {"T = 2": (6, 2)}
  apart, _ = iterations.by_iteration([subject("IODINE", 2), subject("R-NEM", 2)], {})
  assert [*apart] == ["IODINE, T = 2", "R-NEM, T = 2"]


def test_slots(trained_run, tmp_path):
  out = study(slots, tmp_path, run=trained_run, test_slots=[3, 5], objects=[[3, 6]])
  table = rows(out / "slots_3_to_6_objects.csv")
  scores, _, _ = reference(trained_run, num_slots=5)
  for metric in ("ari_fg", "mse", "kl"):
    assert_quantiles(table, scores, metric, "slots at test time", 5, -1)
  with pytest.raises(UserError, match=r"\[least, most\]"):
    study(slots, tmp_path, run=trained_run, objects=[[6, 3]])


def test_more_objects(trained_run, tmp_path, expected):
  out = study(generalization, tmp_path, run=trained_run, counts=[2, 3], num_pictures=2)
  table = rows(out / "generalization.csv")
  assert {row["objects"] for row in table} == {"3"}  # no scene has two
  assert {row["label"] for row in table} == {"trained on all scenes"}  # the data set has no limits
  assert_quantiles(table, expected[0], "ari_fg", "objects", 3, -1)
  with pytest.raises(Refusal, match="no scene of the test split has any"):
    study(generalization, tmp_path, run=trained_run, counts=[2])


def test_damage_is_not_taken_for_no_scene(trained_run, tmp_path, monkeypatch):
  def damaged(*_, **__):
    raise datasets.DataError("record 41: its checksum is wrong")

  monkeypatch.setattr(generalization, "score", damaged)
  with pytest.raises(datasets.DataError, match="its checksum is wrong"):
    study(generalization, tmp_path, run=trained_run, counts=[3])


def test_combinations(trained_run, tmp_path, expected):
  _, output, batch = expected
  shapes, colors = (batch["factors"][k].numpy()[:, 1:] for k in ("shape", "color"))
  shape, color = int(shapes[3, 1]), colors[3, 1].tolist()
  chosen = (shapes == shape) & (np.abs(colors - color) < 1e-3).all(axis=-1)
  overlap = metrics.object_iou(batch["mask"], output.masks[-1]).numpy()
  words = f"shape={shape},color={color}"
  out = study(generalization, tmp_path, run=trained_run, combination=words, num_pictures=1)
  held_out, others = rows(out / "combination.csv")
  assert int(held_out["number"]) == chosen.sum()
  assert int(others["number"]) == 3 * NUM_TEST - chosen.sum()
  assert float(held_out["IoU"]) == pytest.approx(overlap[chosen].mean(), abs=2e-3)
  assert float(others["IoU"]) == pytest.approx(overlap[~chosen].mean(), abs=2e-3)
  ari = np.nanmean(expected[0]["ari_fg"][chosen.any(axis=1), -1])
  assert float(held_out["ARI-FG"]) == pytest.approx(ari, abs=2e-3)


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ("size=2", r"no factor 'size'; there are: .*shape"),
    ("color=2", r"expected 3 numbers for color, got \[2"),
    ("shape=99", "no object of the 12 images is shape 99"),
    ("shape", "written as shape=2,color=4"),
  ],
)
def test_combinations_that_are_not_there(trained_run, tmp_path, words, message):
  with pytest.raises(UserError, match=message):
    study(generalization, tmp_path, run=trained_run, combination=words)
