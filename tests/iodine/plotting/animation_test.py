"""Animations read back from their files."""

import av
import numpy as np
import pytest
from PIL import Image

from iodine import plotting


def clip(num_frames=5, height=30, width=41):
  """A square that moves over stripes that do not."""
  frames = np.zeros([num_frames, height, width, 3], np.uint8)
  frames[:, 10:20] = [40, 90, 160]
  for t in range(num_frames):
    frames[t, 5:15, 4 + 5 * t : 14 + 5 * t] = [220, 60, 20]
  return frames


def test_a_gif_holds_every_frame_and_runs_for_ever(tmp_path):
  frames = clip()
  path = plotting.write_clip(tmp_path / "clip.gif", frames, frames_per_second=4)
  assert path.read_bytes() == plotting.encode_gif(frames, 4)
  with Image.open(path) as picture:
    assert picture.n_frames == 5
    assert picture.info["loop"] == 0
    for t in range(5):
      picture.seek(t)
      assert picture.info["duration"] == 250
      np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), frames[t])


def test_any_name_of_a_file_will_do(tmp_path):
  for name in ("a: b.mp4", "$x$ %d.mp4", "gr\udcfc.gif", "gr\udcfc.mp4"):
    path = plotting.write_clip(tmp_path / name, clip(2))
    assert path.stat().st_size > 100


def test_frames_that_are_alike_stay_frames_of_the_gif(tmp_path):
  path = plotting.write_clip(tmp_path / "still.gif", clip(1).repeat(4, axis=0))
  with Image.open(path) as picture:
    shown = []
    for t in range(picture.n_frames):
      picture.seek(t)
      shown.append(picture.info["duration"])
  assert sum(shown) == 4 * 120  # 8 a second, in hundredths


def test_a_video_holds_every_frame(tmp_path):
  frames = clip(num_frames=9)
  path = plotting.write_clip(str(tmp_path / "clip.MP4"), frames, frames_per_second=12.5)
  with av.open(str(path)) as container:
    read = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    assert float(container.streams.video[0].average_rate) == pytest.approx(12.5)
  assert read.shape == (9, 30, 42, 3)  # an even width
  away = np.abs(read[:, :, :41].astype(int) - frames)
  assert away.mean() < 6  # it is compressed


@pytest.mark.parametrize(
  ("name", "frames", "rate", "message"),
  [
    ("clip.avi", clip(), 8, "ends in .gif or .mp4, got 'clip.avi'"),
    ("clip", clip(), 8, "ends in .gif or .mp4, got 'clip'"),
    ("clip.gif", clip() / 255, 8, r"uint8 \[T, H, W, 3\], got float64 \[5, 30, 41, 3\]"),
    ("clip.gif", clip()[0], 8, r"uint8 \[T, H, W, 3\], got uint8 \[30, 41, 3\]"),
    ("clip.mp4", clip()[:0], 8, r"got uint8 \[0, 30, 41, 3\]"),
    ("clip.gif", clip(), 0, "frames per second, got 0"),
    ("clip.gif", clip(), 51, "frames per second, got 51"),
  ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, frames, rate, message):
  with pytest.raises(ValueError, match=message):
    plotting.write_clip(tmp_path / name, frames, rate)
  assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
  for name in ("clip.gif", "clip.mp4"):
    with pytest.raises(OSError, match="nowhere"):
      plotting.write_clip(tmp_path / "nowhere" / name, clip())


def test_a_video_frame_by_frame_is_the_video_at_once(tmp_path):
  frames = clip(6, 31, 40)
  at_once = plotting.write_clip(tmp_path / "a.mp4", frames, 10)
  by_frame = plotting.write_video(tmp_path / "b.mp4", iter(frames), 10)
  read = []
  for path in (at_once, by_frame):
    with av.open(str(path)) as container:
      read.append([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
  np.testing.assert_array_equal(*read)
  assert read[0][0].shape == (32, 40, 3)


@pytest.mark.parametrize(
  ("name", "frames", "message"),
  [
    ("a.gif", [], r"expected a name that ends in \.mp4, got 'a\.gif'"),
    ("a.mp4", [], "expected at least one frame"),
    ("a.mp4", [np.zeros([4, 4, 3])], r"expected frames uint8 .*, got float64"),
    ("a.mp4", [np.zeros([4, 4, 3], "u1"), np.zeros([6, 4, 3], "u1")], "expected frames of 4 x 4"),
  ],
)
def test_what_is_no_video(name, frames, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    plotting.write_video(tmp_path / name, frames)
