"""The Scene contract and one DatasetSpec for each dataset.

A *scene* is what every dataset turns into, a dict of tensors (L entities, background first):

  image       float32 [H, W, C] in [0, 1]; [T, H, W, C] for video.
  mask        float32 one-hot over L, [L, H, W, 1]; [T, L, H, W, 1] for video. All zero at a
              pixel that belongs to no entity (where Shapes overlap, for one): such pixels are not
              scored. Not there for pictures of one's own that came without masks.
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
from collections.abc import Mapping


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
    binary: whether every pixel is black or white. It stays so in another size: each is the nearest
      one's, as in the masks, for a Bernoulli has nothing to say of gray edges.
    num_train: how many records the paper trains on, or, of what we render in its place, our models.
    num_held_out: how many beside these are for validation and test in our presets.
    scalar_strings: whether the released file stores image and mask as one string each (CATER)
      rather than as one string per byte.
    generator: module (full name) with `generate_chunk`; None where we cannot make a substitute.
    rendered: whether the generator renders, which takes hours, not minutes.
    variant: passed to the generator as `variant` where not empty.
    parameters: of the generator, where this dataset departs from its defaults.
    generate_args: arguments of `python -m datasets.generate` that make this dataset.
    revision: of what the generator makes, counted up when it makes other records than before.
    part_of: name of the data set of which this one is a selection, "" for a whole one. Its records
      are those of the whole; where there is no file of its own, the whole one's is read.
    min_objects, max_objects: keeps scenes with as many visible foreground entities, inclusive,
      where no other limits are asked for.
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
  binary: bool = False
  num_train: int | None = None
  num_held_out: int = 640
  scalar_strings: bool = False
  generator: str | None = None
  rendered: bool = False
  variant: str = ""
  parameters: Mapping[str, object] = dataclasses.field(default_factory=dict)
  generate_args: str = ""
  revision: int = 0
  part_of: str = ""
  min_objects: int | None = None
  max_objects: int | None = None

  @property
  def stored_name(self) -> str:
    """The data set's name in compact records."""
    return self.part_of or self.name

  @property
  def num_frames_fixed(self) -> bool:
    """Whether factors or context are stored frame by frame: files must have `num_frames` then."""
    stored = (*self.factors.values(), *self.context.values())
    return any(factor.shape[:1] == (self.num_frames,) for factor in stored)

  @property
  def image_shape(self) -> tuple[int, ...]:
    """Stored shape of an image: (H, W, C), or (T, H, W, C) for video."""
    return self.image_size if self.num_frames is None else (self.num_frames, *self.image_size)

  @property
  def mask_shape(self) -> tuple[int, ...]:
    """Stored shape of a mask, axes in the order of `mask_layout`."""
    return mask_shape(self.mask_layout, self.image_size, self.max_entities, self.num_frames)


def mask_shape(layout: str, image_size, max_entities, num_frames=None) -> tuple[int, ...]:
  """The shape of a mask whose axes are ordered as `layout` says ("LHW1", "HWL1", "TLHW1")."""
  sizes = {"T": num_frames, "L": max_entities, "H": image_size[0], "W": image_size[1], "1": 1}
  return tuple(sizes[axis] for axis in layout)
