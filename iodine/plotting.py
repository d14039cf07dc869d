"""Every figure, as a function from NumPy arrays to a Figure; saving it is the caller's.

Figures are made for the text width of a paper, without pyplot, without a display and without
touching matplotlib's global settings. Images are float [H, W, C] in [0, 1] with C = 1 or 3.
"""

import io
from collections.abc import Mapping
from typing import NamedTuple

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

  def _repr_png_(self):
    """What a notebook shows."""
    buffer = io.BytesIO()
    self.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


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


def quantile_curves(panels, x=None, *, xlabel, mark=None, integer_x=None, width=WIDTH):
  """Median and quartiles over images against anything, e.g. the number of slots (paper, Fig. 9).

  Args:
    panels: dict from the name of a y axis to [N, X] or to a dict from label to [N, X].
    x: [X], 1 to X by default.
    xlabel: name of the x axis.
    mark: x of a dotted vertical line, or a dict from label to x.
    integer_x: whether only whole numbers are marked on the x axis; by default if `x` is None.
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

  integer_x = x is None if integer_x is None else integer_x
  return _line_panels(panels, xlabel, draw, width, integer_x)


def learning_curves(steps, curves, *, xlabel="Step", width=WIDTH):
  """Curves of training (paper, Figs. 23, 33-40).

  Args:
    steps: [S], or a dict from the name of a y axis to [S].
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

  def draw(axis, values, color, label):
    own = np.asarray(steps[axis.get_ylabel()] if isinstance(steps, Mapping) else steps)
    values = np.asarray(values, np.float64)
    values = values[None] if values.ndim == 1 else values
    values = _array(axis.get_ylabel(), values, "R S", {"S": len(own)})
    low, median, high = _quantiles(values, (0.0, 0.5, 1.0))
    if len(values) > 1:
      axis.fill_between(own, low, high, color=color, alpha=0.2, linewidth=0)
    axis.plot(own, median, color=color, label=label)

  return _line_panels(curves, xlabel, draw, width)


class Coloring(NamedTuple):
  """How points are coloured.

  Attributes:
    name: of the factor.
    values: [N]; int codes for a category; [N, 3] for "rgb".
    kind: "continuous", "categorical", "angle" or "rgb" (the points have the colours `values`).
    labels: for "categorical", what the codes 0, 1, ... are called.
    period: for "angle", the full turn; 2 pi by default.
  """

  name: str
  values: np.ndarray
  kind: str = "continuous"
  labels: tuple[str, ...] | None = None
  period: float | None = None


def traversals(grid, *, row_labels=None, column_labels=None, original=None, width=COLUMN):
  """Decoded images while one latent changes (paper, Figs. 6, 30-32).

  Args:
    grid: [R, S, H, W, C], a row a latent (in order of KL), a column a step.
    row_labels: R strings at the left.
    column_labels: S strings above, e.g. the values of the latent.
    original: index of the column that is nearest to where the traversals set out: it is framed.
    width: of the figure, inches.

  Returns:
    Figure with R * S axes.

  Raises:
    ValueError: a shape is not as above.
  """
  grid = _array("grid", grid, "R S H W C")
  _check_labels("row_labels", row_labels, grid.shape[0])
  _check_labels("column_labels", column_labels, grid.shape[1])
  cells = _Grid(*grid.shape[:2], grid.shape[2:4], width, column_labels, row_labels=row_labels)
  for r, row in enumerate(grid):
    for s, shown in enumerate(row):
      cells.show(r, s, shown, border=PALETTE[3] if s == original else None)
  return cells.figure


