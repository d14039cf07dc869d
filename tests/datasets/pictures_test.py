"""datasets.pictures: what every kind of file becomes, and what is said of those that are none."""

import io
import os
import pathlib
import struct
import zlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image, ImageOps

import datasets
from datasets import pictures
from tests.datasets import made

SAMPLES = made.samples()
INPUTS = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "inputs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("pictures")


def stored(folder, name, content):
  path = folder / name
  path.write_bytes(content)
  return path


# ------------------------------------------------------------------------------------ what is read


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_is_read(name, channels, folder):
  pixels = pictures.read(stored(folder, name, SAMPLES[name]), channels)
  size = (7, 9) if name.startswith("turned") else (9, 7)
  assert pixels.dtype == np.uint8
  assert pixels.shape == (*size, channels)
  assert pixels.std() > 10


def test_lossless_pictures_come_back_as_they_were(folder):
  wanted = made.picture()
  for name in ("rgb.png", "packed.tif", "plain.bmp", "plain.ppm", "plain.sgi", "plain.pcx"):
    np.testing.assert_array_equal(
      pictures.read(stored(folder, name, SAMPLES[name])), wanted, err_msg=name
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_is_upright(kind, orientation, folder):
  """As the definition of the tag says what its row 0 and column 0 are (EXIF 2.3, 4.6.4 A)."""
  ramp = np.zeros([32, 48, 3], np.uint8)
  ramp[:16, :24] = 255  # the first quarter, as stored
  path = folder / f"turned.{kind.lower()}"
  options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
  Image.fromarray(ramp).save(path, kind, exif=made.oriented(orientation), **options)
  pixels = pictures.read(path)[..., 0] / 255
  turn = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a, 1),
  }
  np.testing.assert_allclose(pixels, turn[orientation](ramp[..., 0]) / 255, atol=0.1)


