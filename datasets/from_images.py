"""Packs a folder of PNG or JPEG pictures as a TFRecord file of dataset "images".

  python -m datasets.from_images pictures/ --size 64 --out data/images.tfrecords [--masks masks/]

A picture is cropped to its central square, then resized. A mask is a PNG of the same name (in
--masks) whose pixels hold entity numbers, 0 for the background: gray levels or palette indices;
without masks everything is background, and scores against the truth mean nothing.
"""

import os

import numpy as np
from PIL import Image

from datasets import files as records
from datasets.cli import Parser
from datasets.specs import get_spec

SPEC = get_spec("images")
EXTENSIONS = (".png", ".jpg", ".jpeg")


def pack(folder, out, *, size, masks=None, grayscale=False, layout=records.COMPACT) -> int:
  """Packs the pictures of a folder, in the order of their names.

  Args:
    folder: where the pictures lie.
    out: the TFRecord file.
    size: height and width in pixels.
    masks: folder of mask PNGs, or None.
    grayscale: one channel rather than three.
    layout: "compact"; the released layout does not tell its image size.

  Returns:
    The number of pictures.

  Raises:
    DataError: no pictures, one that cannot be read, or a mask that is missing or does not fit.
  """
  if size < 1:
    raise records.DataError(f"size must be at least 1 pixel, got {size}")
  if not os.path.isdir(folder):
    raise records.DataError(f"{folder} is no folder, expected one of PNG or JPEG pictures")
  names = sorted(n for n in os.listdir(folder) if n.lower().endswith(EXTENSIONS))
  if not names:
    raise records.DataError(f"{folder} holds no {', '.join(EXTENSIONS)} file")
  max_label = 0
  if masks is not None:
    max_label = max(int(_labels(masks, name, None, size).max()) for name in names)
    if max_label > 254:
      raise records.DataError(
        f"{masks}: entity number {max_label}, but at most 254 can be told apart: number them "
        "0, 1, 2, ..."
      )
  entities = max_label + 1

  def stored():
    for name in names:
      path = os.path.join(folder, name)
      try:
        with Image.open(path) as picture:
          full = picture.size
          image = _square(picture.convert("L" if grayscale else "RGB"), size, smooth=True)
      except OSError as error:
        raise records.DataError(f"{path} cannot be read as a picture ({error})") from error
      labels = np.zeros((size, size), np.uint8)
      if masks is not None:
        labels = _labels(masks, name, full, size)
      visible = np.isin(np.arange(entities), labels)
      visible[0] = True
      yield {
        "image": image.reshape(size, size, -1),
        "mask": records.mask_from_labels(labels, SPEC.mask_layout, entities),
        "visibility": visible.astype(np.float32),
      }

  return records.write_records(out, stored(), SPEC, layout)


def _square(picture, size, smooth):
  side = min(picture.size)
  left, top = (picture.width - side) // 2, (picture.height - side) // 2
  box = (left, top, left + side, top + side)
  how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
  return np.asarray(picture.crop(box).resize((size, size), how))


def _labels(masks, name, full, size):
  path = os.path.join(masks, os.path.splitext(name)[0] + ".png")
  if not os.path.exists(path):
    raise records.DataError(f"{path} does not exist: every picture needs its mask, or none")
  with Image.open(path) as mask:
    if mask.mode not in ("L", "P", "1"):
      raise records.DataError(
        f"{path} is a picture of mode {mask.mode}, wanted entity numbers as gray levels or palette"
      )
    if full is not None and mask.size != full:
      raise records.DataError(
        f"{path} is {mask.size[0]} x {mask.size[1]} pixels, its picture {full[0]} x {full[1]}"
      )
    return _square(mask, size, smooth=False).astype(np.uint8)


def main(argv=None):
  parser = Parser(prog="python -m datasets.from_images", description=__doc__)
  parser.add_argument("folder")
  parser.add_argument("--size", type=int, default=64, help="height and width (default: 64)")
  parser.add_argument("--out", default="data/images.tfrecords", help="default: %(default)s")
  parser.add_argument("--masks", help="folder of mask PNGs")
  parser.add_argument("--grayscale", action="store_true")
  args = parser.parse_args(argv)
  try:
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    number = pack(args.folder, args.out, size=args.size, masks=args.masks, grayscale=args.grayscale)
  except (ValueError, OSError) as error:
    parser.exit(2, f"{parser.prog}: {error}\n")
  print(f"{args.out}: {number:,} pictures")


if __name__ == "__main__":
  main()
