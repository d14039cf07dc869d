"""From TFRecord files to batches of scenes: split, filter, shuffle, batch, crop, resize, resume.

The data order is a pure function of (seed, epoch, position): batch n of a run can be asked for
without those before it, and several input pipelines each take their slice of the same global
batches. Where records can be reached one by one (a compact file, or the cache in memory) an epoch
is a true random permutation; a compressed file is read from front to back through a window.
"""

import bisect
import dataclasses
import itertools
import logging
import os
import re

import numpy as np
import tensorflow as tf

from datasets import records, scene

_log = logging.getLogger("datasets")
_WINDOW_BYTES = 1 << 28  # how much a compressed file is shuffled through
_MANY = np.iinfo(np.int64).max


class Source:
  """The records of one or several files of a dataset, numbered through.

  Attributes:
    spec: the DatasetSpec, sizes filled in from the file where the spec leaves them open.
    image_shape: of the stored images, [(T,) H, W, C].
    layout: "compact" or "released".
    skipped: numbers of the records passed over so far.
  """

  def __init__(self, spec, path=None, *, data_dir="data", image_size=None, on_error="raise"):
    paths = records.find_files(spec, path, data_dir, image_size)
    self.files = [records.RecordFile(p, on_error) for p in paths]
    self.on_error = on_error
    self.sizes = () if image_size is None else (tuple(image_size),)
    self.spec, self._starts, self.skipped = spec, None, []
    for file in self.files:
      number, payload = next(file.iterate(), (None, None))
      if payload is None:
        raise records.DataError(f"{file.path} holds no readable record: get or generate it anew")
      decoded = self._decode_strict(payload, file, number)
      shape = decoded["image"].shape
      if file is self.files[0]:
        self.image_shape, self.layout = shape, decoded["layout"]
        if spec.image_size is None:
          entities = len(decoded["visibility"])
          self.spec = dataclasses.replace(spec, image_size=shape[-3:], max_entities=entities)
      elif shape != self.image_shape:
        raise records.DataError(
          f"{file.path}: image is {records.by(shape)}, but {records.by(self.image_shape)} in "
          f"{self.files[0].path}: files of one dataset must agree"
        )

  @property
  def random_access(self) -> bool:
    return all(file.random_access for file in self.files)

  def count(self, limit=None) -> int:
    """Number of records, at most about `limit` if that saves reading."""
    if self._starts is None or self._limit != limit:
      self._starts, self._limit = [0], limit
      for file in self.files:
        left = None if limit is None else limit - self._starts[-1]
        if left is not None and left <= 0:
          break
        self._starts.append(self._starts[-1] + file.count(left, progress=_log.warning))
    return self._starts[-1]

  def _file(self, number):
    i = bisect.bisect_right(self._starts, number) - 1
    return self.files[i], number - self._starts[i]

  def _decode_strict(self, payload, file, number):
    where = f"{file.path}, record {number}"
    return records.decode(payload, self.spec, self.sizes, where)

  def payloads(self, start, stop, wanted=None):
    """Yields (number, file, number in the file, payload) for start <= number < stop.

    Args:
      start, stop: as of `range`; `count` must have been called.
      wanted: bool [stop - start], which records to give; None: all.
    """
    for file, first, end in zip(self.files, self._starts, self._starts[1:], strict=False):
      if end <= start or first >= stop:
        continue
      passed = len(file.skipped)
      for local, payload in file.iterate(max(start - first, 0), min(stop, end) - first):
        if wanted is None or wanted[first + local - start]:
          yield first + local, file, local, payload
      for local in file.skipped[passed:]:
        self._skip(first + local)

  def iterate(self, start, stop, wanted=None):
    """Yields (number, decoded record); arguments as for `payloads`."""
    for number, file, local, payload in self.payloads(start, stop, wanted):
      decoded = self._decode(number, file, local, payload)
      if decoded is not None:
        yield number, decoded

  def _decode(self, number, file, local, payload):
    try:
      return self._decode_strict(payload, file, local)
    except records.DataError:
      if self.on_error == "raise":
        raise
      self._skip(number)
      return None

  def _skip(self, number):
    if number not in self.skipped:
      self.skipped.append(number)

  def read(self, numbers):
    """(number, file, number in the file, payload) of chosen records of uncompressed files."""
    places = [self._file(int(number)) for number in numbers]
    found = [None] * len(places)
    for file in {id(f): f for f, _ in places}.values():
      mine = [i for i, (f, _) in enumerate(places) if f is file]
      for i, payload in zip(mine, file.read([places[i][1] for i in mine]), strict=True):
        found[i] = (int(numbers[i]), *places[i], payload)
    return found

  def decode_many(self, items) -> dict:
    """Decodes (number, file, number in the file, payload) items into arrays with a leading axis.

    Returns:
      As `records.decode`, every array [n, ...], without "mask" and "layout", and `index` int64 [n].
    """
    result = self._decode_compact([payload for *_, payload in items])
    if result is not None:
      return {**result, "index": np.array([number for number, *_ in items], np.int64)}
    # Something is amiss, or the layout is another one: record by record, with precise messages.
    decoded = [(item[0], self._decode(*item)) for item in items]
    decoded = [(number, d) for number, d in decoded if d is not None]
    names = ("image", "labels", "visibility", *records.stored_factors(self.spec))
    result = {name: np.array([d[name] for _, d in decoded]) for name in names}
    return {**result, "index": np.array([number for number, _ in decoded], np.int64)}

  def _decode_compact(self, payloads):
    """TensorFlow's own parser on many compact records at once; None if anything is unusual."""
    if self.layout != records.COMPACT or not payloads:
      return None
    spec, n = self.spec, len(payloads)
    string = tf.io.FixedLenFeature([], tf.string)
    shape = tf.io.FixedLenFeature([len(self.image_shape)], tf.int64)
    features = {"image": string, "mask": string, "mask/coding": string, "image/shape": shape}
    features["dataset"] = tf.io.FixedLenFeature([], tf.string, default_value=spec.name)
    features["mask/shape"] = tf.io.FixedLenFeature([len(spec.mask_layout)], tf.int64)
    shapes = {}
    for name, factor in records.stored_factors(spec).items():
      shapes[name] = (*(() if name in spec.context else (spec.max_entities,)), *factor.shape)
      byte = factor.dtype == "uint8"
      features[name] = string if byte else tf.io.FixedLenFeature(shapes[name], tf.float32)
    mask_shape = scene.mask_shape(
      spec.mask_layout, self.image_shape[-3:], spec.max_entities, spec.num_frames
    )
    try:
      with tf.device("CPU"):
        parsed = tf.io.parse_example(tf.constant(payloads, tf.string), features)
        usual = (
          tf.reduce_all(parsed["dataset"] == spec.name)
          & tf.reduce_all(parsed["mask/coding"] == b"labels")
          & tf.reduce_all(parsed["image/shape"] == self.image_shape)
          & tf.reduce_all(parsed["mask/shape"] == mask_shape)
        )
        if not usual:
          return None
        result = {}
        for name, feature, to in (
          ("image", "image", self.image_shape),
          ("labels", "mask", self.image_shape[:-1]),
        ):
          raw = tf.io.decode_raw(tf.io.decode_compressed(parsed[feature], "ZLIB"), tf.uint8)
          result[name] = raw.numpy().reshape((n, *to))
        for name, to in shapes.items():
          value = parsed[name]
          value = tf.io.decode_raw(value, tf.uint8) if value.dtype == tf.string else value
          result[name] = value.numpy().reshape((n, *to))
    except (tf.errors.OpError, ValueError):
      return None
    if not spec.stores_visibility:
      visible = [np.isin(np.arange(spec.max_entities), labels) for labels in result["labels"]]
      result["visibility"] = np.array(visible, np.float32)
      result["visibility"][:, : spec.num_background] = 1
    return result

  def num_objects(self, start, stop) -> np.ndarray | None:
    """Visible foreground entities, int [stop - start], where the files' indices tell; else None."""
    found = []
    for file in self.files:
      index = file.index()
      if not index or "num_objects" not in index:
        return None
      found.extend(index["num_objects"])
    return np.array(found[start:stop])


