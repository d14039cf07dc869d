"""Scores of one image each, so that they stream and do not depend on the batch (design.md, 7).

Everywhere: true_mask float [B, L, H, W, 1], one-hot over L, background entities first; pred_mask
float [B, K, H, W, 1], probabilities over K, of which the argmax is scored.
"""

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


def ari(true_mask, pred_mask):
  """Adjusted Rand index over all pixels (Hubert and Arabie 1985).

  Args:
    true_mask: [B, L, H, W, 1], background included.
    pred_mask: [B, K, H, W, 1].

  Returns:
    float32 [B]; 1 where both partitions are one cluster, NaN where no true mask covers a pixel.

  Raises:
    ValueError: not of rank 5, or the batch or spatial sizes differ.
  """
  return _adjusted_rand_index(_contingency(true_mask, pred_mask))


def ari_fg(true_mask, pred_mask, num_background=1):
  """Adjusted Rand index over foreground pixels (paper, Sec. 4.1).

  Args:
    true_mask: [B, L, H, W, 1].
    pred_mask: [B, K, H, W, 1].
    num_background: how many of the first L entities are background.

  Returns:
    float32 [B]; 1 where both partitions are one cluster, NaN where there is no foreground pixel:
    leave these images out of the mean and count them.

  Raises:
    ValueError: as for `ari`, or there are fewer entities than `num_background`.
  """
  counts = _contingency(true_mask, pred_mask)
  return _adjusted_rand_index(_foreground(counts, num_background))


def segmentation_covering(true_mask, pred_mask, num_background=1, weighted=False):
  """How well the best predicted segment of each foreground object covers it.

  For every object its largest intersection over union with a predicted segment (over all pixels
  of the image), then the mean over objects: each once (mSC of Engelcke et al. 2020), or by size
  (SC of Arbelaez et al. 2011).

  Args:
    true_mask: [B, L, H, W, 1].
    pred_mask: [B, K, H, W, 1].
    num_background: how many of the first L entities are background.
    weighted: whether objects count by their number of pixels.

  Returns:
    float32 [B], NaN where there is no foreground pixel.

  Raises:
    ValueError: as for `ari_fg`.
  """
  best, size = _best_overlaps(true_mask, pred_mask, num_background)
  weight = size if weighted else tf.cast(size > 0, size.dtype)
  covering = tf.reduce_sum(weight * best, axis=1) / tf.reduce_sum(weight, axis=1)
  return tf.cast(covering, tf.float32)


def object_iou(true_mask, pred_mask, num_background=1):
  """Largest intersection over union of each foreground object with a predicted segment.

  Args:
    true_mask: [B, L, H, W, 1].
    pred_mask: [B, K, H, W, 1].
    num_background: how many of the first L entities are background.

  Returns:
    float32 [B, L - num_background], NaN for an entity without a pixel. Its mean over the objects
    of an image is the `segmentation_covering`.

  Raises:
    ValueError: as for `ari_fg`.
  """
  best, size = _best_overlaps(true_mask, pred_mask, num_background)
  return tf.cast(tf.where(size > 0, best, float("nan")), tf.float32)


def mse(image, reconstruction):
  """Mean squared error over pixels and channels.

  Args:
    image: float [B, H, W, C] (or any [B, ...]).
    reconstruction: float, the same shape.

  Returns:
    float [B].

  Raises:
    ValueError: the shapes differ.
  """
  image = tf.convert_to_tensor(image)
  reconstruction = tf.cast(reconstruction, image.dtype)
  if not image.shape.is_compatible_with(reconstruction.shape):
    raise ValueError(
      f"expected a reconstruction of the image's shape {image.shape}, got {reconstruction.shape}"
    )
  return tf.reduce_mean(tf.square(image - reconstruction), axis=list(range(1, image.shape.rank)))


def mask_entropy(pred_mask):
  """Entropy of the slots at a pixel, averaged over pixels: 0 for hard masks, at most log K.

  Args:
    pred_mask: [B, K, H, W, 1].

  Returns:
    float [B], nats.
  """
  pred_mask = tf.convert_to_tensor(pred_mask)
  entropy = -tf.reduce_sum(tf.math.xlogy(pred_mask, pred_mask), axis=1)  # [B, H, W, 1]
  return tf.reduce_mean(entropy, axis=[1, 2, 3])


