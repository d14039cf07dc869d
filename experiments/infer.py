"""Decomposes pictures: python -m experiments.infer with model=exports/tetris images='photos/*.png'

Writes a folder outputs/N: overview.png and .pdf, latents.npz, and for each picture NAME/mask.png
(indexed colour: the pixel's value is its slot) and NAME/slot_1.png and so on (the slot's
appearance, as opaque as its mask). A picture has the model's size or that of the data set's stored
images, which are cropped and resized as in training; any other is refused, or with `resize=True`
cropped to the model's proportions around its middle and resized.
"""

import copy
import glob
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image

from experiments import evaluate
from experiments.experiment import Refusal, main, make_experiment, run_commandline, run_directory
from iodine import plotting, serving

CONFIG = {
  "model": None,  # a SavedModel's folder, or one that holds it: exports/tetris, runs/3
  "images": None,  # a pattern, 'photos/*.png', a file, or a list of these
  "out": "outputs",  # every call gets a numbered folder in it
  "resize": False,  # take pictures of other sizes too
  "num_iterations": None,  # the model's by default
  "num_slots": None,
  "noise_seed": 0,  # of the posterior samples
  "batch_size": 16,
  "num_overview": 16,  # pictures in the overview
}

ex = make_experiment("infer", CONFIG)


@main(ex)
def infer(_run, _config):
  """Decomposes the pictures and says where the results lie."""
  config = copy.deepcopy(dict(_config))
  if not config["model"]:
    raise Refusal("say which model: with model=exports/tetris")
  if not config["images"]:
    raise Refusal("say which pictures: with images='photos/*.png'")
  model = serving.load(config["model"])
  paths = find(config["images"])
  pictures = np.stack([read(path, model.metadata, config["resize"]) for path in paths])
  found = decompose(
    model,
    pictures,
    config["num_iterations"],
    config["num_slots"],
    config["noise_seed"],
    config["batch_size"],
  )
  out = run_directory(_run)
  names = distinct([path.stem for path in paths])
  write(out, names, found)
  shown = slice(config["num_overview"])
  figure = plotting.decomposition(
    pictures[shown], None, found["reconstruction"][shown], found["masks"][shown],
    found["means"][shown], row_labels=names[shown],
  )  # fmt: skip
  overview = evaluate.save(figure, out / "overview")
  print(f"{len(paths)} pictures, {found['masks'].shape[1]} slots each: {out}")
  print(f"figure: {overview}")
  return str(out)


def find(patterns):
  """Files that match a pattern or several, in order: list of paths."""
  if isinstance(patterns, str):  # Sacred leaves [a.png,b.png] a string
    listed = patterns.startswith("[") and patterns.endswith("]")
    patterns = [p.strip() for p in patterns[1:-1].split(",")] if listed else [patterns]
  paths = []
  for pattern in patterns:
    matches = sorted(glob.glob(pattern, recursive=True)) or [pattern]
    paths += [path for path in map(pathlib.Path, matches) if path not in paths]
  missing = [path for path in paths if not path.is_file()]
  if missing:
    raise Refusal(f"there is no picture {missing[0]}")
  return paths


def read(path, metadata, resize=False):
  """A picture as the model wants it.

  Args:
    path: its file.
    metadata: of the model (`serving.Model.metadata`).
    resize: whether to crop and resize what has neither the model's nor the data set's size.

  Returns:
    float32 [H, W, C] in [0, 1].

  Raises:
    Refusal: it cannot be read, or has another size.
  """
  height, width, channels = metadata["image_size"]
  try:
    with Image.open(path) as picture:
      if picture.mode[0] in "IF":
        raise Refusal(f"{path} has more than 8 bits a channel: convert it to an 8-bit picture")
      picture = picture.convert("L" if channels == 1 else "RGB")
  except OSError as error:
    raise Refusal(f"{path} cannot be read as a picture ({error})") from error
  size = (picture.height, picture.width)
  stored = metadata.get("stored_size")
  if size == (height, width):
    pass
  elif stored and size == tuple(stored):
    return _as_stored(np.asarray(picture), metadata).reshape(height, width, channels)
  elif resize:
    picture = _fitted(picture, height, width)
  else:
    wanted = f"{height} x {width}"
    if stored and tuple(stored) != (height, width):
      wanted += f" or, as stored, {stored[0]} x {stored[1]}"
    raise Refusal(
      f"{path} is {size[0]} x {size[1]} pixels (height x width), the model takes {wanted}: "
      "resize=True crops and resizes it"
    )
  return np.asarray(picture, np.float32).reshape(height, width, channels) / np.float32(255)


def _as_stored(pixels, metadata):
  """Cropped and resized as `datasets.load` does it: uint8 [h, w(, 3)] -> float32."""
  top, bottom, left, right = metadata.get("crop") or (0, pixels.shape[0], 0, pixels.shape[1])
  pixels = pixels.reshape(1, *pixels.shape[:2], -1)[:, top:bottom, left:right]
  size = metadata["image_size"][:2]
  pixels = pixels.astype(np.float32) / np.float32(255)
  return tf.raw_ops.ResizeBilinear(images=pixels, size=size, half_pixel_centers=True)[0].numpy()


def _fitted(picture, height, width):
  """The largest central part of the wanted proportions, resized."""
  scale = min(picture.height / height, picture.width / width)
  rows, columns = round(height * scale), round(width * scale)
  top, left = (picture.height - rows) // 2, (picture.width - columns) // 2
  part = picture.crop((left, top, left + columns, top + rows))
  return part.resize((width, height), Image.Resampling.LANCZOS)


def decompose(model, pictures, num_iterations, num_slots, seed, batch_size):
  """All pictures, a batch at a time: dict of arrays [N, ...] by the names of serving.Inferred.

  Every batch draws the same noise, so that a picture's result depends on its place in its batch.
  """
  batches = []
  for start in range(0, len(pictures), batch_size):
    batch = pictures[start : start + batch_size]
    found = model.infer(batch, num_iterations, num_slots, seed)._asdict()
    batches.append({name: value for name, value in found.items() if name != "state"})
  return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def distinct(names):
  """Names with a number behind those that came before."""
  taken, result = set(), []
  for name in names:
    number, free = 1, name
    while free in taken:
      number += 1
      free = f"{name}_{number}"
    taken.add(free)
    result.append(free)
  return result


def write(out, names, found):
  """Writes latents.npz, and a folder of masks and slots for each picture."""
  kept = ("z", "posterior_mean", "posterior_stddev", "nll", "kl")
  np.savez_compressed(out / "latents.npz", names=names, **{name: found[name] for name in kept})
  palette = np.round(plotting.slot_colors(found["masks"].shape[1]) * 255).astype(np.uint8)
  for name, masks, means in zip(names, found["masks"], found["means"], strict=True):
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.argmax(masks[..., 0], axis=0).astype(np.uint8))
    picture.putpalette(palette.tobytes())
    picture.save(folder / "mask.png")
    for k, (mask, mean) in enumerate(zip(masks, means, strict=True)):
      layers = np.concatenate([np.clip(mean, 0, 1), mask], axis=-1)  # gray or RGB, and opacity
      pixels = np.round(layers * 255).astype(np.uint8)
      Image.fromarray(pixels).save(folder / f"slot_{k + 1}.png")


if __name__ == "__main__":
  run_commandline(ex, storage=lambda updates: updates.get("out") or CONFIG["out"])
