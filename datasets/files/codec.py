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
  dataset              the name of the spec (`DatasetSpec.stored_name`).

and the file as a whole is not compressed. So every record can be reached, read and found damaged
by itself. Both layouts, and any compression, are recognised from the file, not from its name.
"""

import contextlib
import hashlib
import zlib

import numpy as np

from datasets.errors import DataError, by
from datasets.files.agreement import guess, shapes
from datasets.files.example import Strings, decode_example, encode_example
from datasets.scene import Factor

RELEASED, COMPACT = "released", "compact"
NO_ENTITY = 255  # label of a pixel that no mask holds


def layout_of(example: dict) -> str:
  """Which layout a decoded example has."""
  return COMPACT if "image/shape" in example else RELEASED


def fingerprint(image: np.ndarray) -> str:
  """16 hexadecimal digits by which a file is known again: of its first scene, as stored."""
  return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def label_map(mask, layout: str) -> np.ndarray | None:
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


def mask_from_labels(labels, layout: str, max_entities: int) -> np.ndarray:
  """The stored mask (uint8, 0 or 255) of a label map: the inverse of `label_map`."""
  entities = np.arange(max_entities, dtype=np.uint8)
  axis = layout.index("L")
  mask = np.expand_dims(labels, axis) == entities.reshape(
    [-1 if name == "L" else 1 for name in layout[:-1]]
  )
  return (mask[..., None] * np.uint8(255)).astype(np.uint8)


def encode(record, spec, layout: str = COMPACT) -> bytes:
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
    return encode_example(features)
  labels = label_map(mask, spec.mask_layout)
  exact = labels is not None and np.isin(mask, (0, 255)).all()
  coded = labels if exact else np.packbits(mask > 0)
  features["image"] = zlib.compress(image.tobytes(), 6)
  features["mask"] = zlib.compress(coded.tobytes(), 6)
  features["image/shape"] = np.array(image.shape, np.int64)
  features["mask/shape"] = np.array(mask.shape, np.int64)
  features["mask/coding"] = b"labels" if exact else b"bits"
  features["dataset"] = spec.stored_name.encode()
  return encode_example(features)


def stored_factors(spec) -> dict:
  """Every stored feature but image and mask: name -> Factor."""
  stored = {**spec.factors, **spec.context}
  if spec.stores_visibility:
    stored["visibility"] = Factor("continuous")
  return stored


def stored_sizes(payload: bytes) -> tuple[tuple[int, int], ...]:
  """((H, W),) of a compact record, which may have been made at any size; () where none is said."""
  with contextlib.suppress(ValueError, IndexError, KeyError):
    return (tuple(int(n) for n in decode_example(payload)["image/shape"][-3:-1]),)
  return ()


def decode(payload: bytes, spec, sizes=(), where: str = "record") -> dict:
  """Parses one record of either layout, checking everything it says.

  Args:
    payload: the serialized tf.train.Example.
    spec: what the record should be. `image_size` None accepts any ("images").
    sizes: further (H, W) that are as good as `spec.image_size`.
    where: file and record number, for messages.

  Returns:
    dict of `image` uint8 [(T,) H, W, C], `labels` uint8 [(T,) H, W], `visibility` float32 [L],
    `mask` (uint8, stored layout; of a compact record only where labels cannot tell it), every
    factor and context value with stored dtype and shape, and `layout`.

  Raises:
    DataError: the record is no example, of another dataset or of another size.
  """
  try:
    example = decode_example(payload)
  except (ValueError, IndexError):
    raise DataError(
      f"{where}: not a tf.train.Example, wanted one of {spec.name}: it is another kind of TFRecord"
    ) from None
  layout = layout_of(example)
  if layout == COMPACT:
    name = (
      example["dataset"].data.tobytes().decode(errors="replace") if "dataset" in example else ""
    )
    if name and name != spec.stored_name:
      raise DataError(
        f'{where}: the file is of dataset "{name}", wanted "{spec.stored_name}": give the path of '
        f'a {spec.stored_name} file, or load it as "{name}"'
      )
  factors = stored_factors(spec)
  missing = sorted({"image", "mask", *factors} - set(example))
  if missing:
    raise DataError(
      f"{where}: no feature {', '.join(missing)}, found {', '.join(sorted(example)) or 'none'}: "
      f"the file is not of {spec.name}{guess(example, spec)}"
    )
  image_shape, mask_shape = shapes(example, layout == COMPACT, spec, sizes, where)
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
    result["labels"] = first_holder(result["mask"], spec.mask_layout.index("L"))
  for name, factor in factors.items():
    lead = () if name in spec.context else (num_entities,)
    result[name] = _factor(example[name], name, factor, (*lead, *factor.shape), where)
  if not spec.stores_visibility:
    result["visibility"] = seen_in(result["labels"], num_entities, spec.num_background)
  return result


def seen_in(labels: np.ndarray, num_entities: int, num_background: int) -> np.ndarray:
  """The visibility that labels tell, where none is stored: float32 [L]; the background has it."""
  visible = np.isin(np.arange(num_entities), labels)
  visible[:num_background] = True
  return visible.astype(np.float32)


def first_holder(mask, axis: int) -> np.ndarray:
  """The first entity that holds each pixel, uint8; NO_ENTITY where none does.

  Args:
    mask: [..., 1], not 0 where the entity is, entities along `axis`.
    axis: counted from the front.
  """
  held = np.moveaxis(mask, axis, 0)[..., 0]  # [L, ...]
  labels = np.full(held.shape[1:], NO_ENTITY, np.uint8)
  for entity in reversed(range(len(held))):  # one pass each: no array of the mask's size is made
    np.copyto(labels, np.uint8(entity), where=held[entity] != 0)
  return labels


def _expect(name, value, wanted, where):
  if value != wanted:
    raise DataError(f"{where}: {name} has {value:,} bytes, wanted {wanted:,}: it is damaged")


def _inflate(data, name, where):
  try:
    return np.frombuffer(zlib.decompress(data), np.uint8)
  except zlib.error as error:
    raise DataError(f"{where}: {name} does not decompress ({error}): it is damaged") from None


def _factor(value, name, factor, shape, where):
  if isinstance(value, Strings):
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
