"""The order of objects against sorting tuples; regressions against scikit-learn place by place."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from sklearn import linear_model, metrics

from iodine import factors, scene_factors
from iodine.factors import FactorKind


def oracle(scene, present):
  """Entities sorted as Python sorts tuples, absent ones last."""
  keys = sorted((key, i) for i, key in enumerate(scene) if present[i])
  return [i for _, i in keys] + [-1] * (len(scene) - len(keys))


@hypothesis.settings(max_examples=60)
@hypothesis.given(
  codes=st.lists(
    st.lists(
      st.tuples(*[st.integers(1, 2)] * 3, *[st.integers(-1, 1)] * 2), min_size=4, max_size=4
    ),
    min_size=1,
    max_size=3,
  ),
  hidden=st.integers(0, 15),
)
def test_order_is_that_of_tuples(codes, hidden):
  codes = np.array(codes, float)  # [N, L, 5]
  codes = np.concatenate([np.full([len(codes), 1, 5], -9.0), codes], axis=1)  # a background first
  visibility = np.array([1, *(hidden >> i & 1 for i in range(4))])
  visibility = np.tile(visibility, [len(codes), 1])
  values = {"x": codes[..., 3], "y": codes[..., 4], "shape": codes[..., 2], "size": codes[..., 0],
            "material": codes[..., 1], "color": -codes[..., 0]}  # fmt: skip
  found = scene_factors.canonical_order(values, visibility)
  for row, scene, present in zip(found, codes, visibility, strict=True):
    places = oracle([tuple(s) for s in scene[1:]], present[1:])
    assert row.tolist() == [i if i < 0 else i + 1 for i in places]


def test_a_vector_is_ordered_by_its_components():
  position = np.array([[[0, 0], [2, 1], [1, 5], [1, 4]]])
  found = scene_factors.canonical_order({"position": position})
  assert found.tolist() == [[3, 2, 1]]
  with pytest.raises(ValueError, match="one of the factors size, "):
    scene_factors.canonical_order({"color": position[..., 0]})


def scenes(rng, count, mixing):
  """Scenes of up to two objects with a latent that knows them in canonical order, linearly."""
  size = rng.integers(1, 3, [count, 3])
  x = rng.normal(size=[count, 3])
  visibility = np.stack([np.ones(count), np.ones(count), rng.integers(0, 2, count)], axis=1)
  values = {"size": size, "x": x, "position": np.stack([x, 2 * x], axis=-1)}
  order = scene_factors.canonical_order({"size": size, "x": x}, visibility)
  known = np.where(order >= 0, np.take_along_axis(x, np.maximum(order, 0), axis=1), 0.0)
  codes = np.where(order >= 0, np.take_along_axis(size, np.maximum(order, 0), axis=1), 0)
  return np.concatenate([known, codes], axis=1) @ mixing, order, values


def by_ridge(latents, values, others):
  """Ridge regression, its penalty chosen by refitting without each row in turn."""
  scale = lambda x: (x - latents.mean(axis=0)) / latents.std(axis=0)

  def predict(penalty, rows, targets, at):
    model = linear_model.Ridge(penalty).fit(scale(rows), targets)
    return model.predict(scale(at))

  def missed(penalty):
    left = [
      predict(penalty, np.delete(latents, i, 0), np.delete(values, i), latents[[i]])[0] - values[i]
      for i in range(len(values))
    ]
    return np.square(left).sum()

  return predict(min(factors.PENALTIES, key=missed), latents, values, others)


def test_more_latents_than_scenes_do_no_worse_than_a_constant():
  """A weak linear code among hundreds of numbers that say nothing."""
  rng = np.random.default_rng(3)
  known = rng.normal(size=[4, 400])

  def some(number):
    hidden = rng.normal(size=[number, 4])
    latents = 0.3 * hidden @ known + rng.normal(size=[number, 400])
    return latents, np.zeros([number, 1], int), {"x": hidden[:, :1]}

  kinds = {"x": FactorKind("continuous")}
  found = scene_factors.regress_scene_factors(some(100), some(200), kinds)["x"]
  assert found.score > 0.5
  noise = lambda number: (rng.normal(size=[number, 400]), *some(number)[1:])
  found = scene_factors.regress_scene_factors(noise(100), noise(200), kinds)["x"]
  assert abs(found.score) < 0.1


def test_of_one_object_its_value_is_learnt():
  one, other = (np.ones([1, 3]), np.zeros([1, 1], int)), (np.zeros([4, 3]), np.zeros([4, 1], int))
  values = np.array([[[0.5, 2.0]]])
  kinds = {"position": FactorKind("continuous")}
  found = scene_factors.regress_scene_factors(
    (*one, {"position": values}), (*other, {"position": np.zeros([4, 1, 2])}), kinds
  )
  np.testing.assert_array_equal(found["position"].predicted, [[0.5, 2.0]] * 4)


def test_what_is_linear_is_found_and_places_are_apart():
  rng = np.random.default_rng(0)
  mixing = rng.normal(size=[4, 6])
  train, test = scenes(rng, 300, mixing), scenes(rng, 100, mixing)
  kinds = {
    "x": FactorKind("continuous"),
    "position": FactorKind("continuous"),
    "size": FactorKind("categorical", 3),
  }
  found = scene_factors.regress_scene_factors(train, test, kinds)
  assert found["x"].score == pytest.approx(1.0)
  assert found["position"].score == pytest.approx(1.0)
  assert found["size"].score > 0.95
  assert len(found["x"].true) == (test[1] >= 0).sum()
  np.testing.assert_allclose(found["x"].predicted, found["x"].true, atol=1e-6)


def test_scores_are_over_the_objects_of_all_places():
  rng = np.random.default_rng(1)
  mixing = rng.normal(size=[4, 2])  # too few latents to know everything
  train, test = scenes(rng, 50, mixing), scenes(rng, 80, mixing)
  score = scene_factors.regress_scene_factors(train, test, {"x": FactorKind("continuous")})["x"]
  true, predicted = [], []
  for place in range(2):
    pairs = []
    for latents, order, values in (train, test):
      own = np.flatnonzero(order[:, place] >= 0)
      pairs.append((latents[own], values["x"][own, order[own, place]]))
    predicted.append(by_ridge(*pairs[0], pairs[1][0]))
    true.append(pairs[1][1])
  true, predicted = np.concatenate(true), np.concatenate(predicted)
  assert score.score == pytest.approx(metrics.r2_score(true, predicted))
  assert score.error == pytest.approx(metrics.mean_squared_error(true, predicted) ** 0.5)
  everything = train[2]["x"][np.nonzero(train[1] >= 0)[0], train[1][train[1] >= 0]]
  constant = np.full_like(true, everything.mean())
  assert score.constant == pytest.approx(metrics.r2_score(true, constant))
  assert np.isnan(score.random_slot)


def test_a_place_that_was_never_seen_gets_the_commonest_answer():
  latents = np.zeros([3, 2])
  values = {"shape": np.array([[0, 2, 1], [0, 2, 1], [0, 1, 2]])}
  seen = (latents, np.array([[1, -1], [1, -1], [1, -1]]), values)
  test = (latents, np.array([[1, 2], [1, 2], [1, 2]]), values)
  score = scene_factors.regress_scene_factors(seen, test, {"shape": FactorKind("categorical", 3)})
  assert score["shape"].predicted[3:].tolist() == [2, 2, 2]
  with pytest.raises(ValueError, match="no visible object to train on"):
    scene_factors.regress_scene_factors(
      (latents, np.full([3, 2], -1), values), test, {"shape": factors.FactorKind("categorical", 3)}
    )