def projections(points, colorings, *, width=WIDTH):
  """Slot latents in the plane, coloured by factors (paper, Figs. 24-29).

  Args:
    points: dict from the name of a projection ("PCA", "t-SNE") to [N, 2]: a row each.
    colorings: Colorings: a column each.
    width: of the figure, inches.

  Returns:
    Figure with an axis for each projection and factor, row by row, and the colour scales.

  Raises:
    ValueError: a shape is not as above, or a kind is unknown.
  """
  points = {name: _array(name, values, "N 2") for name, values in points.items()}
  num_rows, num_columns = len(points), len(colorings)
  left, gutter, title = 0.2, 0.08, 0.2  # inches
  cell = min((width - left - gutter * num_columns) / num_columns, 2.8)
  scale = max(0.32, *(0.1 + 0.13 * _legend_size(c, cell)[0] for c in colorings), 0.0)
  full_width = left + num_columns * (cell + gutter)
  height = title + num_rows * (cell + gutter) - gutter + scale
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(full_width, height))

    def add_axes(x, y, box_width, box_height):
      return figure.add_axes(
        [x / full_width, y / height, box_width / full_width, box_height / height]
      )

    for row, (name, values) in enumerate(points.items()):
      for column, coloring in enumerate(colorings):
        _check_labels(f"values of {coloring.name}", coloring.values, len(values))
        x = left + column * (cell + gutter)
        axis = add_axes(x, scale + (num_rows - 1 - row) * (cell + gutter), cell, cell)
        _scatter_colored(axis, values, coloring)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color="0.8")
        if row == 0:
          axis.set_title(coloring.name, pad=3)
        if column == 0:
          axis.set_ylabel(name)
        if row == num_rows - 1:
          if coloring.kind in ("continuous", "angle"):
            bar = add_axes(x + 0.1 * cell, scale - 0.14, 0.8 * cell, 0.05)
            _color_scale(figure, axis, coloring, bar)
          elif coloring.kind == "categorical":
            _legend(axis, _legend_size(coloring, cell)[1])
  return figure


def projection(points, values, name, kind="continuous", *, width=COLUMN):
  """One projection [N, 2] coloured by one factor; see `projections` and `Coloring`."""
  return projections({"": points}, [Coloring(name, values, kind)], width=width)


def paths(latents, masks, image, *, labels=None, width=WIDTH):
  """An ambiguous image seen in several ways, and the ways there (paper, Fig. 10).

  Args:
    latents: [S, T, K, 2], the slots' posterior means in the plane, by seed and iteration.
    masks: [S, K, H, W, 1], at the last iteration.
    image: [H, W, C].
    labels: S strings; "seed 1" and so on by default.
    width: of the figure, inches.

  Returns:
    Figure: the image and the masks found from each seed in the upper row, framed in the colour
    of the seed's paths below; these start at the small rings and end at the large dots.

  Raises:
    ValueError: a shape is not as above.
  """
  latents = _array("latents", latents, "S T K 2")
  image = _array("image", image, "H W C")
  height, image_width = image.shape[:2]
  num_seeds, _, num_slots, _ = latents.shape
  sizes = {"S": num_seeds, "K": num_slots, "H": height, "W": image_width}
  masks = _array("masks", masks, "S K H W 1", sizes)
  labels = [f"seed {i + 1}" for i in range(num_seeds)] if labels is None else labels
  _check_labels("labels", labels, num_seeds)
  colors, own = slot_colors(num_slots), _seed_colors(num_seeds)
  below = 0.42 * width
  grid = _Grid(
    1, 1 + num_seeds, image.shape[:2], width, ["Image", *labels], groups=(1,), below=below
  )
  grid.show(0, 0, image)
  for i in range(num_seeds):
    grid.show(0, 1 + i, mix_masks(masks[i], colors), border=own[i])
  with matplotlib.rc_context(STYLE):
    figure_width, figure_height = grid.figure.get_size_inches()
    box = [
      0.22 / figure_width,
      0.22 / figure_height,
      1 - 0.25 / figure_width,
      (below - 0.32) / figure_height,
    ]
    axis = grid.figure.add_axes(box)
    for seed_paths, color in zip(latents, own, strict=True):
      axis.plot(*np.moveaxis(seed_paths, 2, 0), color=color, linewidth=0.9, alpha=0.85)
      axis.scatter(*seed_paths[0].T, s=8, facecolor="white", edgecolor=color, zorder=3)
      axis.scatter(*seed_paths[-1].T, s=18, color=[color], edgecolor="white", zorder=4)
    axis.set(xlabel="First component", ylabel="Second component", xticks=[], yticks=[])
  return grid.figure


