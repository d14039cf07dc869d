"""Traversals side by side: python -m experiments.fig6 with 'runs=[runs/3,runs/4,runs/5]'

The paper's Fig. 6: a VAE that has learned scenes of one object changes one thing at a time, one
that has learned scenes of many changes many objects at once, and IODINE changes one object. Each
run has a block of rows, in the order given: those latents of a slot that have the largest KL, each
set to values over its range while all others stay.

  python -m experiments.train with clevr_single vae
  python -m experiments.train with clevr6 vae
  python -m experiments.train with clevr6
"""

import numpy as np
import tensorflow as tf

from experiments.support.cli import Command
from experiments.support.results import Results
from experiments.support.settings import ChangedData
from experiments.support.subjects import beside, open_runs
from experiments.support.traversal import TraversalSettings, traverse
from iodine import plotting
from iodine.config import Count


class Fig6Settings(TraversalSettings):
  """See `TraversalSettings`; the data of each run are its own, where no others are named.

  Attributes:
    num_latents: rows of each run.
    num_steps: columns.
  """

  num_latents: Count = 4
  num_steps: Count = 7


command = Command("fig6", Fig6Settings, ChangedData, storage=beside("fig6"))


@command.main
def fig6(_run, _config):
  """Draws the figure and writes the KL of its latents; returns the folder."""
  results = Results(_run)
  blocks, labels, rows = [], [], []
  for subject in open_runs(_config):
    subject.need("latents")
    found = traverse(subject, _config)
    blocks.append(found.grid)
    title = f"{subject.method}, {subject.preset}"
    labels += [f"{title}: {d}" if i == 0 else f"{d}" for i, d in enumerate(found.order)]
    rows += [
      [subject.folder, subject.method, subject.dataset, found.slot, int(d), float(found.kl[d])]
      for d in found.order
    ]
  results.table("latents", ["run", "model", "data", "slot", "latent", "KL (nats)"], rows)
  figure = plotting.traversals(
    joined(blocks),
    row_labels=labels,
    column_labels=[f"{step:+.1f}" if step else "0" for step in found.steps],
    row_groups=_config["num_latents"],
    width=plotting.WIDTH,
  )
  results.figure("fig6", figure)
  return results.done()


def joined(blocks: list[np.ndarray]) -> np.ndarray:
  """Traversals [R, S, H, W, C] below one another, at the size of the largest, gray as colours."""
  size = np.max([block.shape[2:4] for block in blocks], axis=0)
  channels = max(block.shape[-1] for block in blocks)
  shown = []
  for block in blocks:
    images = tf.image.resize(block.reshape(-1, *block.shape[2:]), size).numpy()
    images = images.reshape(*block.shape[:2], *size, -1)
    shown.append(np.broadcast_to(images, [*images.shape[:-1], channels]))
  return np.concatenate(shown)


if __name__ == "__main__":
  command.run_commandline()
