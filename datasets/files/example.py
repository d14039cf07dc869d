"""tf.train.Example by the protobuf runtime alone, so that generator processes need no TensorFlow.

The released files hold one string per pixel byte. A parser makes an object of each, a million for
one CLEVR record; therefore records that are laid out as one before them are not parsed: see
`Template`.
"""

import functools
from typing import NamedTuple

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_MANY = 64  # a list of so many one-byte strings is worth a template
_MAX_TEMPLATES = 64  # of one length: the order of the features in a record is the writer's hash's
_BYTES = [bytes([n]) for n in range(256)]


class Strings(NamedTuple):
  """A bytes_list: how many strings, and their bytes one after the other (uint8 [n])."""

  count: int
  data: np.ndarray


@functools.cache
def _messages():
  """Classes of Example, Features, and Example with serialized Features, in a pool of their own."""
  file = descriptor_pb2.FileDescriptorProto(
    name="datasets/example.proto", package="tensorflow", syntax="proto3"
  )
  field = descriptor_pb2.FieldDescriptorProto

  def message(parent, name, *fields):
    made = (parent.message_type if parent is file else parent.nested_type).add(name=name)
    for number, (name, kind, label, *options) in enumerate(fields, start=1):
      added = made.field.add(name=name, number=number, label=label)
      if isinstance(kind, str):
        added.type, added.type_name = field.TYPE_MESSAGE, f".tensorflow.{kind}"
      else:
        added.type = kind
      if options == ["oneof"]:
        added.oneof_index = 0
    return made

  one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
  message(file, "BytesList", ("value", field.TYPE_BYTES, many))
  message(file, "FloatList", ("value", field.TYPE_FLOAT, many))
  message(file, "Int64List", ("value", field.TYPE_INT64, many))
  feature = message(
    file,
    "Feature",
    ("bytes_list", "BytesList", one, "oneof"),
    ("float_list", "FloatList", one, "oneof"),
    ("int64_list", "Int64List", one, "oneof"),
  )
  feature.oneof_decl.add(name="kind")
  features = message(file, "Features", ("feature", "Features.FeatureEntry", many))
  entry = message(
    features, "FeatureEntry", ("key", field.TYPE_STRING, one), ("value", "Feature", one)
  )
  entry.options.map_entry = True
  message(file, "Example", ("features", "Features", one))
  message(file, "Serialized", ("features", field.TYPE_BYTES, one))  # the same on the wire
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  names = ("Example", "Features", "Serialized")
  found = (pool.FindMessageTypeByName(f"tensorflow.{name}") for name in names)
  return tuple(map(message_factory.GetMessageClass, found))


def encode_example(features: dict) -> bytes:
  """Serializes a tf.train.Example, features in alphabetical order.

  Args:
    features: name -> bytes (one string), or an array: float32, int64, or uint8, which becomes one
      string per byte, as in the released files.
  """
  _, one_map, whole = _messages()
  # Concatenated messages are one message. The order of a map's entries is the runtime's own, even
  # where it calls it deterministic, and files must not depend on it.
  parts = []
  for name in sorted(features):
    message = one_map()
    _fill(message.feature[name], features[name])
    parts.append(message.SerializeToString())
  return whole(features=b"".join(parts)).SerializeToString()


def _fill(feature, value):
  if isinstance(value, bytes):
    feature.bytes_list.value.append(value)
    return
  value = np.asarray(value)
  if value.dtype == np.uint8:
    feature.bytes_list.value.extend(map(_BYTES.__getitem__, value.tobytes()))
  elif value.dtype == np.float32:
    feature.float_list.value.extend(value.ravel().tolist())
  elif value.dtype == np.int64:
    feature.int64_list.value.extend(value.ravel().tolist())
  else:
    raise TypeError(f"expected bytes, float32, int64 or uint8, got {value.dtype}")
  if not value.size:  # an empty list is a list, too
    lists = {"uint8": "bytes_list", "float32": "float_list", "int64": "int64_list"}
    getattr(feature, lists[value.dtype.name]).SetInParent()


def _parse(payload):
  try:
    return _messages()[0].FromString(payload)
  except DecodeError:
    raise ValueError("not a tf.train.Example") from None


def _values(message):
  result = {}
  for name, feature in message.features.feature.items():
    kind = feature.WhichOneof("kind")
    if kind == "bytes_list":
      strings = list(feature.bytes_list.value)
      result[name] = Strings(len(strings), np.frombuffer(b"".join(strings), np.uint8))
    elif kind is not None:
      dtype = np.float32 if kind == "float_list" else np.int64
      result[name] = np.array(getattr(feature, kind).value, dtype)
  return result


