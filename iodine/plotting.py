"""Every figure, as a function from NumPy arrays to a Figure; saving it is the caller's.

Figures are made for the text width of a paper, without pyplot, without a display and without
touching matplotlib's global settings. Images are float [H, W, C] in [0, 1] with C = 1 or 3.
"""

import io
from collections.abc import Mapping

import matplotlib
import matplotlib.figure
import numpy as np
from matplotlib import colors as mcolors
from matplotlib.backends.backend_agg import FigureCanvasAgg

from iodine import factors

WIDTH = 6.75  # inches, both columns of a two-column paper
COLUMN = 3.25  # inches, one of them

# Okabe and Ito's colours without black, then four that keep the largest distance to all others
# (CIELAB, under normal vision and simulated prot-, deuter- and tritanopia).
PALETTE = (
  "#0072B2",  # blue
  "#E69F00",  # orange
  "#009E73",  # bluish green
  "#D55E00",  # vermilion
  "#56B4E9",  # sky blue
  "#CC79A7",  # reddish purple
  "#F0E442",  # yellow
  "#8800FF",  # violet
  "#552200",  # brown
  "#AADD88",  # light green
  "#333344",  # charcoal
)
BACKGROUND = "#BBBBBB"  # true background entities

STYLE = {
  "font.family": "sans-serif",
  "font.sans-serif": ["DejaVu Sans"],
  "font.size": 7,
  "axes.titlesize": 7,
  "axes.labelsize": 7,
  "xtick.labelsize": 6,
  "ytick.labelsize": 6,
  "legend.fontsize": 6,
  "legend.frameon": False,
  "axes.linewidth": 0.6,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "xtick.major.width": 0.6,
  "ytick.major.width": 0.6,
  "xtick.major.size": 2.5,
  "ytick.major.size": 2.5,
  "lines.linewidth": 1.2,
  "image.interpolation": "nearest",
  "pdf.fonttype": 42,
  "ps.fonttype": 42,
  "svg.fonttype": "none",
}


class Figure(matplotlib.figure.Figure):
  """A figure that is drawn and saved in our style whatever the global settings are."""

  def savefig(self, fname, **kwargs):
    with matplotlib.rc_context(STYLE):
      super().savefig(fname, **kwargs)


def to_image(figure, dpi=150):
  """Renders a figure: uint8 [H, W, 3], for TensorBoard and GIFs."""
  with matplotlib.rc_context(STYLE):
    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.set_dpi(dpi)
    canvas.draw()
    canvas.print_raw(buffer)
  width, height = canvas.get_width_height()
  return np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)[..., :3].copy()