def split_ranges(num_records, num_train=None, num_validation=320, num_test=320) -> dict:
  """Which records belong to which split: the first train, then validation, then test.

  Args:
    num_records: of the file(s).
    num_train: None for all but the last `num_validation + num_test`. A file with fewer records than
      asked for gives a smaller training split.
    num_validation, num_test: records of the other two.

  Returns:
    name -> range, for "train", "validation", "test" and "all".
  """
  room = max(num_records - num_validation - num_test, 0)
  train = room if num_train is None else min(num_train, room)
  validation = min(num_validation, num_records - train)
  test = min(num_test, num_records - train - validation)
  return {
    "train": range(0, train),
    "validation": range(train, train + validation),
    "test": range(train + validation, train + validation + test),
    "all": range(0, num_records),
  }


def _ranges(source, num_train, num_validation, num_test):
  limit = None if num_train is None else num_train + num_validation + num_test
  count = source.count(limit)
  return count, split_ranges(count, num_train, num_validation, num_test)


def _split(source, split, num_train, num_validation, num_test):
  if split not in ("train", "validation", "test", "all"):
    names = ("train", "validation", "test", "all")
    raise ValueError(f'no split is called "{split}": {scene.nearest(split, names)}')
  if split == "all":
    return range(source.count())
  count, ranges = _ranges(source, num_train, num_validation, num_test)
  if not len(ranges[split]):
    raise records.DataError(
      f"{source.files[0].path} holds {count:,} records, too few for a {split} split beside "
      f"{num_validation} for validation and {num_test} for testing: lower num_validation and "
      'num_test, take split="all", or generate more'
    )
  return ranges[split]


