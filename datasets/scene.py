"""The Scene contract and one DatasetSpec for each dataset.

A *scene* is what every dataset turns into, a dict of tensors (L entities, background first):

  image       float32 [H, W, C] in [0, 1]; [T, H, W, C] for video.
  mask        float32 one-hot over L, [L, H, W, 1]; [T, L, H, W, 1] for video. Not there for
              pictures of one's own that came without masks.
  visibility  float32 [L], 1 where the entity exists; background entities count as visible.
  factors     dict of [L, ...], as `DatasetSpec.factors` says: int32 where categorical (0 is
              background and padding), else float32.
  index       int64 [], the number of the record in its file(s): the identity of the example.

A *spec* describes one dataset as it lies on disk. What we generate parses to the same names,
shapes and dtypes as the released files, so that either can stand in for the other.

A *generator* is a module (named by `DatasetSpec.generator`) with

  CHUNK_SIZE       how many records one chunk holds (500 for drawings, 10 for renderings).
  generate_chunk(seed: int, chunk: int, *, name=default, ...) -> dict[str, np.ndarray]

which returns CHUNK_SIZE records of *stored* features: `image` uint8 [N, H, W, C] ([N, T, H, W, C]
for video), `mask` uint8 0 or 255 in the stored layout, every factor and `visibility` with its
stored dtype. The records of a chunk are a pure function of (seed, chunk, parameters), through
`np.random.default_rng((seed, chunk))` or children of it, never of a chunk before. Therefore an
interrupted file can be gone on with, and any number of workers writes the same bytes. Every
keyword-only parameter needs a default of the right type: it becomes an option of the command line
(`block_size=5` is `--block-size 5`). A generator must not import TensorFlow: its worker processes
stay small. `PARAMETER_HELP` may map parameter names to help texts.
"""

import dataclasses
import difflib
from collections.abc import Mapping

BUCKET = "gs://multi-object-datasets"


@dataclasses.dataclass(frozen=True)
class Factor:
  """One generative factor of every entity, as stored.

  Attributes:
    kind: "continuous", "categorical" or "angle".
    shape: the shape of one entity's value: () for a stored [L], (3,) for a stored [L, 3].
    dtype: the stored dtype, "float32" or "uint8" (a byte string each in the released files).
    num_categories: for "categorical", how many codes there are, with code 0 (background, padding).
    period: for "angle", the full turn in the stored unit (360.0, or 2 pi).
    unit: what the numbers mean, for people.
  """

  kind: str
  shape: tuple[int, ...] = ()
  dtype: str = "float32"
  num_categories: int | None = None
  period: float | None = None
  unit: str = ""


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
  """How one dataset lies on disk and how it is usually trained on.

  Attributes:
    name: the name it is found by.
    file: file name or glob pattern, relative to the data directory.
    released: address of the released file(s); None where nothing was released.
    compression: of the released file: "GZIP", "ZLIB" or "". Readers look at the file itself.
    image_size: stored (H, W, C); None where the file says it (images of one's own).
    max_entities: L, background included; None where the file says it.
    num_background: how many of the first entities are background.
    mask_layout: stored order of the mask's axes: "LHW1", "HWL1" or "TLHW1".
    factors: name -> Factor, stored with a leading [L].
    context: name -> Factor, stored once per scene, without [L] (the camera of a video).
    stores_visibility: whether `visibility` is a stored feature; else it is read off the masks.
    num_frames: T for video, None for images.
    crop: (top, bottom, left, right), half open, cut out of a stored image before training.
    training_size: (H, W) after the crop; None keeps the size.
    num_train: how many records the paper trains on.
    scalar_strings: whether the released file stores image and mask as one string each (CATER)
      rather than as one string per byte.
    generator: module with `generate_chunk`; None where we cannot make a substitute.
    rendered: whether the generator renders, which takes hours, not minutes.
    variant: passed to the generator as `variant` where not empty.
    parameters: of the generator, where this dataset departs from its defaults.
    generate_args: arguments of `python -m datasets.generate` that make this dataset.
  """

  name: str
  file: str
  released: str | None
  compression: str
  image_size: tuple[int, int, int] | None
  max_entities: int | None
  num_background: int
  mask_layout: str
  factors: Mapping[str, Factor]
  context: Mapping[str, Factor] = dataclasses.field(default_factory=dict)
  stores_visibility: bool = True
  num_frames: int | None = None
  crop: tuple[int, int, int, int] | None = None
  training_size: tuple[int, int] | None = None
  num_train: int | None = None
  scalar_strings: bool = False
  generator: str | None = None
  rendered: bool = False
  variant: str = ""
  parameters: Mapping[str, object] = dataclasses.field(default_factory=dict)
  generate_args: str = ""

  @property
  def image_shape(self) -> tuple[int, ...]:
    """Stored shape of an image: (H, W, C), or (T, H, W, C) for video."""
    return self.image_size if self.num_frames is None else (self.num_frames, *self.image_size)

  @property
  def mask_shape(self) -> tuple[int, ...]:
    """Stored shape of a mask, axes in the order of `mask_layout`."""
    return mask_shape(self.mask_layout, self.image_size, self.max_entities, self.num_frames)


