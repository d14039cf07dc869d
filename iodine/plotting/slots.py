"""What a model makes of images: reconstruction, masks and slots side by side."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from numpy.typing import ArrayLike

from iodine.plotting.checks import array, check_labels
from iodine.plotting.grid import Grid
from iodine.plotting.pictures import gray_levels, mix_masks, slot_pictures, true_mask_picture
from iodine.plotting.style import WIDTH, Figure, slot_colors


def decomposition(
  images: ArrayLike,
  true_masks: ArrayLike | None,
  reconstructions: ArrayLike,
  masks: ArrayLike,
  means: ArrayLike,
  mask_logits: ArrayLike | None = None,
  *,
  slots: str | Sequence[str] = "masked",
  num_background: int = 1,
  row_labels: Sequence[str] | None = None,
  backdrop: float | None = None,
  width: float = WIDTH,
) -> Figure:
  """What the model makes of images (paper, Figs. 1, 4, 16-22).

  A row an image; columns: the image, its true masks (left out if None), the reconstruction, the
  masks mixed by probability, then each slot, its border in the colour of its mask. A true entity
  has the colour of the slot that overlaps it most (one to one); background is gray.

  Args:
    images: [N, H, W, C].
    true_masks: [N, L, H, W, 1] or None.
    reconstructions: [N, H, W, C].
    masks: [N, K, H, W, 1].
    means: [N, K, H, W, C].
    mask_logits: [N, K, H, W, 1], for "logits" only.
    slots: what to show of the slots: "masked" means, "unmasked" means, "mask" probabilities
      (white: 1) or "logits" (one gray scale an image), or a sequence of these: a row each.
    num_background: how many of the first L entities are background.
    row_labels: N strings at the left.
    backdrop: gray value in [0, 1] behind masked slots; white for colour, gray for gray images.
    width: of the figure, inches.

  Returns:
    Figure with a visible axis for each picture, row by row.

  Raises:
    ValueError: a shape is not as above, or a variant is unknown.
  """
  images = array("images", images, "N H W C")
  sizes = dict(zip("NHWC", images.shape, strict=True))
  reconstructions = array("reconstructions", reconstructions, "N H W C", sizes)
  masks = array("masks", masks, "N K H W 1", sizes)
  means = array("means", means, "N K H W C", {**sizes, "K": masks.shape[1]})
  if true_masks is not None:
    true_masks = array("true_masks", true_masks, "N L H W 1", sizes)
  if mask_logits is not None:
    mask_logits = array("mask_logits", mask_logits, "N K H W 1", {**sizes, "K": masks.shape[1]})
  variants = _variants(slots, mask_logits)
  check_labels("row_labels", row_labels, len(images))
  num_slots = masks.shape[1]
  colors = slot_colors(num_slots)
  titles = ["Image", "True masks", "Reconstr.", "Masks"]
  if true_masks is None:
    titles.remove("True masks")
  summary = len(titles)
  titles += [f"Slot {k + 1}" for k in range(num_slots)]
  grid = Grid(
    len(images) * len(variants), len(titles), images.shape[1:3], width, titles,
    groups=(1, summary), row_groups=len(variants),
    row_labels=_spread(row_labels, len(variants)),
  )  # fmt: skip
  for n in range(len(images)):
    row = n * len(variants)
    pictures = [images[n], reconstructions[n], mix_masks(masks[n], colors)]
    if true_masks is not None:
      pictures.insert(1, true_mask_picture(true_masks[n], masks[n], colors, num_background))
    for column, picture in enumerate(pictures):
      grid.show(row, column, picture)
    for i, variant in enumerate(variants):
      levels = None if mask_logits is None else gray_levels(mask_logits[n])
      shown = slot_pictures(variant, masks[n], means[n], levels, backdrop)
      if i > 0:
        grid.note(row + i, summary - 1, variant)
      for k, picture in enumerate(shown):
        grid.show(row + i, summary + k, picture, border=colors[k])
  return grid.figure


def refinement(
  image: ArrayLike,
  masks: ArrayLike,
  means: ArrayLike,
  reconstructions: ArrayLike,
  true_masks: ArrayLike | None = None,
  *,
  mask_logits: ArrayLike | None = None,
  slots: str = "masked",
  iterations: Sequence[int] | None = None,
  num_background: int = 1,
  backdrop: float | None = None,
  width: float = WIDTH,
) -> Figure:
  """How a decomposition settles over the iterations (paper, Figs. 7 and 8).

  A row an iteration: reconstruction, masks, each slot; the image, and the true masks if given and
  if there are two rows, stand at the left of the first rows.

  Args:
    image: [H, W, C].
    masks: [T, K, H, W, 1].
    means: [T, K, H, W, C].
    reconstructions: [T, H, W, C].
    true_masks: [L, H, W, 1] or None.
    mask_logits: [T, K, H, W, 1], for "logits" only.
    slots: one of the variants of `decomposition`.
    iterations: T numbers to label the rows with; 1 to T by default.
    num_background: how many of the first L entities are background.
    backdrop: see `decomposition`.
    width: of the figure, inches.

  Returns:
    Figure.

  Raises:
    ValueError: a shape is not as above, or the variant is unknown.
  """
  image = array("image", image, "H W C")
  sizes = dict(zip("HWC", image.shape, strict=True))
  masks = array("masks", masks, "T K H W 1", sizes)
  sizes.update(zip("TK", masks.shape, strict=False))
  means = array("means", means, "T K H W C", sizes)
  reconstructions = array("reconstructions", reconstructions, "T H W C", sizes)
  if mask_logits is not None:
    mask_logits = array("mask_logits", mask_logits, "T K H W 1", sizes)
    levels = gray_levels(mask_logits)  # a mask that fades from iteration to iteration is seen to
  (variant,) = _variants([slots], mask_logits)
  iterations = range(1, len(masks) + 1) if iterations is None else iterations
  check_labels("iterations", iterations, len(masks))
  colors = slot_colors(masks.shape[1])
  titles = ["Image", "Reconstr.", "Masks", *(f"Slot {k + 1}" for k in range(masks.shape[1]))]
  labels = [f"t = {t}" for t in iterations]
  grid = Grid(
    len(masks), len(titles), image.shape[:2], width, titles, groups=(1, 3), row_labels=labels
  )
  grid.show(0, 0, image)
  if true_masks is not None and len(masks) > 1:
    true_masks = array("true_masks", true_masks, "L H W 1", sizes)
    grid.show(1, 0, true_mask_picture(true_masks, masks[-1], colors, num_background))
    grid.caption(1, 0, "True masks")
  for t in range(len(masks)):
    grid.show(t, 1, reconstructions[t])
    grid.show(t, 2, mix_masks(masks[t], colors))
    own = None if mask_logits is None else levels[t]
    for k, picture in enumerate(slot_pictures(variant, masks[t], means[t], own, backdrop)):
      grid.show(t, 3 + k, picture, border=colors[k])
  return grid.figure


def _variants(slots, mask_logits):
  variants = [slots] if isinstance(slots, str) else list(slots)
  known = ("masked", "unmasked", "mask", "logits")
  for variant in variants:
    if variant not in known:
      raise ValueError(f"expected slots to be of {', '.join(known)}, got {variant!r}")
    if variant == "logits" and mask_logits is None:
      raise ValueError('slots="logits" needs mask_logits, got None')
  return variants


def _spread(labels, every):
  """One label for `every` rows, at the first of them."""
  if labels is None:
    return None
  return [text for label in labels for text in [label] + [""] * (every - 1)]


class Panel(NamedTuple):
  """Decompositions of one model, for `panels`; the arrays are named as for `decomposition`.

  Attributes:
    images: [N, H, W, C].
    reconstructions: [N, H, W, C].
    masks: [N, K, H, W, 1].
    means: [N, K, H, W, C] or None: no rows for the slots.
    true_masks: [N, L, H, W, 1] or None.
    num_background: how many of the first L entities are background.
  """

  images: ArrayLike
  reconstructions: ArrayLike
  masks: ArrayLike
  means: ArrayLike | None = None
  true_masks: ArrayLike | None = None
  num_background: int = 1


def panels(
  runs: Mapping[str, Panel], *, backdrop: float | None = None, width: float = WIDTH
) -> Figure:
  """Models of several data sets beside one another, an image a column (paper, Fig. 11).

  Rows: the image, its true masks (where a panel has them), the reconstruction, the masks mixed by
  probability, then each slot, its border in the colour of its mask. Images of other sizes and
  models of other numbers of slots stand beside one another; what a panel has not, stays empty.

  Args:
    runs: dict from the title of a panel to the Panel, from left to right.
    backdrop: see `decomposition`.
    width: of the figure, inches.

  Returns:
    Figure with a visible axis for each picture, panel by panel and image by image.

  Raises:
    ValueError: there is no panel, or a shape is not as above.
  """
  if not runs:
    raise ValueError("expected at least one panel, got none")
  columns = [
    (title, pictures) for title, panel in runs.items() for pictures in _columns(panel, backdrop)
  ]
  # In the order in which they first occur, but the slots last.
  rows = list(dict.fromkeys(name for _, pictures in columns for name in pictures))
  order = {"Image": 0, "True masks": 1, "Reconstr.": 2, "Masks": 3}
  rows.sort(key=lambda name: order.get(name, 4))
  titles = [title for title, _ in columns]
  first = {title: titles.index(title) for title in runs}
  shapes = [pictures["Image"][0].shape[:2] for _, pictures in columns]
  grid = Grid(
    len(rows),
    len(columns),
    max(shapes, key=lambda shape: shape[0] / shape[1]),
    width,
    groups=tuple(first.values()),
    row_labels=rows,
    above=Grid.TITLE,
  )
  for title, start in first.items():
    grid.heading(start, start + titles.count(title) - 1, title)
  for column, (_, pictures) in enumerate(columns):
    for name, (picture, border) in pictures.items():
      grid.show(rows.index(name), column, picture, border)
  return grid.figure


def _columns(panel, backdrop):
  """Of each image of a panel: row name -> (picture, colour of its border or None)."""
  images = array("images", panel.images, "N H W C")
  sizes = dict(zip("NHWC", images.shape, strict=True))
  reconstructions = array("reconstructions", panel.reconstructions, "N H W C", sizes)
  masks = array("masks", panel.masks, "N K H W 1", sizes)
  colors = slot_colors(masks.shape[1])
  means, true_masks = panel.means, panel.true_masks
  if means is not None:
    means = array("means", means, "N K H W C", {**sizes, "K": masks.shape[1]})
  if true_masks is not None:
    true_masks = array("true_masks", true_masks, "N L H W 1", sizes)
  for n in range(len(images)):
    pictures = {"Image": (images[n], None)}
    if true_masks is not None:
      shown = true_mask_picture(true_masks[n], masks[n], colors, panel.num_background)
      pictures["True masks"] = shown, None
    pictures["Reconstr."] = reconstructions[n], None
    pictures["Masks"] = mix_masks(masks[n], colors), None
    if means is not None:
      shown = slot_pictures("masked", masks[n], means[n], None, backdrop)
      for k, color in enumerate(colors):
        pictures[f"Slot {k + 1}"] = shown[k], color
    yield pictures