def check(spec, path=None, *, data_dir="data", image_size=None) -> dict:
  """Looks at a dataset's file(s) before anything is built: existence, compression, first records.

  Args:
    spec: a DatasetSpec.
    path, data_dir, image_size: as for `load`.

  Returns:
    dict of files, layout, compression and image_shape ([(T,) H, W, C] as stored).

  Raises:
    DataError: what is wrong, in one sentence; for a missing file, how to get or make it.
  """
  source = Source(spec, path, data_dir=data_dir, image_size=image_size)
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
  spec,
  path=None,
  *,
  data_dir="data",
  num_train=None,
  num_validation=320,
  num_test=320,
  min_objects=None,
  max_objects=None,
  image_size=None,
) -> str:
  """A sentence or two on files and splits, for the start of a run. Arguments as for `load`."""
  source = Source(spec, path, data_dir=data_dir, image_size=image_size)
  count, ranges = _ranges(source, num_train, num_validation, num_test)
  name = source.files[0].path
  if len(source.files) > 1:
    name += f" and {len(source.files) - 1} more"
  size = records.by(source.image_shape)
  parts = []
  for split in ("train", "validation", "test"):
    numbers = ranges[split]
    if not numbers:
      parts.append(f"no {split}")
      continue
    text = f"{split} {len(numbers):,} (records {numbers[0]:,} to {numbers[-1]:,}"
    if min_objects is not None or max_objects is not None:
      objects = source.num_objects(numbers.start, numbers.stop)
      if objects is not None:
        text += f", {_kept(objects, min_objects, max_objects).sum():,} pass the filter"
    parts.append(text + ")")
  text = f"{spec.name}: {name}, {source.layout} layout, images {size}; {', '.join(parts)}"
  if min_objects is not None or max_objects is not None:
    text += f"; only scenes of {_between(min_objects, max_objects)} objects"
  if num_train is not None and len(ranges["train"]) < num_train:
    text += f"; the file has {count:,} records, so training has fewer than the {num_train:,} asked"
  return text


def _between(low, high):
  if low is None:
    return f"at most {high}"
  return f"at least {low}" if high is None else f"{low} to {high}"


def _kept(num_objects, low, high):
  kept = np.ones(np.shape(num_objects), bool)
  if low is not None:
    kept &= num_objects >= low
  if high is not None:
    kept &= num_objects <= high
  return kept


