"""Packs a folder of pictures as a TFRecord file of dataset "images".

  python -m datasets.from_images pictures/ --size 64 --out data/images.tfrecords [--masks masks/]

A picture is turned upright, cropped around its middle to the proportions of --size, and resized. In
--masks, which may be the same folder, each picture has a mask by its name: for a.jpg a.png or
a_mask.png, with entity numbers (gray or palette, 0 is the background), 0 and 255, or colours (black
is the background); or a folder a/ with a file for each object. Which numbers they are is of no
account: a picture's entities are numbered 1, 2, ... anew. Without masks everything is background,
and scores against the truth mean nothing. What cannot be read is named, and the others are packed.
"""

import argparse
import os
import re
import sys

import numpy as np

from datasets import DataError, pictures
from datasets import files as records
from datasets import masks as mask_files
from datasets.cli import Parser
from datasets.errors import by
from datasets.specs import get_spec

SPEC = get_spec("images")


def pack(
  folder,
  out,
  *,
  size,
  masks=None,
  ignore=(),
  grayscale=False,
  background=pictures.BACKGROUND,
  on_error="skip",
  overwrite=True,
  layout=records.COMPACT,
  say=None,
) -> int:
  """Packs the pictures of a folder, in the order of their names.

  Args:
    folder: where the pictures lie.
    out: the TFRecord file.
    size: (H, W) in pixels, or one number for both.
    masks: folder of the masks (see `datasets.masks`), or None.
    ignore: numbers or (R, G, B) in the masks that are nobody's.
    grayscale: one channel rather than three.
    background: the colour behind transparent pictures.
    on_error: "skip" names a picture or mask that cannot be read and packs the others; "raise".
    overwrite: whether `out` may exist already.
    layout: "compact"; the released layout does not tell its image size.
    say: what is called with each sentence about what was left out or changed; it goes to the
      standard error output by default.

  Returns:
    The number of pictures packed.

  Raises:
    DataError: no picture that can be read, a picture without a mask, or with several; `out` exists
      and may not be overwritten, or is a folder; size or background is none.
  """
  say = say or _to_stderr
  size = _checked_size(size)
  pictures.color(background)
  _check_out(out, overwrite)
  if on_error not in ("skip", "raise"):
    raise DataError(f'on_error must be "skip" or "raise", got {on_error!r}')
  names, paths = _choose(folder, masks, say)
  errors = _Errors(on_error, say)
  most = 0
  if paths:
    names, most = _survey(names, paths, size, ignore, errors, say)

  def stored():
    packed = 0
    for name in names:
      try:
        image = pictures.read(os.path.join(folder, name), 1 if grayscale else 3, background)
        labels = np.zeros(size, np.uint8)
        if paths:
          mask = mask_files.read(paths[name], ignore)
          _check_fits(paths[name], mask.labels, image)
          labels, _ = _resized(mask, size)
      except DataError as error:
        errors.add(error)
        continue
      visible = np.isin(np.arange(most + 1), labels)
      visible[0] = True
      packed += 1
      yield {
        "image": pictures.fit(image, size),
        "mask": records.mask_from_labels(labels, SPEC.mask_layout, most + 1),
        "visibility": visible.astype(np.float32),
      }
    if not packed:
      raise errors.first  # which leaves no file behind

  return records.write_records(out, stored(), SPEC, layout)


class _Errors:
  """What to do about a picture that cannot be read."""

  def __init__(self, on_error, say):
    self._raises, self._say = on_error == "raise", say
    self.first = None

  def add(self, error):
    if self._raises:
      raise error
    self.first = self.first or error
    self._say(f"left out: {error}")


def _to_stderr(sentence):
  print(sentence, file=sys.stderr)


def _checked_size(size) -> tuple[int, int]:
  size = (size, size) if isinstance(size, int) else tuple(size)
  if len(size) != 2 or min(size) < 1:
    raise DataError(f"size must be at least 1 pixel each way, got {' x '.join(map(str, size))}")
  return size


def _check_out(out, overwrite):
  if os.path.isdir(out):
    raise DataError(f"{pictures.shown(out)} is a folder, expected the name of a file to write")
  if os.path.exists(out) and not overwrite:
    raise DataError(f"{pictures.shown(out)} exists already: --force overwrites it")


def _choose(folder, masks, say):
  """Names of the pictures to pack, and name -> path of their masks (empty without masks)."""
  names, others = pictures.in_folder(folder)
  if masks is not None and not os.path.isdir(masks):
    raise DataError(f"{pictures.shown(masks)} is no folder, expected one of masks")
  beside = masks is not None and os.path.samefile(folder, masks)
  own = set(mask_files.among(names, beside))
  names = [name for name in names if name not in own]
  if not names:
    raise DataError(
      f"{pictures.shown(folder)} holds no .png, .jpg or other picture of the formats "
      f"{', '.join(pictures.FORMATS)}"
    )
  paths = {} if masks is None else mask_files.find(masks, names, beside)
  if own and masks is None:
    say(
      f"not packed, being masks of others: {_listed(sorted(own))}; to use them say --masks "
      f"{pictures.shown(folder)}"
    )
  used = {os.path.realpath(path) for path in [*paths.values(), masks or ""]}
  others = [n for n in others if os.path.realpath(os.path.join(folder, n)) not in used]
  if others:
    say(f"passed over, being no pictures of a format read here: {_listed(others)}")
  return names, paths