def mask_shape(layout, image_size, max_entities, num_frames=None) -> tuple[int, ...]:
  """The shape of a mask whose axes are ordered as `layout` says ("LHW1", "HWL1", "TLHW1")."""
  sizes = {"T": num_frames, "L": max_entities, "H": image_size[0], "W": image_size[1], "1": 1}
  return tuple(sizes[axis] for axis in layout)


def _categorical(n, dtype="float32"):
  return Factor("categorical", dtype=dtype, num_categories=n)


def _number(unit="", *shape):
  return Factor("continuous", shape=shape, unit=unit)


_TETROMINOES = DatasetSpec(
  name="tetrominoes",
  file="tetrominoes_train.tfrecords",
  released=f"{BUCKET}/tetrominoes/tetrominoes_train.tfrecords",
  compression="GZIP",
  image_size=(35, 35, 3),
  max_entities=4,
  num_background=1,
  mask_layout="LHW1",
  factors={
    "x": _number("pixels, top row of the bounding box"),
    "y": _number("pixels, left column of the bounding box"),
    "shape": _categorical(20),
    "color": _number("RGB in [0, 1]", 3),
  },
  num_train=60_000,
  generator="datasets.tetrominoes",
  generate_args="tetrominoes",
)

# The same scenes, smaller: a toy.
_TETROMINOES_QUICK = dataclasses.replace(
  _TETROMINOES,
  name="tetrominoes_quick",
  file="tetrominoes_quick.tfrecords",
  released=None,
  image_size=(14, 14, 3),
  parameters={"image_size": 14, "block_size": 2},
  generate_args="tetrominoes_quick",
)


def _multi_dsprites(variant, name, max_entities, channels):
  file = f"multi_dsprites_{variant}.tfrecords"
  return DatasetSpec(
    name=name,
    file=file,
    released=f"{BUCKET}/multi_dsprites/{file}",
    compression="GZIP",
    image_size=(64, 64, channels),
    max_entities=max_entities,
    num_background=1,
    mask_layout="HWL1",
    factors={
      "x": _number("fraction of the free width"),
      "y": _number("fraction of the free height"),
      "shape": _categorical(4),
      "color": _number("RGB (or gray) in [0, 1]", channels),
      "orientation": Factor("angle", period=6.283185307179586, unit="radians"),
      "scale": _number("1 is the largest sprite"),
    },
    num_train=60_000,
    generator="datasets.multi_dsprites",
    variant=variant,
    generate_args=f"multi_dsprites --variant {variant}",
  )


_SHAPES = DatasetSpec(
  name="shapes",
  file="shapes_train.tfrecords",
  released=None,
  compression="",
  image_size=(28, 28, 1),
  max_entities=4,
  num_background=1,
  mask_layout="LHW1",
  factors={
    "x": _number("pixels, left edge"),
    "y": _number("pixels, top edge"),
    "shape": _categorical(4),
  },
  num_train=60_000,
  generator="datasets.shapes",
  generate_args="shapes",
)

_TEXTURED_MNIST = DatasetSpec(
  name="textured_mnist",
  file="textured_mnist_train.tfrecords",
  released=None,
  compression="",
  image_size=(28, 28, 1),
  max_entities=3,
  num_background=1,
  mask_layout="LHW1",
  factors={
    "x": _number("pixels, left edge of the digit's box"),
    "y": _number("pixels, top edge of the digit's box"),
    "digit": _categorical(11),
    "texture": _categorical(21),
  },
  num_train=60_000,
  generator="datasets.textured_mnist",
  generate_args="textured_mnist",
)

_CLEVR = DatasetSpec(
  name="clevr",
  file="clevr_with_masks_train.tfrecords",
  released=f"{BUCKET}/clevr_with_masks/clevr_with_masks_train.tfrecords",
  compression="GZIP",
  image_size=(240, 320, 3),
  max_entities=11,
  num_background=1,
  mask_layout="LHW1",
  factors={
    "x": _number("scene units"),
    "y": _number("scene units"),
    "z": _number("scene units"),
    "pixel_coords": _number("column, row in pixels of the full image, depth", 3),
    "rotation": Factor("angle", period=360.0, unit="degrees"),
    "size": _categorical(3, "uint8"),
    "material": _categorical(3, "uint8"),
    "shape": _categorical(4, "uint8"),
    "color": _categorical(9, "uint8"),
  },
  crop=(29, 221, 64, 256),
  training_size=(128, 128),
  num_train=70_000,
  generator="datasets.clevr",
  rendered=True,
  generate_args="clevr",
)


