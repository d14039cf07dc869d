"""Objects followed through a video: masks frame by frame, and a video of them over the pictures."""

import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from datasets import frames
from experiments.support import mask_pictures
from experiments.support.bundles import stored_channels
from iodine import plotting
from iodine.serving import Model


class Followed(NamedTuple):
  """What was written of a video."""

  num_frames: int
  masks: pathlib.Path  # a folder, a picture a frame
  video: pathlib.Path


def prepared(
  path: str | os.PathLike, model: Model, fit: Callable[..., np.ndarray], background: str
) -> Iterator[np.ndarray]:
  """The frames of a video, GIF or folder as the model wants them, float32 [H, W, C] in [0, 1].

  Args:
    path: see `datasets.frames.read`.
    model: of which the size is.
    fit: uint8 [h, w, C] and a name for messages -> float32 [H, W, C].
    background: the colour behind what is transparent.

  Raises:
    datasets.DataError: see `datasets.frames.read`.
    Refusal: a frame has another size than the model takes.
  """
  for pixels in frames.read(path, stored_channels(model.metadata), background):
    yield fit(pixels, path)


def follow(
  model: Model,
  clip: Iterator[np.ndarray],
  out: pathlib.Path,
  frames_per_second: float,
  **options: Any,
) -> Followed:
  """Writes masks/0001.png and so on, overlay.mp4 and tracks.npz; memory is that of one frame.

  Args:
    model: a SavedModel.
    clip: of `prepared`.
    out: the folder.
    frames_per_second: of the video that is written.
    **options: of `Model.follow`.

  Raises:
    UserError: see `Model.follow`.
  """
  folder = out / "masks"
  folder.mkdir(parents=True, exist_ok=True)
  areas, scores, latents = [], [], []  # a few numbers a frame

  def shown():
    for number, (frame, found) in enumerate(model.follow(clip, **options)):
      mask_pictures.segmentation(found.masks).save(folder / f"{number + 1:04d}.png")
      slots = np.arange(len(found.masks))
      areas.append((found.segmentation == slots[:, None, None]).mean(axis=(1, 2)))
      scores.append(found.nll[0])
      if found.posterior_mean is not None:
        latents.append(found.posterior_mean)
      reconstruction = np.clip(found.reconstruction, 0, 1)
      yield plotting.clip_frames(frame[None], found.masks[None], reconstruction[None])[0]

  video = plotting.write_video(out / "overlay.mp4", shown(), frames_per_second)
  known = {"posterior_mean": np.stack(latents)} if latents else {}
  known["nll" if model.reads_first else "next_nll"] = np.stack(scores)
  np.savez_compressed(out / "tracks.npz", area=np.stack(areas), **known)
  return Followed(len(areas), folder, video)
