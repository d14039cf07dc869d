"""Scores of clips: do slots follow their objects? (paper, A.1; SAVi's joint ARI-FG)"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import datasets
from iodine import inference, plotting, sequences, tracking
from iodine.sequences import Stability, Tracking
from iodine.slot_model import SlotModel
from iodine.unroll import Pace

PREDICTED = "prediction"  # of each frame from those before it
UPDATED = "after update"  # with the frame itself
STILL = "single frames"  # each by itself, slots linked by the overlap of their masks
CHANCE = "chance"  # the masks after the update, of another clip
ONE_START = "num_starts is for images: a video is followed from one start"  # a refusal


@dataclasses.dataclass
class Scores:
  """Of clips under one way of looking at them.

  Attributes:
    clip_ari: ARI-FG of all frames of a clip at once, [N], NaN without foreground.
    frame_ari: of each frame, [N, T].
    mse, nll: of each frame, [N, T]; NaN where there is nothing to score.
    stability: `sequences.slot_stability`, summed over clips.
    tracking: `sequences.track`, summed over clips.
  """

  clip_ari: np.ndarray
  frame_ari: np.ndarray
  mse: np.ndarray
  nll: np.ndarray
  stability: Stability = dataclasses.field(default_factory=Stability)
  tracking: Tracking = dataclasses.field(default_factory=Tracking)

  def __add__(self, other: "Scores") -> "Scores":
    joined = {}
    for field in dataclasses.fields(self):
      one, two = getattr(self, field.name), getattr(other, field.name)
      arrays = isinstance(one, np.ndarray)
      joined[field.name] = np.concatenate([one, two]) if arrays else one + two
    return Scores(**joined)

  def summary(self) -> dict[str, float]:
    """Means and counts as numbers, NaN where nothing is defined."""
    return {
      "clip_ari_fg": _mean(self.clip_ari),
      "frame_ari_fg": _mean(self.frame_ari),
      "stability": self.stability.share,
      "mota": self.tracking.mota,
      "motp": self.tracking.motp,
      "mse": _mean(self.mse),
      "nll": _mean(self.nll),
      "num_clips": len(self.clip_ari),
      "num_foreground": int(np.isfinite(self.clip_ari).sum()),
      **{f"pairs_{k}": v for k, v in dataclasses.asdict(self.stability).items()},
      "switches": self.tracking.switches,
      "misses": self.tracking.misses,
      "false_positives": self.tracking.false_positives,
      "objects": self.tracking.objects,
    }


COLUMNS = {
  "clip_ari_fg": "joint ARI-FG",
  "frame_ari_fg": "frame ARI-FG",
  "stability": "stability",
  "mota": "MOTA",
  "mse": "MSE",
  "nll": "NLL",
}


def is_video(data: Mapping[str, Any]) -> bool:
  """Whether the scenes of a `data` configuration are clips."""
  return datasets.get_spec(data["name"]).num_frames is not None


def score_masks(
  true_masks: np.ndarray | None,
  masks: np.ndarray,
  mse: np.ndarray,
  nll: np.ndarray,
  num_background: int,
) -> Scores:
  """Scores a batch of clips.

  Args:
    true_masks: [B, T, L, H, W, 1], or None: NaN for what needs them.
    masks: [B, T, K, H, W, 1].
    mse: [B, T].
    nll: [B, T].
    num_background: how many of the first L entities are background.
  """
  if true_masks is None:
    unknown = np.full(mse.shape, np.nan)
    return Scores(unknown[:, 0], unknown, mse, nll)
  pairs = list(zip(true_masks, masks, strict=True))
  return Scores(
    sequences.clip_ari_fg(true_masks, masks, num_background).numpy(),
    sequences.frame_ari_fg(true_masks, masks, num_background).numpy(),
    mse,
    nll,
    sum((sequences.slot_stability(t, m, num_background) for t, m in pairs), Stability()),
    sum((sequences.track(t, m, num_background) for t, m in pairs), Tracking()),
  )


def score(
  model: SlotModel,
  batches: Iterable[Mapping[str, Any]],
  num_background: int,
  num_slots: int | None = None,
  seed: int = 0,
  yardsticks: bool = False,
  still_iterations: int | None = None,
  pace: Pace | None = None,
) -> dict[str, Scores]:
  """Scores a model on clips.

  Args:
    model: a SlotModel that iterates.
    batches: scene batches of clips, `image` [B, T, H, W, C] and `mask` [B, T, L, H, W, 1] if any.
    num_background: how many of the first L entities are background.
    num_slots: K, the model's by default.
    seed: of the posterior samples.
    yardsticks: also what the slots' memory is measured by: the same model on each frame alone,
      and chance.
    still_iterations: T of the frames alone; the model's by default.
    pace: how often a clip's frames are looked at; the model's by default.

  Returns:
    dict from PREDICTED, UPDATED (and STILL, CHANCE) to Scores; CHANCE needs two clips and masks.
  """
  tracker = tracking.Tracker(model, num_slots, pace)
  still = inference.Inference(model, still_iterations, num_slots) if yardsticks else None
  found: dict[str, Scores] = {}
  first, begin, end = 0, None, None

  def add(name, true_masks, masks, mse, nll):
    own = score_masks(true_masks, masks, mse, nll, num_background)
    found[name] = found[name] + own if name in found else own

  def add_chance(true_masks, masks):
    if len(true_masks):
      unknown = np.full(true_masks.shape[:2], np.nan)
      add(CHANCE, true_masks, masks, unknown, unknown)

  for batch in batches:
    true_masks = batch["mask"].numpy() if "mask" in batch else None
    tracked = tracker(batch["image"], seed, first)
    for name, decoded in ((PREDICTED, tracked.predicted), (UPDATED, tracked.updated)):
      add(name, true_masks, decoded.masks, decoded.mse, decoded.nll)
    if yardsticks:
      add(STILL, true_masks, *_still(still, batch["image"], seed, first))
      if true_masks is not None:  # each clip by the slots of the one before it, whatever the batch
        masks, behind = tracked.updated.masks, true_masks
        if end is None:
          begin, behind = true_masks[:1], true_masks[1:]
        else:
          masks = np.concatenate([end, masks])
        add_chance(behind, masks[:-1])
        end = masks[-1:]
    first += len(batch["image"])
  if end is not None and first > 1:
    add_chance(begin, end)
  return found


def _still(infer, clips, seed, first):
  """(masks [B, T, K, H, W, 1], mse [B, T], nll [B, T]) of every frame by itself, slots linked."""
  found = []
  for number, frames in enumerate(clips, first):  # a clip at a time takes no more than the tracker
    output = infer(frames, seed, number * len(frames))
    order = sequences.link_slots(output.masks)
    masks = output.masks[np.arange(len(frames))[:, None], order]
    mse = np.mean(np.square(output.reconstruction - frames.numpy()), axis=(1, 2, 3))
    found.append((masks, mse, output.nll))
  return tuple(map(np.stack, zip(*found, strict=True)))


def clips_of(batches: Iterable[Mapping[str, Any]]) -> Iterator[tuple[np.ndarray, Any]]:
  """(frames [T, H, W, C], true masks [T, L, H, W, 1] or None) of every clip."""
  for batch in batches:
    masks = batch.get("mask")
    for row, frames in enumerate(batch["image"].numpy()):
      yield frames, None if masks is None else masks[row].numpy()


def draw(
  frames: np.ndarray,
  true_masks: np.ndarray | None,
  tracked: tracking.Tracked,
  num_background: int,
) -> tuple[Figure, np.ndarray]:
  """One clip as a figure (paper, Fig. 12) and as the pictures of an animation.

  Args:
    frames: [T, H, W, C].
    true_masks: [T, L, H, W, 1] or None.
    tracked: of a batch of this one clip.
    num_background: how many of the first L entities are background.

  Returns:
    (Figure, uint8 [T, H', W', 3]).
  """
  predicted, updated = (d._make(x[0] for x in d) for d in tracked)
  figure = plotting.sequence(
    frames,
    updated.masks,
    np.clip(updated.reconstruction, 0, 1),
    updated.means,
    true_masks=true_masks,
    predictions=np.clip(predicted.reconstruction, 0, 1),
    prediction_masks=predicted.masks,
    num_background=num_background,
  )
  animation = plotting.clip_frames(
    frames,
    updated.masks,
    np.clip(updated.reconstruction, 0, 1),
    true_masks=true_masks,
    num_background=num_background,
  )
  return figure, animation


def _mean(values):
  values = values[np.isfinite(values)]
  return float(values.mean()) if values.size else float("nan")
