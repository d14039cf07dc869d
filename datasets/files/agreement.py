"""Whether a record is of the data set, and of the size, that was asked for."""

import numpy as np

from datasets import specs
from datasets.errors import DataError, by
from datasets.scene import mask_shape as shape_of_mask


def shapes(example, compact: bool, spec, sizes, where) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """The shapes of image and mask, checked against the spec.

  Args:
    example: a decoded tf.train.Example.
    compact: whether it has the compact layout, which tells its shapes. A compact video may have
      any number of frames, unless factors are stored frame by frame. Compact images may be larger
      than a size in `sizes`, with the same proportions: the pipeline resizes them.
    spec, sizes, where: as of `codec.decode`.

  Returns:
    [(T,) H, W, C], and that of the mask in its stored layout.

  Raises:
    DataError: the record is of another size.
  """
  accepted = [] if spec.image_size is None else [spec.image_size[:2], *map(tuple, sizes)]
  if spec.crop and accepted:
    top, bottom, left, right = spec.crop
    accepted.append((bottom - top, right - left))
  if spec.training_size:
    accepted.append(spec.training_size)
  frames = () if spec.num_frames is None else (spec.num_frames,)
  if compact:
    image_shape = tuple(int(n) for n in example["image/shape"])
    mask_shape = tuple(int(n) for n in example["mask/shape"])
    if spec.image_size is None:
      return image_shape, mask_shape
    channels = spec.image_size[2]
    if frames and not spec.num_frames_fixed and len(image_shape) == 4:
      frames = image_shape[:1]
    size = image_shape[-3:-1]
    if any(shrinks_to(size, asked) for asked in sizes):
      accepted.append(size)
    good = [(*frames, *size, channels) for size in accepted]
    if image_shape not in good:
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
    mask_shape = shape_of_mask(
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
        f"{spec.name}{guess(example, spec)}: give the path of another file, or the image_size it "
        "was made with"
      )
  raise AssertionError("unreachable: the stored size is always accepted")


def shrinks_to(size, asked) -> bool:
  """Whether (H, W) is larger than what was asked for and of the same proportions."""
  (height, width), (asked_height, asked_width) = size, asked
  return height > asked_height and height * asked_width == width * asked_height


def guess(example, spec) -> str:
  """'; it looks like multi_dsprites' where one other spec fits a released record, else ''."""
  sizes = {name: getattr(example.get(name), "count", 0) for name in ("image", "mask")}
  for other in specs.SPECS.values():
    if other.image_size is None:
      continue
    fits = {"image": other.image_shape, "mask": other.mask_shape}
    known = other.part_of or other.name == spec.name
    if not known and all(sizes[n] == int(np.prod(fits[n])) for n in fits):
      return f"; it looks like {other.name}"
  return ""
