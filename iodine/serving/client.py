"""A SavedModel in NumPy: images in, named slots out."""

import importlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from iodine.build import build_model, make_config, model_class
from iodine.errors import UserError
from iodine.noise import MOST, as_seed
from iodine.serving.graph import PLACE
from iodine.slot_model import SlotModel, check_range
from iodine.starts import best_start, start_seed
from iodine.tf_paths import literal


class Slots(NamedTuple):
  """Slots that were decoded from latents; without B for a single scene."""

  z: np.ndarray  # [B, K, Z]
  means: np.ndarray  # [B, K, H, W, C]
  mask_logits: np.ndarray  # [B, K, H, W, 1]
  masks: np.ndarray  # [B, K, H, W, 1], probabilities over slots
  reconstruction: np.ndarray  # [B, H, W, C], mean of the mixture

  @property
  def segmentation(self) -> np.ndarray:
    """The most probable slot of every pixel: uint8 [B, H, W]; uint16 beyond 256 slots."""
    return _segmentation(self.masks)


class Inferred(NamedTuple):
  """What inference found in images, after its last decode; without B for a single image."""

  means: np.ndarray  # [B, K, H, W, C]
  mask_logits: np.ndarray  # [B, K, H, W, 1]
  masks: np.ndarray  # [B, K, H, W, 1], probabilities over slots
  reconstruction: np.ndarray  # [B, H, W, C], mean of the mixture
  nll: np.ndarray  # [B, D], nats an image at each of D decodes
  terms: dict[str, np.ndarray]  # the loss's other terms; kl [B, D, K], nats a slot, if there is one
  z: np.ndarray | None = None  # [B, K, Z], the sample that was decoded; None without latents
  posterior_mean: np.ndarray | None = None  # [B, K, Z]
  posterior_stddev: np.ndarray | None = None  # [B, K, Z]
  state: dict[str, np.ndarray] | None = None  # for `Model.refine`; of the whole batch

  def arrays(self) -> dict[str, np.ndarray]:
    """What there is for each image, by name: dict of [B, ...]."""
    fields = {name: v for name, v in self._asdict().items() if isinstance(v, np.ndarray)}
    return {**fields, **self.terms}

  @property
  def kl(self) -> np.ndarray | None:
    """[B, D, K], nats a slot; None for a model without latents."""
    return self.terms.get("kl")

  @property
  def segmentation(self) -> np.ndarray:
    """The most probable slot of every pixel: uint8 [B, H, W]; uint16 beyond 256 slots."""
    return _segmentation(self.masks)


def _segmentation(masks):
  number = np.argmax(masks[..., 0], axis=-3)
  return number.astype(np.uint8 if masks.shape[-4] <= 256 else np.uint16)


def load(path: str | os.PathLike) -> "Model":
  """Loads a SavedModel that `export` wrote.

  Args:
    path: its folder, or one that holds it as `saved_model` (a run, a model that is shipped).

  Returns:
    Model.

  Raises:
    UserError: there is none, it is damaged, or it is none of ours.
  """
  path = pathlib.Path(path)
  if not (path / "saved_model.pb").is_file() and (path / "saved_model").is_dir():
    path = path / "saved_model"
  if not (path / "saved_model.pb").is_file():
    how = f"; export it: python -m experiments.export with run={path}"
    raise UserError(
      f"there is no SavedModel in {path}: {path / 'saved_model.pb'} does not exist"
      + (how if (path / "checkpoints").is_dir() else "")
    )
  try:
    loaded = tf.saved_model.load(literal(path))
  except (OSError, tf.errors.OpError) as error:
    reason = str(error).splitlines()[0]
    raise UserError(f"{path} is no SavedModel that can be read: {reason}") from error
  try:
    metadata = json.loads(loaded.metadata()["json"].numpy())
  except (AttributeError, KeyError, TypeError, ValueError):
    metadata = {}
  if metadata.get("program") != "iodine":
    raise UserError(f"{path} is a SavedModel, but none that this program exported")
  return Model(loaded, metadata)


