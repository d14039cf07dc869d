"""Reads sequences of frames: a folder of pictures, a picture of many frames, or a video.

Frames come one by one, as `pictures.read` gives pictures: upright, uint8 [H, W, C].
"""

import contextlib
import os
from collections.abc import Iterator

import numpy as np
from PIL import Image

from datasets import DataError, pictures
from datasets.errors import by

VIDEO_EXTENSIONS = (
  ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm",
  ".wmv",
)  # fmt: skip


def is_video(path) -> bool:
  """Whether a file's name is that of a video."""
  return os.fspath(path).lower().endswith(VIDEO_EXTENSIONS)


def read(path, channels: int = 3, background: str = pictures.BACKGROUND) -> Iterator[np.ndarray]:
  """The frames of a sequence, in order; of a folder in the order of its names, 2 before 10.

  Args:
    path: a folder of pictures, a GIF, WebP, PNG or TIFF of one frame or more, or a video.
    channels: 3 for RGB, 1 for gray.
    background: the colour behind what is transparent.

  Yields:
    uint8 [H, W, channels], all of the same size.

  Raises:
    DataError: nothing to read, a frame is damaged, or has another size than the first.
  """
  if os.path.isdir(path):
    found = _of_folder(path, channels, background)
  elif is_video(path):
    found = _of_video(path, channels)
  else:
    found = _of_picture(path, channels, background)
  size = None
  for number, (where, frame) in enumerate(found):
    if size is None:
      size = frame.shape
    if frame.shape != size:
      sizes = [by(shape[:2]) for shape in (frame.shape, size)]
      raise DataError(f"{where} (frame {number}) is {sizes[0]} pixels, the first one {sizes[1]}")
    yield frame
  if size is None:
    raise DataError(f"{pictures.shown(path)} has no frames")


def _of_folder(folder, channels, background):
  names, _ = pictures.in_folder(folder)
  if not names:
    raise DataError(
      f"{pictures.shown(folder)} holds no pictures, expected the frames of a sequence"
    )
  for name in names:
    path = os.path.join(folder, name)
    yield pictures.shown(path), pictures.read(path, channels, background)


def _of_picture(path, channels, background):
  behind = pictures.color(background)
  with contextlib.ExitStack() as stack:
    with pictures.decoding(path):
      picture = stack.enter_context(Image.open(path, formats=pictures.FORMATS))
      pictures.check_size(picture)
      count = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    for number in range(count):
      with pictures.decoding(path):
        picture.seek(number)
        pictures.check_size(picture)
        picture.load()
        frame = pictures.to_array(pictures.upright(picture), channels, behind)
      yield pictures.shown(path), frame


def _of_video(path, channels):
  name = pictures.shown(path)
  try:
    import av  # brings FFmpeg; only videos need it
  except ImportError:
    raise DataError(f"{name} is a video, for which PyAV is needed: pip install av") from None
  if not os.path.isfile(path):
    raise DataError(f"there is no video {name}")
  kind = "gray" if channels == 1 else "rgb24"
  try:
    # opened here: FFmpeg takes a name for an address, and knows no names but UTF-8
    with open(path, "rb") as file, av.open(file) as container:
      if not container.streams.video:
        raise DataError(f"{name} has no pictures in it, only sound")
      for frame in container.decode(video=0):
        if frame.width * frame.height > pictures.MAX_PIXELS:
          raise DataError(f"{name} has too many pixels, at most {pictures.MAX_PIXELS:,} are read")
        pixels = frame.to_ndarray(format=kind).reshape(frame.height, frame.width, channels)
        turns = round(frame.rotation / 90)  # counter-clockwise, as telephones note it
        yield name, np.ascontiguousarray(np.rot90(pixels, turns))
  except (av.error.FFmpegError, OSError, ValueError, EOFError) as error:
    if isinstance(error, DataError):
      raise
    reason = getattr(error, "strerror", None) or str(error)
    raise DataError(f"{name} cannot be read as a video: {reason}") from error
