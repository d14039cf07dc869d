"""Two textured digits on a textured ground, after Greff et al. 2016 (paper, Fig. 11).

The digits come from a copy of MNIST (`--mnist`: an .npz with `x_train` and `y_train`, or
the IDX file of the images, with that of the labels beside it, gzipped or not); without one, from
scikit-learn's 1,797 digits of 8 x 8 pixels, enlarged. The textures are ten sine gratings and ten
plaids; ground and digits of a scene have three different ones.
"""

import functools
import gzip
import os

import numpy as np
from PIL import Image

from datasets.errors import DataError
from datasets.specs import get_spec

SPEC = get_spec("textured_mnist")
CHUNK_SIZE = 500
NUM_TEXTURES = 20
PARAMETER_HELP = {
  "image_size": "height and width in pixels",
  "digit_size": "side of a digit's box in pixels",
  "mnist": ".npz file, or IDX file of images; scikit-learn's small digits where none is given",
}


def textures(image_size, phase, code) -> np.ndarray:
  """Gratings (codes 1 to 10) and plaids (11 to 20), float [N, S, S] in [0, 1].

  Args:
    image_size: S.
    phase: float [N, 2], in radians.
    code: int [N], from 1.
  """
  angle = np.pi * ((code - 1) % 10) / 10
  row, column = np.mgrid[:image_size, :image_size]

  def wave(angle, phase, period):
    along = np.cos(angle)[:, None, None] * column + np.sin(angle)[:, None, None] * row
    return np.sin(2 * np.pi * along / period + phase[:, None, None])

  grating = wave(angle, phase[:, 0], 4.5)
  plaid = wave(angle, phase[:, 0], 7.0) * wave(angle + np.pi / 2, phase[:, 1], 7.0)
  return 0.5 + 0.5 * np.where((code > 10)[:, None, None], plaid, grating)


def _read_idx(path):
  with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
    data = file.read()
  rank = data[3] if data[:3] == b"\0\0\x08" else 0
  shape = np.frombuffer(data, ">u4", rank, 4) if rank else ()
  if not rank or len(data) != 4 + 4 * rank + int(np.prod(shape)):
    raise DataError(f"{path} is no IDX file of bytes, or cut off")
  return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


@functools.cache
def _digits(mnist, size):
  """Masks bool [n, size, size] and classes int [n] of all the digits there are."""
  if mnist is None:
    from sklearn.datasets import load_digits  # takes a second to import

    bunch = load_digits()
    images, classes = (bunch.images * (255 / 16)).astype(np.uint8), bunch.target
  elif not os.path.exists(mnist):
    raise DataError(f"{mnist} does not exist: give an .npz or IDX file of MNIST with --mnist")
  elif mnist.endswith(".npz"):
    with np.load(mnist) as file:
      if "x_train" not in file or "y_train" not in file:
        raise DataError(f"{mnist} holds {', '.join(file)}, wanted x_train and y_train")
      images, classes = file["x_train"], file["y_train"]
  else:
    labels = mnist.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1")
    if labels == mnist or not os.path.exists(labels):
      raise DataError(f"found no file of labels for {mnist}: wanted ...labels-idx1-ubyte beside it")
    images, classes = _read_idx(mnist), _read_idx(labels)
  if images.ndim != 3 or len(images) != len(classes):
    raise DataError(f"expected images [n, H, W] and n classes, got {images.shape}, {classes.shape}")
  resized = [Image.fromarray(i).resize((size, size), Image.Resampling.BICUBIC) for i in images]
  return np.stack([np.asarray(i) for i in resized]) > 127, classes.astype(np.int64)


def generate_chunk(seed, chunk, *, image_size=28, digit_size=18, mnist=None):
  """500 scenes of stored features; see `datasets.scene` for the contract.

  Digits, their places and textures are uniform; the second digit lies over the first.

  Returns:
    image uint8 [N, S, S, 1], mask uint8 [N, 3, S, S, 1], x, y, digit (its class + 1), texture and
    visibility float32 [N, 3].

  Raises:
    DataError: the digits cannot be read or do not fit.
  """
  if not 1 <= digit_size <= image_size:
    raise DataError(f"expected 1 <= digit_size <= image_size = {image_size}, got {digit_size}")
  masks, classes = _digits(mnist, digit_size)
  rng = np.random.default_rng((seed, chunk))
  texture = rng.permuted(np.tile(np.arange(1, NUM_TEXTURES + 1), (CHUNK_SIZE, 1)), axis=1)[:, :3]
  phase = rng.uniform(0, 2 * np.pi, (CHUNK_SIZE, 3, 2))
  digit = rng.integers(len(masks), size=(CHUNK_SIZE, 2))
  corner = rng.integers(image_size - digit_size + 1, size=(CHUNK_SIZE, 2, 2))  # row, column

  labels = np.zeros((CHUNK_SIZE, image_size, image_size), np.uint8)
  box = np.arange(digit_size)
  scenes = np.arange(CHUNK_SIZE)[:, None, None]
  for p in range(2):  # from back to front
    rows, columns = corner[:, p, 0, None] + box, corner[:, p, 1, None] + box
    place = (scenes, rows[:, :, None], columns[:, None, :])
    labels[place] = np.where(masks[digit[:, p]], np.uint8(p + 1), labels[place])
  surfaces = np.stack([textures(image_size, phase[:, i], texture[:, i]) for i in range(3)])
  image = np.take_along_axis(surfaces, labels[None].astype(int), axis=0)[0]

  first = ((0, 0), (1, 0))
  return {
    "image": np.rint(image * 255).astype(np.uint8)[..., None],
    "mask": (labels[:, None] == np.arange(3)[:, None, None])[..., None] * np.uint8(255),
    "x": np.pad(corner[..., 1], first).astype(np.float32),
    "y": np.pad(corner[..., 0], first).astype(np.float32),
    "digit": np.pad(classes[digit] + 1, first).astype(np.float32),
    "texture": texture.astype(np.float32),
    "visibility": np.ones((CHUNK_SIZE, 3), np.float32),
  }
