"""Clips: what becomes of the slots over time, as a figure and as an animation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from iodine.plotting.checks import array, check_labels
from iodine.plotting.grid import Grid
from iodine.plotting.pictures import entity_colors, mix_masks, rgb, slot_pictures
from iodine.plotting.style import WIDTH, Figure, slot_colors

SMALLEST = 128  # pixels: pictures of an animation are enlarged until they are as high as this


def sequence(
  frames: ArrayLike,
  masks: ArrayLike,
  reconstructions: ArrayLike | None = None,
  means: ArrayLike | None = None,
  *,
  true_masks: ArrayLike | None = None,
  predictions: ArrayLike | None = None,
  prediction_masks: ArrayLike | None = None,
  times: Sequence[int] | None = None,
  max_columns: int = 8,
  num_background: int = 1,
  backdrop: float | None = None,
  width: float = WIDTH,
) -> Figure:
  """What the model makes of a clip (paper, Fig. 12).

  A column a frame, from left to right; rows: the frames, the true masks, the predictions of each
  frame from those before it and their masks, the reconstructions, the masks mixed by probability,
  and each slot, its border in the colour of its mask. Rows that are not given are left out. An
  entity has one colour through the clip: that of the slot that overlaps it most in all frames.

  Args:
    frames: [T, H, W, C].
    masks: [T, K, H, W, 1].
    reconstructions: [T, H, W, C] or None.
    means: [T, K, H, W, C] or None: no rows for the slots.
    true_masks: [T, L, H, W, 1] or None.
    predictions: [T, H, W, C] or None.
    prediction_masks: [T, K, H, W, 1], of the predictions, or None.
    times: T numbers to label the columns with; 1 to T by default.
    max_columns: a longer clip is shown by every n-th frame, from the first.
    num_background: how many of the first L entities are background.
    backdrop: see `decomposition`.
    width: of the figure, inches.

  Returns:
    Figure with a visible axis for each picture, row by row.

  Raises:
    ValueError: a shape is not as above, or `max_columns` is below 1.
  """
  frames = array("frames", frames, "T H W C")
  sizes = dict(zip("THWC", frames.shape, strict=True))
  masks = array("masks", masks, "T K H W 1", sizes)
  colors = slot_colors(masks.shape[1])
  times = range(1, len(frames) + 1) if times is None else times
  check_labels("times", times, len(frames))
  if max_columns < 1:
    raise ValueError(f"expected max_columns of at least 1, got {max_columns}")
  rows = {"Frame": frames}
  if true_masks is not None:
    true_masks = array("true_masks", true_masks, "T L H W 1", sizes)
    own = _clip_colors(true_masks, masks, colors, num_background)
    rows["True masks"] = [mix_masks(m, own) for m in true_masks]
  if predictions is not None:
    rows["Prediction"] = array("predictions", predictions, "T H W C", sizes)
  if prediction_masks is not None:
    same = {**sizes, "K": masks.shape[1]}
    prediction_masks = array("prediction_masks", prediction_masks, "T K H W 1", same)
    rows["Pred. masks"] = [mix_masks(m, colors) for m in prediction_masks]
  if reconstructions is not None:
    rows["Reconstr."] = array("reconstructions", reconstructions, "T H W C", sizes)
  rows["Masks"] = [mix_masks(m, colors) for m in masks]
  borders = [None] * len(rows)
  if means is not None:
    means = array("means", means, "T K H W C", {**sizes, "K": masks.shape[1]})
    shown = [slot_pictures("masked", *x, None, backdrop) for x in zip(masks, means, strict=True)]
    for k, color in enumerate(colors):
      rows[f"Slot {k + 1}"] = [pictures[k] for pictures in shown]
      borders.append(color)
  chosen = range(0, len(frames), -(-len(frames) // max_columns))
  grid = Grid(
    len(rows),
    len(chosen),
    frames.shape[1:3],
    width,
    [f"t = {times[t]}" for t in chosen],
    row_labels=list(rows),
  )
  for row, (pictures, border) in enumerate(zip(rows.values(), borders, strict=True)):
    for column, t in enumerate(chosen):
      grid.show(row, column, pictures[t], border)
  return grid.figure


def clip_frames(
  frames: ArrayLike,
  masks: ArrayLike,
  reconstructions: ArrayLike | None = None,
  *,
  true_masks: ArrayLike | None = None,
  num_background: int = 1,
  opacity: float = 0.6,
  scale: int | None = None,
) -> np.ndarray:
  """The pictures of an animation: frame | reconstruction | true masks | masks over the frame.

  Args:
    frames: [T, H, W, C].
    masks: [T, K, H, W, 1].
    reconstructions: [T, H, W, C], or None: left out.
    true_masks: [T, L, H, W, 1], or None: left out.
    num_background: how many of the first L entities are background.
    opacity: of the masks over the frame, which is gray there.
    scale: how many pixels wide one of the frame's becomes; by default enough for a height of 128.

  Returns:
    uint8 [T, scale * H, W', 3], for `write_clip` or TensorBoard; the height and W' are even, as
    video wants them.

  Raises:
    ValueError: a shape is not as above, `opacity` is not in [0, 1], or `scale` is below 1.
  """
  frames = array("frames", frames, "T H W C")
  sizes = dict(zip("THWC", frames.shape, strict=True))
  masks = array("masks", masks, "T K H W 1", sizes)
  scale = -(-SMALLEST // frames.shape[1]) if scale is None else scale
  if scale < 1 or not 0 <= opacity <= 1:
    raise ValueError(
      f"expected a scale of at least 1 and an opacity in [0, 1], got {scale} and {opacity}"
    )
  colors = slot_colors(masks.shape[1])
  shown = [np.stack([rgb(frame) for frame in frames])]
  if reconstructions is not None:
    reconstructions = array("reconstructions", reconstructions, "T H W C", sizes)
    shown.append(np.stack([rgb(picture) for picture in reconstructions]))
  if true_masks is not None:
    true_masks = array("true_masks", true_masks, "T L H W 1", sizes)
    own = _clip_colors(true_masks, masks, colors, num_background)
    shown.append(np.stack([mix_masks(m, own) for m in true_masks]))
  gray = shown[0].mean(axis=-1, keepdims=True)
  mixed = np.stack([mix_masks(m, colors) for m in masks])
  shown.append((1 - opacity) * gray + opacity * mixed)
  gap = np.ones([*frames.shape[:2], max(1, round(4 / scale)), 3])
  parts = [part for picture in shown for part in (gap, picture)][1:]
  pixels = np.concatenate(parts, axis=2).repeat(scale, axis=1).repeat(scale, axis=2)
  pixels = np.round(pixels * 255).astype(np.uint8)
  odd = [(0, size % 2) for size in pixels.shape[1:3]]
  return np.pad(pixels, [(0, 0), *odd, (0, 0)], constant_values=255)


def _clip_colors(true_masks, masks, colors, num_background):
  """Entities' colours for a whole clip, as if its frames stood below one another: [L, 3]."""
  tall = [np.concatenate(list(m), axis=1) for m in (true_masks, masks)]  # [L or K, T*H, W, 1]
  return entity_colors(*tall, colors, num_background)
