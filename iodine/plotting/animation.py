"""Animated pictures as files."""

import fractions
import io
import itertools
import os
import pathlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

SUFFIXES = (".gif", ".mp4")


def write_clip(
  path: str | os.PathLike, frames: np.ndarray, frames_per_second: float = 8.0
) -> pathlib.Path:
  """Writes an animation: a GIF that runs for ever (Pillow), or an H.264 video (PyAV).

  Args:
    path: ends in .gif or .mp4; a file there is overwritten.
    frames: uint8 [T, H, W, 3], as of `clip_frames`.
    frames_per_second: a GIF holds each frame for whole hundredths of a second.

  Returns:
    The path.

  Raises:
    ValueError: another suffix, other frames, or a rate that is not above 0 and at most 50.
    OSError: the file cannot be written.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() not in SUFFIXES:
    raise ValueError(f"expected a name that ends in {' or '.join(SUFFIXES)}, got {path.name!r}")
  if path.suffix.lower() == ".gif":
    path.write_bytes(encode_gif(frames, frames_per_second))
  else:
    _write_mp4(path, _checked(frames, frames_per_second), frames_per_second)
  return path


def encode_gif(frames: np.ndarray, frames_per_second: float = 8.0) -> bytes:
  """The bytes of an animated GIF, for a notebook, TensorBoard or a file.

  Args:
    frames: see `write_clip`.
    frames_per_second: see `write_clip`.

  Returns:
    The GIF.

  Raises:
    ValueError: as for `write_clip`.
  """
  frames = _checked(frames, frames_per_second)
  # One palette for all frames and no dithering: what stands still does not flicker.
  palette = Image.fromarray(frames.reshape(-1, *frames.shape[2:])).quantize(256, dither=0)
  pictures = [Image.fromarray(f).quantize(palette=palette, dither=0) for f in frames]
  buffer = io.BytesIO()
  pictures[0].save(
    buffer,
    format="gif",
    save_all=True,
    append_images=pictures[1:],
    duration=max(2, round(100 / frames_per_second)) * 10,  # ms
    loop=0,
  )
  return buffer.getvalue()


def _checked(frames, frames_per_second):
  frames = np.asarray(frames)
  if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
    raise ValueError(f"expected frames uint8 [T, H, W, 3], got {frames.dtype} {list(frames.shape)}")
  if not 0 < frames_per_second <= 50:
    raise ValueError(f"expected 0 to 50 frames per second, got {frames_per_second}")
  return frames


def write_video(
  path: str | os.PathLike, frames: Iterable[np.ndarray], frames_per_second: float = 8.0
) -> pathlib.Path:
  """Writes an H.264 video (PyAV) frame by frame: of any length, in constant memory.

  Args:
    path: ends in .mp4; a file there is overwritten.
    frames: each uint8 [H, W, 3].
    frames_per_second: above 0 and at most 50.

  Returns:
    The path.

  Raises:
    ValueError: another suffix, there is no frame or another one, or the rate is not as above.
    OSError: the file cannot be written.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() != ".mp4":
    raise ValueError(f"expected a name that ends in .mp4, got {path.name!r}")
  frames = iter(frames)
  first = next(frames, None)
  if first is None:
    raise ValueError("expected at least one frame uint8 [H, W, 3], got none")
  first = _checked(np.asarray(first)[None], frames_per_second)[0]
  _write_mp4(path, itertools.chain([first], frames), frames_per_second)
  return path


def _write_mp4(path, frames, frames_per_second):
  import av  # only for those who make videos

  # A file object, for FFmpeg reads some names as addresses.
  with path.open("wb") as file, av.open(file, "w", format="mp4") as container:
    rate = fractions.Fraction(frames_per_second).limit_denominator(1000)
    stream = container.add_stream("libx264", rate=rate)
    stream.pix_fmt = "yuv420p"  # what browsers play
    for number, frame in enumerate(frames):
      frame = _checked(np.asarray(frame)[None], frames_per_second)[0]
      odd = [(0, size % 2) for size in frame.shape[:2]]  # H.264 halves the colours' resolution
      frame = np.pad(frame, [*odd, (0, 0)], mode="edge")
      if number == 0:
        stream.height, stream.width = frame.shape[:2]
      elif frame.shape[:2] != (stream.height, stream.width):
        raise ValueError(
          f"expected frames of {stream.height} x {stream.width}, got {list(frame.shape)}"
        )
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    container.mux(stream.encode())  # what the encoder still holds back
