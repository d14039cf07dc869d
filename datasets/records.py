"""Scenes in TFRecord files: two layouts written, both read, damage named.

*Released* layout: `image` and `mask` hold one string per byte and the file is compressed as a whole
(GZIP), as DeepMind released them. Only the beginning of such a file can be reached quickly.

*Compact* layout: what `datasets.generate` and `datasets.recode` write. The same features, and they
parse to the same names, shapes and dtypes, but

  image, mask          one string each, compressed with zlib (`tf.io.decode_compressed` reads it).
  mask                 where the masks share the image out among the entities, the entity's number
                       at every pixel (uint8 [H, W]); else np.packbits of the stored mask.
  byte factors         one string of L bytes, not compressed.
  image/shape, mask/shape  int64, the shapes after parsing.
  mask/coding          "labels" or "bits".
  dataset              the name of the spec.

and the file as a whole is not compressed. So every record can be reached, read and found damaged
by itself. Both layouts, and any compression, are recognised from the file, not from its name.
"""

import contextlib
import glob
import json
import mmap
import os
import struct
import zlib

import numpy as np

from datasets import scene, wire

RELEASED, COMPACT = "released", "compact"
NO_ENTITY = 255  # label of a pixel that no mask holds
_PIECE = 1 << 14  # compressed bytes fed to zlib at a time
_BLOCK = 1 << 22  # payload bytes whose checksums are taken together


class DataError(ValueError):
  """A data file is missing, damaged, or not what was asked for. One sentence says it all."""


# ------------------------------------------------------------------------------ finding files


def how_to_get(spec, data_dir="data") -> str:
  """A phrase that says where the released file is to be had, and how a substitute is made."""
  ways = []
  if spec.released:
    ways.append(f"download {spec.released} into {data_dir}/")
  if spec.generator:
    number = min(spec.num_train or 1000, 100_000)
    number = number + 640 if number > 1000 else number
    ways.append(
      f"`python -m datasets.generate {spec.generate_args} --num {number} --out {data_dir}`"
    )
  if len(ways) == 1 and spec.generator:
    return f"generate it with {ways[0]}"
  return ", or generate a substitute with ".join(ways) or "see `python -m datasets.from_images -h`"


def find_files(spec, path=None, data_dir="data", image_size=None) -> list[str]:
  """The files of a dataset, sorted.

  Args:
    spec: a DatasetSpec.
    path: a file, a glob pattern or a list of them; None looks for `spec.file` in `data_dir`.
    data_dir: where to look when `path` is None.
    image_size: (H, W); with `path` None, a file generated at this size is taken if it is there.

  Raises:
    DataError: there is no such file; the sentence says where one is to be had.
  """
  if path is None:
    patterns = [os.path.join(data_dir, spec.file)]
    if image_size is not None and tuple(image_size) != spec.image_size[:2]:
      sized = os.path.join(data_dir, sized_name(spec.file, image_size))
      patterns = [sized] if glob.glob(sized) else patterns
    # `recode --shards` writes name-00000-of-00010 for name.
    if not glob.glob(patterns[0]) and glob.glob(patterns[0] + "-*-of-*"):
      patterns = [patterns[0] + "-*-of-*"]
  else:
    patterns = [os.fspath(p) for p in (path if isinstance(path, (list, tuple)) else [path])]
  files = []
  for pattern in patterns:
    found = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))
    found = [f for f in found if not f.endswith((".partial", ".log", ".json"))]
    if not found:
      place = os.path.dirname(pattern).rstrip("/") or "."
      raise DataError(f"{pattern} does not exist: {how_to_get(spec, place)}")
    files.extend(found)
  for file in files:
    if os.path.isdir(file):
      raise DataError(f"{file} is a folder, expected a TFRecord file of {spec.name}")
  return files


def sized_name(file, image_size) -> str:
  """The name of a file generated at another size than usual: tetrominoes_train_14x14.tfrecords."""
  stem, extension = os.path.splitext(file)
  return f"{stem}_{image_size[0]}x{image_size[1]}{extension}"


# ---------------------------------------------------------------------------- reading records