def factor_predictions(predictions, *, labels=None, width=WIDTH):
  """True against predicted factors of held-out objects (paper, Fig. 5).

  Args:
    predictions: dict from name to anything with `kind`, `true`, `predicted`, `score` and `error`,
      as factors.FactorScore. A vector's components share an axis.
    labels: dict from the name of a categorical factor to what its codes 0, 1, ... are called.
    width: of the figure, inches.

  Returns:
    Figure with an axis a factor: a scatter plot, or for categories the share of each answer
    among the objects of a true category.

  Raises:
    ValueError: true and predicted values differ in shape.
  """
  columns = min(4, len(predictions))
  rows = -(-len(predictions) // columns)
  cell = min(width / columns, 2.2)
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(cell * columns, (cell + 0.12) * rows), layout="constrained")
    for i, (name, prediction) in enumerate(predictions.items()):
      axis = figure.add_subplot(rows, columns, i + 1)
      true, predicted = np.asarray(prediction.true), np.asarray(prediction.predicted)
      if true.shape != predicted.shape:
        raise ValueError(
          f"expected predictions of {name} {list(true.shape)}, got {list(predicted.shape)}"
        )
      if prediction.kind == "categorical":
        _confusion(axis, true, predicted, (labels or {}).get(name))
        score = f"accuracy {prediction.score:.2f}"
      elif prediction.kind == "angle":
        _agreement(axis, true, predicted)
        score = f"mean error {prediction.error:.2g}"
      else:
        _agreement(axis, true, predicted)
        score = f"$R^2$ {prediction.score:.2f}"
      axis.set(title=f"{name}: {score}", xlabel="True", box_aspect=1)
      if i % columns == 0:
        axis.set_ylabel("Predicted")
  return figure


def comparison(scores, errors=None, *, ylabel, limits=None, width=COLUMN):
  """Grouped bars, e.g. of methods on data sets (Table 1), or of factors against baselines (Fig. 5).

  Args:
    scores: dict from a method to a dict from a group to a number; NaN or missing leaves a gap.
    errors: likewise, half the length of the error bars, or None.
    ylabel: what the numbers are.
    limits: of the y axis.
    width: of the figure, inches.

  Returns:
    Figure with one axis; each bar has its number above it.

  Raises:
    ValueError: there is nothing to compare.
  """
  groups = list(dict.fromkeys(group for values in scores.values() for group in values))
  if not groups:
    raise ValueError("expected the scores of at least one method, got none")
  missing = float("nan")
  colors = slot_colors(len(scores))
  bar = 0.8 / len(scores)
  # Five digits and signs, 0.6 of their size wide, above each bar.
  fontsize = min(6.0, 72 * 0.85 * width * bar / len(groups) / (5 * 0.6))
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(width, 0.32 * width + 0.7), layout="constrained")
    axis = figure.subplots()
    for i, (method, values) in enumerate(scores.items()):
      heights = np.array([values.get(group, missing) for group in groups], float)
      spread = (errors or {}).get(method, {})
      spread = np.array([spread.get(group, 0.0) for group in groups], float)
      at = np.arange(len(groups)) + (i - (len(scores) - 1) / 2) * bar
      axis.bar(at, heights, 0.92 * bar, color=colors[i], label=method)
      drawn = (spread > 0) & np.isfinite(heights)
      if drawn.any():
        axis.errorbar(
          at[drawn], heights[drawn], spread[drawn], fmt="none", ecolor="0.2", elinewidth=0.8
        )
      for x, height, error in zip(at, heights, spread, strict=True):
        if np.isfinite(height):
          top = max(height + error, 0)
          axis.annotate(
            f"{height + 0.0:.2f}".replace("-0.00", "0.00"), (x, top), (0, 1),
            textcoords="offset points", ha="center", va="bottom", fontsize=fontsize,
          )  # fmt: skip
    axis.axhline(0, color="0.2", linewidth=0.6)
    axis.set_xticks(range(len(groups)), groups)
    axis.tick_params(axis="x", length=0)
    axis.set(ylabel=ylabel, ylim=limits)
    if len(scores) > 1:
      figure.legend(loc="outside upper center", ncols=min(len(scores), 5))
  return figure


