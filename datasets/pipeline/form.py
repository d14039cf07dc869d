"""The form of scenes: as kept in memory (cropped, uint8), and as given out."""

import numpy as np
import tensorflow as tf

from datasets.errors import DataError
from datasets.options import Form


class Shaping:
  """How the records of a source become scenes of a `Form`.

  Attributes:
    spec: the DatasetSpec.
    crop: (top, bottom, left, right) of the stored pixels that are kept; None: all.
    stored_bytes: about how much memory a scene takes until it is given out.
    window: how many starts a window of frames may have; 1 where there is nothing to choose.
  """

  def __init__(self, source, form: Form):
    spec = self.spec = source.spec
    *frames, height, width, channels = source.image_shape
    # A recoded file may be cropped already; only a picture of the full size is.
    whole = (height, width) == spec.image_size[:2]
    self.crop = spec.crop if whole else None
    if self.crop:
      top, bottom, left, right = self.crop
      height, width = bottom - top, right - left
    self._frames, self._kept_size, self._channels = tuple(frames), (height, width), channels
    self._size = tuple(form.image_size or spec.training_size or (height, width))
    self._grayscale = form.grayscale and channels == 3
    self._legacy = form.legacy_resize
    self.stored_bytes = int(np.prod((*frames, height, width))) * (channels + 1) + 512
    self._num_frames = form.num_frames
    self.window = self._window(source.files[0].path)

  def _window(self, path):
    if self._num_frames is None:
      return 1
    if not self._frames:
      raise DataError(
        f"{path} holds images, not videos: leave out num_frames, got {self._num_frames}"
      )
    if self._num_frames > self._frames[0]:
      raise DataError(
        f"{path} holds videos of {self._frames[0]} frames, wanted num_frames={self._num_frames}: "
        "ask for fewer"
      )
    return self._frames[0] - self._num_frames + 1

  def _values(self):
    """name -> Factor of all that is stored by entity or once a scene."""
    return {**self.spec.factors, **self.spec.context}

  def arrays(self, decoded: dict) -> dict:
    """What is kept of decoded records (`Source.decode`): name -> array [n, ...]."""
    kept = {name: decoded[name] for name in ("image", "labels", "visibility", "index")}
    for name, factor in self._values().items():
      dtype = np.int32 if factor.kind == "categorical" else np.float32
      kept[f"factor/{name}"] = decoded[name].astype(dtype, copy=False)
    return kept

  def signature(self, batch: int | None = None) -> dict:
    """name -> TensorSpec of a batch of `arrays`."""
    entities = self.spec.max_entities
    pixels = (batch, *self._frames, *self._kept_size)
    signature = {
      "image": tf.TensorSpec((*pixels, self._channels), tf.uint8),
      "labels": tf.TensorSpec(pixels, tf.uint8),
      "visibility": tf.TensorSpec((batch, entities), tf.float32),
      "index": tf.TensorSpec((batch,), tf.int64),
    }
    for name, factor in self._values().items():
      dtype = tf.int32 if factor.kind == "categorical" else tf.float32
      lead = () if name in self.spec.context else (entities,)
      signature[f"factor/{name}"] = tf.TensorSpec((batch, *lead, *factor.shape), dtype)
    return signature

  def scene(self, kept: dict, first_frames=None) -> dict:
    """The Scene of a batch of `arrays`.

    Args:
      kept: as `signature` says.
      first_frames: int32 [B], where each video's window begins; None: at the first frame.
    """
    if self._num_frames is not None and self._frames:
      kept = self._cut(kept, first_frames)
    image, labels = self._resize(kept["image"], kept["labels"])
    if self._grayscale:
      image = tf.reduce_mean(image, axis=-1, keepdims=True)
    axis = 2 if self._frames else 1
    mask = tf.one_hot(tf.cast(labels, tf.int32), self.spec.max_entities, axis=axis)
    result = {
      "image": image,
      "mask": mask[..., None],
      "visibility": kept["visibility"],
      "factors": {name: kept[f"factor/{name}"] for name in self.spec.factors},
      "index": kept["index"],
    }
    if self.spec.max_entities == 1:  # pictures without masks of their own
      del result["mask"]
    if self.spec.context:
      result["context"] = {name: kept[f"factor/{name}"] for name in self.spec.context}
    return result

  def _cut(self, kept, first_frames):
    """`num_frames` of every video, and of what is stored frame by frame."""
    if first_frames is None:
      first_frames = tf.zeros_like(kept["index"], tf.int32)
    times = first_frames[:, None] + tf.range(self._num_frames)  # [B, T]

    def frames(value, axis):
      lead = value.shape[1:axis]
      wanted = times
      for _ in lead:  # the same times for every entity
        wanted = tf.repeat(wanted[:, None], tf.shape(value)[1], axis=1)
      cut = tf.gather(value, wanted, axis=axis, batch_dims=axis)
      cut.set_shape([value.shape[0], *lead, self._num_frames, *value.shape[axis + 1 :]])
      return cut

    kept = dict(kept)
    for name in ("image", "labels"):
      kept[name] = frames(kept[name], 1)
    for name, factor in self._values().items():
      if factor.shape[:1] == self._frames:
        axis = 1 if name in self.spec.context else 2
        kept[f"factor/{name}"] = frames(kept[f"factor/{name}"], axis)
    if not self.spec.stores_visibility:  # what is seen in these frames
      seen = tf.one_hot(tf.cast(kept["labels"], tf.int32), self.spec.max_entities)
      seen = tf.reduce_max(seen, axis=[1, 2, 3])  # [B, L]
      background = tf.range(self.spec.max_entities) < self.spec.num_background
      kept["visibility"] = tf.maximum(seen, tf.cast(background, tf.float32))
    return kept

  def _resize(self, image, labels):
    image = tf.cast(image, tf.float32) / 255.0
    if self._size == self._kept_size:
      return image, labels
    lead = tf.shape(labels)[:-2]
    static = labels.shape[:-2]
    image = tf.reshape(image, [-1, *self._kept_size, self._channels])
    labels = tf.reshape(labels, [-1, *self._kept_size, 1])
    image = resize(image, self._size, not self.spec.binary, self._legacy)
    labels = resize(labels, self._size, False, self._legacy)
    image = tf.reshape(image, tf.concat([lead, [*self._size, self._channels]], 0))
    labels = tf.reshape(labels, tf.concat([lead, self._size], 0))
    image.set_shape([*static, *self._size, self._channels])
    labels.set_shape([*static, *self._size])
    return image, labels


def resize(
  pixels: tf.Tensor, size: tuple[int, int], smooth: bool = True, legacy: bool = False
) -> tf.Tensor:
  """Pixels in another size, as scenes have them.

  Args:
    pixels: [N, H, W, C]; float32 where `smooth`.
    size: (H', W').
    smooth: bilinear between the four pixels around a point; else the nearest one.
    legacy: as TensorFlow 1 did, without half-pixel centres.
  """
  kernel = tf.raw_ops.ResizeBilinear if smooth else tf.raw_ops.ResizeNearestNeighbor
  return kernel(images=pixels, size=size, half_pixel_centers=not legacy)