def compression_of(path) -> str:
  """How a file is compressed, from its first bytes: "GZIP", "ZLIB" or "".

  Raises:
    DataError: the file is empty or its first bytes are not those of a TFRecord file.
  """
  with open(path, "rb") as file:
    head = file.read(wire.HEADER)
  if not head:
    raise DataError(f"{path} is empty (0 bytes), expected TFRecords: delete it and get it anew")
  if len(head) == wire.HEADER and wire.header_length(head) >= 0:
    return ""
  if head[:2] == b"\x1f\x8b":
    return "GZIP"
  if head[0] == 0x78 and len(head) > 1 and int.from_bytes(head[:2], "big") % 31 == 0:
    return "ZLIB"
  known = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}
  for magic, name in known.items():
    if head.startswith(magic):
      raise DataError(
        f"{path} is compressed with {name}, wanted GZIP, ZLIB or none: uncompress it first"
      )
  raise DataError(
    f"{path} does not begin with a TFRecord (first bytes {head[:8].hex(' ')}): it is another kind "
    "of file or damaged in record 0; get it anew"
  )


class _Damage(Exception):
  """Why a record could not be read; `fatal` where nothing behind it can be read either."""

  def __init__(self, reason, fatal):
    super().__init__(reason)
    self.fatal = fatal


def _uncompressed(path, compression):
  """The bytes of a file in pieces, as far as they can be had; then _Damage."""
  with open(path, "rb") as file:
    if not compression:
      while piece := file.read(1 << 20):
        yield piece
      return
    window = zlib.MAX_WBITS | 32  # gzip or zlib, by the header
    inflate = zlib.decompressobj(window)
    while piece := file.read(_PIECE):
      while piece:
        if inflate.eof:  # several compressed streams may follow one another
          inflate = zlib.decompressobj(window)
        before = inflate.copy()
        try:
          out = inflate.decompress(piece)
        except zlib.error as error:
          out = bytearray()
          for i in range(len(piece)):  # as many bytes as can be had before the damage
            try:
              out += before.decompress(piece[i : i + 1])
            except zlib.error:
              break
          yield bytes(out)
          raise _Damage(f"the {compression} stream is corrupted ({error})", True) from None
        yield out
        piece = inflate.unused_data
    if not inflate.eof:
      raise _Damage(f"the {compression} stream ends too early: the file is cut off", True)


def _frames(path, compression, start):
  """Yields (payload, stored checksum) of each record from number `start`; then perhaps _Damage."""
  buffer, position, damage = b"", 0, None
  pieces = _uncompressed(path, compression)
  number, wanted = 0, wire.HEADER
  length = None
  while True:
    parts, have = [], len(buffer) - position
    while have < wanted:
      try:
        piece = next(pieces, b"")
      except _Damage as error:
        piece, damage = b"", error
      if not piece:
        if damage is not None:
          raise damage
        if not have and length is None:
          return
        raise _Damage("the file is cut off", True)
      parts.append(piece)
      have += len(piece)
    if parts:
      buffer, position = b"".join([buffer[position:], *parts]), 0
    if length is None:
      length = wire.header_length(buffer[position : position + wire.HEADER])
      if length < 0:
        raise _Damage("the record's length is corrupted", True)
      position += wire.HEADER
      wanted = length + wire.FOOTER
    else:
      if number >= start:
        payload = buffer[position : position + length]
        yield payload, struct.unpack_from("<I", buffer, position + length)[0]
      position += wanted
      number, wanted, length = number + 1, wire.HEADER, None


def _batched(frames):
  """Lists of frames of a few megabytes each, and the _Damage that ends them (or None)."""
  batch, size = [], 0
  try:
    for payload, crc in frames:
      batch.append((payload, crc))
      size += len(payload)
      if size >= _BLOCK:
        yield batch, None
        batch, size = [], 0
  except _Damage as damage:
    yield batch, damage
    return
  yield batch, None