def ranking(scores, *, xlabel, width=COLUMN):
  """Many methods by one number (paper, Sec. 4.3: ablations).

  Args:
    scores: dict from a method to (mean, standard deviation or None).
    xlabel: what the numbers are.
    width: of the figure, inches.

  Returns:
    Figure: a row a method, in the order given; the first is the one to compare with, dotted.

  Raises:
    ValueError: there is nothing to compare.
  """
  if not scores:
    raise ValueError("expected the scores of at least one method, got none")
  means = np.array([mean for mean, _ in scores.values()], float)
  spread = np.array([std or 0.0 for _, std in scores.values()], float)
  rows = np.arange(len(scores))
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(width, 0.19 * len(scores) + 0.45), layout="constrained")
    axis = figure.subplots()
    axis.axvline(means[0], color="0.5", linestyle=":", linewidth=0.8)
    axis.errorbar(means, rows, xerr=spread, fmt="none", ecolor="0.4", elinewidth=0.9)
    axis.scatter(means, rows, s=14, color=PALETTE[0], zorder=3)
    axis.set_yticks(rows, list(scores))
    axis.set(ylim=(len(scores) - 0.5, -0.5), xlabel=xlabel)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="0.92", linewidth=0.5)
    axis.set_axisbelow(True)
  return figure


