"""Regression on synthetic models: latents that are the factors, and shuffled ones."""

import dataclasses

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import sklearn.metrics
from sklearn import linear_model, pipeline, preprocessing

from iodine import factors

KINDS = {
  "x": factors.FactorKind("continuous"),
  "color": factors.FactorKind("continuous"),
  "shape": factors.FactorKind("categorical", num_categories=4),
  "rotation": factors.FactorKind("angle", period=360.0),
}


def scenes(rng, num_images=200, num_slots=5, num_entities=5):
  """Factors [N, L] whose own values are the latents of a slot; some entities are not there."""
  size = [num_images, num_entities]
  values = {
    "x": rng.uniform(-3, 3, size),
    "color": rng.uniform(size=[*size, 3]),
    "shape": rng.integers(1, 4, size),
    "rotation": rng.uniform(0, 360, size),
  }
  visibility = (rng.uniform(size=size) < 0.7).astype(np.float32)
  angle = np.deg2rad(values["rotation"])[..., None]
  code = [values["x"][..., None], values["color"], np.eye(4)[values["shape"]]]
  code = np.concatenate([*code, np.cos(angle), np.sin(angle)], axis=-1)  # [N, L, Z]
  slots = np.stack([rng.permutation(num_slots)[:num_entities] for _ in range(num_images)])
  latents = rng.normal(size=[num_images, num_slots, code.shape[-1]])
  np.put_along_axis(latents, slots[..., None], code, axis=1)
  # What stands at invisible entities must never be looked at.
  gone = visibility == 0
  for name in ("x", "color", "rotation"):
    values[name][gone] = np.nan
  values["shape"][gone] = 99
  slots[:, 0] = -1  # background
  return latents, slots, values, visibility


@pytest.fixture
def objects():
  rng = np.random.default_rng(0)
  return tuple(factors.gather_objects(*scenes(rng)) for _ in range(2))


def shuffled(data, rng):
  return dataclasses.replace(data, latents=rng.permutation(data.latents))


def test_latents_that_are_the_factors_predict_them_fully(objects):
  train, test = objects
  for name, score in factors.regress_factors(train, test, KINDS).items():
    assert score.score == pytest.approx(1.0, abs=1e-9), name
    assert score.error == pytest.approx(0.0, abs=1e-6), name
    assert score.random_slot < (0.75 if name == "shape" else 0.5), name
    np.testing.assert_allclose(score.predicted, score.true, rtol=1e-6, atol=1e-6)


def test_shuffled_latents_predict_at_chance(objects):
  rng = np.random.default_rng(1)
  scores = factors.regress_factors(*(shuffled(o, rng) for o in objects), KINDS)
  for name in ("x", "color", "rotation"):
    assert -0.15 < scores[name].score < 0.05, name
    assert -0.05 < scores[name].constant <= 0.0, name
  assert scores["shape"].score == pytest.approx(1 / 3, abs=0.08)
  assert scores["rotation"].error == pytest.approx(90, abs=6)
  assert scores["rotation"].constant_error == pytest.approx(90, abs=6)


def test_scores_are_those_of_scikit_learn(objects):
  train, test = objects
  rng = np.random.default_rng(2)
  noisy = [
    dataclasses.replace(o, latents=o.latents + rng.normal(size=o.latents.shape)) for o in objects
  ]
  scores = factors.regress_factors(*noisy, KINDS)
  for name in ("x", "color"):
    expected = sklearn.metrics.r2_score(scores[name].true, scores[name].predicted)
    assert scores[name].score == pytest.approx(expected)
    assert 0.1 < scores[name].score < 0.95 or name == "color"
  accuracy = sklearn.metrics.accuracy_score(scores["shape"].true, scores["shape"].predicted)
  assert scores["shape"].score == pytest.approx(accuracy)
  codes, counts = np.unique(train.factors["shape"], return_counts=True)
  majority = np.mean(test.factors["shape"] == codes[counts.argmax()])
  assert scores["shape"].constant == pytest.approx(majority)


def test_angles_go_round():
  angle = np.array([1.0, 359.0, 2.0, 358.0])
  latents = np.stack([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))], axis=1)
  data = factors.Objects(latents, latents, {"a": angle}, np.arange(4))
  score = factors.regress_factors(data, data, {"a": KINDS["rotation"]})["a"]
  assert score.error == pytest.approx(0.0, abs=1e-6)
  assert score.constant_error == pytest.approx(1.5)  # their mean direction is 0, not 180


def test_invisible_objects_and_background_are_never_counted():
  latents, slots, values, visibility = scenes(np.random.default_rng(3))
  data = factors.gather_objects(latents, slots, values, visibility)
  assert len(data.latents) == len(data.image) == visibility[:, 1:].sum()
  assert np.isfinite(data.factors["x"]).all()
  assert data.factors["shape"].max() < 4
  first = data.latents[data.image == 7]
  expected = [latents[7, s] for s, v in zip(slots[7, 1:], visibility[7, 1:], strict=True) if v]
  np.testing.assert_array_equal(first, expected)


def test_nothing_to_score_gives_nan_and_nothing_to_train_on_is_refused(objects):
  train, test = objects
  empty = factors.Objects(
    test.latents[:0], test.latents[:0], {n: v[:0] for n, v in test.factors.items()}, test.image[:0]
  )
  for score in factors.regress_factors(train, empty, KINDS).values():
    assert np.isnan([score.score, score.error, score.random_slot, score.constant]).all()
  with pytest.raises(ValueError, match="no visible object"):
    factors.regress_factors(empty, test, KINDS)


