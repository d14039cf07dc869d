"""From TFRecord files to batches of scenes: split, filter, shuffle, batch, crop, resize, resume.

The data order is a pure function of (seed, epoch, position): batch n of a run can be asked for
without those before it, and several input pipelines each take their slice of the same global
batches. Where records can be reached one by one (a compact file, or the cache in memory) an epoch
is a true random permutation; a compressed file is read from front to back through a window.
"""

import logging
import re

import tensorflow as tf

from datasets import files
from datasets.errors import DataError, NoSceneError, by, nearest, whole_number
from datasets.options import Filter, Form, Order, Splits
from datasets.pipeline import memory, reading
from datasets.pipeline.form import Shaping
from datasets.pipeline.order import Batches
from datasets.pipeline.source import Source
from datasets.scene import DatasetSpec

_log = logging.getLogger("datasets")
_SPLITS = ("train", "validation", "test", "all")


def load(
  spec: DatasetSpec | str,
  path=None,
  *,
  batch_size: int,
  split: str = "train",
  data_dir="data",
  splits: Splits = Splits(),  # noqa: B008 frozen
  filter: Filter = Filter(),  # noqa: B008
  order: Order = Order(),  # noqa: B008
  form: Form = Form(),  # noqa: B008
  cache: bool | str = "auto",
  on_error: str = "raise",
  num_parallel_calls: int = 2,
) -> tf.data.Dataset:
  """Batches of scenes.

  Args:
    spec: a DatasetSpec, of `datasets.get_spec`, or its name.
    path: a file, a glob pattern or a list of them; None: the spec's file in `data_dir`.
    batch_size: scenes a batch, of this input pipeline.
    split: "train", "validation", "test" or "all".
    data_dir: the folder for `path=None`.
    splits: which records belong to which split.
    filter: which scenes of the split are kept.
    order: in which order they come.
    form: what they look like.
    cache: True keeps the split parsed in memory, "auto" if it takes less than a quarter of what
      the process may use.
    on_error: "raise" a DataError at a damaged record, or "skip" and count it. While iterating,
      TensorFlow wraps an error; `data_error` finds the DataError in it.
    num_parallel_calls: batches prepared at a time.

  Returns:
    A dataset of dicts: image float32 [B, (T,) H, W, C] in [0, 1]; mask float32 one-hot
    [B, (T,) L, H, W, 1]; visibility float32 [B, L]; factors, a dict of [B, L, ...], int32 where
    categorical; index int64 [B], the record's number over all files; `context` where the spec has
    any.

  Raises:
    NoSceneError: no scene passes the filter.
    DataError: a wrong argument; a file is missing, damaged or of another kind; the split is empty;
      the batch is larger than the split; videos are too short.
  """
  batch_size = whole_number("batch_size", batch_size, 1)
  if split not in _SPLITS:
    raise DataError(f'no split is called "{split}": {nearest(str(split), _SPLITS)}')
  if cache not in (True, False, "auto"):
    raise DataError(f'cache must be True, False or "auto", got {cache!r}')
  source = Source(spec, path, data_dir=data_dir, image_size=form.image_size, on_error=on_error)
  wanted = filter.for_spec(source.spec)
  numbers = _split(source, split, splits)
  shaping = Shaping(source, form)
  if cache == "auto":
    cache = len(numbers) * shaping.stored_bytes < memory.limit() // 4
  if cache:
    arrays = reading.read_all(source, numbers, shaping, wanted)
    numbers = arrays.get("index", ())
  else:
    numbers = reading.select(source, numbers, wanted, _log.warning)
  files.tell_skipped(source.files)

  name = source.files[0].path
  if not len(numbers):
    if wanted.by_number:
      raise NoSceneError(
        f"no scene of the {split} split of {name} has {wanted} objects: change min_objects and "
        "max_objects"
      )
    raise DataError(
      f"the {split} split of {name} holds no readable record: get or generate it anew"
    )
  batches = Batches(order, len(numbers), batch_size)
  if not batches.batches:
    raise DataError(
      f"the batch of {batches.global_batch} is larger than the {split} split of {name}, "
      f"{len(numbers):,} scenes: take a smaller batch_size, or generate more"
    )
  if cache:
    dataset = reading.from_memory(arrays, batches, num_parallel_calls)
  elif source.random_access:
    dataset = reading.by_offset(source, numbers, shaping, batches, num_parallel_calls)
  else:
    dataset = reading.by_stream(source, numbers, shaping, batches)

  @tf.autograph.experimental.do_not_convert
  def scene(step, kept):
    starts = batches.first_frames(step, shaping.window) if shaping.window > 1 else None
    return shaping.scene(kept, starts)

  dataset = dataset.map(scene, num_parallel_calls=num_parallel_calls, deterministic=True)
  options = tf.data.Options()
  options.deterministic = True
  # There is nothing to tune, all numbers are given; and an iterator that is let go can miss the
  # news to its tuner, for whose next round it then waits: up to a minute, often on a single core.
  options.autotune.enabled = False
  # Every pipeline takes its own slice already.
  options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
  return dataset.with_options(options).prefetch(2)


