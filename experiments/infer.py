"""Decomposes pictures: python -m experiments.infer with model=exports/tetris images='photos/*.png'

Writes a folder outputs/N: overview.png and .pdf, latents.npz, and for each picture
pictures/NAME/mask.png (indexed colour: the pixel's value is its slot; 16-bit gray for more than 256
slots) and pictures/NAME/slot_1.png and so on (the slot's appearance, as opaque as its mask).
Pictures are read as `datasets.pictures` says; what cannot be read is named, and the others are
decomposed. A picture has the model's size or that of the data set's stored images, which are
cropped and resized as in training; any other is refused, or with `resize=True` cropped to the
model's proportions around its middle and resized.

With video=clip.mp4 (a GIF, or a folder of frames) objects are followed from frame to frame, a slot
an object, through clips of any length: masks/0001.png and so on, overlay.mp4, and tracks.npz with
each slot's share of the picture and its posterior mean (docs/sequences.md).
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import Field
from sacred.run import Run

import datasets
from datasets import pictures
from datasets.pipeline import form
from experiments.support import bundles, clips, mask_pictures, paths, videos
from experiments.support.cli import Command, Refusal
from experiments.support.recording import run_directory
from experiments.support.results import save
from experiments.support.settings import Name, Paths, Seed, Whole
from iodine import plotting, serving
from iodine.config import Count
from iodine.settings import Settings


class InferSettings(Settings):
  """Which pictures are decomposed, and how.

  Attributes:
    model: a SavedModel's folder, or one that holds it: exports/tetris, runs/3.
    images: a pattern, 'photos/*.png', a file, or a list of these.
    video: a video, a GIF or a folder of frames to follow objects through, in place of images.
    out: every call gets a numbered folder in it.
    resize: take pictures of other sizes too.
    background: the colour behind transparent pictures.
    num_iterations: T, the model's by default; of a video on its first frame, as in training by
      default if the model has learned from videos.
    frame_iterations: of a video, on each of the other frames: likewise, else one.
    frames_per_second: of overlay.mp4.
    num_slots: K, the model's by default.
    num_starts: inferences of each picture, of which the best is kept (`iodine.starts`); the model's
      by default, 1 in training.
    noise_seed: of the posterior samples.
    batch_size: pictures at a time.
    num_overview: pictures in the overview; 0 draws none.
  """

  model: Name | None = None
  images: Paths | None = None
  video: Name | None = None
  out: Name = "outputs"
  resize: bool = False
  background: Name = pictures.BACKGROUND
  num_iterations: Count | None = None
  frame_iterations: Count | None = None
  frames_per_second: Annotated[float, Field(gt=0, le=50)] = 8.0
  num_slots: Count | None = None
  num_starts: Count | None = None
  noise_seed: Seed = 0
  batch_size: Count = 16
  num_overview: Whole = 16


DRAWN = ("reconstruction", "masks", "means")
MOST_SLOTS = 64  # in the overview


def storage(config: Mapping[str, Any]) -> str:
  """Where a call records: `out`, whose number may be a name."""
  _check(config)
  return paths.name(config["out"], "out")


def _check(config):
  if config["model"] is None:
    raise Refusal("say which model: with model=exports/tetris")
  if config["images"] is None and config["video"] is None:
    raise Refusal("say which pictures: with images='photos/*.png', or video=clip.mp4")
  try:
    pictures.color(config["background"])
  except datasets.DataError as error:
    raise Refusal(f"background: {error}") from None
  if config["video"] is not None and config["num_starts"] is not None:
    raise Refusal(clips.ONE_START)
  if config["images"] is not None and config["video"] is not None:
    raise Refusal("images and video are two kinds of input: give one of them")
  if config["images"] is not None and config["frame_iterations"] is not None:
    raise Refusal("frame_iterations is for the frames of a video: num_iterations is for images")


command = Command("infer", InferSettings, storage=storage)


@command.main
def infer(_run, _config):
  """Decomposes the pictures and says where the results lie."""
  config = _config
  _check(config)
  if config["video"] is not None:
    return follow(_run, config)
  files = paths.find(config["images"], "images", "picture")
  model = serving.load(paths.name(config["model"], "model"))
  files, images = read_all(files, model.metadata, config["resize"], config["background"])
  found = decompose(
    model,
    images,
    config["num_iterations"],
    config["num_slots"],
    config["noise_seed"],
    config["batch_size"],
    config["num_starts"],
  )
  out = run_directory(_run)
  names = distinct([path.stem for path in files])
  write(out, names, found)
  print(f"{len(files)} pictures, {found['masks'].shape[1]} slots each: {paths.shown(out)}")
  if config["num_overview"]:
    shown = slice(config["num_overview"])
    labels = [paths.label(name) for name in names[shown]]
    print(overview(out, images[shown], {k: found[k][shown] for k in DRAWN}, labels))
  return str(out)


def follow(run: Run, config: Mapping[str, Any]) -> str:
  """Follows objects through a video; returns the folder of the results."""
  model = serving.load(paths.name(config["model"], "model"))
  path, metadata = paths.name(config["video"], "video"), model.metadata

  def fit(pixels, path):
    return _as_the_model_wants(pixels, path, metadata, config["resize"])

  out = run_directory(run)
  followed = videos.follow(
    model,
    videos.prepared(path, model, fit, config["background"]),
    out,
    config["frames_per_second"],
    first_iterations=config["num_iterations"],
    num_iterations=config["frame_iterations"],
    num_slots=config["num_slots"],
    seed=config["noise_seed"],
  )
  print(f"{followed.num_frames} frames: {paths.shown(followed.masks)}")
  print(f"video: {paths.shown(followed.video)}")
  return str(out)


def overview(
  out: pathlib.Path, images: np.ndarray, found: Mapping[str, np.ndarray], labels: Sequence[str]
) -> str:
  """Draws overview.png and .pdf, a row a picture; returns the sentence that says where they lie.

  Args:
    out: their folder.
    images: float [N, H, W, C].
    found: dict of arrays [N, ...], at least those of DRAWN.
    labels: N strings.
  """
  num_slots = found["masks"].shape[1]
  if num_slots > MOST_SLOTS:
    return f"no overview: it has room for {MOST_SLOTS} slots, these are {num_slots}"
  width = plotting.WIDTH * max(1.0, num_slots / 16)
  figure = plotting.decomposition(
    images, None, *(found[name] for name in DRAWN), row_labels=labels, width=width
  )
  return f"figure: {paths.shown(save(figure, out / 'overview'))}"


def read_all(
  files: Sequence[pathlib.Path],
  metadata: Mapping[str, Any],
  resize: bool = False,
  background: str = pictures.BACKGROUND,
) -> tuple[list[pathlib.Path], np.ndarray]:
  """Reads pictures; what cannot be read is named on the standard error output and left out.

  Args:
    files: their paths.
    metadata: of the model (`serving.Model.metadata`).
    resize: see `read`.
    background: see `read`.

  Returns:
    (list of the paths that were read, float32 [N, H, W, C] in [0, 1]).

  Raises:
    Refusal: none can be read, or one has another size.
  """
  kept, images, first = [], [], None
  for path in files:
    try:
      images.append(read(path, metadata, resize, background))
      kept.append(path)
    except datasets.DataError as error:
      first = first or error
      print(f"left out: {error}", file=sys.stderr)
  if not kept:
    raise first or Refusal("there are no pictures to decompose")
  return kept, np.stack(images)


def read(
  path: pathlib.Path,
  metadata: Mapping[str, Any],
  resize: bool = False,
  background: str = pictures.BACKGROUND,
) -> np.ndarray:
  """A picture as the model wants it.

  Args:
    path: its file.
    metadata: of the model (`serving.Model.metadata`).
    resize: whether to crop and resize what has neither the model's nor the data set's size.
    background: the colour behind a transparent picture.

  Returns:
    float32 [H, W, C] in [0, 1].

  Raises:
    datasets.DataError: it cannot be read.
    Refusal: it has another size.
  """
  pixels = pictures.read(path, bundles.stored_channels(metadata), background)
  return _as_the_model_wants(pixels, path, metadata, resize)


def _as_the_model_wants(pixels, path, metadata, resize):
  """uint8 [h, w, c] of a file -> float32 [H, W, C] in [0, 1]; see `read`."""
  image = _sized(pixels, path, metadata, resize)
  return image.mean(axis=-1, keepdims=True) if metadata.get("grayscale") else image


def _sized(pixels, path, metadata, resize):
  height, width, _ = metadata["image_size"]
  size = pixels.shape[:2]
  stored = metadata.get("stored_size")
  if size == (height, width):
    pass
  elif stored and size == tuple(stored):
    return _as_stored(pixels, metadata)
  elif resize:
    pixels = pictures.fit(pixels, (height, width), smooth=not metadata.get("binary"))
  else:
    wanted = f"{height} x {width}"
    if stored and tuple(stored) != (height, width):
      wanted += f" or, as stored, {stored[0]} x {stored[1]}"
    raise Refusal(
      f"{paths.shown(path)} is {size[0]} x {size[1]} pixels (height x width), the model takes "
      f"{wanted}: resize=True crops and resizes it"
    )
  return pixels.astype(np.float32) / np.float32(255)


def _as_stored(pixels, metadata):
  """Cropped and resized as `datasets.load` does it: uint8 [h, w, C] -> float32 [H, W, C]."""
  top, bottom, left, right = metadata.get("crop") or (0, pixels.shape[0], 0, pixels.shape[1])
  pixels = pixels[None, top:bottom, left:right].astype(np.float32) / np.float32(255)
  size = metadata["image_size"][:2]
  smooth, legacy = not metadata.get("binary"), bool(metadata.get("legacy_resize"))
  resized = form.resize(pixels, size, smooth, legacy)[0].numpy()
  return resized.clip(0, 1)  # from which it may differ by a rounding error


def whole(key: str, value: Any, least: int) -> None:
  """Raises Refusal where a key's value is not a whole number of at least `least`."""
  if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
    raise Refusal(f"{key} must be a whole number of at least {least}, got {value!r}")


