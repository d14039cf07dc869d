"""Shapes of arrays and numbers of labels, checked where they enter a figure."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import ArrayLike


def check_labels(name: str, labels: Collection | None, number: int) -> None:
  """Raises ValueError unless there are `number` labels, or None."""
  if labels is not None and len(labels) != number:
    raise ValueError(f"expected {number} {name}, got {len(labels)}")


def array(
  name: str, value: ArrayLike, axes: str, sizes: Mapping[str, int] | None = None
) -> np.ndarray:
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
