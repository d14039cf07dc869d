"""Scenes that are shown: picked by their position, decomposed, refined step by step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from experiments.support.errors import Refusal
from experiments.support.results import Results
from experiments.support.subjects import Config, Subject, scenes
from iodine import inference, plotting

Scene = dict[str, Any]


def pick(
  subject: Subject, config: Config, positions: Sequence[int] | None = None
) -> list[tuple[int, Scene]]:
  """Scenes at positions in the split, the first `num_images` by default.

  Returns:
    list of (position, batch of one scene).

  Raises:
    Refusal: there is no such position, or the data are clips.
  """
  subject.need("images")
  wanted = range(config["num_images"]) if positions is None else positions
  found, first = {}, 0
  for batch in scenes(subject, config, num_images=max(wanted) + 1):
    for row in range(len(batch["image"])):
      if first + row in wanted:
        found[first + row] = tf.nest.map_structure(lambda v, row=row: v[row : row + 1], batch)
    first += len(batch["image"])
  for position in wanted if positions is not None else ():
    if position not in found:
      raise Refusal(f"there is no image {position}: the split has {first}")
  return [(position, found[position]) for position in wanted if position in found]


def decompose(
  subject: Subject, config: Config, chosen: Sequence[tuple[int, Scene]]
) -> dict[str, np.ndarray | None]:
  """What the model makes of scenes of `pick`: the arguments of plotting.decomposition."""
  infer = inference.Inference(subject.model, config["num_iterations"], config["num_slots"])
  decoded = [infer(scene["image"], config["seed"], position) for position, scene in chosen]

  def joined(values):
    return np.concatenate(list(values))

  return {
    "images": joined(scene["image"] for _, scene in chosen),
    "true_masks": joined(s["mask"] for _, s in chosen) if "mask" in chosen[0][1] else None,
    "reconstructions": joined(d.reconstruction for d in decoded),
    "masks": joined(d.masks for d in decoded),
    "means": joined(d.means for d in decoded),
    "mask_logits": joined(d.mask_logits for d in decoded),
  }


def draw_decomposition(
  results: Results, subject: Subject, config: Config, chosen: Sequence[tuple[int, Scene]]
) -> None:
  """The figure `decompositions` of scenes of `pick`."""
  shown = decompose(subject, config, chosen)
  figure = plotting.decomposition(**shown, num_background=subject.spec.num_background)
  results.figure("decompositions", figure)


def draw_refinement(results: Results, subject: Subject, config: Config) -> list[str]:
  """The figures of the refinement, with slots masked in and with the bare masks.

  Args:
    results: where they go.
    subject: a Subject.
    config: with `image`, the position of the scene, and `shown`, the iterations, counted from 1.

  Returns:
    the paths of both.

  Raises:
    Refusal: there is no such scene, or no such iteration.
  """
  shown = list(config["shown"] or range(1, subject.num_decodes + 1))
  [(position, scene)] = pick(subject, config, [config["image"]])
  infer = inference.Inference(subject.model, max(shown), config["num_slots"])
  decoded = infer.iterations(scene["image"], config["seed"], position)
  if max(shown) > len(decoded.masks):
    raise Refusal(
      f"there is no iteration {max(shown)}: the model decodes {len(decoded.masks)} times"
    )
  rows, paths = [t - 1 for t in shown], []
  for name, slots in (("refinement", "masked"), ("refinement_masks", "mask")):
    figure = plotting.refinement(
      scene["image"][0].numpy(),
      decoded.masks[rows, 0],
      decoded.means[rows, 0],
      decoded.reconstruction[rows, 0],
      scene["mask"][0].numpy() if "mask" in scene else None,
      slots=slots,
      iterations=shown,
      num_background=subject.spec.num_background,
    )
    paths.append(results.figure(name, figure))
  return paths


def at_least_2d(latents: np.ndarray) -> np.ndarray:
  """[N, Z] as it is; of a single latent with a second one that is zero, to be drawn in a plane."""
  return np.pad(latents, [(0, 0), (0, max(2 - latents.shape[1], 0))])