class RecordFile:
  """One TFRecord file.

  Attributes:
    path: where it lies.
    compression: "GZIP", "ZLIB" or "".
    skipped: numbers of the damaged records passed over so far (`on_error="skip"`).
    lost_from: the number of the record from which on nothing could be read, or None.
  """

  def __init__(self, path, on_error="raise"):
    if on_error not in ("raise", "skip"):
      raise ValueError(f'on_error must be "raise" or "skip", got "{on_error}"')
    self.path = os.fspath(path)
    self.on_error = on_error
    self.compression = compression_of(self.path)
    self.skipped, self.lost_from = [], None
    self._offsets = self._map = None

  @property
  def random_access(self) -> bool:
    """Whether a record can be reached without reading those before it."""
    return not self.compression

  def error(self, number, reason) -> DataError:
    return DataError(
      f"{self.path}, record {number}: {reason}; get or generate the file anew, or pass over "
      'damaged records with on_error="skip"'
    )

  def index(self) -> dict | None:
    """The sidecar `<file>.index.json`, where there is one that belongs to this very file."""
    try:
      with open(self.path + ".index.json") as file:
        index = json.load(file)
    except (OSError, ValueError):
      return None
    return index if index.get("size_bytes") == os.path.getsize(self.path) else None

  def write_index(self, **values):
    """Writes the sidecar; a folder that cannot be written to is not an error."""
    values = {"size_bytes": os.path.getsize(self.path), **values}
    with contextlib.suppress(OSError), replacing(self.path + ".index.json") as temporary:  # noqa: SIM117
      with open(temporary, "w") as file:
        json.dump(values, file)

  def __iter__(self):
    return self.iterate()

  def iterate(self, start=0, stop=None):
    """Yields (number, payload bytes), checksums verified, for records start <= number < stop.

    Raises:
      DataError: a record is damaged and `on_error` is "raise".
    """
    number = start
    frames = self._frames_by_offset(start, stop) if self.random_access else None
    frames = frames or _frames(self.path, self.compression, start)
    for batch, damage in _batched(frames):
      if batch:
        crcs = wire.masked_crc([payload for payload, _ in batch])
        for (payload, crc), true_crc in zip(batch, crcs, strict=True):
          if stop is not None and number >= stop:
            return
          if crc == true_crc:
            yield number, payload
          else:
            self._pass_over(number, "its checksum is wrong: the record is corrupted")
          number += 1
      if damage is not None and (stop is None or number < stop):
        self._pass_over(number, str(damage))
        self.lost_from = number

  def _pass_over(self, number, reason):
    if self.on_error == "raise":
      raise self.error(number, reason)
    if number not in self.skipped:
      self.skipped.append(number)

  def _frames_by_offset(self, start, stop):
    offsets = self.offsets()
    for offset, length in offsets[start:stop]:
      yield (
        self._map[offset : offset + length],
        struct.unpack_from("<I", self._map, offset + length)[0],
      )

  def offsets(self) -> np.ndarray:
    """int64 [n, 2], offset and length of every payload of an uncompressed file.

    Raises:
      DataError: a record's length is corrupted or the file is cut off (`on_error` "raise").
    """
    if self._offsets is None:
      with open(self.path, "rb") as file:
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
      size, offset, found, headers = len(self._map), 0, [], []
      reason = None
      while offset < size:
        if offset + wire.HEADER > size:
          reason = "the file is cut off"
          break
        header = self._map[offset : offset + wire.HEADER]
        length = int.from_bytes(header[:8], "little")
        if offset + wire.HEADER + length + wire.FOOTER > size:
          whole = wire.header_length(header) >= 0
          reason = "the file is cut off" if whole else "the record's length is corrupted"
          break
        headers.append(header)
        found.append((offset + wire.HEADER, length))
        offset += wire.HEADER + length + wire.FOOTER
      if headers:
        crcs = wire.masked_crc([h[:8] for h in headers])
        stored = (
          np.frombuffer(b"".join(headers), np.uint8).reshape(-1, 12)[:, 8:].copy().view("<u4")
        )
        wrong = np.flatnonzero(crcs != stored[:, 0])
        if len(wrong):
          found, reason = found[: wrong[0]], "the record's length is corrupted"
      if reason:
        self._pass_over(len(found), reason)
        self.lost_from = len(found)
      self._offsets = np.array(found, np.int64).reshape(-1, 2)
    return self._offsets

  def read(self, numbers) -> list[bytes]:
    """The payloads of chosen records of an uncompressed file, checksums verified.

    Raises:
      DataError: one is damaged, whatever `on_error` says.
    """
    places = self.offsets()[numbers]
    payloads = [self._map[offset : offset + length] for offset, length in places]
    crcs = wire.masked_crc(payloads)
    for number, (offset, length), crc in zip(numbers, places, crcs, strict=True):
      if crc != struct.unpack_from("<I", self._map, offset + length)[0]:
        raise self.error(number, "its checksum is wrong: the record is corrupted")
    return payloads

  def count(self, limit=None, progress=None) -> int:
    """How many records the file holds; a compressed file without an index is read for it.

    Args:
      limit: stop counting here.
      progress: called with a sentence before a file has to be read through.
    """
    if self.random_access:
      return len(self.offsets())
    if index := self.index():
      return index["num_records"]
    large = os.path.getsize(self.path) > 1 << 26
    if progress and large:
      progress(f"counting the records of {self.path}, once: it has no index")
    number = 0
    try:
      for _ in _frames(self.path, self.compression, 0):
        number += 1
        if limit is not None and number >= limit:
          return number
    except _Damage as damage:
      self._pass_over(number, str(damage))
      self.lost_from = number
    else:
      if large:  # it took long enough to be remembered
        self.write_index(num_records=number)
    return number


