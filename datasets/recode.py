"""Rewrites files compactly, so that reading is never the bottleneck.

  python -m datasets.recode data/clevr_with_masks_train.tfrecords --dataset clevr \\
      --crop --resize --out data/compact/clevr_with_masks_train.tfrecords

Reads the released layout and our own, of any compression; `datasets.load` reads the result as it
reads the original. Nothing is lost unless --crop or --resize ask for it.
"""

import itertools
import os
import sys
import time

import numpy as np
from tqdm import tqdm

from datasets.cli import Parser
from datasets.errors import DataError, by, whole_number
from datasets.files import (
  COMPACT,
  RELEASED,
  RecordFile,
  decode,
  find_files,
  origins,
  seen_in,
  stored_features,
  stored_sizes,
  tell_skipped,
  write_records,
)
from datasets.files.example import decode_example
from datasets.scene import DatasetSpec
from datasets.specs import SPECS, get_spec


def recode(
  spec,
  files,
  out,
  *,
  layout: str = COMPACT,
  crop: bool = False,
  size: tuple[int, int] | None = None,
  shards: int = 1,
  num: int | None = None,
  on_error: str = "raise",
  progress: bool = False,
) -> list[str]:
  """Rewrites the records of `files`, in order.

  Args:
    spec: a DatasetSpec, or a name.
    files: one path or several.
    out: the file to write; with several shards its name is followed by -00000-of-00010.
    layout: "compact", or "released" for programs that read only that.
    crop: cut out the spec's window (CLEVR).
    size: (H, W) to resize to: the image bilinearly, the masks, and images that are black and white,
      to the nearest pixel.
    shards: number of files, of equally many records or one more; read together, they give all of
      them in order.
    num: only the first so many.
    on_error: "raise", or "skip" to leave damaged records out.
    progress: whether to show a bar on a terminal.

  Returns:
    The paths written.

  Raises:
    DataError: as for reading; a file to write is one of `files`; there are fewer records than
      shards; or the layout is not for this data set. Nothing is written then; what was under `out`
      before is left.
  """
  spec = get_spec(spec) if isinstance(spec, str) else spec
  files = [files] if isinstance(files, (str, os.PathLike)) else list(files)
  out = os.path.expanduser(out)
  shards = whole_number("shards", shards, 1)
  num = num if num is None else whole_number("num", num, 1)
  if crop and spec.crop is None:
    raise DataError(f"{spec.name} has no window to crop to: leave out --crop")
  if layout == RELEASED and spec.image_size is None:
    raise DataError(f"the released layout does not tell the size of {spec.name}: leave it compact")
  names = [out] if shards == 1 else [f"{out}-{i:05}-of-{shards:05}" for i in range(shards)]
  paths = find_files(spec, files)
  _refuse_to_overwrite(paths, names)
  opened = [RecordFile(f, on_error) for f in paths]
  shares = _shares(opened, spec, names, num)
  stored = _decoded(opened, spec)
  for name, share in zip(names, shares, strict=True):
    scenes = itertools.islice(stored, share)
    bar = tqdm(scenes, unit=" scenes", desc=name, disable=not (progress and sys.stderr.isatty()))
    num_objects, pieces = [], []
    records = (_stored(scene, spec, crop, size, num_objects, pieces) for scene in bar)
    count = write_records(name, records, spec, layout)
    RecordFile(name).write_index(
      num_records=count,
      dataset=spec.name,
      layout=layout,
      num_objects=num_objects,
      **{origins.KEY: pieces},
    )
  tell_skipped(opened)
  return names


def _refuse_to_overwrite(paths, names):
  """Raises DataError if what is to be written is to be read: every shard reads all files anew."""
  for place in itertools.chain.from_iterable((name, f"{name}.partial") for name in names):
    if os.path.exists(place) and any(os.path.samefile(path, place) for path in paths):
      raise DataError(f"{place} is one of the files to read: choose another --out")


