"""Reads picture files: the one place where a file of pixels becomes an array.

A picture comes out upright (its EXIF orientation is applied) as uint8 [H, W, C], which is what the
records store:

  8 bits             gray, RGB, palette, CMYK and 1-bit, as they are.
  16 bits            scaled so that 65535 is white.
  floating point     scaled so that 1.0 is white. Values outside [0, 1], and whole numbers outside
                     [0, 65535], are scaled from the lowest, black, to the highest, white.
  transparent        laid on a background, white unless another is asked for: what hides under
                     alpha 0 is never seen.

Whatever cannot be read is a DataError, one sentence with the file's name.
"""

import contextlib
import os
import re
import stat
import unicodedata
import warnings

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from datasets import DataError

# What is decoded. Pillow knows more, but some of it are stubs, and EPS starts another program.
_KNOWN = (
  "AVIF", "BMP", "DDS", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI",
  "TGA", "TIFF", "WEBP",
)  # fmt: skip
Image.init()
FORMATS = tuple(name for name in _KNOWN if name in Image.OPEN)  # older or leaner builds have fewer
EXTENSIONS = tuple(
  sorted({e for e, f in Image.registered_extensions().items() if f in FORMATS} | {".mpo"})
)
MAX_PIXELS = 1 << 27  # 134 million, 0.4 GB as RGB; a small file may claim many more
BACKGROUND = "white"
ROUNDING = 1e-3  # a float picture may miss [0, 1] by so much


# ---------------------------------------------------------------------------------------- names


def shown(path) -> str:
  """A path as text that prints: control characters and bytes that are no UTF-8 are escaped."""
  text = os.fsencode(path).decode("utf-8", "backslashreplace")
  return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def key(name) -> str:
  """What two names share that differ in case, or in how their accents are composed."""
  return unicodedata.normalize("NFC", name).casefold()


def natural(name) -> list:
  """A sort key that puts frame_2 before frame_10."""
  parts = re.split(r"([0-9]+)", key(name))
  return [[(1, int(p), "") if i % 2 else (0, 0, p) for i, p in enumerate(parts)], name]


def is_picture(name) -> bool:
  """Whether a file's name is that of a picture: its extension, in any case, and no dot before."""
  name = os.path.basename(name)
  return not name.startswith(".") and name.lower().endswith(EXTENSIONS)


def in_folder(folder) -> tuple[list[str], list[str]]:
  """The pictures of a folder and what else lies there.

  Files that begin with a dot (macOS writes ._a.png) are passed over without a word.

  Args:
    folder: its path.

  Returns:
    (names of pictures, names of everything else), both with numbers in the order of counting.

  Raises:
    DataError: it is no folder, or may not be read.
  """
  try:
    entries = [e for e in os.scandir(folder) if not e.name.startswith(".")]
  except (NotADirectoryError, FileNotFoundError, ValueError):
    raise DataError(f"{shown(folder)} is no folder, expected one of pictures") from None
  except OSError as error:
    raise DataError(f"{shown(folder)} cannot be read: {error.strerror}") from error
  names = sorted((e.name for e in entries), key=natural)
  folders = {e.name for e in entries if e.is_dir()}
  taken = [n for n in names if is_picture(n) and n not in folders]
  return taken, [n for n in names if n not in set(taken)]


# -------------------------------------------------------------------------------------- reading


def read(path, channels: int = 3, background: str = BACKGROUND) -> np.ndarray:
  """A picture, upright, 8 bits a channel.

  Args:
    path: its file.
    channels: 3 for RGB, 1 for gray.
    background: the colour that shows where the picture is transparent, as "white" or "#808080".

  Returns:
    uint8 [H, W, channels].

  Raises:
    DataError: there is no such file, it is none of FORMATS, it is damaged, or has more than
      MAX_PIXELS; or the background is no colour.
  """
  behind = color(background)
  picture = load(path)
  with decoding(path):
    return to_array(picture, channels, behind)


def load(path) -> Image.Image:
  """A picture decoded and upright, in the mode it was stored in; raises as `read`."""
  with decoding(path), Image.open(path, formats=FORMATS) as picture:
    check_size(picture)
    picture.load()
    return upright(picture)