# ------------------------------------------------------------------------------ record <-> scene


def layout_of(example) -> str:
  """Which layout a decoded example has."""
  return COMPACT if "image/shape" in example else RELEASED


def label_map(mask, layout) -> np.ndarray | None:
  """Which entity holds each pixel, out of a stored mask; None where two hold the same one.

  Args:
    mask: uint8 in the stored layout.
    layout: its axes, such as "HWL1".

  Returns:
    uint8 [H, W] or [T, H, W]; NO_ENTITY where no entity does.
  """
  axis = layout.index("L")
  held = np.squeeze(np.moveaxis(mask, axis, 0), -1) > 0  # [L, (T,) H, W]
  number = held.sum(axis=0, dtype=np.int32)
  if (number > 1).any():
    return None
  return np.where(number == 1, held.argmax(axis=0), NO_ENTITY).astype(np.uint8)


def mask_from_labels(labels, layout, max_entities) -> np.ndarray:
  """The stored mask (uint8, 0 or 255) of a label map: the inverse of `label_map`."""
  entities = np.arange(max_entities, dtype=np.uint8)
  axis = layout.index("L")
  mask = np.expand_dims(labels, axis) == entities.reshape(
    [-1 if name == "L" else 1 for name in layout[:-1]]
  )
  return (mask[..., None] * np.uint8(255)).astype(np.uint8)


def encode(record, spec, layout=COMPACT) -> bytes:
  """One record of stored features as a serialized tf.train.Example.

  Args:
    record: name -> array, without a leading axis: `image` uint8, `mask` uint8 in the stored layout,
      factors, context and visibility, with their stored dtypes.
    spec: gives the names and the mask's layout; sizes are taken from the arrays.
    layout: COMPACT or RELEASED.
  """
  features = {}
  for name, factor in stored_factors(spec).items():
    value = np.asarray(record[name])
    if value.dtype != factor.dtype:
      raise TypeError(f"{spec.name}: expected {name} of {factor.dtype}, got {value.dtype}")
    if value.dtype == np.uint8 and layout == COMPACT:
      features[name] = value.tobytes()
    else:
      features[name] = value
  image, mask = np.asarray(record["image"]), np.asarray(record["mask"])
  if image.dtype != np.uint8 or mask.dtype != np.uint8:
    raise TypeError(f"expected image and mask of uint8, got {image.dtype} and {mask.dtype}")
  if layout == RELEASED:
    if spec.scalar_strings:
      image, mask = image.tobytes(), mask.tobytes()
    features["image"], features["mask"] = image, mask
    return wire.encode_example(features)
  labels = label_map(mask, spec.mask_layout)
  exact = labels is not None and np.isin(mask, (0, 255)).all()
  coded = labels if exact else np.packbits(mask > 0)
  features["image"] = zlib.compress(image.tobytes(), 6)
  features["mask"] = zlib.compress(coded.tobytes(), 6)
  features["image/shape"] = np.array(image.shape, np.int64)
  features["mask/shape"] = np.array(mask.shape, np.int64)
  features["mask/coding"] = b"labels" if exact else b"bits"
  features["dataset"] = spec.name.encode()
  return wire.encode_example(features)


def stored_factors(spec) -> dict:
  """Every stored feature but image and mask: name -> Factor."""
  stored = {**spec.factors, **spec.context}
  if spec.stores_visibility:
    stored["visibility"] = scene.Factor("continuous")
  return stored


