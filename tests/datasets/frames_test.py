"""datasets.frames: folders, pictures that move, videos."""

import fractions

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets import frames
from tests.datasets import made

FRAMES = [made.picture(16, 24, seed=i) for i in range(12)]


def test_a_folder_in_the_order_of_counting(tmp_path):
  for i, frame in enumerate(FRAMES):
    Image.fromarray(frame).save(tmp_path / f"frame_{i}.png")
  (tmp_path / "._frame_0.png").write_bytes(b"x")
  np.testing.assert_array_equal(list(frames.read(tmp_path)), FRAMES)
  assert next(frames.read(tmp_path, channels=1)).shape == (16, 24, 1)


@pytest.mark.parametrize(
  ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": 1})]
)
def test_a_picture_of_many_frames(kind, options, tmp_path):
  first, *others = map(Image.fromarray, FRAMES)
  path = tmp_path / "moving"
  first.save(path, kind, save_all=True, append_images=others, **options)
  np.testing.assert_array_equal(list(frames.read(path)), FRAMES)


def test_a_gif(tmp_path):
  colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
  wanted = [np.broadcast_to(color, [9, 7, 3]) for color in colors]
  first, *others = map(Image.fromarray, wanted)
  first.save(tmp_path / "a.gif", save_all=True, append_images=others)
  np.testing.assert_array_equal(list(frames.read(tmp_path / "a.gif")), wanted)


def test_one_picture_is_one_frame(tmp_path):
  Image.fromarray(FRAMES[0]).save(tmp_path / "a.png")
  np.testing.assert_array_equal(list(frames.read(tmp_path / "a.png")), FRAMES[:1])


def video(path, levels, size=(32, 48)):
  """Writes frames of even gray."""
  av = pytest.importorskip("av")
  with av.open(str(path), "w") as container:
    stream = container.add_stream("mpeg4", rate=fractions.Fraction(10))
    stream.height, stream.width = size
    stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
    for level in levels:
      frame = av.VideoFrame.from_ndarray(np.full([*size, 3], level, np.uint8), format="rgb24")
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


@pytest.mark.parametrize("name", ["a.mp4", "[a:b] ü.MKV", "concat:a|b.avi"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_video(name, channels, tmp_path):
  levels = [20, 60, 120, 180, 240]
  video(tmp_path / f"made{name[-4:].lower()}", levels)
  path = tmp_path / name
  (tmp_path / f"made{name[-4:].lower()}").rename(path)
  found = np.stack(list(frames.read(path, channels)))
  assert found.shape == (5, 32, 48, channels)
  np.testing.assert_allclose(found.mean((1, 2, 3)), levels, atol=4)


def test_what_is_no_sequence(tmp_path):
  def said(path):
    with pytest.raises(datasets.DataError) as caught:
      list(frames.read(path))
    return str(caught.value)

  assert "holds no pictures, expected the frames" in said(tmp_path)
  Image.fromarray(FRAMES[0]).save(tmp_path / "0.png")
  Image.fromarray(FRAMES[0][:9]).save(tmp_path / "1.png")
  assert "1.png (frame 1) is 9 x 24 pixels, the first one 16 x 24" in said(tmp_path)
  (tmp_path / "1.png").write_bytes(b"x")
  assert "1.png cannot be read as a picture" in said(tmp_path)
  assert "there is no video" in said(tmp_path / "none.mp4")
  (tmp_path / "text.mp4").write_bytes(b"my thesis")
  assert "text.mp4 cannot be read as a video" in said(tmp_path / "text.mp4")
  assert "there is no picture" in said(tmp_path / "none.gif")
