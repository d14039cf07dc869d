"""The latents of one slot of a scene, each set to other values: what two studies draw."""

from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from experiments.support.errors import Refusal
from experiments.support.settings import StudySettings, Whole
from experiments.support.shown import pick
from experiments.support.slot_latents import collect
from experiments.support.subjects import Config, Subject
from iodine import factors, inference, latents
from iodine.config import Count, Positive
from iodine.outputs import SlotOutput


class TraversalSettings(StudySettings):
  """See `StudySettings`.

  Attributes:
    image: position in the split.
    slot: counted from 0; that of the image's largest object by default.
    num_latents: rows.
    num_steps: columns.
    extent: values from minus to plus this; the prior has standard deviation 1.
    only_slot: decode the slot alone instead of the whole image.
    num_images: over which the KL is averaged.
  """

  image: Whole = 0
  slot: Whole | None = None
  num_latents: Count = 8
  num_steps: Annotated[int, Field(ge=2)] = 9
  extent: Positive = 2.0
  only_slot: bool = False
  num_images: Count = 64


class Traversal(NamedTuple):
  """The latents of one slot of one scene, each set to other values.

  Attributes:
    position: of the scene in its split.
    scene: a batch of it alone.
    decoded: what the model makes of it.
    grid: [R, S, H, W, C], a row a latent.
    slot: whose latents they are.
    order: int [R], the latents, those with the largest KL first.
    kl: [Z], nats, means over many images.
    means: [N * K, Z], of the posteriors of these.
    steps: [S], the values.
  """

  position: int
  scene: dict[str, Any]
  decoded: SlotOutput
  grid: np.ndarray
  slot: int
  order: np.ndarray
  kl: np.ndarray
  means: np.ndarray
  steps: np.ndarray


def traverse(subject: Subject, config: Config) -> Traversal:
  """Traverses the latents of a slot of a run's scene.

  Args:
    subject: a Subject.
    config: with the keys of `TraversalSettings`.

  Raises:
    Refusal: the model has no latents, or there is no such scene or slot.
  """
  subject.need("latents", "images")
  collected = collect(subject, config)
  kl = collected.kl.mean(axis=(0, 1))  # [Z]
  order = np.argsort(-kl, kind="stable")[: config["num_latents"]]
  [(position, scene)] = pick(subject, config, [config["image"]])
  infer = inference.Inference(subject.model, config["num_iterations"], config["num_slots"])
  decoded = infer(scene["image"], config["seed"], position)
  slot = _slot(config["slot"], scene, decoded, subject.spec.num_background)
  steps = np.linspace(-config["extent"], config["extent"], config["num_steps"])
  z = decoded.latents.mean[0]
  grid = latents.traverse(subject.model, z, slot, order, steps, config["only_slot"])
  means = collected.mean.reshape(-1, len(kl))
  return Traversal(position, scene, decoded, grid, slot, order, kl, means, steps)


def _slot(wanted, scene, decoded, num_background):
  """The slot to traverse: that of the largest object, or the one asked for, counted from 0."""
  num_slots = decoded.masks.shape[1]
  if wanted is not None:
    if not 0 <= wanted < num_slots:
      raise Refusal(f"there is no slot {wanted}: there are 0 to {num_slots - 1}")
    return wanted
  if "mask" in scene:
    mask = scene["mask"].numpy()
    slots = factors.match_slots(mask, decoded.masks, num_background)[0]
    size = np.where(slots >= 0, mask[0].sum(axis=(1, 2, 3)), -1)
    if size.max() > 0:
      return int(slots[size.argmax()])
  return int(np.argmax(decoded.latents.kl[0].sum(axis=-1)))
