"""What one latent of a whole scene tells of all its objects (paper, Fig. 5: the VAE).

A scene latent says nothing of which object is which, so the objects are put into an order of their
own and each place of the order is predicted by itself. The paper orders by size, material, shape
and position, in decreasing precedence. It does not say more; here codes and numbers ascend, of a
position x comes before y, what is still equal keeps the file's order, and places behind the last
object are left out of fit and score.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from iodine import factors
from iodine.factors import FactorKind, FactorScore

# Of these a data set may have some: sprites have a scale and no material, for instance.
PRECEDENCE = ("size", "scale", "material", "shape", "position", "x", "y")


def canonical_order(
  values: Mapping[str, ArrayLike],
  visibility: ArrayLike | None = None,
  num_background: int = 1,
  precedence: Sequence[str] = PRECEDENCE,
) -> np.ndarray:
  """The objects of each scene in an order that is a function of what they are.

  Args:
    values: name -> [N, L] or [N, L, D], components in their order.
    visibility: [N, L]; entities at 0 are absent. None: all are there.
    num_background: how many of the first L entities are background.
    precedence: factors to order by, the first counting most; those that are missing are left out.

  Returns:
    int64 [N, L - num_background], the entity at each place; -1 behind the last object.

  Raises:
    ValueError: none of the factors is there.
  """
  keys = [np.asarray(values[name]) for name in precedence if name in values]
  if not keys:
    raise ValueError(f"expected one of the factors {', '.join(precedence)} to order objects by")
  num_scenes, num_entities = keys[0].shape[:2]
  columns = [column for key in keys for column in np.moveaxis(_rows(key), 2, 0)]  # each [N, L]
  absent = np.zeros([num_scenes, num_entities], bool)
  if visibility is not None:
    absent = np.asarray(visibility) <= 0
  absent = absent.copy()
  absent[:, :num_background] = True
  # the last key of lexsort counts most, and it is stable
  order = np.lexsort((*(c for c in reversed(columns)), absent), axis=1)  # [N, L]
  order = np.where(np.take_along_axis(absent, order, axis=1), -1, order)
  return order[:, : num_entities - num_background]


def regress_scene_factors(
  train: tuple[np.ndarray, np.ndarray, Mapping[str, ArrayLike]],
  test: tuple[np.ndarray, np.ndarray, Mapping[str, ArrayLike]],
  kinds: Mapping[str, FactorKind],
) -> dict[str, FactorScore]:
  """Predicts each factor of the object at each place linearly from the scene's latent.

  Each place has a regression of its own (`factors.regress_factors`); a score is over the objects of
  all places together. A place that no scene to fit on has gets the mean object's value, or the
  commonest.

  Args:
    train: (latents float [N, Z], order of `canonical_order`, values name -> [N, L] or [N, L, D]).
    test: the same of other scenes.
    kinds: name -> FactorKind, of the factors to predict.

  Returns:
    dict name -> FactorScore. `random_slot` is NaN: there is one latent.

  Raises:
    ValueError: a kind is unknown, or there is no object to fit on.
  """
  return {name: _regress(train, test, name, kind) for name, kind in kinds.items()}


def _regress(train, test, name, kind):
  everything, _ = _objects(*train, name)
  if not len(everything):
    raise ValueError("there is no visible object to train on")
  constant = _constant(factors.as_target(everything, kind), kind)
  true, predicted, values = [], [], []
  for place in range(test[1].shape[1]):
    test_values, test_latents = _objects(*test, name, place)
    train_values, train_latents = _objects(*train, name, place)
    target = factors.as_target(test_values, kind)
    if len(train_values):
      fitted = factors.as_target(train_values, kind)
      found = factors.fit_predict(train_latents, fitted, test_latents, kind)
    else:
      found = np.broadcast_to(constant, target.shape)
    true.append(target)
    predicted.append(np.reshape(found, target.shape))
    values.append(test_values)
  true, predicted, values = map(np.concatenate, (true, predicted, values))
  always = np.broadcast_to(constant, true.shape)
  answers = factors.as_value(predicted, values, kind)
  return FactorScore(
    kind=kind.kind,
    score=factors.score_of(true, predicted, kind),
    error=factors.error_of(values, answers, kind),
    random_slot=float("nan"),
    constant=factors.score_of(true, always, kind),
    constant_error=factors.error_of(values, factors.as_value(always, values, kind), kind),
    true=values,
    predicted=answers,
  )


def _objects(latents, order, values, name, place=None):
  """(values, latents) of the objects at a place, or at all places."""
  values, places = np.asarray(values[name]), order if place is None else order[:, [place]]
  scene, column = np.nonzero(places >= 0)
  return values[scene, places[scene, column]], np.asarray(latents)[scene]


def _constant(target, kind):
  if kind.kind == "categorical":
    codes, counts = np.unique(target, return_counts=True)
    return codes[counts.argmax()]
  return target.mean(axis=0)


def _rows(values):
  return values[..., None] if values.ndim == 2 else values