def _survey(names, paths, size, ignore, errors, say):
  """Reads all masks once: (names of those with a mask that can be read, most entities in one)."""
  kept, most, fullest = [], 0, ""
  renumbered, borders, cut, bare = [], [], [], []
  for name in names:
    path = paths[name]
    try:
      mask = mask_files.read(path, ignore)
    except DataError as error:
      errors.add(error)
      continue
    kept.append(name)
    labels, lost = _resized(mask, size)
    count = _entities(labels)
    if count > most:
      most, fullest = count, path
    if mask.renumbered and mask.names != ["255"]:
      renumbered.append((path, mask.names))
    if mask.kind == "numbers" and len(mask.names) > 1 and mask.names[-1] == "255":
      borders.append(path)
    if lost:
      cut.append((path, lost))
    if not mask.names:
      bare.append(path)
  if renumbered:
    path, numbers = renumbered[0]
    say(
      f"entities renumbered from 1 in {len(renumbered):,} of {len(kept):,} masks: "
      f"{pictures.shown(path)} has {', '.join(numbers[:5])}{', ...' if len(numbers) > 5 else ''}"
    )
  if borders:
    say(
      f"255 beside other numbers, taken for an entity, in {len(borders):,} of {len(kept):,} masks "
      f"({pictures.shown(borders[0])}): if it is a border, --ignore 255 makes it nobody's"
    )
  if bare:
    say(
      f"no object in {len(bare):,} of {len(kept):,} masks: all is background, or nobody's, in "
      f"{pictures.shown(bare[0])}"
    )
  if cut:
    path, lost = cut[0]
    say(
      f"{sum(n for _, n in cut):,} objects in {len(cut):,} pictures are cut away by the crop, or "
      f"too small for the size ({pictures.shown(path)}: {lost})"
    )
  if kept:
    where = f", in {pictures.shown(fullest)}" if fullest else ""
    say(f"at most {most} objects a picture{where}")
  return kept, most


def _resized(mask, size):
  """Labels as they are stored, 1, 2, ... without a gap, and how many entities are lost."""
  labels = pictures.fit(mask.labels, size, smooth=False)
  left = np.unique(labels)
  left = left[(left > 0) & (left != mask_files.NO_ENTITY)]
  table = np.zeros(256, np.uint8)
  table[left] = np.arange(1, len(left) + 1)
  table[mask_files.NO_ENTITY] = mask_files.NO_ENTITY
  return table[labels], len(mask.names) - len(left)


def _entities(labels):
  return int(labels[labels != mask_files.NO_ENTITY].max(initial=0))


def _check_fits(path, labels, image):
  if labels.shape != image.shape[:2]:
    sizes = [by(shape[:2]) for shape in (labels.shape, image.shape)]
    raise DataError(
      f"{pictures.shown(path)} is {sizes[0]} pixels (height x width), its picture {sizes[1]}"
    )


def _listed(names, most=5):
  more = f" and {len(names) - most:,} more" if len(names) > most else ""
  return ", ".join(map(pictures.shown, names[:most])) + more


def _size(word):
  numbers = re.fullmatch(r"(\d{1,6})(?:[xX](\d{1,6}))?", word)
  if not numbers:
    raise argparse.ArgumentTypeError(f'"{word}" is no size, wanted a number or HxW, as 48x64')
  height, width = numbers.groups()
  return int(height), int(width or height)


def _ignored(word):
  if re.fullmatch(r"-?\d{1,9}", word):
    return int(word)
  if re.fullmatch(r"#[0-9a-fA-F]{6}", word):
    return pictures.color(word)
  raise argparse.ArgumentTypeError(f'"{word}" is neither a number nor a colour #rrggbb')


def _path(word):
  """The shell leaves the ~ in --out=~/data alone."""
  return word if os.path.lexists(word) else os.path.expanduser(word)


def main(argv=None):
  parser = Parser(prog="python -m datasets.from_images", description=__doc__)
  parser.add_argument("folder", type=_path)
  parser.add_argument("--size", type=_size, default=(64, 64), help="N or HxW (default: 64)")
  parser.add_argument(
    "--out", type=_path, default="data/images.tfrecords", help="default: %(default)s"
  )
  parser.add_argument("--force", action="store_true", help="overwrite --out where it exists")
  parser.add_argument("--masks", type=_path, help="folder of masks")
  parser.add_argument(
    "--ignore", type=_ignored, action="append", default=[], metavar="NUMBER",
    help="a number (or colour #rrggbb) in the masks that is nobody's, as 255 in Pascal VOC; may be "
    "given several times",
  )  # fmt: skip
  parser.add_argument("--grayscale", action="store_true")
  parser.add_argument(
    "--background", default=pictures.BACKGROUND, help="behind transparent pictures (%(default)s)"
  )
  parser.add_argument(
    "--on-error", choices=("skip", "raise"), default="skip",
    help="whether what cannot be read is left out, or ends the program (default: %(default)s)",
  )  # fmt: skip
  args = parser.parse_args(argv)
  with parser.sentences():
    _check_out(args.out, args.force)
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    number = pack(
      args.folder,
      args.out,
      size=args.size,
      masks=args.masks,
      ignore=args.ignore,
      grayscale=args.grayscale,
      background=args.background,
      on_error=args.on_error,
      overwrite=args.force,
    )
  print(f"{pictures.shown(args.out)}: {number:,} pictures")


if __name__ == "__main__":
  main()
