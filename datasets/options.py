"""What may be asked of `datasets.load`, as typed values that refuse what makes no sense."""

import dataclasses

import numpy as np

from datasets.errors import DataError, whole_numbers
from datasets.scene import DatasetSpec


@dataclasses.dataclass(frozen=True)
class Splits:
  """How the records of a data set are shared out: first train, then validation, then test.

  Attributes:
    num_train: None for all but the last `num_validation + num_test`. A file with fewer records than
      asked for gives a smaller training split.
    num_validation, num_test: records of the other two; 0 for none.
  """

  num_train: int | None = None
  num_validation: int = 320
  num_test: int = 320

  def __post_init__(self):
    whole_numbers(self, num_train=0, num_validation=0, num_test=0)
    if self.num_validation is None or self.num_test is None:
      raise DataError("num_validation and num_test must be whole numbers (0 for none), got None")

  @property
  def total(self) -> int | None:
    """How many records are asked for; None for all there are."""
    return None if self.num_train is None else self.num_train + self.num_validation + self.num_test

  def ranges(self, num_records: int) -> dict[str, range]:
    """Which of `num_records` records belong to "train", "validation", "test" and "all"."""
    room = max(num_records - self.num_validation - self.num_test, 0)
    train = room if self.num_train is None else min(self.num_train, room)
    validation = min(self.num_validation, num_records - train)
    test = min(self.num_test, num_records - train - validation)
    return {
      "train": range(0, train),
      "validation": range(train, train + validation),
      "test": range(train + validation, train + validation + test),
      "all": range(0, num_records),
    }


def split_ranges(num_records, num_train=None, num_validation=320, num_test=320) -> dict:
  """`Splits(num_train, num_validation, num_test).ranges(num_records)`."""
  return Splits(num_train, num_validation, num_test).ranges(num_records)


@dataclasses.dataclass(frozen=True)
class Filter:
  """Which scenes of a split are kept.

  Attributes:
    min_objects, max_objects: as many visible foreground entities, inclusive; both None: the spec's
      own limits (`clevr6` has 3 and 6), or none.
    num_images: only the first so many scenes that pass.
  """

  min_objects: int | None = None
  max_objects: int | None = None
  num_images: int | None = None

  def __post_init__(self):
    whole_numbers(self, min_objects=0, max_objects=0, num_images=1)
    low, high = self.min_objects, self.max_objects
    if low is not None and high is not None and low > high:
      raise DataError(f"min_objects must be at most max_objects, got {low} and {high}")

  def for_spec(self, spec: DatasetSpec) -> "Filter":
    """The same with the spec's limits where none are asked for."""
    if self.min_objects is not None or self.max_objects is not None:
      return self
    return dataclasses.replace(self, min_objects=spec.min_objects, max_objects=spec.max_objects)

  @property
  def by_number(self) -> bool:
    """Whether the number of objects matters."""
    return self.min_objects is not None or self.max_objects is not None

  def keeps(self, num_objects) -> np.ndarray:
    """Which numbers of objects pass, bool [n]."""
    kept = np.ones(np.shape(num_objects), bool)
    if self.min_objects is not None:
      kept &= num_objects >= self.min_objects
    if self.max_objects is not None:
      kept &= num_objects <= self.max_objects
    return kept

  def __str__(self):
    if self.min_objects is None:
      return f"at most {self.max_objects}"
    if self.max_objects is None:
      return f"at least {self.min_objects}"
    if self.min_objects == self.max_objects:
      return f"exactly {self.min_objects}"
    return f"{self.min_objects} to {self.max_objects}"


@dataclasses.dataclass(frozen=True)
class Order:
  """In which order scenes come, and which of them this input pipeline gives.

  Attributes:
    shuffle: whether each epoch has its own order.
    drop_remainder: whether a last, smaller batch of an epoch is left out; shapes are static then.
    seed: of the order, and of where windows of videos begin.
    start_batch: the first batch, counted over epochs: a resumed run goes on exactly there.
    num_epochs: None repeats for ever.
    input_pipeline_id, num_input_pipelines: every pipeline gives its `batch_size` scenes of each
      global batch of `num_input_pipelines * batch_size`.
  """

  shuffle: bool = False
  drop_remainder: bool = False
  seed: int = 0
  start_batch: int = 0
  num_epochs: int | None = None
  input_pipeline_id: int = 0
  num_input_pipelines: int = 1

  def __post_init__(self):
    whole_numbers(
      self, seed=0, start_batch=0, num_epochs=1, input_pipeline_id=0, num_input_pipelines=1
    )
    if self.input_pipeline_id >= self.num_input_pipelines:
      raise DataError(
        f"input_pipeline_id must be in 0..{self.num_input_pipelines - 1}, got "
        f"{self.input_pipeline_id}"
      )


@dataclasses.dataclass(frozen=True)
class Form:
  """What scenes look like.

  Attributes:
    image_size: (H, W) to resize to, after the spec's crop; None: the spec's training size.
    grayscale: whether to give one channel, the mean of three (paper, Fig. 11).
    legacy_resize: resize as TensorFlow 1 did, without half-pixel centres.
    num_frames: of videos, a window of so many frames; None: all. It begins at the first frame, or,
      where scenes are shuffled, at one that depends on the seed, the batch and the place in it.
  """

  image_size: tuple[int, int] | None = None
  grayscale: bool = False
  legacy_resize: bool = False
  num_frames: int | None = None

  def __post_init__(self):
    whole_numbers(self, num_frames=1)
    size = self.image_size
    if size is None:
      return
    good = isinstance(size, (tuple, list)) and len(size) == 2
    if not good or not all(isinstance(n, (int, np.integer)) and n > 0 for n in size):
      raise DataError(f"image_size must be a height and a width in pixels, got {size!r}")
    object.__setattr__(self, "image_size", tuple(map(int, size)))