def decode_example(payload: bytes) -> dict:
  """Takes a serialized tf.train.Example apart.

  Returns:
    name -> Strings, float32 [n] or int64 [n].

  Raises:
    ValueError: the bytes are not a tf.train.Example.
  """
  for _, _, values in match_templates([payload]):
    return {
      name: Strings(value.shape[1], value[0]) if one_byte else value[0]
      for name, (one_byte, value) in values.items()
    }
  return _values(_parse(payload))


# --------------------------------------------------------------------------------- many at once


class Template:
  """Where the values lie in records that are laid out alike.

  Records of one data set differ in nothing but values: lists of one-byte strings, whose encoding
  repeats every three bytes, and packed floats. Where the parser found them in one record, NumPy
  finds them in all that agree with it in every other byte.

  Attributes:
    size: of a payload in bytes.
  """

  def __init__(self, payload, places):
    self.size, self._places = len(payload), places
    fixed = np.ones(self.size, bool)
    for _, start, stop in places.values():
      fixed[start:stop] = False
    self._fixed = np.flatnonzero(fixed)
    self._expected = np.frombuffer(payload, np.uint8)[self._fixed]

  @classmethod
  def of(cls, payload: bytes) -> "Template | None":
    """The template of a payload; None where it is not worth it, or has other things in it."""
    example = _parse(payload)
    places, covered, worth = {}, 0, False
    for name, feature in example.features.feature.items():
      alone = _messages()[1]()
      alone.feature[name].CopyFrom(feature)
      entry = alone.SerializeToString()
      start = payload.find(entry)
      kind = feature.WhichOneof("kind")
      if start < 0 or kind not in ("bytes_list", "float_list"):
        return None
      stop, values = start + len(entry), getattr(feature, kind).value
      covered += len(entry)
      if kind == "float_list":
        places[name] = (False, stop - 4 * len(values), stop)
      elif set(map(len, values)) == {1}:
        places[name] = (True, stop - 3 * len(values), stop)
        worth |= len(values) >= _MANY
      else:
        return None
    header = len(payload) - covered  # the tag and the length of `features`
    return cls(payload, places) if worth and 0 < header <= 11 else None

  def match(self, rows: np.ndarray) -> np.ndarray:
    """Which payloads are laid out so: uint8 [n, size] -> bool [n]."""
    good = (rows[:, self._fixed] == self._expected).all(axis=1)
    for one_byte, start, stop in self._places.values():
      if one_byte:
        triples = rows[:, start:stop].reshape(len(rows), -1, 3)
        good &= (triples[..., 0] == 0x0A).all(axis=1) & (triples[..., 1] == 1).all(axis=1)
    return good

  def values(self, rows: np.ndarray) -> dict:
    """name -> (whether they are one-byte strings, uint8 or float32 [n, values])."""
    result = {}
    for name, (one_byte, start, stop) in self._places.items():
      part = rows[:, start:stop]
      if one_byte:
        result[name] = True, part.reshape(len(rows), -1, 3)[..., 2]
      else:
        result[name] = False, np.ascontiguousarray(part).view("<f4")
    return result


_TEMPLATES: dict[int, list[Template | None]] = {}  # by length of the payload


def match_templates(payloads):
  """Yields (numbers, template, values) for groups of payloads that need no parser.

  Args:
    payloads: list of bytes.

  Yields:
    Their positions in `payloads` (int [m]), the template, and what `Template.values` says. Payloads
    in no group are for `decode_example`.
  """
  sizes = np.array([len(payload) for payload in payloads])
  for size in np.unique(sizes).tolist():
    left = np.flatnonzero(sizes == size)
    known = _TEMPLATES.setdefault(size, []) if size >= 3 * _MANY else [None]
    if None in known:
      continue
    rows = np.frombuffer(b"".join([payloads[i] for i in left]), np.uint8).reshape(-1, size)
    tried = 0
    while len(left):
      if tried == len(known):
        if len(known) == _MAX_TEMPLATES:
          break
        try:
          made = Template.of(rows[0].tobytes())
        except ValueError:  # its own turn will tell
          made = None
        if made is None and known:  # the odd one out
          left, rows = left[1:], rows[1:]
          continue
        known.append(made)
        if made is None:
          break
      template = known[tried]
      good = template.match(rows)
      if good.all():
        yield left, template, template.values(rows)
        left = left[:0]
      elif good.any():
        yield left[good], template, template.values(rows[good])
        left, rows = left[~good], rows[~good]
      tried += 1