@contextlib.contextmanager
def decoding(path):
  """Turns whatever goes wrong while a picture file is opened or decoded into a DataError."""
  name = shown(path)
  try:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
      raise DataError(f"{name} is a folder, expected a picture")
    if not stat.S_ISREG(status.st_mode):
      raise DataError(f"{name} is no regular file, expected a picture")  # reading a pipe may hang
    if not status.st_size:
      raise DataError(f"{name} is empty (0 bytes), expected a picture")
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # of damage that is mended, and of sizes that we check
      yield
  except DataError:
    raise
  except FileNotFoundError:
    raise DataError(f"there is no picture {name}") from None
  except PermissionError as error:
    raise DataError(f"{name} may not be read: {error.strerror}") from error
  except Image.DecompressionBombError as error:
    raise DataError(f"{name} has too many pixels, at most {MAX_PIXELS:,} are read") from error
  except UnidentifiedImageError:
    raise DataError(
      f"{name} cannot be read as a picture: it begins like none of {', '.join(FORMATS)}"
    ) from None
  except Exception as error:  # decoders raise nearly every kind for damaged files
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    raise DataError(f"{name} cannot be read as a picture: {reason}") from error


def check_size(picture):
  """Raises DecompressionBombError, or ValueError, before a picture of a bad size is unpacked."""
  if picture.width * picture.height > MAX_PIXELS:
    raise Image.DecompressionBombError
  if picture.width < 1 or picture.height < 1:
    raise ValueError(f"it is {picture.width} x {picture.height} pixels")


def upright(picture) -> Image.Image:
  """A copy turned as its EXIF orientation says; `format` is kept."""
  try:
    turned = ImageOps.exif_transpose(picture)
  except Exception:  # broken EXIF beside sound pixels, as editors leave it: there is no orientation
    turned = picture.copy()
  turned.format = picture.format
  return turned


def to_array(picture, channels: int = 3, background: tuple[int, int, int] = (255, 255, 255)):
  """The pixels of a PIL picture of any mode: uint8 [H, W, channels]; ValueError for NaN."""
  if picture.mode == "F" or picture.mode.startswith("I"):
    picture = Image.fromarray(_eight_bits(np.asarray(picture)))
  if picture.has_transparency_data:
    picture = picture.convert("RGBA")
    behind = Image.new("RGBA", picture.size, (*background, 255))
    picture = Image.alpha_composite(behind, picture)
  pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
  return pixels.reshape(picture.height, picture.width, channels)


def _eight_bits(values):
  """Gray values of another type than bytes, [H, W] -> uint8 [H, W], as the module says."""
  if not np.isfinite(values).all():
    raise ValueError("it has pixels that are NaN or infinite")
  low, high = float(values.min()), float(values.max())
  top, slack = (1.0, ROUNDING) if values.dtype.kind == "f" else (65535.0, 0.0)
  if -slack <= low and high <= top + slack:
    low, high = 0.0, top
  scaled = (values.astype(np.float64) - low) / max(high - low, np.finfo(np.float32).tiny)
  return np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def color(name: str) -> tuple[int, int, int]:
  """The RGB of a colour's name, or of "#rrggbb"; raises DataError for another word."""
  try:
    return ImageColor.getrgb(name)[:3]
  except (ValueError, AttributeError, TypeError):
    raise DataError(f'a colour is a name, as white, or #rrggbb, got "{name}"') from None


# ----------------------------------------------------------------------------- cropping, resizing


def central(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int, int, int]:
  """The largest central part of the wanted proportions: (top, bottom, left, right), half open.

  Args:
    size: (H, W) of the picture.
    wanted: (H, W) it shall be resized to.
  """
  scale = min(size[0] / wanted[0], size[1] / wanted[1])
  rows, columns = (max(1, round(side * scale)) for side in wanted)
  top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
  return top, top + rows, left, left + columns


def fit(pixels: np.ndarray, size: tuple[int, int], smooth: bool = True) -> np.ndarray:
  """Crops to the largest central part of the wanted proportions, and resizes it.

  Args:
    pixels: uint8 [H, W] or [H, W, C].
    size: (H, W).
    smooth: Lanczos for pictures, or the nearest pixel, for numbers.

  Returns:
    uint8 [*size] or [*size, C].
  """
  top, bottom, left, right = central(pixels.shape[:2], size)
  part = pixels[top:bottom, left:right]
  flat = part[..., 0] if part.shape[2:] == (1,) else part
  how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
  resized = Image.fromarray(np.ascontiguousarray(flat)).resize(size[::-1], how)
  return np.asarray(resized).reshape(*size, *pixels.shape[2:])
