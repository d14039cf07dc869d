"""The latents of a run's slots, and the factors of the objects that they hold."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import datasets
from experiments.support.errors import Refusal
from experiments.support.subjects import Config, Subject, scenes
from iodine import factors, latents


def collect(
  subject: Subject, config: Config, split: str | None = None, num_images: int | None = None
) -> latents.Latents:
  """Latents of held-out scenes.

  Raises:
    Refusal: the model has none.
  """
  subject.need("latents")
  return latents.collect(
    subject.model,
    scenes(subject, config, split, num_images),
    config["num_iterations"],
    config["num_slots"],
    subject.spec.num_background,
    config["seed"],
  )


def both_splits(subject: Subject, config: Config) -> dict[str, latents.Latents]:
  """The latents of whole splits, "validation" to fit on and "test" to score on.

  Raises:
    Refusal: the model has no latents, or the data no such split.
  """
  subject.need("latents")
  for split in ("validation", "test"):
    if not subject.data[f"num_{split}"]:
      raise Refusal(f"there is no {split} split: data.num_{split}=320 for instance makes one")
  return {
    split: collect(subject, config, split, subject.data[f"num_{split}"])
    for split in ("validation", "test")
  }


def check_factors(
  subject: Subject, names: Sequence[str] | None, known: Iterable[str] | None = None
) -> None:
  """Raises Refusal for a name of no factor: of the data set, or of those that are known."""
  known = subject.spec.factors if known is None else known
  for name in names or ():
    if name not in known:
      there = ", ".join(known) or "none"
      raise Refusal(f"{subject.data['name']} has no factor {name!r}; there are: {there}")


def factor_kinds(
  subject: Subject, collected: latents.Latents, names: Sequence[str] | None = None
) -> dict[str, datasets.Factor]:
  """Kinds of the factors to look at, all by default: by name.

  Raises:
    Refusal: the data has no true masks, no factors, or not those that are named.
  """
  known = {k: v for k, v in subject.spec.factors.items() if k in collected.factors}
  if collected.slots is None:
    raise Refusal(f"{subject.data['name']} has no true masks, by which objects find their slots")
  if not known:
    raise Refusal(f"{subject.data['name']} has no factors to predict")
  check_factors(subject, names, known)
  return {name: known[name] for name in names or known if len(known[name].shape) < 2}


def varying(kinds: Mapping[str, Any], objects: factors.Objects) -> dict[str, Any]:
  """Leaves out factors that are the same for all objects, as the colour of binarized sprites."""
  found = {
    name: kind for name, kind in kinds.items() if np.ptp(objects.factors[name], axis=0).any()
  }
  for name in sorted(set(kinds) - set(found)):
    print(f"{name} is left out: it is the same for all objects")
  if not found:
    raise Refusal("there is no factor that varies")
  return found
