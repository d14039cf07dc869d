"""What single latents do: python -m experiments.traversals with run=runs/3

The latents of one slot, those with the largest KL first, each set to values over its range while
all others stay; the whole image decoded (paper, Figs. 6, 30-32), as a figure and as a GIF.
"""

import pathlib

import numpy as np
from PIL import Image

from experiments.support.cli import Command
from experiments.support.results import Results
from experiments.support.settings import OtherData
from experiments.support.subjects import beside, open_run
from experiments.support.traversal import TraversalSettings, traverse
from iodine import plotting

GIF_CELL = 112  # pixels, at least


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


def _moments(values):
  return values.mean(), values.std()


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
