"""Small picture files of every kind, made with Pillow, for the tests of this folder."""

import io

import numpy as np
from PIL import Image


def picture(height=9, width=7, channels=3, seed=0):
  """Random bytes [H, W, C]."""
  return np.random.default_rng(seed).integers(256, size=[height, width, channels], dtype=np.uint8)


def encoded(image, kind, **options) -> bytes:
  """A PIL picture as the bytes of a file."""
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def oriented(orientation) -> Image.Exif:
  """EXIF data with an orientation from 1 to 8."""
  exif = Image.Exif()
  exif[0x0112] = orientation
  return exif


def samples() -> dict[str, bytes]:
  """Name -> a small sound file, one of every format and mode that differ in how they are read."""
  rgb = Image.fromarray(picture())
  gray = rgb.convert("L")
  rgba = Image.fromarray(picture(channels=4))
  deep = Image.fromarray(np.arange(63, dtype=np.uint16).reshape(9, 7) * 1000)
  real = Image.fromarray(np.linspace(0, 1, 63, dtype=np.float32).reshape(9, 7))
  frames = [Image.fromarray(picture(seed=i)) for i in range(3)]
  return {
    "rgb.png": encoded(rgb, "PNG"),
    "gray.png": encoded(gray, "PNG"),
    "bits.png": encoded(rgb.convert("1"), "PNG"),
    "palette.png": encoded(rgb.quantize(8), "PNG", transparency=2),
    "alpha.png": encoded(rgba, "PNG"),
    "deep.png": encoded(deep, "PNG"),
    "turned.png": encoded(rgb, "PNG", exif=oriented(6)),
    "moving.png": encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
    "turned.jpg": encoded(rgb, "JPEG", exif=oriented(6)),
    "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
    "moving.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
    "deep.tif": encoded(deep, "TIFF"),
    "real.tif": encoded(real, "TIFF"),
    "packed.tif": encoded(rgb, "TIFF", compression="tiff_lzw"),
    "lossless.webp": encoded(rgba, "WEBP", lossless=True),
    "plain.bmp": encoded(rgb, "BMP"),
    "plain.ppm": encoded(rgb, "PPM"),
    "plain.tga": encoded(rgba, "TGA"),
    "plain.jp2": encoded(rgb, "JPEG2000"),
    "plain.ico": encoded(rgba, "ICO", sizes=[(7, 9)]),
    "plain.sgi": encoded(rgb, "SGI"),
    "plain.pcx": encoded(rgb, "PCX"),
  }