def test_broken_exif_does_not_hide_the_picture(folder):
  content = made.encoded(Image.fromarray(made.picture()), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff")
  assert pictures.read(stored(folder, "exif.jpg", content)).shape == (9, 7, 3)


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
def test_16_bits_are_scaled_to_white(suffix, folder):
  values = np.linspace(0, 65535, 63).astype(np.uint16).reshape(9, 7)
  path = folder / f"ramp.{suffix}"
  Image.fromarray(values).save(path)
  wanted = np.round(values.astype(np.float64) / 65535 * 255)
  np.testing.assert_array_equal(pictures.read(path, 1)[..., 0], wanted)
  np.testing.assert_array_equal(pictures.read(path, 3)[..., 2], wanted)


@pytest.mark.parametrize(
  ("low", "high", "black", "white"),
  [(0, 1, 0, 1), (0.2, 0.5, 0, 1), (-3, 7, -3, 7), (0, 255, 0, 255), (0, 1.0005, 0, 1)],
)
def test_floats_are_scaled_to_their_range(low, high, black, white, folder):
  values = np.linspace(low, high, 63, dtype=np.float32).reshape(9, 7)
  Image.fromarray(values).save(folder / "real.tif")
  wanted = np.clip((values.astype(np.float64) - black) / (white - black), 0, 1) * 255
  got = pictures.read(folder / "real.tif", 1)[..., 0]
  np.testing.assert_allclose(got, wanted, atol=0.5 + 1e-3)


def test_32_bit_numbers_are_scaled_to_their_range(folder):
  values = np.linspace(-1000, 10_000_000, 63).astype(np.int32).reshape(9, 7)
  Image.fromarray(values).save(folder / "whole.tif")
  got = pictures.read(folder / "whole.tif", 1)
  assert (got.min(), got.max()) == (0, 255)
  Image.fromarray(np.full([9, 7], 70_000, np.int32)).save(folder / "flat.tif")
  assert pictures.read(folder / "flat.tif", 1).max() == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_hides_under_alpha_is_not_seen(mode, folder):
  pixels = made.picture(channels=4)
  pixels[..., 3] = 0
  pixels[2:4, 2:4, 3] = 255
  pixels[5, 5, 3] = 51
  picture = Image.fromarray(pixels).convert(mode)
  picture.save(folder / "alpha.png")
  alpha = pixels[..., 3:] / 255
  opaque = np.asarray(picture.convert("RGB")) / 255
  for name, behind in (("white", (1, 1, 1)), ("#ff8000", (1, 128 / 255, 0)), ("black", (0, 0, 0))):
    wanted = alpha * opaque + (1 - alpha) * behind
    got = pictures.read(folder / "alpha.png", 3, name)
    np.testing.assert_allclose(got / 255, wanted, atol=1.01 / 255)
  assert (pictures.read(folder / "alpha.png")[alpha[..., 0] == 0] == 255).all()


def test_transparent_palette_entries_and_colours(folder):
  indices = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
  indices.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
  indices.save(folder / "palette.png", transparency=1)
  got = pictures.read(folder / "palette.png", 3, "#010203")
  np.testing.assert_array_equal(got[:, 1], [[1, 2, 3]] * 2)
  np.testing.assert_array_equal(got[:, 0], [[255, 0, 0], [0, 0, 255]])
  Image.fromarray(np.array([[[9, 9, 9], [8, 8, 8]]], np.uint8)).save(
    folder / "key.png", transparency=(9, 9, 9)
  )
  np.testing.assert_array_equal(pictures.read(folder / "key.png", 1)[0, :, 0], [255, 8])


@pytest.mark.skipif(not INPUTS.is_dir(), reason="the inputs are not beside this checkout")
def test_shared_inputs():
  assert abs(pictures.read(INPUTS / "gray16.png").mean() - 127.5) < 1
  hidden = pictures.read(INPUTS / "alpha_hidden_noise.png")
  assert (hidden == 255).all(-1).mean() > 0.5
  turned, mask = (pictures.read(INPUTS / "exif" / n) for n in ("pictures/a.jpg", "masks/a.png"))
  inside = mask[..., 0] > 0
  assert turned[inside, 0].mean() > turned[~inside, 0].mean() + 50


# ---------------------------------------------------------------------------- what cannot be read


def bomb(side, rows=None):
  """A PNG of side x side black pixels, of which so many rows are there, compressed to nothing."""

  def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

  deflate = zlib.compressobj(9)
  row = bytes(1 + side // 8)
  packed = b"".join(deflate.compress(row) for _ in range(side if rows is None else rows))
  packed += deflate.flush()
  header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
  return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [12_000, 14_040, 100_000])
def test_a_small_file_of_many_pixels(side, folder):
  content = bomb(side, None if side < 20_000 else 1)
  assert len(content) < 30_000
  with pytest.raises(datasets.DataError, match=r"bomb\.png has too many pixels, at most 134,217,"):
    pictures.read(stored(folder, "bomb.png", content))


def test_what_is_no_picture(folder):
  def said(path):
    with pytest.raises(datasets.DataError) as caught:
      pictures.read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)

  (folder / "some").mkdir()
  assert "some is a folder, expected a picture" in said(folder / "some")
  assert "there is no picture" in said(folder / "none.png")
  assert "empty.png is empty (0 bytes)" in said(stored(folder, "empty.png", b""))
  assert "text.png cannot be read as a picture" in said(stored(folder, "text.png", b"my thesis"))
  cut = stored(folder, "cut.jpg", SAMPLES["turned.jpg"][:-60])
  assert "cut.jpg cannot be read as a picture" in said(cut)
  os.mkfifo(folder / "pipe.png")
  assert "pipe.png is no regular file" in said(folder / "pipe.png")
  real = np.full([2, 2], np.nan, np.float32)
  Image.fromarray(real).save(folder / "nan.tif")
  assert "nan.tif cannot be read as a picture: it has pixels that are NaN" in said(
    folder / "nan.tif"
  )
  assert "null" in said(str(folder) + "/a\0b.png")
  odd = folder / os.fsdecode(b"\xff\n$.png")
  odd.write_bytes(b"x")
  assert r"\xff\n$.png cannot be read" in said(odd)
  with pytest.raises(datasets.DataError, match='#rrggbb, got "ultrablack"'):
    pictures.read(stored(folder, "rgb.png", SAMPLES["rgb.png"]), 3, "ultrablack")