def decode(payload, spec, sizes=(), where="record") -> dict:
  """Parses one record of either layout, checking everything it says.

  Args:
    payload: the serialized tf.train.Example.
    spec: what the record should be. `image_size` None accepts any ("images").
    sizes: further (H, W) that are as good as `spec.image_size`.
    where: file and record number, for messages.

  Returns:
    dict of `image` uint8 [(T,) H, W, C], `labels` uint8 [(T,) H, W], `visibility` float32 [L],
    `mask` (uint8, stored layout; only where labels cannot tell it), every factor and context value
    with stored dtype and shape, and `layout`.

  Raises:
    DataError: the record is no example, of another dataset or of another size.
  """
  try:
    example = wire.decode_example(payload)
  except (ValueError, IndexError):
    raise DataError(
      f"{where}: not a tf.train.Example, wanted one of {spec.name}: it is another kind of TFRecord"
    ) from None
  layout = layout_of(example)
  if layout == COMPACT:
    name = (
      example["dataset"].data.tobytes().decode(errors="replace") if "dataset" in example else ""
    )
    if name and name != spec.name:
      raise DataError(
        f'{where}: the file is of dataset "{name}", wanted "{spec.name}": give the path of a '
        f'{spec.name} file, or load it as "{name}"'
      )
  factors = stored_factors(spec)
  missing = sorted({"image", "mask", *factors} - set(example))
  if missing:
    raise DataError(
      f"{where}: no feature {', '.join(missing)}, found {', '.join(sorted(example)) or 'none'}: "
      f"the file is not of {spec.name}{_guess(example, spec)}"
    )
  image_shape, mask_shape = _shapes(example, layout, spec, sizes, where)
  num_entities = mask_shape[spec.mask_layout.index("L")]
  result = {"layout": layout}
  image, mask = example["image"].data, example["mask"].data
  if layout == COMPACT:
    coding = example["mask/coding"].data.tobytes()
    image, mask = _inflate(image, "image", where), _inflate(mask, "mask", where)
    pixels = int(np.prod(mask_shape))
    wanted = pixels // num_entities if coding == b"labels" else -(-pixels // 8)
    _expect("image", len(image), int(np.prod(image_shape)), where)
    _expect("mask", len(mask), wanted, where)
    if coding == b"labels":
      lead = image_shape[:-1]
      result["labels"] = mask.reshape(lead)
    else:
      bits = np.unpackbits(mask, count=pixels).reshape(mask_shape)
      result["mask"] = bits * np.uint8(255)
  else:
    result["mask"] = mask.reshape(mask_shape)
  result["image"] = image.reshape(image_shape)
  if "labels" not in result:
    result["labels"] = _labels_of_overlapping(result["mask"], spec.mask_layout)
  for name, factor in factors.items():
    lead = () if name in spec.context else (num_entities,)
    result[name] = _factor(example[name], name, factor, (*lead, *factor.shape), where)
  if not spec.stores_visibility:
    visible = np.isin(np.arange(num_entities), result["labels"])
    visible[: spec.num_background] = True
    result["visibility"] = visible.astype(np.float32)
  return result


def _labels_of_overlapping(mask, layout):
  """As label_map, but the first entity has a pixel that several hold."""
  held = np.squeeze(np.moveaxis(mask, layout.index("L"), 0), -1)  # [L, (T,) H, W]
  return np.where(held.any(axis=0), held.argmax(axis=0), NO_ENTITY).astype(np.uint8)


def _shapes(example, layout, spec, sizes, where):
  """The shapes of image and mask, checked against the spec."""
  accepted = [] if spec.image_size is None else [spec.image_size[:2], *map(tuple, sizes)]
  if spec.crop and accepted:
    top, bottom, left, right = spec.crop
    accepted.append((bottom - top, right - left))
  if spec.training_size:
    accepted.append(spec.training_size)
  frames = () if spec.num_frames is None else (spec.num_frames,)
  if layout == COMPACT:
    image_shape = tuple(int(n) for n in example["image/shape"])
    mask_shape = tuple(int(n) for n in example["mask/shape"])
    if spec.image_size is None:
      return image_shape, mask_shape
    channels = spec.image_size[2]
    good = [(*frames, *size, channels) for size in accepted]
    if image_shape not in good:
      size = image_shape[-3:-1]
      hint = (
        f"pass image_size=({size[0]}, {size[1]}) if that is meant"
        if (*frames, *size, channels) == image_shape
        else "give the path of another file"
      )
      raise DataError(
        f"{where}: image is {by(image_shape)}, wanted {by(good[0])} for {spec.name}: {hint}"
      )
    entities = mask_shape[spec.mask_layout.index("L")]
    if entities != spec.max_entities:
      raise DataError(
        f"{where}: the mask has {entities} entities, wanted {spec.max_entities} for {spec.name}: "
        "give the path of another file, or a spec with that max_entities"
      )
    return image_shape, mask_shape
  if spec.image_size is None:
    raise DataError(
      f"{where}: the released layout does not tell the image's size, as {spec.name} needs: use a "
      "compact file"
    )
  if spec.scalar_strings:
    found, found_mask = len(example["image"].data), len(example["mask"].data)
  else:
    found, found_mask = example["image"].count, example["mask"].count
  channels = spec.image_size[2]
  for size in accepted:
    image_shape = (*frames, *size, channels)
    mask_shape = scene.mask_shape(
      spec.mask_layout, (*size, channels), spec.max_entities, spec.num_frames
    )
    if (found, found_mask) == (int(np.prod(image_shape)), int(np.prod(mask_shape))):
      return image_shape, mask_shape
  for name, value, shape in (
    ("image", found, spec.image_shape),
    ("mask", found_mask, spec.mask_shape),
  ):
    if value != int(np.prod(shape)):
      raise DataError(
        f"{where}: {name} has {value:,} values, wanted {by(shape)} = {int(np.prod(shape)):,} for "
        f"{spec.name}{_guess(example, spec)}: give the path of another file, or the image_size it "
        "was made with"
      )
  raise AssertionError("unreachable: the stored size is always accepted")


