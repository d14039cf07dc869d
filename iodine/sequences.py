"""Scores of clips: segmentation over time, and whether slots follow their objects (paper, A.1).

A clip is one of a model's unrolled sequences: masks [T, K, H, W, 1] with the true ones
[T, L, H, W, 1]; an entity keeps its index through the clip, and so does a slot.
"""

import dataclasses

import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import ArrayLike

from iodine import metrics
from iodine.matching import MIN_IOU, match_slots, object_slot_iou


def clip_ari_fg(true_mask: tf.Tensor, pred_mask: tf.Tensor, num_background: int = 1) -> tf.Tensor:
  """ARI-FG over all frames of a clip at once: an object is to keep its slot over time.

  One contingency table of the pixels of all frames, as in SAVi (Kipf et al. 2022); all background
  entities are dropped. Objects may come and go: they count in the frames where they are seen.

  Args:
    true_mask: [T, L, H, W, 1] or, a batch of clips, [B, T, L, H, W, 1].
    pred_mask: [T, K, H, W, 1] or [B, T, K, H, W, 1].
    num_background: how many of the first L entities are background.

  Returns:
    float32 [] or [B]; 1 where the denominator is zero, which is where both partitions are one
    cluster (a single object in one slot). NaN for a clip without a foreground pixel: leave it out
    and count it (SAVi counts it as 1).

  Raises:
    ValueError: neither of rank 5 nor 6, the sizes differ, or there are fewer entities than
      `num_background`.
  """
  tables, batched = _tables(true_mask, pred_mask, num_background)
  scores = metrics.adjusted_rand_index(tf.reduce_sum(tables, axis=1))  # [B]
  return scores if batched else scores[0]


def frame_ari_fg(true_mask: tf.Tensor, pred_mask: tf.Tensor, num_background: int = 1) -> tf.Tensor:
  """ARI-FG of every frame by itself: slots may change places from one to the next.

  Args:
    true_mask: [T, L, H, W, 1] or [B, T, L, H, W, 1].
    pred_mask: [T, K, H, W, 1] or [B, T, K, H, W, 1].
    num_background: how many of the first L entities are background.

  Returns:
    float32 [T] or [B, T], NaN for a frame without a foreground pixel.

  Raises:
    ValueError: as for `clip_ari_fg`.
  """
  tables, batched = _tables(true_mask, pred_mask, num_background)
  shape = tf.shape(tables)
  scores = metrics.adjusted_rand_index(tf.reshape(tables, [-1, shape[2], shape[3]]))
  scores = tf.reshape(scores, shape[:2])  # [B, T]
  return scores if batched else scores[0]


@dataclasses.dataclass(frozen=True)
class Stability:
  """From one frame to the next, what became of the slots of objects in view in both frames.

  Add those of several clips: `sum(clips, Stability())`.

  Attributes:
    kept: the object is in the same slot in both frames.
    switched: in another one.
    lost: in no slot, in at least one of the two frames.
    out_of_view: the object is not to be seen in one of the two frames (it has left, is hidden, or
      has yet to come): not counted in `share`.
  """

  kept: int = 0
  switched: int = 0
  lost: int = 0
  out_of_view: int = 0

  @property
  def share(self) -> float:
    """Of the objects in view, those that keep their slot from frame to frame; NaN if none."""
    seen = self.kept + self.switched + self.lost
    return self.kept / seen if seen else float("nan")

  def __add__(self, other: "Stability") -> "Stability":
    return _add(self, other)


