"""Textured digits on a textured ground, after Greff et al. 2016, Tagger (paper, Fig. 11).

  pair    two digits, moved by 2 pixels up and left, and down and right; either may be in front
  single  one digit in the middle

There are twenty textures, each one Fourier coefficient of a grid of 38 x 38 pixels with a random
phase; ground and digits of a scene have different ones. The gray value of a digit is its opacity,
and a pixel belongs to what contributes most to it.

The digits come from a copy of MNIST (`--mnist`: an .npz with `x_train` and `y_train`, or
the IDX file of the images, with that of the labels beside it, gzipped or not); without one, from
scikit-learn's 1,797 digits of 8 x 8 pixels, enlarged.
"""

import contextlib
import functools
import gzip
import math
import os

import numpy as np
from PIL import Image

from datasets.errors import DataError, nearest
from datasets.specs import get_spec

CHUNK_SIZE = 500
PARAMETER_HELP = {
  "image_size": "height and width in pixels",
  "mnist": ".npz file, or IDX file of images; scikit-learn's small digits where none is given",
}
SHIFTS = {"pair": (-2, 2), "single": (0,)}  # of each digit, down and to the right, in pixels of 28
SPECS = {variant: get_spec("textured_mnist", variant) for variant in SHIFTS}

# Which coefficient each texture is: periods over a grid's height and over its width.
GRID = 38
COEFFICIENTS = np.array(
  [
    (down, across)
    for down, acrosses in (
      (4, (0, 4, 8, 12)),
      (10, (1, 5, 9, 13)),
      (21, (2, 6, 10, 14)),
      (32, (3, 7, 11, 15)),
      (37, (4, 8, 12, 16)),
    )
    for across in acrosses
  ]
)
_MNIST_SIZE, _DIGIT_SIZE = 28, 20  # pixels of a picture of MNIST, and of the digit in its middle
_NUM_CLASSES = 10


def textures(image_size: int, phase, code) -> np.ndarray:
  """Surfaces of textures, float [N, S, S] in [0, 1].

  A random part of the grid, as Tagger takes, is another phase: the wave goes on over its edges.

  Args:
    image_size: S.
    phase: float [N], in radians.
    code: int [N], from 1.
  """
  down, across = COEFFICIENTS[code - 1].T[..., None, None]  # [N, 1, 1]
  row, column = np.mgrid[:image_size, :image_size] * (_MNIST_SIZE / image_size)
  turns = (down * row + across * column) / GRID
  return 0.5 + 0.5 * np.cos(2 * np.pi * turns + np.reshape(phase, (-1, 1, 1)))


@contextlib.contextmanager
def _reading(path):
  """Tells of a file that is not what its name says in one sentence."""
  try:
    yield
  except DataError:
    raise
  except Exception as error:  # gzip, zlib, lzma, zipfile and NumPy have each their own
    reason = getattr(error, "strerror", None) or error
    raise DataError(f"{path} cannot be read as MNIST: {reason}") from error