def _guess(example, spec):
  """'; it looks like multi_dsprites' where one other spec fits a released record, else ''."""
  sizes = {name: getattr(example.get(name), "count", 0) for name in ("image", "mask")}
  for other in scene.SPECS.values():
    if other.image_size is None:
      continue
    shapes = {"image": other.image_shape, "mask": other.mask_shape}
    if other.name != spec.name and all(sizes[n] == int(np.prod(shapes[n])) for n in shapes):
      return f"; it looks like {other.name}"
  return ""


def by(shape):
  return " x ".join(str(n) for n in shape)


def _expect(name, value, wanted, where):
  if value != wanted:
    raise DataError(f"{where}: {name} has {value:,} bytes, wanted {wanted:,}: it is damaged")


def _inflate(data, name, where):
  try:
    return np.frombuffer(zlib.decompress(data), np.uint8)
  except zlib.error as error:
    raise DataError(f"{where}: {name} does not decompress ({error}): it is damaged") from None


def _factor(value, name, factor, shape, where):
  if isinstance(value, wire.Strings):
    dtype, value = "uint8", value.data
  else:
    dtype = "float32" if value.dtype == np.float32 else "int64"
  if dtype != factor.dtype:
    raise DataError(f"{where}: {name} is {dtype}, wanted {factor.dtype}")
  if value.size != int(np.prod(shape)):
    raise DataError(
      f"{where}: {name} has {value.size} values, wanted {by(shape)} = {int(np.prod(shape))}"
    )
  return value.reshape(shape)


def stored_features(decoded, spec) -> dict:
  """What `encode` takes, out of what `decode` gives: image, full mask and every stored factor."""
  record = {name: decoded[name] for name in stored_factors(spec)}
  record["image"] = decoded["image"]
  if "mask" in decoded:
    record["mask"] = decoded["mask"]
  else:
    entities = len(decoded["visibility"])
    record["mask"] = mask_from_labels(decoded["labels"], spec.mask_layout, entities)
  return record


# ----------------------------------------------------------------------------------- writing


@contextlib.contextmanager
def replacing(path):
  """Gives a temporary name beside `path`; renames it to `path` if the body ends well.

  Whatever goes wrong in the body, nothing is left under either name.
  """
  temporary = f"{path}.partial"
  try:
    yield temporary
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.remove(temporary)
    raise


def write_records(path, records, spec, layout=COMPACT) -> int:
  """Writes stored features as one TFRecord file, atomically; the released layout is gzipped.

  Args:
    path: the file's name.
    records: iterable of dicts as `encode` takes them.
    spec: the dataset.
    layout: COMPACT or RELEASED.

  Returns:
    The number of records written.
  """
  number, block = 0, []
  with replacing(path) as temporary, open(temporary, "wb") as file:
    for record in records:
      block.append(encode(record, spec, layout))
      number += 1
      if len(block) == 256 or sum(map(len, block[-1:])) > 1 << 20:
        file.write(seal(block, layout))
        block = []
    if block:
      file.write(seal(block, layout))
  return number


def seal(payloads, layout) -> bytes:
  """Framed records; in the released layout as one gzip member, which may be concatenated."""
  framed = b"".join(wire.frame(payloads))
  if layout == COMPACT:
    return framed
  deflate = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)  # no name, no time
  return deflate.compress(framed) + deflate.flush()