def test_a_single_category_is_learnt(objects):
  train, test = (
    dataclasses.replace(o, factors={"shape": np.full(len(o.image), 2)}) for o in objects
  )
  score = factors.regress_factors(train, test, {"shape": KINDS["shape"]})["shape"]
  assert score.score == score.constant == 1.0


def codes(rng, mixing, num=800):
  """Three independent factors, and latents that are a linear map of them."""
  values = rng.uniform(-1, 1, size=[num, 3])
  latents = values @ mixing
  named = {"a": values[:, 0], "b": values[:, 1], "c": values[:, 2]}
  return factors.Objects(latents, latents, named, np.arange(num))


def test_dci_of_synthetic_codes():
  rng = np.random.default_rng(5)
  kinds = {name: factors.FactorKind("continuous") for name in "abc"}

  def run(mixing):
    return factors.dci(codes(rng, mixing), codes(rng, mixing), kinds, num_trees=10)

  one_to_one = run(np.eye(3)[:, [2, 0, 1]])
  assert one_to_one.disentanglement > 0.98
  assert one_to_one.completeness > 0.98
  assert min(one_to_one.informativeness.values()) > 0.98
  np.testing.assert_array_equal(one_to_one.importance.argmax(axis=0), [1, 2, 0])
  np.testing.assert_allclose(one_to_one.importance.sum(axis=0), 1)
  # Every factor in two equal latents: still disentangled, no longer complete.
  twice = run(np.repeat(np.eye(3), 2, axis=1))
  assert twice.disentanglement > 0.95
  assert twice.completeness < 0.75
  mixed = run(np.linalg.qr(rng.normal(size=[3, 3]))[0])
  assert mixed.disentanglement < 0.7


def test_completeness_is_of_the_factors_that_vary(objects):
  def still(part):
    return dataclasses.replace(part, factors={**part.factors, "still": np.ones(len(part.image))})

  train, test = map(still, objects)
  of_two = {name: KINDS[name] for name in ("x", "shape")}
  alone = factors.dci(train, test, of_two, num_trees=10)
  still_too = {**of_two, "still": factors.FactorKind("continuous")}
  beside = factors.dci(train, test, still_too, num_trees=10)
  assert beside.completeness == pytest.approx(alone.completeness)
  assert not beside.importance[:, 2].any()
  nothing = {"still": still_too["still"], "as still": factors.FactorKind("continuous")}
  both = [
    dataclasses.replace(part, factors={**part.factors, "as still": part.factors["still"]})
    for part in (train, test)
  ]
  assert np.isnan(factors.dci(*both, nothing, num_trees=10).completeness)


def test_dci_counts_a_useless_latent_and_every_kind_of_factor(objects):
  result = factors.dci(*objects, KINDS, num_trees=10)
  assert result.names == tuple(KINDS)
  assert result.importance.shape == (10, 4)
  assert result.informativeness["shape"] > 0.95
  assert result.informativeness["rotation"] > 0.8
  assert result.disentanglement > 0.8


@pytest.mark.parametrize(
  ("kinds", "message"),
  [
    ({"size": factors.FactorKind("continuous")}, "no factor 'size'; there are: color, rotation"),
    ({"x": factors.FactorKind("discrete")}, "x to be continuous, .* got 'discrete'"),
    ({"shape": factors.FactorKind("categorical", 3)}, r"codes of shape in \[0, 3\), got 1..3"),
  ],
)
def test_factors_that_do_not_fit_are_refused(objects, kinds, message):
  with pytest.raises(ValueError, match=message):
    factors.regress_factors(*objects, kinds)


def test_shapes_that_do_not_fit_are_refused(objects):
  with pytest.raises(ValueError, match=r"expected x \[N, L\] = \[2, 3\], got \[2, 4\]"):
    factors.gather_objects(np.zeros([2, 4, 5]), np.zeros([2, 3], int), {"x": np.zeros([2, 4])})
  with pytest.raises(ValueError, match="slots below K = 4, got 4"):
    factors.gather_objects(np.zeros([2, 4, 5]), np.full([2, 3], 4), {})
  with pytest.raises(ValueError, match="at least two factors"):
    factors.dci(*objects, {"x": KINDS["x"]})


@hypothesis.settings(max_examples=60)
@hypothesis.given(
  st.floats(-1e3, 1e3), st.integers(1, 2000), st.sampled_from(["continuous", "angle"])
)
def test_what_does_not_vary_has_no_score(value, number, kind):
  kind = factors.FactorKind(kind, period=360.0 if kind == "angle" else None)
  true = factors.as_target(np.full(number, value), kind)
  assert np.isnan(factors.score_of(true, true + 0.1, kind))


def test_classifiers_do_not_follow_noise():
  rng = np.random.default_rng(0)

  def rows(number):
    code = rng.integers(3, size=number)
    told = np.eye(3)[code] + 0.6 * rng.normal(size=[number, 3])
    return np.concatenate([told, rng.normal(size=[number, 64])], axis=1), code

  (latents, code), (others, wanted) = rows(300), rows(1000)
  found = factors.fit_predict(latents, code, others, KINDS["shape"])
  free = linear_model.LogisticRegression(C=100.0, max_iter=2000)
  free = pipeline.make_pipeline(preprocessing.StandardScaler(), free).fit(latents, code)
  assert np.mean(found == wanted) > np.mean(free.predict(others) == wanted) + 0.05


@hypothesis.given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
@hypothesis.settings(max_examples=20)
def test_categories_of_any_number_of_rows_are_learnt(codes):
  codes = np.array(codes)
  found = factors.fit_predict(np.eye(5)[codes], codes, np.eye(5)[codes], KINDS["shape"])
  assert set(found) <= set(codes)
  assert np.mean(found == codes) >= np.bincount(codes).max() / len(codes)