def slot_colors(num_slots):
  """One colour for each slot: float [K, 3]; past the palette it repeats, paler."""
  colors = np.array([mcolors.to_rgb(c) for c in PALETTE])
  rounds = -(-num_slots // len(colors))
  return np.concatenate([1 - (1 - colors) * 0.55**i for i in range(max(rounds, 1))])[:num_slots]


def mix_masks(masks, colors=None):
  """Colours every pixel by its slots, in proportion to their probabilities.

  Args:
    masks: float [K, H, W, 1].
    colors: float [K, 3], `slot_colors` by default.

  Returns:
    float [H, W, 3].
  """
  masks = _array("masks", masks, "K H W 1")
  colors = slot_colors(len(masks)) if colors is None else colors
  return np.clip(np.einsum("khwi,kc->hwc", masks, colors), 0, 1)


def decomposition(
  images,
  true_masks,
  reconstructions,
  masks,
  means,
  mask_logits=None,
  *,
  slots="masked",
  num_background=1,
  row_labels=None,
  backdrop=None,
  width=WIDTH,
):
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
  images = _array("images", images, "N H W C")
  sizes = dict(zip("NHWC", images.shape, strict=True))
  reconstructions = _array("reconstructions", reconstructions, "N H W C", sizes)
  masks = _array("masks", masks, "N K H W 1", sizes)
  means = _array("means", means, "N K H W C", {**sizes, "K": masks.shape[1]})
  if true_masks is not None:
    true_masks = _array("true_masks", true_masks, "N L H W 1", sizes)
  if mask_logits is not None:
    mask_logits = _array("mask_logits", mask_logits, "N K H W 1", {**sizes, "K": masks.shape[1]})
  variants = _variants(slots, mask_logits)
  _check_labels("row_labels", row_labels, len(images))
  num_slots = masks.shape[1]
  colors = slot_colors(num_slots)
  titles = ["Image", "True masks", "Reconstr.", "Masks"]
  if true_masks is None:
    titles.remove("True masks")
  summary = len(titles)
  titles += [f"Slot {k + 1}" for k in range(num_slots)]
  grid = _Grid(
    len(images) * len(variants), len(titles), images.shape[1:3], width, titles,
    groups=(1, summary), row_groups=len(variants),
    row_labels=_spread(row_labels, len(variants)),
  )  # fmt: skip
  for n in range(len(images)):
    row = n * len(variants)
    pictures = [images[n], reconstructions[n], mix_masks(masks[n], colors)]
    if true_masks is not None:
      pictures.insert(1, _true_mask_picture(true_masks[n], masks[n], colors, num_background))
    for column, picture in enumerate(pictures):
      grid.show(row, column, picture)
    for i, variant in enumerate(variants):
      logits = None if mask_logits is None else mask_logits[n]
      shown = _slot_pictures(variant, masks[n], means[n], logits, backdrop)
      if i > 0:
        grid.note(row + i, summary - 1, variant)
      for k, picture in enumerate(shown):
        grid.show(row + i, summary + k, picture, border=colors[k])
  return grid.figure


def refinement(
  image,
  masks,
  means,
  reconstructions,
  true_masks=None,
  *,
  mask_logits=None,
  slots="masked",
  iterations=None,
  num_background=1,
  backdrop=None,
  width=WIDTH,
):
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
  image = _array("image", image, "H W C")
  sizes = dict(zip("HWC", image.shape, strict=True))
  masks = _array("masks", masks, "T K H W 1", sizes)
  sizes.update(zip("TK", masks.shape, strict=False))
  means = _array("means", means, "T K H W C", sizes)
  reconstructions = _array("reconstructions", reconstructions, "T H W C", sizes)
  if mask_logits is not None:
    mask_logits = _array("mask_logits", mask_logits, "T K H W 1", sizes)
  (variant,) = _variants([slots], mask_logits)
  iterations = range(1, len(masks) + 1) if iterations is None else iterations
  _check_labels("iterations", iterations, len(masks))
  colors = slot_colors(masks.shape[1])
  titles = ["Image", "Reconstr.", "Masks", *(f"Slot {k + 1}" for k in range(masks.shape[1]))]
  labels = [f"t = {t}" for t in iterations]
  grid = _Grid(
    len(masks), len(titles), image.shape[:2], width, titles, groups=(1, 3), row_labels=labels
  )
  grid.show(0, 0, image)
  if true_masks is not None and len(masks) > 1:
    true_masks = _array("true_masks", true_masks, "L H W 1", sizes)
    grid.show(1, 0, _true_mask_picture(true_masks, masks[-1], colors, num_background))
    grid.caption(1, 0, "True masks")
  for t in range(len(masks)):
    grid.show(t, 1, reconstructions[t])
    grid.show(t, 2, mix_masks(masks[t], colors))
    logits = None if mask_logits is None else mask_logits[t]
    for k, picture in enumerate(_slot_pictures(variant, masks[t], means[t], logits, backdrop)):
      grid.show(t, 3 + k, picture, border=colors[k])
  return grid.figure


def curves_per_iteration(ari, mse, kl, *, trained_iterations=None, width=WIDTH):
  """ARI, MSE and KL against the number of iterations at test time (paper, Figs. 7 and 8).

  Args:
    ari: [N, T], by image and iteration, or a dict from a label (a run, a training T) to such an
      array; T may differ between labels. NaN, an image without foreground, is left out.
    mse: likewise.
    kl: likewise, nats.
    trained_iterations: T in training, marked by a dotted line; a number, or a dict by label.
    width: of the figure, inches.

  Returns:
    Figure with three axes: medians as lines, the quartiles shaded.

  Raises:
    ValueError: an array is not of rank 2.
  """
  panels = {"ARI": ari, "MSE": mse, "KL (nats)": kl}
  return quantile_curves(panels, xlabel="Iteration", mark=trained_iterations, width=width)


def quantile_curves(panels, x=None, *, xlabel, mark=None, width=WIDTH):
  """Median and quartiles over images against anything, e.g. the number of slots (paper, Fig. 9).

  Args:
    panels: dict from the name of a y axis to [N, X] or to a dict from label to [N, X].
    x: [X], 1 to X by default.
    xlabel: name of the x axis.
    mark: x of a dotted vertical line, or a dict from label to x.
    width: of the figure, inches.

  Returns:
    Figure with one axis a panel.

  Raises:
    ValueError: an array is not of rank 2, or `x` of another length.
  """

  def draw(axis, values, color, label):
    values = _array(axis.get_ylabel(), values, "N X", {} if x is None else {"X": len(x)})
    positions = np.arange(1, values.shape[1] + 1) if x is None else np.asarray(x)
    low, median, high = _quantiles(values, (0.25, 0.5, 0.75))
    marker = "o" if len(positions) <= 20 else None
    axis.fill_between(positions, low, high, color=color, alpha=0.2, linewidth=0)
    axis.plot(positions, median, color=color, label=label, marker=marker, markersize=2)
    at = mark.get(label) if isinstance(mark, Mapping) else mark
    if at is not None:
      line_color = color if isinstance(mark, Mapping) else "0.5"
      axis.axvline(at, color=line_color, linestyle=":", linewidth=0.8, zorder=0)

  return _line_panels(panels, xlabel, draw, width, integer_x=x is None)


def learning_curves(steps, curves, *, xlabel="Step", width=WIDTH):
  """Curves of training (paper, Figs. 23, 33-40).

  Args:
    steps: [S].
    curves: dict from the name of a y axis to [S], to [R, S] (several seeds: their median, and
      their range shaded), or to a dict from label (a run, an ablation) to such an array. NaN is
      left out.
    xlabel: name of the x axis.
    width: of the figure, inches.

  Returns:
    Figure with one axis a panel.

  Raises:
    ValueError: an array is neither [S] nor [R, S].
  """
  steps = np.asarray(steps)

  def draw(axis, values, color, label):
    values = np.asarray(values, np.float64)
    values = values[None] if values.ndim == 1 else values
    values = _array(axis.get_ylabel(), values, "R S", {"S": len(steps)})
    low, median, high = _quantiles(values, (0.0, 0.5, 1.0))
    if len(values) > 1:
      axis.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    axis.plot(steps, median, color=color, label=label)

  return _line_panels(curves, xlabel, draw, width)


class _Grid:
  """Square-set pictures with tight gutters: all sizes are computed, nothing is left to a layout.

  Args:
    num_rows, num_columns: of pictures.
    image_size: (H, W) of each.
    width: of the figure, inches.
    titles: of the columns, or None.
    groups: indices of columns that stand apart from the one before.
    row_groups: how many rows form a group; groups stand apart.
    row_labels: of the rows, or None.
  """

  GUTTER, GROUP_GUTTER, MARGIN, TITLE, MAX_CELL = 0.035, 0.09, 0.03, 0.17, 1.1

  def __init__(
    self, num_rows, num_columns, image_size, width, titles=None, groups=(), row_groups=1,
    row_labels=None,
  ):  # fmt: skip
    longest = max((len(label) for label in row_labels or [""]), default=0)
    left = self.MARGIN + (0.06 + 0.058 * longest if longest else 0)
    columns = np.array(
      [0] + [self.GROUP_GUTTER if c in groups else 0 for c in range(1, num_columns)]
    )
    gutters = np.cumsum(columns + self.GUTTER) - self.GUTTER
    cell = (width - left - self.MARGIN - gutters[-1]) / num_columns
    self._cell = cell = min(cell, self.MAX_CELL)
    self._cell_height = cell * image_size[0] / image_size[1]
    self._x = left + gutters + cell * np.arange(num_columns)
    top = self.MARGIN + (self.TITLE if titles else 0)
    rows = np.arange(num_rows)
    apart = self.GROUP_GUTTER * (rows // row_groups) if row_groups > 1 else 0 * rows
    below = rows * (self._cell_height + self.GUTTER) + apart
    height = top + below[-1] + self._cell_height + self.MARGIN
    self._y = height - top - below - self._cell_height
    self._size = width_used, _ = self._x[-1] + cell + self.MARGIN, height
    self.figure = Figure(figsize=(width_used, height))
    with matplotlib.rc_context(STYLE):
      self._write_labels(titles, row_labels)

  def show(self, row, column, picture, border=None, **kwargs):
    """Draws a picture into a cell; returns its axis."""
    width, height = self._size
    box = [
      self._x[column] / width,
      self._y[row] / height,
      self._cell / width,
      self._cell_height / height,
    ]
    with matplotlib.rc_context(STYLE):
      axis = self.figure.add_axes(box)
      axis.imshow(_rgb(picture), aspect="auto", interpolation="nearest", **kwargs)
      axis.set_xticks([])
      axis.set_yticks([])
      for spine in axis.spines.values():
        spine.set(visible=True, color="0.75" if border is None else border)
        spine.set_linewidth(0.4 if border is None else 1.5)
    return axis

  def caption(self, row, column, text):
    """A title under a cell."""
    width, height = self._size
    self.figure.text(
      (self._x[column] + self._cell / 2) / width, (self._y[row] - 0.03) / height, text,
      ha="center", va="top", fontsize=self._fontsize,
    )  # fmt: skip

  def note(self, row, column, text):
    """A text at the right edge of an empty cell."""
    width, height = self._size
    x, y = self._x[column] + self._cell, self._y[row] + self._cell_height / 2
    self.figure.text(x / width, y / height, text, ha="right", va="center", fontsize=7)

  def _write_labels(self, titles, row_labels):
    width, height = self._size
    size = min(7.0, 72 * self._cell / (0.62 * max(map(len, titles)))) if titles else 7.0
    self._fontsize = size
    top = (self._y[0] + self._cell_height + 0.04) / height
    for x, title in zip(self._x, titles or [], strict=False):
      x = (x + self._cell / 2) / width
      self.figure.text(x, top, title, ha="center", va="bottom", fontsize=size)
    x = (self._x[0] - 0.06) / width
    for y, label in zip(self._y, row_labels or [], strict=False):
      y = (y + self._cell_height / 2) / height
      self.figure.text(x, y, label, ha="right", va="center", fontsize=7)


def _line_panels(panels, xlabel, draw, width, integer_x=False):
  """One axis a panel, side by side (at most four in a row); a legend where there are labels."""
  panels = {
    name: values if isinstance(values, Mapping) else {None: values}
    for name, values in panels.items()
  }
  labels = list(dict.fromkeys(label for curves in panels.values() for label in curves))
  color_of = dict(zip(labels, slot_colors(len(labels)), strict=True))
  columns = min(len(panels), 4)
  rows = -(-len(panels) // columns)
  with matplotlib.rc_context(STYLE):
    cell = min(width / columns, COLUMN)
    figure = Figure(figsize=(cell * columns, 0.78 * cell * rows + 0.1), layout="constrained")
    for i, (name, curves) in enumerate(panels.items()):
      axis = figure.add_subplot(rows, columns, i + 1)
      axis.set(xlabel=xlabel, ylabel=name)
      for label, values in curves.items():
        draw(axis, values, color_of[label], label)
      axis.margins(x=0.02)
      axis.grid(color="0.92", linewidth=0.5)
      axis.set_axisbelow(True)
      if integer_x:
        axis.xaxis.get_major_locator().set_params(integer=True)
    if labels != [None]:
      handles, names = figure.axes[0].get_legend_handles_labels()
      figure.legend(handles, names, loc="outside upper center", ncols=min(len(names), 6))
  return figure


def _quantiles(values, quantiles):
  """Over the first axis, NaN left out; NaN where nothing is left: [Q, X]."""
  result = np.full([len(quantiles), values.shape[1]], np.nan)
  defined = np.isfinite(values).any(axis=0)
  if defined.any():
    finite = np.where(np.isfinite(values), values, np.nan)[:, defined]
    result[:, defined] = np.nanquantile(finite, quantiles, axis=0)
  return result


def _slot_pictures(variant, masks, means, logits, backdrop):
  """[K, H, W, 1 or C]."""
  if variant == "unmasked":
    return means
  if variant == "mask":
    return masks
  if variant == "logits":
    low, high = logits.min(), logits.max()
    return (logits - low) / max(high - low, 1e-12)
  if backdrop is None:
    backdrop = 1.0 if means.shape[-1] == 3 else 0.5
  return masks * np.clip(means, 0, 1) + (1 - masks) * backdrop


def _true_mask_picture(true_masks, masks, colors, num_background):
  """Entities in the colours of the slots that overlap them most, one to one: [H, W, 3]."""
  own = np.tile(mcolors.to_rgb(BACKGROUND), [len(true_masks), 1])
  objects = np.arange(num_background, len(true_masks))
  matched = factors.match_slots(true_masks[None], masks[None], num_background)[0]
  spare = iter(slot_colors(len(masks) + len(true_masks))[len(masks) :])
  for entity in objects:
    present = true_masks[entity].any()
    if matched[entity] >= 0:
      own[entity] = colors[matched[entity]]
    elif present:
      own[entity] = next(spare)
  return mix_masks(true_masks, own)


def _rgb(picture):
  """[H, W, 1 or 3] -> [H, W, 3] in [0, 1]."""
  picture = np.clip(np.asarray(picture, np.float32), 0, 1)
  return np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture


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


def _check_labels(name, labels, number):
  if labels is not None and len(labels) != number:
    raise ValueError(f"expected {number} {name}, got {len(labels)}")


def _array(name, value, axes, sizes=None):
  """A float array whose shape is checked: "N H W C", C being 1 or 3; letters bound in `sizes`."""
  value = np.asarray(value)
  axes, sizes = axes.split(), sizes or {}
  wanted = [sizes.get(axis, 1 if axis == "1" else None) for axis in axes]
  fits = value.ndim == len(axes) and all(
    w is None or w == s for w, s in zip(wanted, value.shape, strict=True)
  )
  if fits and axes[-1] == "C":
    fits = value.shape[-1] in (1, 3)
  if not fits or 0 in value.shape:
    bound = [f"{a}={w}" if w and a != "1" else a for a, w in zip(axes, wanted, strict=True)]
    if bound[-1] == "C":
      bound[-1] = "C=1 or 3"
    raise ValueError(f"expected {name} [{', '.join(bound)}], got {list(value.shape)}")
  return value.astype(np.float64 if value.dtype.itemsize > 4 else np.float32)