def slot_stability(
  true_masks: ArrayLike, masks: ArrayLike, num_background: int = 1, min_iou: float = MIN_IOU
) -> Stability:
  """Whether objects keep their slot from frame to frame.

  An object is in the slot whose hard mask overlaps it by an IoU above `min_iou`, over foreground
  pixels (`matching.match_slots`); from 0.5 on there is at most one.

  Args:
    true_masks: [T, L, H, W, 1], one-hot over L, background entities first.
    masks: [T, K, H, W, 1], slot probabilities.
    num_background: how many of the first L entities are background.
    min_iou: see above.

  Returns:
    Stability: counts over the T - 1 pairs of frames and L - num_background objects. Entities that
    are never seen are counted nowhere.

  Raises:
    ValueError: as for `matching.object_slot_iou`.
  """
  slots = match_slots(true_masks, masks, num_background, min_iou)[:, num_background:]  # [T, L]
  seen = np.asarray(true_masks)[:, num_background:].any(axis=(2, 3, 4))  # [T, L]
  slots, seen = slots[:, seen.any(axis=0)], seen[:, seen.any(axis=0)]
  both = seen[:-1] & seen[1:]
  found = both & (slots[:-1] >= 0) & (slots[1:] >= 0)
  same = slots[:-1] == slots[1:]
  return Stability(
    kept=int((found & same).sum()),
    switched=int((found & ~same).sum()),
    lost=int((both & ~found).sum()),
    out_of_view=int((~both).sum()),
  )


@dataclasses.dataclass(frozen=True)
class Tracking:
  """CLEAR MOT (Bernardin and Stiefelhagen 2008): how well slots track objects.

  Add those of several clips: `sum(clips, Tracking())`.

  Attributes:
    objects: seen, in all frames together.
    matches: objects in a slot, switches among them.
    misses: objects in no slot.
    false_positives: slots with no object, see `track`.
    switches: matches in another slot than the object was last in.
    overlap: sum of the IoU of the matches.
  """

  objects: int = 0
  matches: int = 0
  misses: int = 0
  false_positives: int = 0
  switches: int = 0
  overlap: float = 0.0

  @property
  def mota(self) -> float:
    """1 - (misses + false positives + switches) / objects: at most 1, may be below 0; or NaN."""
    errors = self.misses + self.false_positives + self.switches
    return 1 - errors / self.objects if self.objects else float("nan")

  @property
  def motp(self) -> float:
    """Mean IoU of the matches, NaN if there is none."""
    return self.overlap / self.matches if self.matches else float("nan")

  def __add__(self, other: "Tracking") -> "Tracking":
    return _add(self, other)


def track(
  true_masks: ArrayLike,
  masks: ArrayLike,
  num_background: int = 1,
  min_iou: float = MIN_IOU,
  min_share: float = metrics.MIN_SHARE,
) -> Tracking:
  """Slots as the hypotheses of a multi-object tracker, objects as what is to be tracked.

  In every frame the pairs of the frame before stand while their IoU is above `min_iou`; the other
  objects and slots are assigned for the largest sum of IoU, over foreground pixels. A slot is a
  hypothesis in a frame where it owns objects' pixels, as many as `min_share` of the whole frame:
  a slot for the ground is none, and neither is one that takes a few pixels at an object's border.
  An object is to be tracked in the frames where it is seen; if it comes back in another slot than
  it left, this is a switch.

  Args:
    true_masks: [T, L, H, W, 1], one-hot over L, background entities first.
    masks: [T, K, H, W, 1], slot probabilities.
    num_background: how many of the first L entities are background.
    min_iou: see above.
    min_share: see above.

  Returns:
    Tracking.

  Raises:
    ValueError: as for `matching.object_slot_iou`.
  """
  iou = object_slot_iou(true_masks, masks, num_background)  # [T, L, K]
  true_masks = np.asarray(true_masks)[:, num_background:, ..., 0]  # [T, L, H, W]
  seen = true_masks.any(axis=(2, 3))  # [T, L]
  owner = np.asarray(masks)[..., 0].argmax(axis=1)  # [T, H, W]
  owner = np.where(true_masks.any(axis=1), owner, -1)
  result, last = Tracking(), {}  # object -> the slot it was last in
  before = {}  # object -> slot, in the frame before
  for t, overlap in enumerate(iou):
    overlap = np.where(overlap > min_iou, overlap, 0.0)
    share = [np.mean(owner[t] == k) for k in range(overlap.shape[1])]
    hypotheses = {k for k, owned in enumerate(share) if owned >= min_share}
    now = {i: k for i, k in before.items() if overlap[i, k] > 0}
    kept = overlap.copy()
    kept[list(now)], kept[:, list(now.values())] = 0.0, 0.0
    rows, columns = scipy.optimize.linear_sum_assignment(kept, maximize=True)
    now |= {i: k for i, k in zip(rows, columns, strict=True) if kept[i, k] > 0}
    result += Tracking(
      objects=int(seen[t].sum()),
      matches=len(now),
      misses=int(seen[t].sum()) - len(now),
      false_positives=len(hypotheses - set(now.values())),
      switches=sum(int(last.get(i, k) != k) for i, k in now.items()),
      overlap=float(sum(overlap[i, k] for i, k in now.items())),
    )
    last |= now
    before = now
  return result


