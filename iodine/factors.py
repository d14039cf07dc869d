"""Which slot holds which object, and what its latents tell of the object's factors (Fig. 5)."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.special
from numpy.typing import ArrayLike
from sklearn import ensemble, linear_model, model_selection, pipeline, preprocessing

from iodine.matching import match_slots

PENALTIES = np.logspace(-8, 6, 15)  # of ridge regression
INVERSE_PENALTIES = np.logspace(-3, 2, 6)  # of logistic regression: C
FOLDS = 3

__all__ = [
  "DCI",
  "FactorKind",
  "FactorScore",
  "Objects",
  "dci",
  "gather_objects",
  "match_slots",
  "regress_factors",
]


@dataclasses.dataclass(frozen=True)
class FactorKind:
  """What the values of a factor mean. Anything with these three attributes will do in its place.

  Attributes:
    kind: "continuous", "categorical" or "angle".
    num_categories: for "categorical": the codes are 0 to num_categories - 1.
    period: for "angle", the full turn in the factor's unit; 2 pi by default.
  """

  kind: str
  num_categories: int | None = None
  period: float | None = None


@dataclasses.dataclass(frozen=True)
class Objects:
  """Visible objects of many images, each with the latents of its slot.

  Attributes:
    latents: float [M, Z], of the slot matched to the object.
    random_latents: float [M, Z], of a slot drawn at random from the same image: the baseline.
    factors: name -> [M] or [M, D].
    image: int [M], the row of the image that the object is in.
  """

  latents: np.ndarray
  random_latents: np.ndarray
  factors: dict[str, np.ndarray]
  image: np.ndarray


@dataclasses.dataclass(frozen=True)
class FactorScore:
  """How well one factor is predicted on held-out objects.

  Attributes:
    kind: of the factor.
    score: accuracy for a category, R^2 otherwise (of cosine and sine for an angle).
    error: root mean square error; mean absolute difference, the short way round, for an angle;
      share of wrong answers for a category.
    random_slot: the score with latents of a random slot, trained on such.
    constant: the score of always answering the training objects' mean, or commonest category.
    constant_error: the error of this answer (for an angle: of their mean direction).
    true: [M] or [M, D], of the held-out objects.
    predicted: the same shape.
  """

  kind: str
  score: float
  error: float
  random_slot: float
  constant: float
  constant_error: float
  true: np.ndarray
  predicted: np.ndarray


@dataclasses.dataclass(frozen=True)
class DCI:
  """Disentanglement, completeness, informativeness (Eastwood and Williams 2018).

  Attributes:
    disentanglement: in [0, 1]; 1: each latent matters for one factor.
    completeness: in [0, 1]; 1: each factor rests on one latent. Of the factors
      that vary; NaN where none does.
    informativeness: name -> held-out R^2 or accuracy of the trees that were asked.
    importance: float [Z, F]; each column sums to 1, or is zero where the factor does not vary.
    names: F names, in the order of the columns.
  """

  disentanglement: float
  completeness: float
  informativeness: dict[str, float]
  importance: np.ndarray
  names: tuple[str, ...]


def gather_objects(
  latents: ArrayLike,
  slots: ArrayLike,
  factors: Mapping[str, ArrayLike],
  visibility: ArrayLike | None = None,
  seed: int = 0,
) -> Objects:
  """Lines up the objects that are visible and have a slot.

  Args:
    latents: float [N, K, Z], e.g. posterior means.
    slots: int [N, L], of `match_slots`; -1 is left out.
    factors: name -> [N, L] or [N, L, D].
    visibility: [N, L], entities at 0 are left out; None: all are visible.
    seed: of the random slots.

  Returns:
    Objects.

  Raises:
    ValueError: the sizes differ, or a slot index is not below K.
  """
  latents, slots = np.asarray(latents), np.asarray(slots)
  if latents.ndim != 3 or slots.ndim != 2 or len(latents) != len(slots):
    raise ValueError(
      "expected latents [N, K, Z] and slots [N, L], "
      f"got {list(latents.shape)} and {list(slots.shape)}"
    )
  factors = {name: np.asarray(values) for name, values in factors.items()}
  visibility = np.ones(slots.shape) if visibility is None else np.asarray(visibility)
  for name, values in {**factors, "visibility": visibility}.items():
    if values.shape[:2] != slots.shape:
      raise ValueError(f"expected {name} [N, L] = {list(slots.shape)}, got {list(values.shape)}")
  if slots.max(initial=-1) >= latents.shape[1]:
    raise ValueError(f"expected slots below K = {latents.shape[1]}, got {slots.max()}")
  image, entity = np.nonzero((slots >= 0) & (visibility > 0))
  random_slot = np.random.default_rng(seed).integers(latents.shape[1], size=len(image))
  return Objects(
    latents=latents[image, slots[image, entity]],
    random_latents=latents[image, random_slot],
    factors={name: values[image, entity] for name, values in factors.items()},
    image=image,
  )


def regress_factors(
  train: Objects, test: Objects, kinds: Mapping[str, FactorKind]
) -> dict[str, FactorScore]:
  """Predicts each factor linearly from frozen latents.

  Ridge regression (`fit_predict`) for a continuous factor (several components: each on its own, the
  mean of their R^2), logistic regression for a category, ridge to cosine and sine for an angle.

  Args:
    train: Objects to fit on; of other images than `test`.
    test: Objects to score.
    kinds: name -> FactorKind, of the factors to predict.

  Returns:
    dict name -> FactorScore. The scores are NaN where there is nothing to score.

  Raises:
    ValueError: a factor is missing, its kind is unknown, or there is no object to train on.
  """
  _check_factors(train, test, kinds)
  return {name: _regress(train, test, name, kind) for name, kind in kinds.items()}


def dci(
  train: Objects,
  test: Objects,
  kinds: Mapping[str, FactorKind],
  num_trees: int = 50,
  seed: int = 0,
) -> DCI:
  """Disentanglement, completeness and informativeness of the latents.

  The importance of a latent for a factor is that of a random forest. The overall disentanglement
  weighs each latent by its total importance.

  Args:
    train: Objects to fit on.
    test: Objects to score the informativeness on.
    kinds: name -> FactorKind, at least two.
    num_trees: of each forest.
    seed: of the forests.

  Returns:
    DCI.

  Raises:
    ValueError: as for `regress_factors`, or there are fewer than two factors or latents.
  """
  _check_factors(train, test, kinds)
  if len(kinds) < 2 or train.latents.shape[1] < 2:
    raise ValueError(
      "expected at least two factors and two latents, "
      f"got {len(kinds)} and {train.latents.shape[1]}"
    )
  columns, informativeness = [], {}
  for name, kind in kinds.items():
    categorical = kind.kind == "categorical"
    forest = ensemble.RandomForestClassifier if categorical else ensemble.RandomForestRegressor
    model = forest(num_trees, random_state=seed)
    target = as_target(train.factors[name], kind)
    model.fit(train.latents, target.ravel() if target.size == len(target) else target)
    columns.append(model.feature_importances_)
    predicted = model.predict(test.latents) if len(test.latents) else None
    informativeness[name] = score_of(as_target(test.factors[name], kind), predicted, kind)
  importance = np.stack(columns, axis=1)  # [Z, F]
  weights = importance.sum(axis=1)
  disentanglement = (weights * _concentration(importance)).sum() / max(weights.sum(), 1e-12)
  varies = importance.sum(axis=0) > 0
  completeness = _concentration(importance.T)[varies]
  return DCI(
    disentanglement=float(disentanglement),
    completeness=float(completeness.mean()) if varies.any() else float("nan"),
    informativeness=informativeness,
    importance=importance,
    names=tuple(kinds),
  )


def _concentration(importance):
  """1 minus the normalised entropy of each row; 0 for a row of zeros."""
  total = importance.sum(axis=1, keepdims=True)
  share = np.divide(importance, total, out=np.zeros_like(importance), where=total > 0)
  entropy = scipy.special.entr(share).sum(axis=1) / np.log(importance.shape[1])
  return np.where(total[:, 0] > 0, 1 - entropy, 0.0)


def _regress(train, test, name, kind):
  target, true = as_target(train.factors[name], kind), as_target(test.factors[name], kind)
  predicted = fit_predict(train.latents, target, test.latents, kind)
  other = fit_predict(train.random_latents, target, test.random_latents, kind)
  if kind.kind == "categorical":
    codes, counts = np.unique(target, return_counts=True)
    constant = np.full(len(true), codes[counts.argmax()])
  else:
    constant = np.broadcast_to(target.mean(axis=0), true.shape)
  values = test.factors[name]
  return FactorScore(
    kind=kind.kind,
    score=score_of(true, predicted, kind),
    error=error_of(values, as_value(predicted, values, kind), kind),
    random_slot=score_of(true, other, kind),
    constant=score_of(true, constant, kind),
    constant_error=error_of(values, as_value(constant, values, kind), kind),
    true=values,
    predicted=as_value(predicted, values, kind),
  )


def fit_predict(
  latents: np.ndarray, target: np.ndarray, test_latents: np.ndarray, kind: FactorKind
) -> np.ndarray:
  """Targets of `as_target` predicted linearly, or by logistic regression, for other latents.

  The linear fit is ridge regression whose penalty is chosen by leaving single rows out, that of
  categories logistic regression whose penalty is chosen by threefold cross-validation: next to none
  where there are many rows, and enough not to follow noise where latents are more.
  """
  if len(target) == 1 or (kind.kind == "categorical" and len(np.unique(target)) == 1):
    return np.repeat(target[:1], len(test_latents), axis=0)  # there is nothing to choose from
  if kind.kind != "categorical":
    ridge = linear_model.RidgeCV(PENALTIES, alpha_per_target=True)
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), ridge)
  else:
    model = _logistic(_inverse_penalty(latents, target))
  model.fit(latents, target)
  return model.predict(test_latents) if len(test_latents) else np.zeros_like(target[:0])


def _logistic(inverse_penalty=1.0):
  logistic = linear_model.LogisticRegression(C=inverse_penalty, max_iter=2000)
  return pipeline.make_pipeline(preprocessing.StandardScaler(), logistic)


def _inverse_penalty(latents, target) -> float:
  """The C under which rows that were left out are the most likely."""
  codes, counts = np.unique(target, return_counts=True)
  common = codes[counts >= FOLDS]  # those that are in every fold
  if len(common) < 2:
    return 1.0
  rows = np.isin(target, common)
  search = model_selection.GridSearchCV(
    _logistic(),
    {"logisticregression__C": INVERSE_PENALTIES},
    scoring="neg_log_loss",
    cv=model_selection.StratifiedKFold(FOLDS, shuffle=True, random_state=0),
    refit=False,
  )
  return search.fit(latents[rows], target[rows]).best_params_["logisticregression__C"]


def as_target(values: ArrayLike, kind: FactorKind) -> np.ndarray:
  """What is regressed on: int [M] for a category, else float64 [M, D]."""
  if kind.kind == "categorical":
    return np.asarray(values).astype(np.int64)
  values = np.asarray(values, np.float64)  # [M] or [M, D]
  if kind.kind == "angle":
    radians = values * (2 * np.pi / _period(kind))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)
  return values[:, None] if values.ndim == 1 else values


def as_value(target: np.ndarray, like: np.ndarray, kind: FactorKind) -> np.ndarray:
  """The inverse of `as_target`, in the shape of `like`."""
  if kind.kind == "angle":
    turns = np.arctan2(target[:, 1], target[:, 0]) / (2 * np.pi)
    return turns % 1.0 * _period(kind)
  return np.reshape(target, np.shape(like))


def score_of(true: np.ndarray, predicted: np.ndarray, kind: FactorKind) -> float:
  """Accuracy, or R^2; NaN where there is nothing to score or nothing that varies."""
  if len(true) == 0:
    return float("nan")
  if kind.kind == "categorical":
    return float(np.mean(true == predicted))
  predicted = np.reshape(predicted, true.shape)
  residual = ((true - predicted) ** 2).sum(axis=0)
  total = ((true - true.mean(axis=0)) ** 2).sum(axis=0)
  if kind.kind == "angle":  # cosine and sine are one thing
    residual, total = residual.sum(keepdims=True), total.sum(keepdims=True)
  varies = np.ptp(true, axis=0) > 0  # the rounded mean of equal values may be another
  if kind.kind == "angle":
    varies = varies.any(keepdims=True)
  return float(np.mean(1 - residual[varies] / total[varies])) if varies.any() else float("nan")


def error_of(true: np.ndarray, predicted: np.ndarray, kind: FactorKind) -> float:
  """See `FactorScore.error`; NaN where there is nothing to score."""
  if len(true) == 0:
    return float("nan")
  if kind.kind == "categorical":
    return float(np.mean(true != predicted))
  if kind.kind == "angle":
    period = _period(kind)
    away = np.abs(true - predicted) % period
    return float(np.mean(np.minimum(away, period - away)))
  return float(np.sqrt(np.mean((true - predicted) ** 2)))


def _period(kind):
  return 2 * np.pi if kind.period is None else kind.period


def _check_factors(train, test, kinds):
  for name, kind in kinds.items():
    if kind.kind not in ("continuous", "categorical", "angle"):
      raise ValueError(
        f"expected {name} to be continuous, categorical or an angle, got {kind.kind!r}"
      )
    for objects in (train, test):
      if name not in objects.factors:
        known = ", ".join(sorted(objects.factors)) or "none"
        raise ValueError(f"there is no factor {name!r}; there are: {known}")
    codes = np.concatenate([train.factors[name].ravel(), test.factors[name].ravel()])
    top = kind.num_categories if kind.kind == "categorical" else None
    if top is not None and codes.size and not 0 <= codes.min() <= codes.max() < top:
      raise ValueError(f"expected codes of {name} in [0, {top}), got {codes.min()}..{codes.max()}")
  if len(train.latents) == 0:
    raise ValueError("there is no visible object with a slot to train on")