def load(
  spec,
  path=None,
  *,
  batch_size,
  shuffle,
  drop_remainder,
  data_dir="data",
  split="train",
  num_train=None,
  num_validation=320,
  num_test=320,
  min_objects=None,
  max_objects=None,
  image_size=None,
  seed=0,
  start_batch=0,
  num_epochs=None,
  cache="auto",
  grayscale=False,
  num_images=None,
  on_error="raise",
  num_parallel_calls=2,
  input_pipeline_id=0,
  num_input_pipelines=1,
  legacy_resize=False,
) -> tf.data.Dataset:
  """Batches of scenes.

  Args:
    spec: a DatasetSpec, of `datasets.get_spec`.
    path: a file, a glob pattern or a list of them; None: the spec's file in `data_dir`.
    batch_size: scenes a batch, of this input pipeline.
    shuffle: whether each epoch has its own order.
    drop_remainder: whether a last, smaller batch of an epoch is left out; shapes are static then.
    data_dir: the folder for `path=None`.
    split: "train", "validation", "test" or "all".
    num_train, num_validation, num_test: see `split_ranges`.
    min_objects, max_objects: keep scenes with as many visible foreground entities, inclusive.
    image_size: (H, W) to resize to, after the spec's crop; None: the spec's training size.
    seed: of the order.
    start_batch: the first batch, counted over epochs: a resumed run goes on exactly there.
    num_epochs: None repeats for ever.
    cache: True keeps the split parsed in memory, "auto" if it takes less than a quarter of it.
    grayscale: whether to give one channel, the luma.
    num_images: only the first so many scenes that pass the filter.
    on_error: "raise" a DataError at a damaged record, or "skip" and count it. While iterating,
      TensorFlow wraps an error; `data_error` finds the DataError in it.
    num_parallel_calls: batches prepared at a time.
    input_pipeline_id, num_input_pipelines: every pipeline gives its `batch_size` scenes of each
      global batch of `num_input_pipelines * batch_size`.
    legacy_resize: resize as TensorFlow 1 did, without half-pixel centres.

  Returns:
    A dataset of dicts: image float32 [B, (T,) H, W, C] in [0, 1]; mask float32 one-hot
    [B, (T,) L, H, W, 1]; visibility float32 [B, L]; factors, a dict of [B, L, ...], int32 where
    categorical; index int64 [B], the record's number over all files; `context` where the spec has
    any.

  Raises:
    DataError: a file is missing, damaged or of another kind; no scene passes the filter; the batch
      is larger than the split.
    ValueError: a wrong argument.
  """
  for name, value, least in (
    ("batch_size", batch_size, 1),
    ("start_batch", start_batch, 0),
    ("num_input_pipelines", num_input_pipelines, 1),
  ):
    if value < least:
      raise ValueError(f"{name} must be at least {least}, got {value}")
  if not 0 <= input_pipeline_id < num_input_pipelines:
    raise ValueError(
      f"input_pipeline_id must be in 0..{num_input_pipelines - 1}, got {input_pipeline_id}"
    )
  if cache not in (True, False, "auto"):
    raise ValueError(f'cache must be True, False or "auto", got {cache!r}')
  source = Source(spec, path, data_dir=data_dir, image_size=image_size, on_error=on_error)
  spec = source.spec
  numbers = _split(source, split, num_train, num_validation, num_test)
  form = _Form(source, image_size, grayscale, legacy_resize)
  limits = (min_objects, max_objects)
  if cache == "auto":
    cache = len(numbers) * form.stored_bytes < _memory() // 4
  if cache:
    arrays = _read_all(source, numbers, form, limits, num_images)
    numbers = arrays.get("index", ())
  else:
    numbers = _select(source, numbers, limits, num_images)
  if source.skipped:
    lost = [f.path for f in source.files if f.lost_from is not None]
    rest = f"; nothing behind the damage of {', '.join(lost)} can be read" if lost else ""
    _log.warning(
      "skipped %d damaged records of %s%s", len(source.skipped), source.files[0].path, rest
    )

  name = source.files[0].path
  if not len(numbers):
    raise records.DataError(
      f"no scene of the {split} split of {name} has {_between(*limits)} objects: "
      "change min_objects and max_objects"
    )
  order = _Order(
    len(numbers), batch_size, shuffle, seed, drop_remainder, input_pipeline_id, num_input_pipelines
  )
  if drop_remainder and not order.batches:
    raise records.DataError(
      f"the batch of {order.global_batch} is larger than the {split} split of {name}, "
      f"{len(numbers):,} scenes: take a smaller batch_size, or generate more"
    )
  total = _MANY if num_epochs is None else num_epochs * order.batches
  if cache:
    dataset = _from_memory(arrays, order, start_batch, total, num_parallel_calls)
  elif source.random_access:
    dataset = _from_offsets(source, numbers, form, order, start_batch, total, num_parallel_calls)
  else:
    dataset = _from_stream(source, numbers, form, order, start_batch, total)
  dataset = dataset.map(form.scene, num_parallel_calls=num_parallel_calls, deterministic=True)
  options = tf.data.Options()
  options.deterministic = True
  # Every pipeline takes its own slice already.
  options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
  return dataset.with_options(options).prefetch(2)


