"""What single latents do: python -m experiments.traversals with run=runs/3

The latents of one slot, those with the largest KL first, each set to values over its range while
all others stay; the whole image decoded (paper, Figs. 6, 30-32), as a figure and as a GIF.
"""

import pathlib
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field

from experiments.support.cli import Command, Refusal
from experiments.support.results import Results
from experiments.support.settings import OtherData, StudySettings, Whole
from experiments.support.shown import pick
from experiments.support.subjects import beside, collect, open_run
from iodine import factors, inference, latents, plotting
from iodine.config import Count, Positive

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
  collected = collect(subject, _config)
  kl = collected.kl.mean(axis=(0, 1))  # [Z]
  order = np.argsort(-kl, kind="stable")[: _config["num_latents"]]
  [(position, scene)] = pick(subject, _config, [_config["image"]])
  infer = inference.Inference(subject.model, _config["num_iterations"], _config["num_slots"])
  decoded = infer(scene["image"], _config["seed"], position)
  slot = _slot(_config["slot"], scene, decoded, subject.spec.num_background)
  steps = np.linspace(-_config["extent"], _config["extent"], _config["num_steps"])
  z = decoded.latents.mean[0]
  grid = latents.traverse(subject.model, z, slot, order, steps, _config["only_slot"])
  means = collected.mean.reshape(-1, len(kl))
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