def importances(importance, names, *, width=COLUMN):
  """Which latent matters for which factor (DCI).

  Args:
    importance: [Z, F].
    names: F strings.
    width: of the figure, inches.

  Returns:
    Figure: rows are factors, columns latents, dark is important.

  Raises:
    ValueError: a shape is not as above.
  """
  importance = _array("importance", importance, "Z F")
  _check_labels("names", names, importance.shape[1])
  with matplotlib.rc_context(STYLE):
    height = 0.5 + width * 0.8 * min(1.0, importance.shape[1] / importance.shape[0] + 0.1)
    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(importance.T, cmap="Blues", vmin=0, aspect="auto")
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(length=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(xlabel="Latent")
    axis.spines[:].set(visible=True)
    bar = figure.colorbar(shown, ax=axis, label="Importance", fraction=0.05, pad=0.03)
    bar.outline.set_visible(False)
  return figure


def _seed_colors(num_seeds):
  """Those colours first that few slots use."""
  order = [7, 8, 5, 10, 4, 9, 3, 2, 1, 0, 6]
  colors = slot_colors(max(num_seeds, len(order)))
  return np.concatenate([colors[order], colors[len(order) :]])[:num_seeds]


def _scatter_colored(axis, points, coloring):
  style = {"s": 5, "linewidths": 0, "rasterized": len(points) > 2000}
  values = np.asarray(coloring.values)
  x, y = points.T
  if coloring.kind == "continuous":
    axis.scatter(x, y, c=values, cmap="viridis", **style)
  elif coloring.kind == "angle":
    period = coloring.period or 2 * np.pi
    axis.scatter(x, y, c=values % period, cmap="twilight", vmin=0, vmax=period, **style)
  elif coloring.kind == "rgb":
    axis.scatter(x, y, c=np.clip(values, 0, 1), **style)
  elif coloring.kind == "categorical":
    for code, color in zip(*_codes(values), strict=True):
      own = values == code
      label = coloring.labels[code] if coloring.labels else str(code)
      axis.scatter(x[own], y[own], color=[color], label=label, **style)
  else:
    raise ValueError(
      f"expected {coloring.name} to be continuous, categorical, angle or rgb, got {coloring.kind!r}"
    )


def _codes(values):
  codes = np.unique(values)
  return codes, slot_colors(len(codes))


def _color_scale(figure, axis, coloring, bar_axis):
  bar = figure.colorbar(axis.collections[0], cax=bar_axis, orientation="horizontal")
  bar.outline.set_visible(False)
  bar_axis.tick_params(length=2)
  if coloring.kind == "angle":
    period = coloring.period or 2 * np.pi
    turn = ["0", "π", "2π"] if coloring.period is None else ["0", f"{period / 2:g}", f"{period:g}"]
    bar.set_ticks([0, period / 2, period], labels=turn)


def _legend_size(coloring, width):
  """(rows, columns) of a legend `width` inches wide; (0, 0) where there is none."""
  if coloring.kind != "categorical":
    return 0, 0
  codes = np.unique(coloring.values)
  longest = max(len(coloring.labels[c] if coloring.labels else str(c)) for c in codes)
  columns = min(len(codes), max(1, int(width / (0.19 + 0.052 * longest))))
  return -(-len(codes) // columns), columns


def _legend(axis, columns):
  axis.legend(
    loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=columns, markerscale=2,
    borderpad=0.2, handlelength=0.8,
    handletextpad=0.3, columnspacing=0.8,
  )  # fmt: skip


def _agreement(axis, true, predicted):
  components = true.reshape(len(true), -1), predicted.reshape(len(true), -1)
  for i, (t, p) in enumerate(zip(components[0].T, components[1].T, strict=True)):
    axis.scatter(t, p, s=4, linewidths=0, alpha=0.5, color=PALETTE[i % len(PALETTE)])
  if true.size:
    ends = [true.min(), true.max()]
    axis.plot(ends, ends, color="0.3", linewidth=0.7, linestyle="--", zorder=3)


def _confusion(axis, true, predicted, labels):
  codes = np.union1d(true, predicted).astype(int)
  counts = np.zeros([len(codes), len(codes)])
  np.add.at(counts, (np.searchsorted(codes, predicted), np.searchsorted(codes, true)), 1)
  share = counts / np.maximum(counts.sum(axis=0), 1)
  axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
  if len(codes) <= 6:
    for (row, column), value in np.ndenumerate(share):
      color = "white" if value > 0.6 else "0.2"
      axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=5, color=color)
  names = [labels[code] if labels else str(code) for code in codes]
  size = min(6.0, 75 / len(codes))
  turn = 0 if max(map(len, names)) < 4 else 30
  every = 1 if len(codes) <= 12 else 2  # below one another they fit, side by side they do not
  axis.set_xticks(range(0, len(codes), every), names[::every], rotation=turn, fontsize=size)
  axis.set_yticks(range(len(codes)), names, fontsize=size)
  axis.tick_params(length=0)


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
    below: inches to leave free under the pictures.
  """

  GUTTER, GROUP_GUTTER, MARGIN, TITLE, MAX_CELL = 0.035, 0.09, 0.03, 0.17, 1.1

  def __init__(
    self, num_rows, num_columns, image_size, width, titles=None, groups=(), row_groups=1,
    row_labels=None, below=0.0,
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
    down = rows * (self._cell_height + self.GUTTER) + apart
    height = top + down[-1] + self._cell_height + self.MARGIN + below
    self._y = height - top - down - self._cell_height
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
      handles = {}
      for axis in figure.axes:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
          handles.setdefault(name, handle)
      columns = min(len(handles), 6)
      figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns)
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
  wanted = [int(axis) if axis.isdigit() else sizes.get(axis) for axis in axes]
  fits = value.ndim == len(axes) and all(
    w is None or w == s for w, s in zip(wanted, value.shape, strict=True)
  )
  if fits and axes[-1] == "C":
    fits = value.shape[-1] in (1, 3)
  if not fits or 0 in value.shape:
    bound = [f"{a}={w}" if w and not a.isdigit() else a for a, w in zip(axes, wanted, strict=True)]
    if bound[-1] == "C":
      bound[-1] = "C=1 or 3"
    raise ValueError(f"expected {name} [{', '.join(bound)}], got {list(value.shape)}")
  return value.astype(np.float64 if value.dtype.itemsize > 4 else np.float32)