def _split(source, split, splits):
  """The records of a split, a range that is not empty."""
  if split == "all":
    return range(source.count())
  count = source.count(splits.total)
  numbers = splits.ranges(count)[split]
  if len(numbers):
    return numbers
  if getattr(splits, f"num_{split}") == 0:
    raise DataError(
      f"the {split} split of {source.files[0].path} is empty, as num_{split}=0 says: ask for some "
      "records of it, or for another split"
    )
  files.tell_skipped(source.files)  # perhaps why they are few
  raise DataError(
    f"{source.files[0].path} holds {count:,} records, too few for a {split} split beside "
    f"{splits.num_validation} for validation and {splits.num_test} for testing: lower "
    "num_validation and num_test (of a training: data.num_validation, data.num_test), or take more"
  )


def check(
  spec: DatasetSpec | str,
  path=None,
  *,
  data_dir="data",
  image_size=None,
  num_frames: int | None = None,
  on_error: str = "raise",
) -> dict:
  """Looks at a dataset's file(s) before anything is built: existence, compression, first records.

  Args:
    spec: a DatasetSpec, or a name.
    path, data_dir, on_error: as for `load`.
    image_size: (H, W) that is asked for, or None; a file of this size will do, too.
    num_frames: of videos, how many are asked for, or None.

  Returns:
    dict of files, layout, compression and image_shape ([(T,) H, W, C] as stored).

  Raises:
    DataError: what is wrong, in one sentence; for a missing file, how to get or make it.
  """
  form = Form(image_size, num_frames=num_frames)
  source = Source(spec, path, data_dir=data_dir, image_size=form.image_size, on_error=on_error)
  Shaping(source, form)  # refuses videos that are too short
  for file in source.files:
    if file.random_access:
      file.offsets()  # finds a file that is cut off
  return {
    "files": [file.path for file in source.files],
    "layout": source.layout,
    "compression": source.files[0].compression,
    "image_shape": source.image_shape,
  }


def describe(
  spec: DatasetSpec | str,
  path=None,
  *,
  data_dir="data",
  splits: Splits = Splits(),  # noqa: B008 frozen
  filter: Filter = Filter(),  # noqa: B008
  image_size=None,
  on_error: str = "raise",
) -> str:
  """A sentence or two on files and splits, for the start of a run. Arguments as for `load`."""
  size = Form(image_size).image_size
  source = Source(spec, path, data_dir=data_dir, image_size=size, on_error=on_error)
  count = source.count(splits.total)
  ranges, wanted = splits.ranges(count), filter.for_spec(source.spec)
  name = source.files[0].path
  if len(source.files) > 1:
    name += f" and {len(source.files) - 1} more"
  parts = []
  for split in ("train", "validation", "test"):
    numbers = ranges[split]
    if not numbers:
      parts.append(f"no {split}")
      continue
    text = f"{split} {len(numbers):,} (records {numbers[0]:,} to {numbers[-1]:,}"
    if wanted.by_number:
      objects = source.num_objects(numbers.start, numbers.stop)
      if objects is not None:
        text += f", {wanted.keeps(objects).sum():,} pass the filter"
    parts.append(text + ")")
  size = by(source.image_shape)
  text = f"{source.spec.name}: {name}, {source.layout} layout, images {size}; {', '.join(parts)}"
  if wanted.by_number:
    text += f"; only scenes of {wanted} objects"
  asked = splits.num_train
  if asked is not None and len(ranges["train"]) < asked:
    text += f"; the file has {count:,} records, so training has fewer than the {asked:,} asked"
  return text


def data_error(error) -> DataError | None:
  """The DataError behind an error that TensorFlow raised while a dataset was iterated, if any."""
  found = re.search(r"DataError: (.+)", str(error))
  return DataError(found[1].strip()) if found else None
