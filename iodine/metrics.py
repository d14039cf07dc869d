"""Scores of one image each, so that they stream and do not depend on the batch (paper, Sec. 4.1).

Everywhere: true_mask float [B, L, H, W, 1], one-hot over L, background entities first; pred_mask
float [B, K, H, W, 1], probabilities over K, of which the argmax is scored. A pixel of no entity (a
column of zeros in the true mask, such as overlaps that are nobody's) is scored by no metric.
All are pure TensorFlow: they may be part of a compiled training step.
"""

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


def ari(true_mask: tf.Tensor, pred_mask: tf.Tensor) -> tf.Tensor:
  """Adjusted Rand index over all pixels that belong to an entity (Hubert and Arabie 1985).

  Args:
    true_mask: [B, L, H, W, 1], background included.
    pred_mask: [B, K, H, W, 1].

  Returns:
    float32 [B]; 1 where both partitions are one cluster, NaN where no true mask covers a pixel.

  Raises:
    ValueError: not of rank 5, or the batch or spatial sizes differ.
  """
  return adjusted_rand_index(contingency(true_mask, pred_mask))


def ari_fg(true_mask: tf.Tensor, pred_mask: tf.Tensor, num_background: int = 1) -> tf.Tensor:
  """Adjusted Rand index over foreground pixels (paper, Sec. 4.1).

  Args:
    true_mask: [B, L, H, W, 1].
    pred_mask: [B, K, H, W, 1].
    num_background: how many of the first L entities are background.

  Returns:
    float32 [B]; 1 where both partitions are one cluster, NaN where there is no foreground pixel:
    leave these images out of the mean (`numpy.nanmean`) and count them.

  Raises:
    ValueError: as for `ari`, or there are fewer entities than `num_background`.
  """
  counts = contingency(true_mask, pred_mask)
  return adjusted_rand_index(foreground(counts, num_background))


def segmentation_covering(
  true_mask: tf.Tensor, pred_mask: tf.Tensor, num_background: int = 1
) -> tf.Tensor:
  """How well the best predicted segment of each foreground object covers it.

  For every object its largest intersection over union with a predicted segment (over all pixels
  that belong to an entity), then the mean over objects, each once (mSC of Engelcke et al. 2020).

  Args:
    true_mask: [B, L, H, W, 1].
    pred_mask: [B, K, H, W, 1].
    num_background: how many of the first L entities are background.

  Returns:
    float32 [B], NaN where there is no foreground pixel.

  Raises:
    ValueError: as for `ari_fg`.
  """
  best, size = _best_overlaps(true_mask, pred_mask, num_background)
  present = tf.cast(size > 0, size.dtype)
  covering = tf.reduce_sum(present * best, axis=1) / tf.reduce_sum(present, axis=1)
  return tf.cast(covering, tf.float32)


def object_iou(true_mask: tf.Tensor, pred_mask: tf.Tensor, num_background: int = 1) -> tf.Tensor:
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


def mse(image: tf.Tensor, reconstruction: tf.Tensor) -> tf.Tensor:
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


def mask_entropy(pred_mask: tf.Tensor) -> tf.Tensor:
  """Entropy of the slots at a pixel, averaged over pixels: 0 for hard masks, at most log K.

  It falls as slots part from one another, before any score with true masks can tell.

  Args:
    pred_mask: [B, K, H, W, 1].

  Returns:
    float [B], nats.
  """
  pred_mask = tf.convert_to_tensor(pred_mask)
  entropy = -tf.reduce_sum(tf.math.xlogy(pred_mask, pred_mask), axis=1)  # [B, H, W, 1]
  return tf.reduce_mean(entropy, axis=[1, 2, 3])


def undecided_pixels(pred_mask: tf.Tensor) -> tf.Tensor:
  """Share of pixels where no slot has more than half of the probability.

  There the argmax that ARI scores rests on a relative majority.

  Args:
    pred_mask: [B, K, H, W, 1].

  Returns:
    float [B], in [0, 1].
  """
  pred_mask = tf.convert_to_tensor(pred_mask)
  undecided = tf.reduce_max(pred_mask, axis=1) <= 0.5  # [B, H, W, 1]
  return tf.reduce_mean(tf.cast(undecided, pred_mask.dtype), axis=[1, 2, 3])


# The smallest objects of CLEVR6 at 128 x 128 have some 80 pixels, 0.5 % of the image; those of the
# other data sets are larger.
MIN_SHARE = 0.005


def used_slots(pred_mask: tf.Tensor, min_share: float = MIN_SHARE) -> tf.Tensor:
  """How many slots own something: at least `min_share` of the pixels of the hard masks.

  A pixel belongs to the slot that is likeliest there. 1 is a model that does not part its images
  (of equally likely slots the first owns all), K one that uses all its slots.

  Args:
    pred_mask: [B, K, H, W, 1].
    min_share: of the image's pixels, in (0, 1].

  Returns:
    float32 [B], whole numbers from 0 to K.

  Raises:
    ValueError: `min_share` is not in (0, 1].
  """
  if not 0 < min_share <= 1:
    raise ValueError(f"expected min_share above 0 and at most 1, got {min_share}")
  share = tf.reduce_mean(_hard(tf.convert_to_tensor(pred_mask)), axis=[2, 3, 4])  # [B, K]
  # One pixel of 200 is 0.005 whichever way the division was rounded.
  return tf.reduce_sum(tf.cast(share >= min_share * (1 - 1e-6), tf.float32), axis=1)


def latent_kl(mean: tf.Tensor, stddev: tf.Tensor, prior_stddev: float = 1.0) -> tf.Tensor:
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


def contingency(true_mask: tf.Tensor, pred_mask: tf.Tensor) -> tf.Tensor:
  """How many pixels each true entity shares with each predicted segment: float64 [B, L, K]."""
  true_mask, pred_mask = tf.convert_to_tensor(true_mask), tf.convert_to_tensor(pred_mask)
  _check_masks(true_mask, pred_mask)
  # Counts are exact in float32 up to 2^24 pixels. The pairs among them are not.
  counts = tf.einsum("blhwc,bkhwc->blk", tf.cast(true_mask, tf.float32), _hard(pred_mask))
  return tf.cast(counts, tf.float64)


def _hard(pred_mask):
  """One-hot masks of the slots that are likeliest: float32 [B, K, H, W, 1]."""
  num_slots = pred_mask.shape[1] or tf.shape(pred_mask)[1]
  segment = tf.argmax(pred_mask, axis=1, output_type=tf.int32)  # [B, H, W, 1]
  return tf.one_hot(segment, num_slots, axis=1)


def _best_overlaps(true_mask, pred_mask, num_background):
  """(largest intersection over union, pixels) of each foreground entity: float64 [B, L]."""
  counts = contingency(true_mask, pred_mask)  # [B, L, K]
  segments = tf.reduce_sum(counts, axis=1, keepdims=True)  # [B, 1, K]
  counts = foreground(counts, num_background)
  objects = tf.reduce_sum(counts, axis=2, keepdims=True)  # [B, L, 1]
  overlap = tf.math.divide_no_nan(counts, objects + segments - counts)
  return tf.reduce_max(overlap, axis=2), objects[:, :, 0]


def adjusted_rand_index(counts: tf.Tensor) -> tf.Tensor:
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


def foreground(counts: tf.Tensor, num_background: int) -> tf.Tensor:
  """The rows of contingency tables [B, L, K] that are objects: [B, L - num_background, K]."""
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
