"""The records of a data set, out of one file or several: numbered through, read and decoded."""

import bisect
import dataclasses
import functools
import logging
import zlib

import numpy as np
import tensorflow as tf

from datasets import files
from datasets.errors import DataError, by
from datasets.files import origins
from datasets.files.example import match_templates
from datasets.scene import mask_shape
from datasets.specs import get_spec

_log = logging.getLogger("datasets")


class Source:
  """The records of one or several files of a dataset, numbered through.

  Attributes:
    spec: the DatasetSpec, sizes filled in from the file where the spec leaves them open.
    image_shape: of the stored images, [(T,) H, W, C].
    layout: "compact" or "released".
  """

  def __init__(self, spec, path=None, *, data_dir="data", image_size=None, on_error: str = "raise"):
    spec = get_spec(spec) if isinstance(spec, str) else spec
    paths = files.find_files(spec, path, data_dir, image_size)
    self.files = [files.RecordFile(p, on_error) for p in paths]
    self.on_error = on_error
    self.sizes = () if image_size is None else (tuple(image_size),)
    self.spec, self._starts = spec, None
    self._trusted = set()  # templates whose records are as the spec says
    for file in self.files:
      number, payload = next(file.iterate(), (None, None))
      if payload is None:
        raise DataError(f"{file.path} holds no readable record: get or generate it anew")
      decoded = self._decode_strict(payload, file, number)
      shape = decoded["image"].shape
      if file is self.files[0]:
        self.image_shape, self.layout = shape, decoded["layout"]
        if spec.image_size is None:
          entities = len(decoded["visibility"])
          self.spec = dataclasses.replace(spec, image_size=shape[-3:], max_entities=entities)
      elif shape != self.image_shape:
        raise DataError(
          f"{file.path}: image is {by(shape)}, but {by(self.image_shape)} in "
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

  def fingerprint(self) -> str:
    """By which the first scene is known again, wherever the file lies and however it is packed."""
    first = self._pieces_of(self.files[0])[0]
    return first.fingerprint + (f"+{first.first}" if first.first else "")

  def pieces(self, start: int, stop: int) -> list[origins.Piece]:
    """Where the records start <= number < stop come from; `count` must have been called."""
    found = []
    for file, first, end in zip(self.files, self._starts, self._starts[1:], strict=False):
      if first < stop and start < end:
        whole = self._pieces_of(file)
        origins.add(found, origins.cut(whole, max(start - first, 0), min(stop, end) - first))
    return found

  def _pieces_of(self, file):
    return origins.pieces_of(file.index() or {}, lambda: self._first_image(file))

  def _first_image(self, file):
    for number, payload in file:  # no further than needed: a whole file may take hours
      scene = self._decode(file, number, payload)
      if scene is not None:
        return scene["image"]
    raise DataError(f"{file.path} holds no readable record: get or generate it anew")

  def _file(self, number):
    i = bisect.bisect_right(self._starts, number) - 1
    return self.files[i], number - self._starts[i]

  def _decode_strict(self, payload, file, number):
    where = f"{file.path}, record {number}"
    return files.decode(payload, self.spec, self.sizes, where)

  def blocks(self, start: int, stop: int, wanted=None):
    """Yields lists of items (number, file, number in the file, payload), start <= number < stop.

    Args:
      start, stop: as of `range`; `count` must have been called.
      wanted: bool [stop - start], which records to give; None: all.
    """
    for file, first, end in zip(self.files, self._starts, self._starts[1:], strict=False):
      if end <= start or first >= stop:
        continue
      for block in file.blocks(max(start - first, 0), min(stop, end) - first):
        items = [
          (first + local, file, local, payload)
          for local, payload in block
          if wanted is None or wanted[first + local - start]
        ]
        if items:
          yield items

  def _decode(self, file, local, payload):
    try:
      decoded = self._decode_strict(payload, file, local)
      met, first = decoded["image"].shape, self.image_shape
      if met != first:
        raise DataError(
          f"{file.path}, record {local}: image is {by(met)}, the first is {by(first)}"
        )
      return decoded
    except DataError:
      if self.on_error == "raise":
        raise
      file.skip(local)
      return None

  def read(self, numbers):
    """The items, as of `blocks`, of chosen records of uncompressed files."""
    places = [self._file(int(number)) for number in numbers]
    found = [None] * len(places)
    for file in {id(f): f for f, _ in places}.values():
      mine = [i for i, (f, _) in enumerate(places) if f is file]
      for i, payload in zip(mine, file.read([places[i][1] for i in mine]), strict=True):
        found[i] = (int(numbers[i]), *places[i], payload)
    return found

  def decode(self, items, crop=None) -> dict:
    """Decodes items, as of `blocks`, into arrays with a leading axis.

    Args:
      items: as of `blocks`.
      crop: (top, bottom, left, right) of the pixels to keep; None: all.

    Returns:
      As `files.decode`, every array [n, ...], without "mask" and "layout", and `index` int64 [n].
    """
    many = self._decode_compact if self.layout == files.COMPACT else self._decode_released
    result = many([payload for *_, payload in items], crop) if items else None
    if result is not None:
      return {**result, "index": np.array([number for number, *_ in items], np.int64)}
    # Something is amiss or unusual: record by record, with precise messages.
    decoded = [(number, self._decode(*item)) for number, *item in items]
    decoded = [(number, d) for number, d in decoded if d is not None]
    names = ("image", "labels", "visibility", *files.stored_factors(self.spec))
    result = {name: np.array([d[name] for _, d in decoded]) for name in names}
    if decoded:
      result["image"] = _cut(result["image"], crop, -3)
      result["labels"] = _cut(result["labels"], crop, -2)
    return {**result, "index": np.array([number for number, _ in decoded], np.int64)}

  def _mask_shape(self):
    frames = self.image_shape[0] if len(self.image_shape) == 4 else None
    size = self.image_shape[-3:-1]
    return mask_shape(self.spec.mask_layout, size, self.spec.max_entities, frames)

  @functools.cached_property
  def _factor_shapes(self):
    """name -> (stored dtype, stored shape)."""
    spec = self.spec
    return {
      name: (
        factor.dtype,
        (*(() if name in spec.context else (spec.max_entities,)), *factor.shape),
      )
      for name, factor in files.stored_factors(spec).items()
    }

  def _decode_released(self, payloads, crop):
    """Records that are laid out alike, by NumPy and without a parser; None if one is not."""
    number, result, left = len(payloads), {}, len(payloads)
    for places, template, values in match_templates(payloads):
      if template not in self._trusted:
        try:
          example = files.decode(payloads[places[0]], self.spec, self.sizes)
        except DataError:
          return None
        if example["layout"] != files.RELEASED or example["image"].shape != self.image_shape:
          return None
        self._trusted.add(template)
      arrays = self._arrays(values, len(places), crop)
      if len(places) == number:
        return arrays
      for name, value in arrays.items():
        whole = result.setdefault(name, np.empty((number, *value.shape[1:]), value.dtype))
        whole[places] = value
      left -= len(places)
    return None if left else result

  def _arrays(self, values, number, crop):
    image = values["image"][1].reshape(number, *self.image_shape)
    mask = values["mask"][1].reshape(number, *self._mask_shape())
    axis = self.spec.mask_layout.index("L")
    mask = np.moveaxis(mask, 1 + axis, 1)  # [n, L, (T,) H, W, 1]
    labels = files.first_holder(_cut(mask, crop, -3), 1)
    result = {"image": np.ascontiguousarray(_cut(image, crop, -3)), "labels": labels}
    for name, (_, shape) in self._factor_shapes.items():
      result[name] = values[name][1].reshape(number, *shape)
    whole = labels if crop is None or self.spec.stores_visibility else files.first_holder(mask, 1)
    return self._with_visibility(result, whole)

  def _with_visibility(self, result, labels):
    """The result with what the masks of whole images tell, where it is not stored."""
    spec = self.spec
    if not spec.stores_visibility:
      seen = [files.seen_in(each, spec.max_entities, spec.num_background) for each in labels]
      result["visibility"] = np.array(seen)
    return result

  @functools.cached_property
  def _compact_features(self):
    """What compact records hold: name -> (dtype, shape, the value that all must have or None)."""
    spec = self.spec
    features = {
      "image": (tf.string, (), None),
      "mask": (tf.string, (), None),
      "mask/coding": (tf.string, (), b"labels"),
      "dataset": (tf.string, (), spec.stored_name.encode()),
      "image/shape": (tf.int64, (len(self.image_shape),), self.image_shape),
      "mask/shape": (tf.int64, (len(spec.mask_layout),), self._mask_shape()),
    }
    for name, (dtype, shape) in self._factor_shapes.items():
      features[name] = (tf.string, (), None) if dtype == "uint8" else (tf.float32, shape, None)
    return features

  @functools.cached_property
  def _parse_compact(self):
    return _parser(self._compact_features)

  def _decode_compact(self, payloads, crop):
    """TensorFlow's own parser on many compact records at once; None if anything is unusual."""
    features, number = self._compact_features, len(payloads)
    try:
      parsed = dict(zip(features, self._parse_compact(payloads), strict=True))
      for name, (_, _, value) in features.items():
        if value is not None and not (parsed[name] == value).all():
          return None
      image = _inflate(parsed["image"], (number, *self.image_shape))
      labels = _inflate(parsed["mask"], (number, *self.image_shape[:-1]))
      result = {"image": _cut(image, crop, -3), "labels": _cut(labels, crop, -2)}
      for name, (dtype, shape) in self._factor_shapes.items():
        value = parsed[name]
        if dtype == "uint8":
          value = np.frombuffer(b"".join(value), np.uint8)
        result[name] = value.reshape(number, *shape)
    except (tf.errors.OpError, ValueError, zlib.error):
      return None
    return self._with_visibility(result, labels)

  def num_objects(self, start: int, stop: int) -> np.ndarray | None:
    """Visible foreground entities, int [stop - start], where the files' indices tell; else None."""
    found = []
    for file in self.files:
      index = file.index()
      if not index or "num_objects" not in index:
        return None
      found.extend(index["num_objects"])
    return np.array(found[start:stop])


def _cut(pixels, crop, axis):
  """The window (top, bottom, left, right) of arrays whose rows are along `axis`, from the end."""
  if crop is None:
    return pixels
  top, bottom, left, right = crop
  rest = (slice(None),) * (-axis - 2)
  return pixels[(..., slice(top, bottom), slice(left, right), *rest)]


def _parser(wanted):
  """A function of a list of serialized examples that gives one array a feature, in order.

  It is the operation of `tf.io.parse_example` with its arguments made once: making them anew takes
  longer than parsing a batch.
  """
  nothing = tf.constant([], tf.string)
  arguments = {
    "names": nothing,
    "sparse_keys": nothing,
    "ragged_keys": nothing,
    "dense_keys": tf.constant(list(wanted)),
    # Empty defaults: a feature that is missing is an error.
    "dense_defaults": [tf.constant([], dtype) for dtype, _, _ in wanted.values()],
    "dense_shapes": [shape for _, shape, _ in wanted.values()],
    "num_sparse": 0,
    "sparse_types": [],
    "ragged_value_types": [],
    "ragged_split_types": [],
  }

  def parse(payloads):
    with tf.device("CPU"):
      serialized = tf.constant(payloads, tf.string)
      parsed = tf.raw_ops.ParseExampleV2(serialized=serialized, **arguments)
    return [value.numpy() for value in parsed.dense_values]

  return parse


def _inflate(strings, shape):
  """zlib streams of equally many bytes each -> uint8 `shape`.

  `tf.io.decode_compressed` does it too, but with half a megabyte of buffers for each string.
  """
  size = int(np.prod(shape[1:]))
  parts = [zlib.decompress(string, bufsize=size) for string in strings]
  if any(len(part) != size for part in parts):
    raise ValueError("of another size")
  return np.frombuffer(b"".join(parts), np.uint8).reshape(shape)
