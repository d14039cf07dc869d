"""Reads masks of one's own: which entity every pixel of a picture belongs to.

A mask lies in a folder under its picture's name, compared without case. For a.jpg it is

  a.png or a_mask.png     one file: entity numbers as gray levels (8 or 16 bits) or palette indices,
                          0 for the background; 0 and 255 for one object; or colours (RGB), black
                          for the background. Any lossless format will do.
  a/0.png, a/1.png, ...   a folder with a file for each object, white (or opaque) where it is; where
                          two overlap the later one lies in front.

A number that is to be ignored, such as the border 255 of Pascal VOC, is nobody's: such pixels
belong to no entity. The mask is turned as its own EXIF orientation says, mostly not at all.
"""

import os
from typing import NamedTuple

import numpy as np

from datasets import DataError, pictures
from datasets.errors import by
from datasets.files import NO_ENTITY

MAX_ENTITIES = 254  # with the background 255 labels, beside NO_ENTITY
_LOSSY = ("JPEG", "MPO", "AVIF")
_LOSSY_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".avif", ".avifs")
_SUFFIX = "_mask"


class Mask(NamedTuple):
  """A mask with its entities numbered 1, 2, ... in the order of their own numbers or colours."""

  labels: np.ndarray  # uint8 [H, W]; 0 background, NO_ENTITY
  names: list[str]  # of the entities as the file has them: "85", "#ff0000", "1.png"
  kind: str  # "numbers", "colors" or "objects"

  @property
  def renumbered(self) -> bool:
    """Whether the file numbers its entities otherwise than 1, 2, ..."""
    return self.kind == "numbers" and self.names != [str(i + 1) for i in range(len(self.names))]


# --------------------------------------------------------------------------------------- finding


def among(names, masks_too: bool = False) -> list[str]:
  """Which files of a folder of pictures are masks of others.

  Args:
    names: of picture files.
    masks_too: whether masks are known to lie in this folder; then a.png beside a.jpg is one, and
      a_mask.png even without a picture.

  Returns:
    the names, in their order.
  """
  stems = {}
  for name in names:
    stems.setdefault(_stem(name), []).append(name)
  found = set()
  for stem, files in stems.items():
    if stem.endswith(_SUFFIX) and (masks_too or stem.removesuffix(_SUFFIX) in stems):
      found.update(files)
    lossy = [f for f in files if f.lower().endswith(_LOSSY_EXTENSIONS)]
    if masks_too and lossy and len(files) > len(lossy):
      found.update(set(files) - set(lossy))
  return [name for name in names if name in found]


def find(folder, names, beside: bool = False) -> dict[str, str]:
  """Finds the mask of each picture.

  Args:
    folder: where the masks lie.
    names: of the picture files.
    beside: whether the pictures lie in the same folder, where none of them is a mask.

  Returns:
    name -> path of the mask's file, or of the folder of its objects.

  Raises:
    DataError: there is no such folder, a picture has no mask, or several.
  """
  files, others = pictures.in_folder(folder)
  own = set(names) if beside else ()
  stems = {}
  for name in files:
    if name not in own:
      stems.setdefault(_stem(name), []).append(name)
  for name in others:
    if os.path.isdir(os.path.join(folder, name)):
      stems.setdefault(pictures.key(name) + "/", []).append(name)
  return {name: os.path.join(folder, _pick(folder, stems, name)) for name in names}


def _pick(folder, stems, name):
  stem = _stem(name)
  for candidate in (stem + _SUFFIX, stem, f"{stem}{_SUFFIX}/", f"{stem}/"):
    found = stems.get(candidate, [])
    # the same case before another, and a lossless file before one that cannot be a mask
    plain = os.path.splitext(name)[0]
    found = [n for n in found if os.path.splitext(n)[0] in (plain, plain + _SUFFIX)] or found
    found = [n for n in found if not n.lower().endswith(_LOSSY_EXTENSIONS)] or found
    if len(found) > 1:
      listed = ", ".join(map(pictures.shown, found))
      raise DataError(
        f"{pictures.shown(folder)} has several masks for {pictures.shown(name)}: {listed}; "
        "leave one of them"
      )
    if found:
      return found[0]
  path = os.path.join(folder, os.path.splitext(name)[0] + ".png")
  raise DataError(
    f"{pictures.shown(path)} does not exist: every picture needs its mask, or none (nor is there "
    f"{pictures.shown(os.path.splitext(name)[0])}{_SUFFIX}.png, or a folder with a file an object)"
  )


def _stem(name):
  return pictures.key(os.path.splitext(name)[0])


# --------------------------------------------------------------------------------------- reading