def _read_idx(path):
  with _reading(path), (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
    data = file.read()
  rank = data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0
  whole = rank > 0 and 4 + 4 * rank <= len(data)
  shape = np.frombuffer(data, ">u4", rank, 4).tolist() if whole else ()
  if not whole or len(data) != 4 + 4 * rank + math.prod(shape):
    raise DataError(f"{path} is no IDX file of bytes, or cut off")
  return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _read_npz(path):
  with _reading(path), np.load(path) as file:
    if "x_train" not in file or "y_train" not in file:
      raise DataError(f"{path} holds {', '.join(file)}, wanted x_train and y_train")
    return file["x_train"], file["y_train"]


def _read(path):
  """Images uint8 [n, H, W] and classes int [n] of a copy of MNIST."""
  if not os.path.exists(path):
    raise DataError(f"{path} does not exist: give an .npz or IDX file of MNIST with --mnist")
  if path.endswith(".npz"):
    images, classes = _read_npz(path)
  else:
    labels = path.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1")
    if labels == path or not os.path.exists(labels):
      raise DataError(f"found no file of labels for {path}: wanted ...labels-idx1-ubyte beside it")
    images, classes = _read_idx(path), _read_idx(labels)
  if images.ndim != 3 or not images.size or classes.shape != images.shape[:1]:
    raise DataError(
      f"{path}: expected images [n, H, W] and n classes, got {images.shape}, {classes.shape}"
    )
  if images.dtype != np.uint8:
    raise DataError(f"{path}: expected images uint8 from 0 to 255, got {images.dtype}")
  if classes.dtype.kind not in "iu" or classes.min() < 0 or classes.max() >= _NUM_CLASSES:
    raise DataError(f"{path}: expected classes that are whole numbers from 0 to {_NUM_CLASSES - 1}")
  return images, classes


@functools.cache
def _digits(mnist, size):
  """Opacities uint8 [n, size, size] and classes int [n] of all the digits there are."""
  if mnist is None:
    from sklearn.datasets import load_digits  # takes a second to import

    bunch = load_digits()
    small = (bunch.images * (255 / 16)).astype(np.uint8)
    images, classes = np.zeros((len(small), _MNIST_SIZE, _MNIST_SIZE), np.uint8), bunch.target
    edge = (_MNIST_SIZE - _DIGIT_SIZE) // 2
    images[:, edge:-edge, edge:-edge] = _resized(small, _DIGIT_SIZE)
  else:
    images, classes = _read(mnist)
  return _resized(images, size), classes.astype(np.int64)


def _resized(images, size):
  if images.shape[1:] == (size, size):
    return images
  made = [Image.fromarray(i).resize((size, size), Image.Resampling.BICUBIC) for i in images]
  return np.stack([np.asarray(i) for i in made])


def _moved(pixels, shift):
  """Pictures [N, S, S] moved by `shift` rows and columns; zeros come in."""
  size = pixels.shape[-1]
  moved = np.zeros_like(pixels)
  to, come = slice(max(shift, 0), size + min(shift, 0)), slice(max(-shift, 0), size - max(shift, 0))
  moved[:, to, to] = pixels[:, come, come]
  return moved


def generate_chunk(seed, chunk, *, variant="pair", image_size=28, mnist=None):
  """500 scenes of stored features; see `datasets.scene` for the contract.

  Digits, textures, phases and which digit is in front are uniform.

  Returns:
    image uint8 [N, S, S, 1], mask uint8 [N, L, S, S, 1], x, y (how far the digit was moved), digit
    (its class + 1), texture and visibility float32 [N, L].

  Raises:
    DataError: there is no such variant or size, or the digits cannot be read.
  """
  if variant not in SHIFTS:
    raise DataError(f'no variant "{variant}": {nearest(variant, SHIFTS)}')
  if image_size < 8:
    raise DataError(f"image_size must be at least 8, got {image_size}")
  shifts = [round(shift * image_size / _MNIST_SIZE) for shift in SHIFTS[variant]]
  opacities, classes = _digits(mnist, image_size)
  rng, num = np.random.default_rng((seed, chunk)), len(shifts)
  codes = np.tile(np.arange(1, len(COEFFICIENTS) + 1), (CHUNK_SIZE, 1))
  texture = rng.permuted(codes, axis=1)[:, : num + 1]
  phase = rng.uniform(0, 2 * np.pi, texture.shape)
  digit = rng.integers(len(opacities), size=(CHUNK_SIZE, num))
  from_back = rng.permuted(np.tile(np.arange(num), (CHUNK_SIZE, 1)), axis=1)

  surfaces = [textures(image_size, phase[:, i], texture[:, i]) for i in range(num + 1)]
  alphas = [_moved(opacities[digit[:, i]], shifts[i]) / 255 for i in range(num)]
  surfaces, alphas = np.stack(surfaces, axis=1), np.stack(alphas, axis=1)  # [N, L (- 1), S, S]
  scenes = np.arange(CHUNK_SIZE)
  share = np.zeros_like(surfaces)  # of each entity in a pixel
  share[:, 0] = 1
  for front in from_back.T:
    alpha = alphas[scenes, front]
    share *= 1 - alpha[:, None]
    share[scenes, front + 1] += alpha
  labels = share.argmax(axis=1)
  image = (share * surfaces).sum(axis=1)

  first = ((0, 0), (1, 0))
  moved = np.pad(np.tile(shifts, (CHUNK_SIZE, 1)), first).astype(np.float32)
  return {
    "image": np.rint(image * 255).astype(np.uint8)[..., None],
    "mask": (labels[:, None] == np.arange(num + 1)[:, None, None])[..., None] * np.uint8(255),
    "x": moved,
    "y": moved.copy(),
    "digit": np.pad(classes[digit] + 1, first).astype(np.float32),
    "texture": texture.astype(np.float32),
    "visibility": np.ones((CHUNK_SIZE, num + 1), np.float32),
  }