def _shares(files, spec, names, num):
  """How many records each of the files to write gets; DataError unless there is one for each."""
  limit = 1 if len(names) == 1 else num  # one file gets them all, however many they are
  found = sum(1 for _ in itertools.islice(_decoded(files, spec), limit))
  if found < len(names):
    sources = ", ".join(file.path for file in files)
    if not found:
      raise DataError(f"{sources} holds no record: get or generate it anew")
    raise DataError(f"{sources}: no record is left for {names[found]}: take fewer shards")
  if len(names) == 1:
    return [num]
  ends = [found * i // len(names) for i in range(len(names) + 1)]
  return [end - start for start, end in itertools.pairwise(ends)]


def _decoded(files, spec):
  """(record, its pieces) of all, as large as the first, whatever size they were made at."""
  sizes, size = (), None
  for file in files:
    known = None
    for number, payload in file:
      where = f"{file.path}, record {number}"
      try:
        if size is None:
          sizes = stored_sizes(payload)
        decoded = decode(payload, spec, sizes, where=where)
        met = decoded["image"].shape[-3:-1]
        size = size or met
        if met != size:
          raise DataError(f"{where}: image is {by(met)}, the first one is {by(size)}")
      except DataError:
        if file.on_error == "raise":
          raise
        file.skip(number)
        continue
      if known is None:
        known = origins.pieces_of(file.index() or {}, lambda image=decoded["image"]: image)
      yield decoded, origins.cut(known, number, number + 1)


def _stored(scene, spec, crop, size, num_objects, pieces):
  """What is to be stored of a scene as `_decoded` gives it, which is counted in the two lists."""
  decoded, piece = scene
  decoded = _reshaped(decoded, spec, crop, size)
  num_objects.append(int((decoded["visibility"][spec.num_background :] > 0).sum()))
  origins.add(pieces, piece)
  return stored_features(decoded, spec)


def _reshaped(decoded, spec, crop, size):
  """The decoded record with its image and masks cropped and resized."""
  if not crop and size is None:
    return decoded
  image, labels = decoded["image"], decoded["labels"]
  if crop and image.shape[-3:-1] == spec.image_size[:2]:
    top, bottom, left, right = spec.crop
    image = image[..., top:bottom, left:right, :]
    labels = labels[..., top:bottom, left:right]
  if size is not None and image.shape[-3:-1] != tuple(size):
    image = resize(image, size, smooth=not spec.binary)
    labels = resize(labels[..., None], size)[..., 0]
  decoded = {k: v for k, v in decoded.items() if k != "mask"}
  if size is not None and not spec.stores_visibility:  # what is too small is seen no more
    num_entities = len(decoded["visibility"])
    decoded["visibility"] = seen_in(labels, num_entities, spec.num_background)
  return {**decoded, "image": image, "labels": labels}


def resize(image, size, smooth: bool = False) -> np.ndarray:
  """Resizes uint8 [(T,) H, W, C] to (H', W'), with half-pixel centres, as `datasets.load` does.

  Bilinear between the four pixels around a point where `smooth`, else the nearest pixel.
  """
  height, width = image.shape[-3:-1]
  row, column = (
    (np.arange(n) + 0.5) * old / n for n, old in zip(size, (height, width), strict=True)
  )
  if not smooth:
    return image[..., row.astype(int)[:, None], column.astype(int), :]
  image = image.astype(np.float32)

  def ends(at, length):
    at = np.clip(at - 0.5, 0, length - 1)
    low = np.floor(at).astype(int)
    return low, np.minimum(low + 1, length - 1), (at - low).astype(np.float32)

  low, high, part = ends(row, height)
  part = part[:, None, None]
  image = image[..., low, :, :] * (1 - part) + image[..., high, :, :] * part
  low, high, part = ends(column, width)
  part = part[:, None]
  image = image[..., low, :] * (1 - part) + image[..., high, :] * part
  return np.rint(image).astype(np.uint8)


def guess_spec(path, on_error: str = "raise") -> DatasetSpec:
  """The spec of a file: from its records where they say, else from the file's name.

  Raises:
    DataError: neither tells, so name it with --dataset; or the file holds no record.
  """
  _, payload = next(RecordFile(path, on_error).iterate(), (0, None))
  if payload is None:
    raise DataError(f"{path} holds no record: get or generate it anew")
  try:
    example = decode_example(payload)
  except ValueError:
    example = {}
  if "dataset" in example:
    return get_spec(example["dataset"].data.tobytes().decode())
  name = os.path.basename(path)
  for spec in SPECS.values():
    if name.startswith(spec.file.split(".")[0]):
      return spec
  raise DataError(f"{path} does not say of which dataset it is: add --dataset NAME")


def main(argv=None):
  parser = Parser(prog="python -m datasets.recode", description=__doc__)
  parser.add_argument("files", nargs="+", help="TFRecord files")
  parser.add_argument("--out", help="file to write; required")
  parser.add_argument("--dataset", help="name of the dataset, where the file does not tell")
  parser.add_argument("--layout", choices=[COMPACT, RELEASED], default="compact")
  parser.add_argument("--crop", action="store_true", help="cut out the dataset's window (CLEVR)")
  parser.add_argument(
    "--resize", nargs="*", type=int, metavar="PIXELS", help="height and width; none: training size"
  )
  parser.add_argument("--shards", type=int, default=1, help="default: 1")
  parser.add_argument("--num", type=int, help="only the first NUM records")
  parser.add_argument("--on-error", choices=["raise", "skip"], default="raise")
  args = parser.parse_args(argv)
  start = time.monotonic()
  if not args.out:
    parser.error("say where to write: --out FILE")
  with parser.sentences():
    spec = get_spec(args.dataset) if args.dataset else None
    spec = spec or guess_spec(find_files(None, args.files)[0], args.on_error)
    size = args.resize
    if size is not None:
      size = size * 2 if len(size) == 1 else size or spec.training_size
      if size is None:
        parser.error(f"{spec.name} has no training size: say --resize HEIGHT WIDTH")
      if len(size) != 2 or min(size) < 1:
        got = " ".join(map(str, size))
        parser.error(f"--resize wants a height and a width in pixels, got {got}")
    os.makedirs(os.path.dirname(os.path.expanduser(args.out)) or ".", exist_ok=True)
    names = recode(
      spec, args.files, args.out, layout=args.layout, crop=args.crop, size=size,
      shards=args.shards, num=args.num, on_error=args.on_error, progress=True,
    )  # fmt: skip
  size = sum(os.path.getsize(name) for name in names) / 2**20
  more = f" and {len(names) - 1} more" if len(names) > 1 else ""
  print(f"{names[0]}{more}: {size:,.1f} MiB, {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
  main()