def link_slots(masks: ArrayLike) -> np.ndarray:
  """Orders the slots of each frame like those of the one before, by the overlap of their masks.

  So that a model of single images can be scored on clips beside one of sequences: the yardstick
  that says what the slots' memory is worth.

  Args:
    masks: [T, K, H, W, 1], slot probabilities of frames that know nothing of one another.

  Returns:
    int64 [T, K]: `masks[t, order[t]]` are the slots in the order of frame 0; its row is 0 to K - 1.

  Raises:
    ValueError: not of rank 5.
  """
  masks = np.asarray(masks)
  if masks.ndim != 5:
    raise ValueError(f"expected masks [T, K, H, W, 1], got {list(masks.shape)}")
  num_frames, num_slots = masks.shape[:2]
  order = np.tile(np.arange(num_slots), [num_frames, 1])
  for t in range(1, num_frames):
    owner = masks[t - 1, order[t - 1]].argmax(axis=0)  # [H, W, 1]
    hard = np.moveaxis(np.eye(num_slots)[owner], -1, 0)  # [K, H, W, 1]
    iou = object_slot_iou(hard[None], masks[t : t + 1], num_background=0)[0]
    order[t] = scipy.optimize.linear_sum_assignment(iou, maximize=True)[1]
  return order


def _tables(true_mask, pred_mask, num_background):
  """(contingency tables of objects and slots float64 [B, T, L, K], whether there was a batch)."""
  true_mask, pred_mask = tf.convert_to_tensor(true_mask), tf.convert_to_tensor(pred_mask)
  ranks = true_mask.shape.rank, pred_mask.shape.rank
  if ranks not in ((5, 5), (6, 6)):
    raise ValueError(
      "expected masks of clips, [T, L, H, W, 1] and [T, K, H, W, 1], or [B, T, ...], "
      f"got {true_mask.shape} and {pred_mask.shape}"
    )
  batched = ranks == (6, 6)
  if batched and not true_mask.shape[:2].is_compatible_with(pred_mask.shape[:2]):
    raise ValueError(
      f"expected as many clips and frames, got {true_mask.shape} and {pred_mask.shape}"
    )
  frames = tf.shape(pred_mask)[1 if batched else 0]
  if batched:
    true_mask, pred_mask = _merge(true_mask), _merge(pred_mask)
  tables = metrics.foreground(metrics.contingency(true_mask, pred_mask), num_background)
  shape = tf.shape(tables)
  return tf.reshape(tables, [-1, frames, shape[1], shape[2]]), batched


def _merge(mask):
  """[B, T, ...] -> [B*T, ...]."""
  shape = [-1 if size is None else size for size in mask.shape[2:]]
  return tf.reshape(mask, [-1, *shape])


def _add(one, other):
  """The sums of the fields of two records of a kind."""
  fields = (f.name for f in dataclasses.fields(one))
  return type(one)(**{name: getattr(one, name) + getattr(other, name) for name in fields})
