"""One DatasetSpec for each data set, and the names they go by."""

import dataclasses

from datasets.errors import DataError, nearest
from datasets.scene import DatasetSpec, Factor

BUCKET = "gs://multi-object-datasets"


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
  generator="datasets.generators.tetrominoes",
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
    binary=variant == "binarized",
    num_train=60_000,
    generator="datasets.generators.multi_dsprites",
    variant=variant,
    generate_args=f"multi_dsprites --variant {variant}",
  )


# Where shapes overlap a pixel belongs to no entity and is not scored, as in the binding literature
# (Reichert and Serre 2014; Greff et al. 2017): its mask is zero for all of them.
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
  binary=True,
  num_train=60_000,
  generator="datasets.generators.shapes",
  revision=1,
  generate_args="shapes",
)


def _textured_mnist(variant, name, max_entities):
  return DatasetSpec(
    name=name,
    file=f"{name}_train.tfrecords",
    released=None,
    compression="",
    image_size=(28, 28, 1),
    max_entities=max_entities,
    num_background=1,
    mask_layout="LHW1",
    factors={
      "x": _number("pixels to the right of the middle"),
      "y": _number("pixels below the middle"),
      "digit": _categorical(11),
      "texture": _categorical(21),
    },
    num_train=50_000,
    num_held_out=20_000,
    generator="datasets.generators.textured_mnist",
    variant=variant,
    revision=1,
    generate_args=f"textured_mnist --variant {variant}",
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
  num_held_out=30_000,
  generator="datasets.generators.clevr",
  rendered=True,
  generate_args="clevr",
)

# What the paper trains on: scenes of 3 to 6 objects out of CLEVR's 3 to 10 (Sec. 4).
_CLEVR6 = dataclasses.replace(
  _CLEVR,
  name="clevr6",
  file="clevr6_train.tfrecords",
  parameters={"max_objects": 6},
  num_train=8_000,  # what `models/clevr6` has seen; the paper's 70,000 take long to render
  num_held_out=640,  # `quick`'s, which alone looks for this file
  generate_args="clevr6 --quality quick",
  part_of="clevr",
  min_objects=3,
  max_objects=6,
)

# One object a scene (Fig. 6, left): not in the released file, whose scenes hold three or more.
_CLEVR_SINGLE = dataclasses.replace(
  _CLEVR,
  name="clevr_single",
  file="clevr_single_train.tfrecords",
  released=None,
  parameters={"min_objects": 1, "max_objects": 1},
  num_held_out=640,
  generate_args="clevr_single",
  part_of="clevr",
  min_objects=1,
  max_objects=1,
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
      "generator": "datasets.generators.objects_room",
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
    _textured_mnist("pair", "textured_mnist", 3),
    _textured_mnist("single", "textured_mnist_single", 2),
    _CLEVR,
    _CLEVR6,
    _CLEVR_SINGLE,
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
  "multi_dsprites_colored_on_grayscale": "multi_dsprites",
  "tetris": "tetrominoes",
  "cater_with_masks": "cater_train",
}


def get_spec(name: str, variant: str = "") -> DatasetSpec:
  """The spec of a dataset.

  Args:
    name: such as "tetrominoes", "clevr", "multi_dsprites_binarized"; see `SPECS`.
    variant: of `multi_dsprites` or `objects_room`; "binarized" with "multi_dsprites" is
      "multi_dsprites_binarized".

  Raises:
    DataError: no dataset has this name; the sentence offers the nearest one.
  """
  base = ALIASES.get(name, name)
  if base not in SPECS:
    raise DataError(f'no dataset is called "{name}": {nearest(name, [*SPECS, *ALIASES])}')
  if not variant or variant == SPECS[base].variant:
    return SPECS[base]
  family = {
    s.variant: s for s in SPECS.values() if s.variant and s.generator == SPECS[base].generator
  }
  if variant not in family:
    if not family:
      raise DataError(f'{name} has no variants, got variant "{variant}"')
    raise DataError(f'{name} has no variant "{variant}": {nearest(variant, family)}')
  return family[variant]
