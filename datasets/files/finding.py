"""Which files a data set lies in, and what to say where there are none."""

import glob
import os
import re

from datasets import specs
from datasets.errors import DataError
from datasets.files.agreement import shrinks_to

_NO_RECORDS = (".partial", ".log", ".json", ".lock")
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})")


def how_to_get(spec, data_dir="data", image_size=None) -> str:
  """A phrase that says where the released file is to be had, and how a substitute is made.

  Args:
    spec: a DatasetSpec.
    data_dir: where the file belongs.
    image_size: (H, W) that is wanted: a square is rendered at this size, in a fraction of the time.
  """
  ways = []
  if spec.released:
    ways.append(f"download {spec.released} into {data_dir}/")
  if spec.generator:
    number = min(spec.num_train, 100_000) + spec.num_held_out if spec.num_train else 1000
    square = spec.rendered and image_size is not None and image_size[0] == image_size[1]
    size = f" --image-size {image_size[0]}" if square else ""
    ways.append(
      f"`python -m datasets.generate {spec.generate_args} --num {number}{size} --out {data_dir}`"
    )
  if len(ways) == 1 and spec.generator:
    return f"generate it with {ways[0]}"
  return ", or generate a substitute with ".join(ways) or "see `python -m datasets.from_images -h`"


def find_files(spec, path=None, data_dir="data", image_size=None) -> list[str]:
  """The files of a dataset, sorted.

  Args:
    spec: a DatasetSpec; None where it is not known, and `path` is given.
    path: a file, a glob pattern or a list of them; None looks for `spec.file` in `data_dir`. What
      exists under that very name is no pattern; "~" is the home folder.
    data_dir: where to look when `path` is None; never a pattern.
    image_size: (H, W); with `path` None, a file generated at this size is taken if it is there, or,
      where there is none of the usual size, at a larger one of the same proportions.

  Raises:
    DataError: there is no such file, and the sentence says where one is to be had; or files of a
      set are missing.
  """
  if path is None:
    return _default_files(spec, os.path.expanduser(data_dir), image_size)
  found = []
  for pattern in path if isinstance(path, (list, tuple)) else [path]:
    pattern = os.path.expanduser(os.fspath(pattern))
    files = [pattern] if os.path.exists(pattern) else _whole_sets(_matching(pattern))
    if not files:
      place = os.path.dirname(pattern).rstrip("/") or "."
      ways = "" if spec is None else f": {how_to_get(spec, place)}"
      raise DataError(f"{pattern} does not exist{ways}")
    found.extend(files)
  return _no_folder(found, spec)


def _default_files(spec, data_dir, image_size):
  names = [spec.file]
  if spec.part_of and spec.released:  # a selection of a file that others may have made or fetched
    names.append(specs.SPECS[spec.part_of].file)
  if image_size is not None and spec.image_size and tuple(image_size) != spec.image_size[:2]:
    exact = [sized_name(name, image_size) for name in names]
    larger = [n for name in names for n in _larger(name, data_dir, image_size)]
    names = [*exact, *names, *larger]
  folder = glob.escape(data_dir)
  for name in names:
    # `recode --shards` writes name-00000-of-00010 for name.
    for pattern in (name, f"{name}-*-of-*"):
      if found := _whole_sets(_files_only(glob.glob(os.path.join(folder, pattern)))):
        return _no_folder(found, spec)
  missing = os.path.join(data_dir, spec.file)
  ways = how_to_get(spec, data_dir.rstrip("/") or ".", image_size)
  raise DataError(f"{missing} does not exist: {ways}")


def _larger(name, folder, image_size):
  """Names under which files of larger sizes that shrink to this one lie, the smallest first."""
  stem, extension = map(re.escape, os.path.splitext(name))
  pattern = re.compile(rf"{stem}_(\d+)x(\d+){extension}")  # of a file or of its shards
  matches = map(pattern.match, os.listdir(folder) if os.path.isdir(folder) else [])
  sizes = {(int(found[1]), int(found[2])) for found in matches if found}
  return [sized_name(name, size) for size in sorted(sizes) if shrinks_to(size, image_size)]


def _matching(pattern):
  """Files of a pattern, whose folder is taken literally where there is one of that very name."""
  folder, name = os.path.split(pattern)
  if os.path.isdir(folder):
    pattern = os.path.join(glob.escape(folder), name)
  return _files_only(glob.glob(pattern))


def _files_only(found):
  return sorted(f for f in found if not f.endswith(_NO_RECORDS))


def _whole_sets(files):
  """The files again, once it is sure that none of a set of shards is missing.

  Raises:
    DataError: shards are missing, or there are two sets of one name, which may hold the same scenes
      in another order: training would then see what is held out.
  """
  sets = {}
  for file in files:
    if found := _SHARD.fullmatch(file):
      sets.setdefault(found[1], {}).setdefault(int(found[3]), {})[int(found[2])] = file
  for name, by_total in sets.items():
    if len(by_total) > 1 or (name in files):
      kinds = [
        f"{min(numbers.values())} and {len(numbers) - 1} more" for numbers in by_total.values()
      ]
      kinds += [name] if name in files else []
      raise DataError(
        f"files of one data set lie side by side in two sets, {'; '.join(kinds)}: their scenes may "
        "be the same, so move one set away or give the path of the other"
      )
    for total, numbers in by_total.items():
      missing = [f"{name}-{i:05}-of-{total:05}" for i in range(total) if i not in numbers]
      if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(
          f"a file is missing, {', '.join(missing[:3])}{more}, of a set of {total}: get it, or "
          "list the paths of those that are meant"
        )
  return files


def _no_folder(files, spec):
  for file in files:
    if os.path.isdir(file):
      wanted = "a TFRecord file" + ("" if spec is None else f" of {spec.name}")
      raise DataError(f"{file} is a folder, expected {wanted}")
  return files


def sized_name(file: str, image_size) -> str:
  """The name of a file generated at another size than usual: tetrominoes_train_14x14.tfrecords."""
  stem, extension = os.path.splitext(file)
  return f"{stem}_{image_size[0]}x{image_size[1]}{extension}"