def data_error(error) -> records.DataError | None:
  """The DataError behind an error that TensorFlow raised while a dataset was iterated, if any."""
  found = re.search(r"DataError: (.+)", str(error))
  return records.DataError(found[1].strip()) if found else None


def _memory():
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# ------------------------------------------------------------------------------ parts of load


class _Form:
  """The form of scenes: as kept in memory (cropped, uint8), and as given out."""

  def __init__(self, source, image_size, grayscale, legacy_resize):
    spec = self.spec = source.spec
    *frames, height, width, channels = source.image_shape
    # A recoded file may be cropped already; only a picture of the full size is.
    whole = (height, width) == spec.image_size[:2]
    self.crop = spec.crop if whole else None
    if self.crop:
      top, bottom, left, right = self.crop
      height, width = bottom - top, right - left
    self.frames, self.kept_size, self.channels = tuple(frames), (height, width), channels
    self.size = tuple(image_size or spec.training_size or (height, width))
    self.grayscale = grayscale and channels == 3
    self.legacy_resize = legacy_resize
    self.stored_bytes = int(np.prod((*frames, height, width))) * (channels + 1) + 512

  def arrays(self, decoded):
    """What is kept of decoded records (one or several): name -> array; images cropped."""
    image, labels = decoded["image"], decoded["labels"]
    if self.crop:
      top, bottom, left, right = self.crop
      image = image[..., top:bottom, left:right, :]
      labels = labels[..., top:bottom, left:right]
    kept = {"image": image, "labels": labels, "visibility": decoded["visibility"]}
    for name, factor in (*self.spec.factors.items(), *self.spec.context.items()):
      dtype = np.int32 if factor.kind == "categorical" else np.float32
      kept[f"factor/{name}"] = decoded[name].astype(dtype)
    if "index" in decoded:
      kept["index"] = decoded["index"]
    return kept

  def signature(self, batch=None):
    """name -> TensorSpec of a batch of `arrays`."""
    entities = self.spec.max_entities
    pixels = (batch, *self.frames, *self.kept_size)
    signature = {
      "image": tf.TensorSpec((*pixels, self.channels), tf.uint8),
      "labels": tf.TensorSpec(pixels, tf.uint8),
      "visibility": tf.TensorSpec((batch, entities), tf.float32),
      "index": tf.TensorSpec((batch,), tf.int64),
    }
    for name, factor in (*self.spec.factors.items(), *self.spec.context.items()):
      dtype = tf.int32 if factor.kind == "categorical" else tf.float32
      lead = () if name in self.spec.context else (entities,)
      signature[f"factor/{name}"] = tf.TensorSpec((batch, *lead, *factor.shape), dtype)
    return signature

  def scene(self, kept):
    """The Scene of a batch of `arrays` and `index`."""
    image, labels = self._resize(kept["image"], kept["labels"])
    if self.grayscale:
      image = tf.image.rgb_to_grayscale(image)
    axis = 2 if self.frames else 1
    mask = tf.one_hot(tf.cast(labels, tf.int32), self.spec.max_entities, axis=axis)
    result = {
      "image": image,
      "mask": mask[..., None],
      "visibility": kept["visibility"],
      "factors": {name: kept[f"factor/{name}"] for name in self.spec.factors},
      "index": kept["index"],
    }
    if self.spec.max_entities == 1:  # pictures without masks of their own
      del result["mask"]
    if self.spec.context:
      result["context"] = {name: kept[f"factor/{name}"] for name in self.spec.context}
    return result

  def _resize(self, image, labels):
    image = tf.cast(image, tf.float32) / 255.0
    if self.size == self.kept_size:
      return image, labels
    lead = tf.shape(labels)[:-2]
    static = labels.shape[:-2]
    image = tf.reshape(image, [-1, *self.kept_size, self.channels])
    labels = tf.reshape(labels, [-1, *self.kept_size, 1])
    centres = not self.legacy_resize
    image = tf.raw_ops.ResizeBilinear(images=image, size=self.size, half_pixel_centers=centres)
    labels = tf.raw_ops.ResizeNearestNeighbor(
      images=labels, size=self.size, half_pixel_centers=centres
    )
    image = tf.reshape(image, tf.concat([lead, [*self.size, self.channels]], 0))
    labels = tf.reshape(labels, tf.concat([lead, self.size], 0))
    image.set_shape([*static, *self.size, self.channels])
    labels.set_shape([*static, *self.size])
    return image, labels