def decompose(
  model: Any,
  images: np.ndarray,
  num_iterations: int | None,
  num_slots: int | None,
  seed: int,
  batch_size: int,
  num_starts: int | None = None,
) -> dict[str, np.ndarray]:
  """All images, a batch at a time: dict of arrays [N, ...], as of serving.Inferred.arrays.

  Every image gets the noise of `seed`, so that it has the same slots alone and among others.

  Raises:
    Refusal: there are no images; batch_size is no positive number.
    UserError: values lie outside [0, 1], by more than a rounding error.
  """
  whole("batch_size", batch_size, 1)
  if not len(images):
    raise Refusal("there are no pictures to decompose, expected at least 1")
  batches = []
  for start in range(0, len(images), batch_size):
    batch = images[start : start + batch_size]
    batches.append(model.infer(batch, num_iterations, num_slots, seed, num_starts).arrays())
  return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def distinct(names: Sequence[str]) -> list[str]:
  """Names of folders, with a number behind those that came before, in whatever case."""
  taken, result = set(), []
  for name in names:
    name = name if name.strip(".") else f"_{name}"  # `..` is a folder already
    number, free = 1, name
    while pictures.key(free) in taken:
      number += 1
      free = f"{name}_{number}"
    taken.add(pictures.key(free))
    result.append(free)
  return result


def write(out: pathlib.Path, names: Sequence[str], found: Mapping[str, np.ndarray]) -> None:
  """Writes latents.npz, and under pictures/ a folder of masks and slots for each picture."""
  kept = ("z", "posterior_mean", "posterior_stddev", "nll", "kl")
  kept = {name: found[name] for name in kept if name in found}  # not every model has latents
  np.savez_compressed(out / "latents.npz", names=names, **kept)
  for name, masks, means in zip(names, found["masks"], found["means"], strict=True):
    folder = out / "pictures" / name
    folder.mkdir(parents=True, exist_ok=True)
    mask_pictures.segmentation(masks).save(folder / "mask.png")
    for k, (mask, mean) in enumerate(zip(masks, means, strict=True)):
      layers = np.concatenate([np.clip(mean, 0, 1), mask], axis=-1)  # gray or RGB, and opacity
      pixels = np.round(layers * 255).astype(np.uint8)
      Image.fromarray(pixels).save(folder / f"slot_{k + 1}.png")


if __name__ == "__main__":
  command.run_commandline()
