"""Beyond the training data: python -m experiments.generalization with run=runs/3

More objects than in training (paper, Fig. 7): scores by number of objects, with a slot for each
and for the background, and the decomposition of the fullest scenes. And combinations of factors
that training left out (green spheres, Fig. 19), which are named by their codes:

  python -m experiments.generalization with run=runs/3 counts=[3,4,5,6,7,8,9,10]
  python -m experiments.generalization with run=runs/3 combination=color=4,shape=2

Scenes from elsewhere come by data.path=... (and data.name=...); data.num_test has more of them.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

import datasets
from experiments.support import runs
from experiments.support.cli import Command, Refusal
from experiments.support.results import Results, pooled
from experiments.support.settings import Counts, OtherData, StudySettings
from experiments.support.shown import draw_decomposition, pick
from experiments.support.subjects import (
  Config,
  Subject,
  beside,
  open_runs,
  same_data,
  scenes,
  score,
  told_apart,
)
from iodine import inference, metrics, plotting
from iodine.config import Count


def parse(combination: Any) -> Any:
  """ "shape=2,color=[1,0,0]", or a mapping, as a dict."""
  if not isinstance(combination, str):
    return combination
  found = re.findall(r"(\w+)=(\[[^]]*\]|[^,]+)", combination)
  try:
    if found:
      return {name: ast.literal_eval(value.strip()) for name, value in found}
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    pass
  raise ValueError(f"a combination is written as shape=2,color=4, got {combination!r}")


Number = Annotated[float, Field(allow_inf_nan=False)]
Numbers = Annotated[tuple[Number, ...], BeforeValidator(lambda v: v if np.ndim(v) else [v])]


class GeneralizationSettings(StudySettings):
  """See `StudySettings`.

  Attributes:
    counts: numbers of objects, [3,4,5,6]; all that the data set may have by default.
    combination: factors of held-out objects, shape=2,color=4.
    num_pictures: scenes that are drawn.
  """

  counts: Counts | None = None
  combination: Annotated[dict[str, Numbers], BeforeValidator(parse)] | None = None
  num_pictures: Count = 4


command = Command(
  "generalization", GeneralizationSettings, OtherData, storage=beside("generalization")
)


@command.main
def generalization(_run, _config):
  """Scores and draws; returns the folder."""
  subjects, results = open_runs(_config), Results(_run)
  same_data(subjects)
  for subject in subjects:
    subject.need("slots", "images")
  if _config["combination"]:
    if len(subjects) > 1:
      raise Refusal(f"combination looks at one run, got {len(subjects)}")
    combinations(results, subjects[0], _config)
  else:
    more_objects(results, subjects, _config)
  return results.done()


def more_objects(results: Results, subjects: Sequence[Subject], config: Config) -> None:
  """Scores by number of objects, and the fullest scenes."""
  curves, mark, found = {}, {}, []
  for subject, method in zip(subjects, told_apart(subjects), strict=True):
    seen = runs.objects(subject.config["data"])
    label = f"trained on {f'{seen} objects' if seen.by_number else 'all scenes'}"
    if len(subjects) > 1:
      label = f"{method}K = {subject.model.config.num_slots}, {label}"
    mark[label] = seen.max_objects
    by_count, evaluators = {}, {}
    for count in _counts(subject, config["counts"]):
      num_slots = _num_slots(subject, config, count)
      if num_slots not in evaluators:  # one that is traced serves all counts
        evaluators[num_slots] = subject.evaluator(config, num_slots=num_slots)
      limits = {"min_objects": count, "max_objects": count}
      try:
        scores = score(subject, config, evaluator=evaluators[num_slots], **limits)
      except datasets.NoSceneError:
        print(f"{subject.folder}: no scene of {count} objects")
        continue
      number = len(scores["mse"])
      print(f"{subject.folder}: {count} objects, {number} images, K = {num_slots}", flush=True)
      by_count[count] = {metric: values[:, -1] for metric, values in scores.items()}
    if not by_count:
      raise Refusal(f"no scene of the {config['split']} split has any of the counts asked for")
    found.append((label, by_count))
  counts = sorted(set.union(*(set(by_count) for _, by_count in found)))
  for label, by_count in found:
    pooled(curves, label, {m: _columns(by_count, m, counts) for m in by_count[min(by_count)]})
  results.curves("generalization", curves, "Objects", counts, mark)
  subject, most = subjects[0], max(found[0][1])
  fullest = subject._replace(data={**subject.data, "min_objects": most, "max_objects": most})
  config = {**config, "num_slots": _num_slots(subject, config, most)}
  _draw(results, fullest, config, range(config["num_pictures"]))


def combinations(results: Results, subject: Subject, config: Config) -> None:
  """Objects of a combination of factors against all others, and scenes that have such an object."""
  wanted = config["combination"]
  infer = inference.Inference(subject.model, config["num_iterations"], config["num_slots"])
  background = subject.spec.num_background
  overlaps = {"combination": [], "others": []}  # intersection over union, by object
  by_scene = {"combination": [], "others": []}  # ARI-FG and MSE, by scene
  pictures, first = [], 0
  for batch in scenes(subject, config):
    chosen = matches(batch, wanted, subject)[:, background:]  # [B, L]
    decoded = infer(batch["image"], config["seed"], first)
    overlap = metrics.object_iou(batch["mask"], decoded.masks, background).numpy()
    scores = np.stack([
      metrics.ari_fg(batch["mask"], decoded.masks, background),
      metrics.mse(batch["image"], decoded.reconstruction),
    ], axis=1)  # fmt: skip
    has = chosen.any(axis=1)
    for kind, objects, images in (("combination", chosen, has), ("others", ~chosen, ~has)):
      overlaps[kind].append(overlap[objects & np.isfinite(overlap)])
      by_scene[kind].append(scores[images])
    pictures += [first + int(row) for row in np.nonzero(has)[0]]
    first += len(has)
  overlaps = {kind: np.concatenate(values) for kind, values in overlaps.items()}
  by_scene = {kind: np.concatenate(values) for kind, values in by_scene.items()}
  if not len(overlaps["combination"]):
    raise Refusal(f"no object of the {first} images is {_words(wanted)}")
  rows, bars = [], {}
  for kind, title in (("combination", _words(wanted)), ("others", "all others")):
    ari, mse = by_scene[kind].T
    means = [float(np.nanmean(v)) if len(v) else None for v in (overlaps[kind], ari, mse)]
    rows.append([title, len(overlaps[kind]), means[0], len(ari), *means[1:]])
    bars[title] = {"object IoU": means[0], "ARI-FG": means[1]}
  columns = ["objects", "number", "IoU", "scenes with them", "ARI-FG", "MSE"]
  results.table("combination", columns, rows, latex=True)
  bars = {m: {k: np.nan if v is None else v for k, v in b.items()} for m, b in bars.items()}
  results.figure("combination", plotting.comparison(bars, ylabel="Score", limits=(0, 1.12)))
  _draw(results, subject, config, pictures[: config["num_pictures"]])


def matches(
  batch: Mapping[str, Any], combination: Mapping[str, Sequence[float]], subject: Subject
) -> np.ndarray:
  """Which visible objects have all the factor values asked for: bool [B, L].

  Raises:
    Refusal: the data has no such factor, or its values have another length.
  """
  found = batch["visibility"].numpy() > 0
  for name, wanted in combination.items():
    if name not in batch["factors"]:
      known = ", ".join(batch["factors"]) or "none"
      raise Refusal(f"{subject.data['name']} has no factor {name!r}; there are: {known}")
    values = batch["factors"][name].numpy()
    shape = values.shape[2:] or (1,)
    if shape != np.shape(wanted):
      raise Refusal(f"expected {shape[0]} numbers for {name}, got {list(wanted)}")
    values = values.reshape(*found.shape, *shape)
    equal = np.isclose(values, np.asarray(wanted), atol=1e-3)
    found &= equal.reshape(*found.shape, -1).all(axis=-1)
  return found


def _draw(results, subject, config, positions):
  """The decomposition of scenes at positions."""
  chosen = pick(subject, {**config, "num_images": max(positions) + 1}, None)
  chosen = [scene for scene in chosen if scene[0] in positions]
  draw_decomposition(results, subject, config, chosen)


def _counts(subject, counts):
  if counts:
    return counts
  spec = subject.spec
  if spec.max_entities is None:
    raise Refusal("say which numbers of objects to look for: counts=[3,4,5,6]")
  return range(1, spec.max_entities - spec.num_background + 1)


def _num_slots(subject, config, count):
  """As asked; else the run's, or one for each object and the background if these are more."""
  return config["num_slots"] or max(subject.model.config.num_slots, count + 1)


def _columns(by_count, metric, counts):
  """[N, X], padded with NaN."""
  longest = max(len(scores[metric]) for scores in by_count.values())
  result = np.full([longest, len(counts)], np.nan)
  for i, count in enumerate(counts):
    if count in by_count:
      values = by_count[count][metric]
      result[: len(values), i] = values
  return result


def _words(combination):
  return ", ".join(
    f"{name} {', '.join(f'{value:g}' for value in values)}" for name, values in combination.items()
  )


if __name__ == "__main__":
  command.run_commandline()