class _Order:
  """Which of n examples stand in which batch: a pure function of the seed."""

  def __init__(self, n, batch_size, shuffle, seed, drop_remainder, pipeline, num_pipelines):
    self.n, self.batch_size, self.shuffle, self.seed = n, batch_size, shuffle, seed
    self.drop_remainder = drop_remainder
    self.pipeline, self.num_pipelines = pipeline, num_pipelines
    self.global_batch = batch_size * num_pipelines
    self.batches = n // self.global_batch if drop_remainder else -(-n // self.global_batch)

  def positions(self, step):
    """(epoch, positions in the epoch) of a batch; `step` is an int64 tensor."""
    epoch, batch = step // self.batches, step % self.batches
    start = batch * self.global_batch
    if self.drop_remainder:
      return epoch, start + self.pipeline * self.batch_size + tf.range(
        self.batch_size, dtype=tf.int64
      )
    size = tf.minimum(tf.constant(self.global_batch, tf.int64), self.n - start)
    low = start + size * self.pipeline // self.num_pipelines
    high = start + size * (self.pipeline + 1) // self.num_pipelines
    return epoch, tf.range(low, high)

  def examples(self, step):
    """int64 [B], numbers in [0, n) of the examples of a batch."""
    epoch, positions = self.positions(step)
    if not self.shuffle or self.n == 1:
      return positions
    low, high = tf.cast(epoch % 2**31, tf.int32), tf.cast(epoch // 2**31, tf.int32)
    seed = tf.stack([tf.constant(self.seed % 2**31, tf.int32), low, high])
    seeds = tf.broadcast_to(seed, [tf.shape(positions)[0], 3])
    return tf.random_index_shuffle(positions, seeds, max_index=tf.cast(self.n - 1, tf.int64))

  def window_order(self, epoch, window):
    """As `examples` for a whole epoch, int64 [n], none coming more than `window` early."""
    if not self.shuffle:
      return np.arange(self.n)
    rng = np.random.default_rng((self.seed, epoch))
    picks = rng.random(self.n)
    buffer, order = list(range(min(window, self.n))), np.empty(self.n, np.int64)
    for position in range(self.n):
      i = int(picks[position] * len(buffer))
      order[position] = buffer[i]
      following = position + window
      if following < self.n:
        buffer[i] = following
      else:
        buffer[i] = buffer[-1]
        buffer.pop()
    return order


def _objects(decoded, spec):
  return (decoded["visibility"][..., spec.num_background :] > 0).sum(axis=-1)


def _chunks(items, size):
  while chunk := list(itertools.islice(items, size)):
    yield chunk


def _read_all(source, numbers, form, limits, num_images):
  """Parses a split into arrays, filtered: name -> array [n, ...]."""
  kept, total = [], 0
  size = max(1, min(512, _WINDOW_BYTES // form.stored_bytes))
  for items in _chunks(source.payloads(numbers.start, numbers.stop), size):
    decoded = source.decode_many(items)
    if not len(decoded["index"]):
      continue
    passed = np.flatnonzero(_kept(_objects(decoded, source.spec), *limits))
    passed = passed[: None if num_images is None else num_images - total]
    kept.append({name: value[passed] for name, value in form.arrays(decoded).items()})
    total += len(passed)
    if num_images is not None and total >= num_images:
      break
  return {name: np.concatenate([k[name] for k in kept]) for name in kept[0]} if kept else {}


def _select(source, numbers, limits, num_images):
  """The numbers of a split's records that pass the filter (and are whole, under "skip")."""
  if limits == (None, None) and source.on_error == "raise":
    selected = np.arange(numbers.start, numbers.stop)
  elif source.on_error == "raise" and (
    (objects := source.num_objects(numbers.start, numbers.stop)) is not None
  ):
    selected = numbers.start + np.flatnonzero(_kept(objects, *limits))
  else:
    if len(numbers) > 1000:
      _log.warning("reading %s once, to select records", source.files[0].path)
    selected = np.array(
      [
        number
        for number, decoded in source.iterate(numbers.start, numbers.stop)
        if _kept(_objects(decoded, source.spec), *limits)
      ],
      np.int64,
    )
  return selected[:num_images]


def _from_memory(arrays, order, start, total, num_parallel_calls):
  with tf.device("CPU"):
    kept = {name: tf.constant(value) for name, value in arrays.items()}

  def batch(step):
    examples = order.examples(step)
    return {name: tf.gather(value, examples) for name, value in kept.items()}

  steps = tf.data.Dataset.range(start, total)
  return steps.map(batch, num_parallel_calls=num_parallel_calls, deterministic=True)


def _from_offsets(source, numbers, form, order, start, total, num_parallel_calls):
  size = order.batch_size if order.drop_remainder else None
  signature = form.signature(size)
  names = sorted(signature)

  def read(examples):
    batch = form.arrays(source.decode_many(source.read(numbers[examples])))
    return [batch[name] for name in names]

  def batch(step):
    values = tf.numpy_function(read, [order.examples(step)], [signature[n].dtype for n in names])
    for name, value in zip(names, values, strict=True):
      value.set_shape(signature[name].shape)
    return dict(zip(names, values, strict=True))

  steps = tf.data.Dataset.range(start, total)
  return steps.map(batch, num_parallel_calls=num_parallel_calls, deterministic=True)


def _from_stream(source, numbers, form, order, start, total):
  size = order.batch_size if order.drop_remainder else None
  window = int(np.clip(_WINDOW_BYTES // form.stored_bytes, 64, 10_000))

  def batches():
    for epoch in itertools.count(start // order.batches):
      first = epoch * order.batches
      steps = range(max(start, first), min(total, first + order.batches))
      if not steps:
        return
      examples = order.window_order(epoch, window)
      taken = [examples[order.positions(tf.constant(s, tf.int64))[1].numpy()] for s in steps]
      low, high = int(numbers[0]), int(numbers[-1]) + 1
      wanted = np.zeros(high - low, bool)
      wanted[numbers[np.concatenate(taken)] - low] = True
      stream, waiting = source.iterate(low, high, wanted), {}
      for chosen in taken:
        chosen = numbers[chosen]
        for number in chosen:
          while number not in waiting:
            got, decoded = next(stream)
            waiting[got] = form.arrays(decoded)
        taken_now = [waiting.pop(number) for number in chosen]
        batch = {name: np.stack([kept[name] for kept in taken_now]) for name in taken_now[0]}
        yield {**batch, "index": chosen}
      stream.close()

  return tf.data.Dataset.from_generator(batches, output_signature=form.signature(size))