def check(path, content, read):
  """The property: an array, or one sentence with the file's name."""
  path.write_bytes(content)
  try:
    pixels, said = read(path), None
  except datasets.DataError as error:
    said = str(error)
  if said is not None:
    assert path.name in said
    assert "\n" not in said
  else:
    assert pixels.dtype == np.uint8
    assert 0 not in pixels.shape
  return said is None


@st.composite
def damaged(draw):
  """A sound file with some bytes changed, cut out, put in, or cut off."""
  content = bytearray(SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))])
  for _ in range(draw(st.integers(1, 4))):
    at = draw(st.integers(0, max(len(content) - 1, 0)))
    how = draw(st.sampled_from(["change", "cut", "insert", "end"]))
    length = draw(st.integers(1, 8))
    if how == "end":
      del content[at:]
    elif how == "cut":
      del content[at : at + length]
    else:
      new = draw(st.binary(min_size=length, max_size=length))
      content[at : at + (length if how == "change" else 0)] = new
  return bytes(content)


@hypothesis.settings(max_examples=150, derandomize=True)
@hypothesis.given(
  content=st.one_of(st.binary(max_size=64), damaged()), channels=st.sampled_from([1, 3])
)
def test_any_bytes_are_a_picture_or_one_sentence(folder, content, channels):
  check(folder / "any.png", content, lambda path: pictures.read(path, channels))


# ---------------------------------------------------------------------------------- names, fitting


def test_in_folder(tmp_path):
  for name in ("b.PNG", "a.jpeg", "._a.png", ".hidden.png", "notes.txt", "f10.tif", "f9.WebP"):
    (tmp_path / name).write_bytes(b"x")
  (tmp_path / "folder.png").mkdir()
  taken, others = pictures.in_folder(tmp_path)
  assert taken == ["a.jpeg", "b.PNG", "f9.WebP", "f10.tif"]
  assert others == ["folder.png", "notes.txt"]
  for wrong in (tmp_path / "none", tmp_path / "notes.txt"):
    with pytest.raises(datasets.DataError, match="is no folder, expected one of pictures"):
      pictures.in_folder(wrong)


def test_names_compare_without_case_and_whatever_their_accents_are_made_of():
  assert pictures.key("STRASSE") == pictures.key("straße")
  assert pictures.key("e\u0301") == pictures.key("\u00c9")


@hypothesis.settings(derandomize=True)
@hypothesis.given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_shown_can_be_printed(text):
  assert pictures.shown(text).isprintable()
  assert text != pictures.shown(text) or text.isprintable()


@pytest.mark.parametrize("size", [(4, 4), (3, 6), (8, 2), (9, 7), (20, 20)])
def test_fit_crops_to_the_proportions(size):
  pixels = made.picture(9, 7)
  whole = Image.fromarray(pixels)
  wanted = np.asarray(ImageOps.fit(whole, size[::-1], Image.Resampling.LANCZOS))
  got = pictures.fit(pixels, size)
  assert got.shape == (*size, 3)
  top, bottom, left, right = pictures.central((9, 7), size)
  assert abs((bottom - top) / (right - left) - size[0] / size[1]) < 0.5 * max(size) / min(size)
  if (bottom - top, right - left) == size:  # nothing is resized
    np.testing.assert_array_equal(got, pixels[top:bottom, left:right])
  if size == (9, 7):
    np.testing.assert_array_equal(got, wanted)


def test_fit_leaves_numbers_alone():
  labels = np.repeat(np.repeat(np.array([[0, 200], [7, 255]], np.uint8), 5, 0), 5, 1)
  assert set(np.unique(pictures.fit(labels, (3, 3), smooth=False))) <= {0, 7, 200, 255}
  np.testing.assert_array_equal(pictures.fit(labels, (2, 2), smooth=False), [[0, 200], [7, 255]])


def test_a_multi_picture_jpeg_is_its_first(folder):
  file = io.BytesIO()
  one, two = (Image.fromarray(np.full([9, 7, 3], value, np.uint8)) for value in (20, 200))
  one.save(file, "MPO", save_all=True, append_images=[two])
  got = pictures.read(stored(folder, "phone.jpg", file.getvalue()))
  np.testing.assert_allclose(got, 20, atol=2)