def latent_kl(mean, stddev, prior_stddev=1.0):
  """KL(N(mean, stddev) || N(0, prior_stddev)) of every single latent.

  Args:
    mean: float [..., Z].
    stddev: float [..., Z].
    prior_stddev: of the prior; 1 in the paper, softplus(0) ** 0.5 in the released code.

  Returns:
    float [..., Z], nats.
  """
  mean = tf.convert_to_tensor(mean)
  prior = tfd.Normal(tf.zeros([], mean.dtype), tf.cast(prior_stddev, mean.dtype))
  return tfd.Normal(mean, tf.cast(stddev, mean.dtype)).kl_divergence(prior)


def _contingency(true_mask, pred_mask):
  """How many pixels each true entity shares with each predicted segment: float64 [B, L, K]."""
  true_mask, pred_mask = tf.convert_to_tensor(true_mask), tf.convert_to_tensor(pred_mask)
  _check_masks(true_mask, pred_mask)
  num_slots = pred_mask.shape[1] or tf.shape(pred_mask)[1]
  segment = tf.argmax(pred_mask, axis=1, output_type=tf.int32)  # [B, H, W, 1]
  hard_mask = tf.one_hot(segment, num_slots, axis=1)  # [B, K, H, W, 1]
  # Counts are exact in float32 up to 2^24 pixels. The pairs among them are not.
  counts = tf.einsum("blhwc,bkhwc->blk", tf.cast(true_mask, tf.float32), hard_mask)
  return tf.cast(counts, tf.float64)


def _best_overlaps(true_mask, pred_mask, num_background):
  """(largest intersection over union, pixels) of each foreground entity: float64 [B, L]."""
  counts = _contingency(true_mask, pred_mask)  # [B, L, K]
  segments = tf.reduce_sum(counts, axis=1, keepdims=True)  # [B, 1, K]
  counts = _foreground(counts, num_background)
  objects = tf.reduce_sum(counts, axis=2, keepdims=True)  # [B, L, 1]
  overlap = tf.math.divide_no_nan(counts, objects + segments - counts)
  return tf.reduce_max(overlap, axis=2), objects[:, :, 0]


def _adjusted_rand_index(counts):
  """Hubert and Arabie, Eq. 5, of contingency tables [B, L, K]; float32 [B]."""
  index = tf.reduce_sum(_pairs(counts), axis=[1, 2])
  true_pairs = tf.reduce_sum(_pairs(tf.reduce_sum(counts, axis=2)), axis=1)
  pred_pairs = tf.reduce_sum(_pairs(tf.reduce_sum(counts, axis=1)), axis=1)
  num_pixels = tf.reduce_sum(counts, axis=[1, 2])
  # In this order the quotient of one cluster is exactly 1, and the difference below exactly 0.
  expected = true_pairs * tf.math.divide_no_nan(pred_pairs, _pairs(num_pixels))
  above_chance = (true_pairs + pred_pairs) / 2 - expected
  # Zero only if both partitions are a single cluster, or both are all singletons: they agree.
  score = tf.where(
    above_chance > 0,
    tf.math.divide_no_nan(index - expected, above_chance),
    tf.ones_like(index),
  )
  nan = tf.constant(float("nan"), score.dtype)
  return tf.cast(tf.where(num_pixels > 0, score, nan), tf.float32)


def _pairs(count):
  return count * (count - 1) / 2


def _foreground(counts, num_background):
  num_entities = counts.shape[1]
  if num_background < 0 or (num_entities is not None and num_background > num_entities):
    raise ValueError(
      f"expected num_background from 0 to {num_entities}, the number of true masks, "
      f"got {num_background}"
    )
  return counts[:, num_background:]


def _check_masks(true_mask, pred_mask):
  true_shape, pred_shape = true_mask.shape, pred_mask.shape
  agree = (
    true_shape.rank == pred_shape.rank == 5
    and true_shape[:1].is_compatible_with(pred_shape[:1])
    and true_shape[2:].is_compatible_with(pred_shape[2:])
    and tf.TensorShape([1]).is_compatible_with(true_shape[4:])
  )
  if not agree:
    raise ValueError(
      "expected true_mask [B, L, H, W, 1] and pred_mask [B, K, H, W, 1], "
      f"got {true_shape} and {pred_shape}"
    )
