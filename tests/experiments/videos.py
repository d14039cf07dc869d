"""A small file of clips."""

import dataclasses
import os

import numpy as np

import datasets
from datasets import files


def write_flights(folder, num: int, size: int, num_frames: int = 16) -> None:
  """Clips under the name of Objects Room's flights: squares move over a ground in four parts.

  The second of two objects is gone after the second frame.
  """
  spec = datasets.get_spec("objects_room_flights")
  spec = dataclasses.replace(spec, image_size=(size, size, 3))
  rng = np.random.default_rng(0)
  records = []
  for _ in range(num):
    colors = rng.integers(256, size=[7, 3])
    labels = np.zeros([num_frames, size, size], np.uint8)
    labels += (np.arange(size) * 4 // size).astype(np.uint8)[:, None]
    column = rng.integers(size // 2)
    for t in range(num_frames):
      at = (column + t // 2) % (size - 2)
      labels[t, 1:4, at : at + 3] = 4
      if t < 2:
        labels[t, 5:, :3] = 5
    mask = (labels[:, None] == np.arange(7)[:, None, None])[..., None] * np.uint8(255)
    records.append({"image": colors[labels].astype(np.uint8), "mask": mask})
  name = files.sized_name(spec.file, (size, size))
  files.write_records(os.path.join(folder, name), records, spec)