class Model:
  """A loaded SavedModel: NumPy in, named NumPy out.

  Images are uint8, or float in [0, 1]: [H, W, C] or [B, H, W, C]; a single one gives results
  without B. Equal seeds give equal results; an int n stands for [n, 1], as in an evaluation.

  Attributes:
    metadata: dict; data set, image size, crop, K, T, version, training step, scores.
  """

  def __init__(self, loaded, metadata):
    self._loaded = loaded
    self.metadata = metadata

  def __repr__(self):
    size = " x ".join(map(str, self.metadata["image_size"]))
    data = self.metadata.get("data_set") or "unknown data"
    kind = self.metadata["model"].get("model", "iodine").upper()
    return f"<{kind} for {data}, {size}, {self.metadata['num_slots']} slots>"

  def infer(
    self,
    images: Any,
    num_iterations: int | None = None,
    num_slots: int | None = None,
    seed: Any = 0,
    num_starts: int | None = None,
  ) -> Inferred:
    """Decomposes images into slots.

    Args:
      images: see the class.
      num_iterations: T, that of training by default; of no matter to a model that decodes once.
      num_slots: K, that of training by default.
      seed: int, or int32 [2].
      num_starts: inferences from other samples, of which each image gets the one with the lowest
        negative ELBO; that of the model's settings by default, 1 in training.

    Returns:
      Inferred.

    Raises:
      UserError: size, dtype or range of the images is wrong; K < 2, T < 1 or no start.
    """
    images, single = self._images(images)
    model = self.metadata["model"]
    counts = (
      _count("num_iterations", num_iterations, self.metadata["num_iterations"], 1),
      self._num_slots(num_slots),
    )
    num_starts = _count("num_starts", num_starts, model.get("num_starts", 1), 1)
    seed, place = as_seed(seed), {}

    def run(number):
      outputs = _numpy(self._loaded.infer(images, *counts, start_seed(seed, number)))
      state = outputs.get("state", {})
      for name in PLACE:  # of the batch, not of its images: those of the first start stay
        if name in state:
          place.setdefault(name, state.pop(name))
      return self._energy(outputs) if num_starts > 1 else None, outputs

    outputs = best_start(run, num_starts)
    if place:
      outputs["state"] |= place
    return _named(Inferred, outputs, single)

  def _energy(self, outputs):
    """[B], of the last decode."""
    terms = {name: v[:, -1] for name, v in outputs.items() if name not in Inferred._fields}
    if "kl" in terms and terms["kl"].ndim > 1:  # of each slot
      terms["kl"] = terms["kl"].sum(axis=1)
    return self._class.energy(outputs["nll"][:, -1], terms)

  @property
  def _class(self) -> type[SlotModel]:
    return model_class(make_config(self.metadata["model"]))

  @property
  def reads_first(self) -> bool:
    """Whether a decode has read the frame that it is of, as an NEM's has; see `follow`."""
    return self._class.READS_FIRST

  def start(
    self, num_images: int = 1, num_slots: int | None = None, seed: Any = 0
  ) -> dict[str, np.ndarray]:
    """The state before anything was seen, for `refine`: dict of arrays."""
    self._need("start", "one that iterates")
    num_images = _count("num_images", num_images, 1, 1)
    return _numpy(self._loaded.start(num_images, self._num_slots(num_slots), as_seed(seed)))

  def refine(self, state: dict[str, np.ndarray], images: Any) -> Inferred:
    """One more iteration: decodes and scores the state's posterior, then updates it.

    From `start`, as many calls on the same images as `infer` has decodes (T, or T + 1 with
    `final_decode`) are `infer` with T iterations; on the frames of a video they are inference on
    the sequence, one frame an iteration (of an NEM, which reads a frame and is scored against the
    next one, they are not: here it is scored against what it has read).

    Args:
      state: of `start`, or of a result.
      images: as many as the state is for.

    Returns:
      Inferred with D = 1; `.state` goes on.

    Raises:
      UserError: as `infer`, or the number of images is another.
    """
    self._need("refine", "one that iterates")
    images, single = self._images(images)
    expected = next(len(value) for name, value in state.items() if name not in PLACE)
    if len(images) != expected:
      raise UserError(f"the state is of {expected} image(s), got {len(images)}")
    return _named(Inferred, self._loaded.refine(state, images), single)

  def follow(
    self,
    frames: Iterable[Any],
    first_iterations: int | None = None,
    num_iterations: int | None = None,
    num_slots: int | None = None,
    seed: Any = 0,
  ) -> Iterator[tuple[np.ndarray, Inferred]]:
    """Follows objects through a clip of any length, by `start` and `refine`: memory is constant.

    Args:
      frames: of one clip, each [H, W, C]; see the class.
      first_iterations: on the first frame: as in training for a model of sequences, else T of
        training, in which a model of single images finds the objects that it is then to follow.
      num_iterations: on each of the others: as in training for a model of sequences, else one.
      num_slots: K, that of training by default.
      seed: int, or int32 [2].

    Yields:
      (frame, Inferred with D = 1) for each frame: slots of the posterior that has seen this frame
      and those before it. Its `nll` is that of predicting the next frame (NaN for the last one);
      of an NEM (`reads_first`) it is that of this frame.

    Raises:
      UserError: as `refine`; there is no frame.
    """
    model, video = self.metadata["model"], self.metadata.get("num_frames")
    first = model.get("first_iterations", 1) if video else model["num_iterations"]
    first = _count("first_iterations", first_iterations, first, 1)
    each = model.get("frame_iterations", 1) if video else 1
    each = _count("num_iterations", num_iterations, each, 1)
    state, before, reads_first = self.start(1, num_slots, seed), None, self.reads_first
    for frame in frames:
      for i in range(first if before is None else each):
        found = self.refine(state, frame)
        if i == 0 and before is not None and not reads_first:
          yield before, found  # decoded before it was updated: the frame before, seen
        state = found.state
      if reads_first:
        yield frame, found
      before = frame
    if before is None:
      raise UserError("expected at least one frame, got none")
    if not reads_first:
      last = self.refine(state, before)
      yield before, last._replace(nll=np.full_like(last.nll, np.nan))  # there is none to predict

  def decode(self, z: Any) -> Slots:
    """Slots of latents: z float [B, K, Z], or [K, Z] for one scene -> Slots.

    Raises:
      UserError: the shape is another.
    """
    self._need("decode", "one with latents")
    dtype, size = self.metadata["model"]["dtype"], self.metadata["latent_size"]
    z = np.asarray(z)
    if z.ndim not in (2, 3) or z.shape[-1] != size or z.dtype.kind not in "fiu":
      raise UserError(
        f"expected latents float [K, {size}] or [B, K, {size}], got {z.dtype} {list(z.shape)}"
      )
    single = z.ndim == 2
    z = z.astype(dtype)
    return _named(Slots, self._loaded.decode(z[None] if single else z), single)

  def sample(self, num_images: int = 1, num_slots: int | None = None, seed: Any = 0) -> Slots:
    """Scenes whose latents are drawn from the prior, slot by slot -> Slots [num_images, ...]."""
    self._need("sample", "one with latents")
    num_images = _count("num_images", num_images, 1, 1)
    outputs = self._loaded.sample(num_images, self._num_slots(num_slots), as_seed(seed))
    return _named(Slots, outputs, single=False)

  def plot(
    self,
    images: Any,
    num_iterations: int | None = None,
    num_slots: int | None = None,
    seed: Any = 0,
    num_starts: int | None = None,
    **options: Any,
  ):
    """Draws the decomposition, a row an image; `options` as `iodine.plotting.decomposition`'s.

    Returns:
      matplotlib Figure: image, reconstruction, masks and each slot.
    """
    images, _ = self._images(images)
    found = self.infer(images, num_iterations, num_slots, seed, num_starts)
    shown = images / np.float32(255) if images.dtype == np.uint8 else images
    plotting = importlib.import_module("iodine.plotting")  # matplotlib, only where it draws
    return plotting.decomposition(
      shown, None, found.reconstruction, found.masks, found.means, found.mask_logits, **options
    )

  def restore(
    self,
    image_size: tuple[int, int] | None = None,
    num_starts: int | None = None,
    precision: str | None = None,
  ) -> SlotModel:
    """The live model with the saved variables, to look inside or to train on.

    Args:
      image_size: (H, W) other than the saved one, where no variable depends on it: of IODINE with
        the broadcast decoder.
      num_starts: of its evaluation, other than the saved one.
      precision: in which it computes, other than the saved one.

    Raises:
      UserError: the model is for images of one size; or the SavedModel lacks a variable of the
        model, or has it in another shape.
    """
    config = make_config(self.metadata["model"])
    build_model(config).check_size(image_size and tuple(image_size))
    model = build_model(config.adapted(image_size, num_starts, precision))
    model.create_variables()
    saved = dict(zip(self.metadata["variables"], self._loaded.all_variables, strict=True))
    for variable in model.variables:
      value = saved.get(variable.name)
      if value is None or value.shape != variable.shape:
        met = "is not there" if value is None else f"has shape {value.shape}"
        raise UserError(
          f"the SavedModel does not fit its own settings: {variable.name}, of shape "
          f"{variable.shape}, {met}"
        )
      variable.assign(value)
    return model

  def _need(self, function, kind):
    if not hasattr(self._loaded, function):
      raise UserError(
        f"{function} needs a model that is {kind}: this is {self.metadata['model']['model']}"
      )

  def _num_slots(self, num_slots):
    least, most = self.metadata.get("min_slots", 2), self.metadata.get("max_slots")
    num_slots = _count("num_slots", num_slots, self.metadata["num_slots"], least)
    if most is not None and num_slots > most:
      raise UserError(f"num_slots must be at most {most}, got {num_slots}")
    return num_slots

  def _images(self, images):
    """Checked: (uint8 or float32 [B, H, W, C], whether it was a single one)."""
    images = np.asarray(images)
    height, width, channels = self.metadata["image_size"]
    wanted = f"[{height}, {width}, {channels}] or [B, {height}, {width}, {channels}]"
    if images.ndim not in (3, 4) or images.shape[-3:] != (height, width, channels):
      raise UserError(f"expected images {wanted}, got {list(images.shape)}")
    if images.dtype != np.uint8:
      if images.dtype.kind != "f":
        raise UserError(f"expected images uint8, or float in [0, 1], got {images.dtype}")
      images = images.astype(np.float32)
      check_range(images)
      images = images.clip(0, 1)
    if not len(images):
      raise UserError(f"expected at least one image {wanted}, got none")
    single = images.ndim == 3
    return images[None] if single else images, single


def _count(name, value, default, least):
  value = default if value is None else value
  if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
    raise UserError(f"{name} must be a whole number of at least {least}, got {value!r}")
  if value > MOST:
    raise UserError(f"{name} must be at most {MOST}, got {value}")
  return np.int32(value)


def _numpy(tensors):
  """A dict, perhaps of dicts, of arrays that may be written to."""
  return tf.nest.map_structure(lambda v: v.numpy() if tf.is_tensor(v) else v, dict(tensors))


def _named(kind, outputs, single):
  arrays = _numpy(outputs)
  state = arrays.pop("state", None)
  if single:
    arrays = {name: value[0] for name, value in arrays.items()}
  if kind is Slots:
    return Slots(**arrays)
  fields = {name: arrays.pop(name) for name in list(arrays) if name in Inferred._fields}
  return Inferred(**fields, terms=arrays, state=state)
