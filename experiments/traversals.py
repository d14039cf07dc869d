"""What single latents do: python -m experiments.traversals with run=runs/3

The latents of one slot, those with the largest KL first, each set to values over its range while
all others stay; the whole image decoded (paper, Figs. 6, 30-32), as a figure and as a GIF.
"""

import pathlib
from typing import Annotated, Any, NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field

from experiments.support.cli import Command, Refusal
from experiments.support.results import Results
from experiments.support.settings import OtherData, StudySettings, Whole
from experiments.support.shown import pick
from experiments.support.subjects import Config, Subject, beside, collect, open_run
from iodine import factors, inference, latents, plotting
from iodine.config import Count, Positive
from iodine.outputs import SlotOutput

GIF_CELL = 112  # pixels, at least


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


command = Command("traversals", TraversalSettings, OtherData, storage=beside("traversals"))


@command.main
def traverse_latents(_run, _config):
  """Draws the traversals and the GIF; returns the folder."""
  subject, results = open_run(_config), Results(_run)
  position, scene, decoded, grid, slot, order, kl, means, steps = traverse(subject, _config)
  z = decoded.latents.mean[0]
  results.table(
    "latents",
    ["latent", "KL (nats)", "mean", "std", "value here"],
    [[int(d), *map(float, (kl[d], *_moments(means[:, d]), z[slot, d]))] for d in order],
  )
  figure = plotting.traversals(
    grid,
    row_labels=[f"{d}: {kl[d]:.1f} nats" for d in order],
    column_labels=[f"{step:+.1f}" if step else "0" for step in steps],
    width=plotting.WIDTH,
  )
  results.figure("traversals", figure)
  results.figure(
    "scene",
    plotting.decomposition(
      scene["image"].numpy(),
      None,
      decoded.reconstruction,
      decoded.masks,
      decoded.means,
      num_background=subject.spec.num_background,
    ),
  )
  print(f"image {position}, slot {slot + 1} of {len(z)}")
  path = results.folder / "traversals.gif"
  write_gif(path, grid)
  results.files.append(str(path))
  return results.done()


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


def _moments(values):
  return values.mean(), values.std()


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


def write_gif(path: pathlib.Path, grid: np.ndarray) -> None:
  """Saves traversals [R, S, H, W, C] as a GIF: all latents side by side, to and fro."""
  rows, steps, height = grid.shape[:3]
  scale = max(1, -(-GIF_CELL // height))
  frames = []
  for step in [*range(steps), *range(steps - 2, 0, -1)]:
    cells = np.repeat(np.repeat(np.clip(grid[:, step], 0, 1), scale, axis=1), scale, axis=2)
    cells = np.pad(cells, [(0, 0), (2, 2), (2, 2), (0, 0)], constant_values=1.0)
    columns = min(rows, 4)
    cells = np.pad(cells, [(0, -rows % columns), (0, 0), (0, 0), (0, 0)], constant_values=1.0)
    tiled = cells.reshape(-1, columns, *cells.shape[1:]).swapaxes(1, 2)  # [., h, columns, w, C]
    tiled = tiled.reshape(-1, columns * cells.shape[2], cells.shape[3])
    tiled = np.repeat(tiled, 3, axis=-1) if tiled.shape[-1] == 1 else tiled
    frames.append(Image.fromarray((tiled * 255).round().astype(np.uint8)))
  frames[0].save(path, save_all=True, append_images=frames[1:], duration=150, loop=0)


if __name__ == "__main__":
  command.run_commandline()