def _objects_room(name, file, max_entities, variant, generate_args, num_frames=None, **fields):
  return DatasetSpec(
    **{
      "name": name,
      "file": f"{file}.tfrecords",
      "released": f"{BUCKET}/objects_room/{file}.tfrecords",
      "compression": "GZIP",
      "image_size": (64, 64, 3),
      "max_entities": max_entities,
      "num_background": 4,
      "mask_layout": "LHW1" if num_frames is None else "TLHW1",
      "factors": {},
      "stores_visibility": False,
      "num_frames": num_frames,
      "generator": "datasets.objects_room",
      "rendered": True,
      "variant": variant,
      "generate_args": generate_args,
      **fields,
    }
  )


def _cater(split):
  file = f"cater_with_masks_{split}.tfrecords-*-of-*"
  return DatasetSpec(
    name=f"cater_{split}",
    file=file,
    released=f"{BUCKET}/cater_with_masks/{file}",
    compression="ZLIB",
    image_size=(64, 64, 3),
    max_entities=11,
    num_background=1,
    mask_layout="TLHW1",
    factors={"object_positions": _number("scene units, [T, 3] of each entity", 33, 3)},
    context={"camera_matrix": _number("[T, 4, 4]", 33, 4, 4)},
    stores_visibility=False,
    num_frames=33,
    scalar_strings=True,
  )


# A folder of pictures, packed by `python -m datasets.from_images`.
_IMAGES = DatasetSpec(
  name="images",
  file="images.tfrecords",
  released=None,
  compression="",
  image_size=None,
  max_entities=None,
  num_background=1,
  mask_layout="LHW1",
  factors={},
)

SPECS = {
  spec.name: spec
  for spec in (
    _TETROMINOES,
    _TETROMINOES_QUICK,
    _multi_dsprites("colored_on_grayscale", "multi_dsprites", 6, 3),
    _multi_dsprites("binarized", "multi_dsprites_binarized", 4, 1),
    _multi_dsprites("colored_on_colored", "multi_dsprites_colored_on_colored", 5, 3),
    _SHAPES,
    _TEXTURED_MNIST,
    _CLEVR,
    _objects_room(
      "objects_room", "objects_room_train", 7, "train", "objects_room", num_train=1_000_000 - 640
    ),
    _objects_room(
      "objects_room_six_objects",
      "objects_room_test_six_objects",
      10,
      "six_objects",
      "objects_room --variant six_objects",
    ),
    _objects_room(
      "objects_room_empty_room",
      "objects_room_test_empty_room",
      4,
      "empty_room",
      "objects_room --variant empty_room",
    ),
    _objects_room(
      "objects_room_identical_color",
      "objects_room_test_identical_color",
      10,
      "identical_color",
      "objects_room --variant identical_color",
    ),
    _objects_room(
      "objects_room_flights",
      "objects_room_flights",
      7,
      "flights",
      "objects_room --variant flights",
      num_frames=16,
      released=None,
      compression="",
    ),
    _cater("train"),
    _cater("test"),
    _IMAGES,
  )
}

# Other names people use for the same files.
ALIASES = {
  "clevr_with_masks": "clevr",
  "clevr6": "clevr",
  "multi_dsprites_colored_on_grayscale": "multi_dsprites",
  "tetris": "tetrominoes",
  "cater_with_masks": "cater_train",
}


def nearest(word: str, known) -> str:
  """A phrase that offers the nearest known word: ' (did you mean "x"?)', or the list of them."""
  known = sorted(known)
  close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
  return f'did you mean "{close[0]}"?' if close else f"known are {', '.join(known)}"


def get_spec(name: str, variant: str = "") -> DatasetSpec:
  """The spec of a dataset.

  Args:
    name: such as "tetrominoes", "clevr", "multi_dsprites_binarized"; see `SPECS`.
    variant: of `multi_dsprites` or `objects_room`; "binarized" with "multi_dsprites" is
      "multi_dsprites_binarized".

  Raises:
    ValueError: no dataset has this name; the sentence offers the nearest one.
  """
  base = ALIASES.get(name, name)
  if base not in SPECS:
    raise ValueError(f'no dataset is called "{name}": {nearest(name, [*SPECS, *ALIASES])}')
  if not variant or variant == SPECS[base].variant:
    return SPECS[base]
  family = {
    s.variant: s for s in SPECS.values() if s.variant and s.generator == SPECS[base].generator
  }
  if variant not in family:
    if not family:
      raise ValueError(f'{name} has no variants, got variant "{variant}"')
    raise ValueError(f'{name} has no variant "{variant}": {nearest(variant, family)}')
  return family[variant]
