"""Every figure, as a function from NumPy arrays to a Figure; saving it is the caller's.

Images are float [H, W, C] in [0, 1] with C = 1 or 3. Nothing else in the package imports
matplotlib, and this only when it is asked for: `from iodine import plotting`.
"""

from iodine.plotting.animation import encode_gif, write_clip, write_video
from iodine.plotting.curves import (
  curves_per_iteration,
  frame_curves,
  learning_curves,
  quantile_curves,
)
from iodine.plotting.latents import Coloring, paths, projections, traversals
from iodine.plotting.pictures import mix_masks
from iodine.plotting.scores import comparison, factor_predictions, importances, ranking
from iodine.plotting.sequences import clip_frames, sequence
from iodine.plotting.slots import Panel, decomposition, panels, refinement
from iodine.plotting.style import (
  BACKGROUND,
  COLUMN,
  PALETTE,
  STYLE,
  WIDTH,
  Figure,
  slot_colors,
  to_image,
)
from iodine.plotting.tables import score_table

__all__ = [
  "BACKGROUND",
  "COLUMN",
  "PALETTE",
  "STYLE",
  "WIDTH",
  "Coloring",
  "Figure",
  "Panel",
  "clip_frames",
  "comparison",
  "curves_per_iteration",
  "decomposition",
  "encode_gif",
  "factor_predictions",
  "frame_curves",
  "importances",
  "learning_curves",
  "mix_masks",
  "panels",
  "paths",
  "projections",
  "quantile_curves",
  "ranking",
  "refinement",
  "score_table",
  "sequence",
  "slot_colors",
  "to_image",
  "traversals",
  "write_clip",
  "write_video",
]
