"""Coordinate channels for decoder and refinement network."""

import numpy as np


def linear(height, width, order="yx"):
  """Two channels from -1 to 1: float64 [H, W, 2], in the given order."""
  y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
  return np.stack([y, x] if order == "yx" else [x, y], axis=-1)


def cosine(height, width, num_frequencies=3):
  """Products cos(i pi x) cos(j pi y) for i, j < n without the constant: float64 [H, W, n^2 - 1]."""
  frequencies = np.pi * np.arange(num_frequencies)
  x = np.cos(frequencies * np.linspace(0, 1, width)[:, None])  # [W, n]
  y = np.cos(frequencies * np.linspace(0, 1, height)[:, None])  # [H, n]
  products = x[None, :, :, None] * y[:, None, None, :]  # [H, W, i, j]
  return products.reshape(height, width, -1)[..., 1:]
