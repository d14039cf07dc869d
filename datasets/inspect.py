"""Prints what a file holds and draws some of its scenes with their masks.

python -m datasets.inspect data/tetrominoes_train.tfrecords [--sheet sheet.png]
"""

import collections
import os

import numpy as np
from PIL import Image

from datasets import files
from datasets.cli import Parser
from datasets.errors import DataError, by, whole_number
from datasets.recode import guess_spec
from datasets.specs import get_spec

# Sixteen colours that are easily told apart; the background is dark.
PALETTE = np.array(
  [
    (40, 40, 40), (230, 60, 60), (60, 180, 75), (60, 110, 230), (250, 210, 50), (200, 60, 220),
    (70, 220, 230), (245, 130, 48), (170, 255, 195), (250, 190, 212), (128, 128, 0), (0, 128, 128),
    (170, 110, 40), (220, 190, 255), (128, 0, 0), (255, 255, 255),
  ],
  np.uint8,
)  # fmt: skip


def contact_sheet(scenes, columns=8, scale=2) -> Image.Image:
  """Images in rows, each with its mask in false colours below.

  Args:
    scenes: decoded records, as of `files.decode`; of a video the first frame is shown.
    columns: scenes in a row.
    scale: how many times each pixel is enlarged.
  """
  tiles = []
  for decoded in scenes:
    image, labels = decoded["image"], decoded["labels"]
    if image.ndim == 4:
      image, labels = image[0], labels[0]
    image = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
    colors = PALETTE[np.minimum(labels, 15) % len(PALETTE)]
    tile = np.concatenate([image, colors]).repeat(scale, 0).repeat(scale, 1)
    tiles.append(np.pad(tile, ((2, 2), (2, 2), (0, 0)), constant_values=128))
  while len(tiles) % columns:
    tiles.append(np.full_like(tiles[0], 128))
  rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
  return Image.fromarray(np.concatenate(rows))


def report(path, spec=None, num_sheet=16, limit=None) -> tuple[str, Image.Image | None]:
  """Reads a file from end to end and says what it found.

  Args:
    path: the file.
    spec: its DatasetSpec; None to let the file tell.
    num_sheet: scenes on the contact sheet.
    limit: read only so many records.

  Returns:
    The text, and the sheet (None where no record could be read).
  """
  spec = spec or guess_spec(path, on_error="skip")
  file = files.RecordFile(path, on_error="skip")
  objects, shown, wrong, overlapping = collections.Counter(), [], [], 0
  low, high, count, example, sizes = {}, {}, 0, None, ()
  for number, payload in file.iterate(0, limit):
    try:
      if example is None:
        sizes = files.stored_sizes(payload)
      decoded = files.decode(payload, spec, sizes, where=f"{path}, record {number}")
    except DataError as error:
      wrong.append(str(error))
      continue
    count += 1
    example = example or decoded
    shown += [decoded] if len(shown) < num_sheet else []
    mask = decoded.get("mask")
    overlapping += mask is not None and files.label_map(mask, spec.mask_layout) is None
    visible = decoded["visibility"][spec.num_background :] > 0
    objects[int(visible.sum())] += 1
    for name in spec.factors:
      values = decoded[name][spec.num_background :][visible]
      if values.size:
        low[name] = min(low.get(name, np.inf), values.min())
        high[name] = max(high.get(name, -np.inf), values.max())
  if example is None and wrong:
    return "\n".join([f"{path}: no readable record of {spec.name}", *wrong[:1]]), None
  if example is None and not file.skipped:
    return f"{path}: holds no record of {spec.name}", None
  if example is None:
    return f"{path}: no readable record of {spec.name}; damage at record {file.skipped[0]}", None
  lines = [
    f"{path}: {spec.name}, {example['layout']} layout, compression {file.compression or 'none'}",
    f"records: {count:,}" + (f" (only the first {limit:,} read)" if limit else ""),
    f"image: {by(example['image'].shape)}; mask: {len(example['visibility'])} entities, "
    f"{spec.num_background} of them background",
    "objects in a scene: " + ", ".join(f"{n}: {objects[n]:,}" for n in sorted(objects)),
    *(f"{name}: {low[name]:.4g} to {high[name]:.4g}  {spec.factors[name].unit}" for name in low),
  ]
  if overlapping:
    lines.append(f"masks that overlap: in {overlapping:,} records")
  if file.skipped or wrong:
    numbers = ", ".join(str(n) for n in file.skipped[:10])
    lines.append(f"DAMAGED: {len(file.skipped) + len(wrong)} records ({numbers or wrong[0]})")
    if file.lost_from is not None:
      lines.append(f"nothing can be read from record {file.lost_from} on")
  else:
    lines.append("integrity: all checksums right")
  return "\n".join(lines), contact_sheet(shown, scale=max(1, 128 // example["image"].shape[-2]))


def main(argv=None):
  parser = Parser(prog="python -m datasets.inspect", description=__doc__)
  parser.add_argument("file")
  parser.add_argument("--dataset", help="name of the dataset, where the file does not tell")
  parser.add_argument("--sheet", help="PNG to draw; default: the file's name with .png, in .")
  parser.add_argument("--limit", type=int, help="read only so many records")
  args = parser.parse_args(argv)
  with parser.sentences():
    args.file = os.path.expanduser(args.file)
    limit = args.limit if args.limit is None else whole_number("--limit", args.limit, 1)
    sheet_kind = os.path.splitext(args.sheet or "")[1].lower()
    if args.sheet and Image.registered_extensions().get(sheet_kind) not in Image.SAVE:
      raise DataError(f"--sheet wants a name that ends as a picture's, in .png, got {args.sheet}")
    if not os.path.exists(args.file):
      raise DataError(f"{args.file} does not exist")
    spec = get_spec(args.dataset) if args.dataset else None
    text, sheet = report(args.file, spec, limit=limit)
    print(text)
    if sheet is not None:
      name = args.sheet or os.path.splitext(os.path.basename(args.file))[0] + ".png"
      sheet.save(name)
      print(f"contact sheet: {name}")
  if "DAMAGED" in text or sheet is None:
    parser.exit(1)


if __name__ == "__main__":
  main()