def read(path, ignore=()) -> Mask:
  """Reads one picture's mask.

  Args:
    path: a file, or a folder with a file for each object.
    ignore: numbers, or (R, G, B), of pixels that are nobody's; a number n is the gray (n, n, n) in
      a mask of colours. Of files with one object each nothing is ignored.

  Returns:
    Mask.

  Raises:
    DataError: it cannot be read, holds no whole numbers from 0, or more than 254 entities.
  """
  if os.path.isdir(path):
    return _read_objects(path)
  picture = pictures.load(path)
  name = pictures.shown(path)
  if picture.format in _LOSSY:
    raise DataError(
      f"{name} is a {picture.format}, whose compression blurs entity numbers: masks are PNG or "
      "another lossless format"
    )
  with pictures.decoding(path):
    ids, kind = _ids(picture, name)
  nobody = np.isin(ids, [_id(value, kind) for value in ignore])
  if (ids[~nobody] < 0).any():
    raise DataError(f"{name}: entity number {ids[~nobody].min()}, wanted 0, 1, 2, ...")
  found = np.unique(ids[~nobody])
  found = found[found > 0]
  if len(found) > MAX_ENTITIES:
    what = "colours" if kind == "colors" else "entity numbers"
    raise DataError(
      f"{name} has {len(found):,} {what}, but at most {MAX_ENTITIES} can be told apart: was it "
      "smoothed when it was saved or resized?"
    )
  labels = np.searchsorted(found, ids) + 1
  labels = np.where(ids > 0, labels, 0)
  labels = np.where(nobody, NO_ENTITY, labels).astype(np.uint8)
  shown = [f"#{value:06x}" if kind == "colors" else str(value) for value in found.tolist()]
  return Mask(labels, shown, kind)


def _ids(picture, name):
  """Whole numbers of the pixels, int64 [H, W], and whether they are "numbers" or "colors"."""
  mode = picture.mode
  if mode not in ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "F") and not mode.startswith("I"):
    raise DataError(
      f"{name} is a picture of mode {mode}, wanted entity numbers as gray levels or palette "
      "indices, or colours"
    )
  values = np.asarray(picture)
  if mode == "F" and not (np.isfinite(values).all() and (values == np.round(values)).all()):
    raise DataError(f"{name} has fractions, wanted whole entity numbers")
  if values.ndim == 2:
    return values.astype(np.int64), "numbers"
  if mode in ("LA", "PA", "RGBA"):  # what is not seen is background
    values = np.where(values[..., -1:] < 128, 0, values[..., :-1])
  values = values.astype(np.int64)
  first = values[..., 0]
  if (values == first[..., None]).all():
    return first, "numbers"
  return (values[..., 0] << 16) | (values[..., 1] << 8) | values[..., 2], "colors"


def _id(value, kind):
  """The number that stands for an ignored value in a mask of a kind."""
  if isinstance(value, int):
    return value * 0x010101 if kind == "colors" and 0 <= value < 256 else value
  red, green, blue = value
  if kind == "colors":
    return red << 16 | green << 8 | blue
  return red if red == green == blue else -1 << 40  # no gray level is a colour


def _read_objects(folder):
  names, _ = pictures.in_folder(folder)
  if not names:
    raise DataError(f"{pictures.shown(folder)} holds no pictures, expected one for each object")
  labels, kept = None, []
  for name in names:
    path = os.path.join(folder, name)
    inside = _object(pictures.load(path), path)
    if labels is None:
      labels = np.zeros(inside.shape, np.uint8)
    if inside.shape != labels.shape:
      sizes = [by(a.shape) for a in (inside, labels)]
      raise DataError(
        f"{pictures.shown(path)} is {sizes[0]} pixels (height x width), the ones before {sizes[1]}"
      )
    if inside.any():
      kept.append(name)
      if len(kept) > MAX_ENTITIES:
        raise DataError(
          f"{pictures.shown(folder)} has more than {MAX_ENTITIES} objects, which is the most"
        )
      labels[inside] = len(kept)
  seen = np.unique(labels)  # an object may lie behind others
  numbers = np.zeros(len(kept) + 1, np.uint8)
  numbers[seen[seen > 0]] = np.arange(1, 1 + np.count_nonzero(seen))
  return Mask(numbers[labels], [kept[i - 1] for i in seen if i], "objects")


def _object(picture, path):
  """Where one object is: bool [H, W]; by its opacity if that varies, else by its brightness."""
  with pictures.decoding(path):
    if picture.has_transparency_data:
      alpha = np.asarray(picture.convert("RGBA"))[..., 3]
      if alpha.min() < alpha.max():
        return alpha >= 128
    if picture.mode not in ("1", "L", "F") and not picture.mode.startswith("I"):
      picture = picture.convert("RGB")  # opacity, ink and chroma are channels, but no brightness
    values = np.asarray(picture)  # uint8 [H, W, 3], or [H, W] of any type
    values = values.max(axis=-1) if values.ndim == 3 else values
    return values > values.max() / 2  # 0 and 1, 0 and 255, 0 and 65535 alike
