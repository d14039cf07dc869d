"""experiments.infer: any picture under any name, and one sentence for what cannot be done."""

import os
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import datasets
import iodine
from datasets import frames, pictures
from experiments import infer, multistability
from experiments.support import mask_pictures, videos
from experiments.support.errors import Refusal
from iodine import serving
from iodine.errors import UserError

SIZE = (8, 6)
CONFIG = iodine.IodineConfig(
  image_size=(*SIZE, 3),
  num_slots=3,
  num_iterations=2,
  latent_size=4,
  decoder_channels=(4,),
  encoder_channels=(4,),
  mlp_sizes=(4,),
  lstm_size=0,
)


@pytest.fixture(scope="module")
def live():
  tf.random.set_seed(0)
  model = iodine.Iodine(CONFIG)
  model.create_variables()
  return model


@pytest.fixture(scope="module")
def folder(live, tmp_path_factory):
  path = tmp_path_factory.mktemp("models") / "tiny, {a model} ü"
  serving.export(live, path)
  return path


@pytest.fixture(scope="module")
def model(folder):
  return serving.load(folder)


def picture(path, seed=0):
  path.parent.mkdir(exist_ok=True, parents=True)
  pixels = np.random.default_rng(seed).integers(256, size=[*SIZE, 3], dtype=np.uint8)
  Image.fromarray(pixels).save(path, "PNG")
  return pixels


def run(out, **updates):
  """Runs the experiment; returns its folder."""
  return pathlib.Path(infer.command.run(updates=updates, folder=out).result)


NAMES = [
  "cost$5_$6.png", "a$b.png", "a\\b.png", "config.json.png", "metrics.json.png", "A.png", "a.png",
  "overview.png", "latents.npz.png", "a\nb.png", "x" * 200 + ".png", os.fsdecode(b"\xff$.png"),
  "[a].png", "..png",
]  # fmt: skip


def test_any_name(model, folder, tmp_path):
  pictures = tmp_path / "[my], {pictures}~"
  pixels = [picture(pictures / name, i) for i, name in enumerate(NAMES)]
  images = [str(pictures / name) for name in NAMES]
  out = run(tmp_path / "[out]", model=str(folder), images=images, batch_size=20)
  folders = infer.distinct([pathlib.Path(name).stem for name in NAMES])
  assert len({name.casefold() for name in folders}) == len(NAMES)
  found = model.infer(np.stack(pixels))
  for name, segmentation in zip(folders, found.segmentation, strict=True):
    with Image.open(out / "pictures" / name / "mask.png") as mask:
      np.testing.assert_array_equal(np.asarray(mask), segmentation)
  assert {p.name for p in out.iterdir() if p.is_dir()} == {"pictures"}
  latents = np.load(out / "latents.npz")
  assert list(latents["names"]) == folders
  np.testing.assert_allclose(latents["posterior_mean"], found.posterior_mean, atol=1e-5)
  assert (out / "overview.png").stat().st_size > 10_000


def test_the_command_line(folder, tmp_path, monkeypatch, capsys):
  """Numbers are names, a path is bytes, and what cannot be read is named."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / "1").symlink_to(folder)
  odd = os.fsdecode(b"[\xfe]")
  picture(tmp_path / odd / "a.png")
  (tmp_path / odd / "b.png").write_bytes(b"no picture")
  words = ["model=1", f"images=[{odd}/a.png,{odd}/b*]", "out=3", "num_overview=0"]
  infer.command.run_commandline(["infer", "with", *words])
  stdout, stderr = capsys.readouterr()
  assert "1 pictures, 3 slots each: 3/1" in stdout
  assert r"left out: [\xfe]/b.png cannot be read as a picture" in stderr
  assert (tmp_path / "3" / "1" / "pictures" / "a" / "mask.png").is_file()
  assert not list((tmp_path / "3" / "1").glob("overview*"))


def test_kinds_of_pictures(folder, model, tmp_path):
  """As datasets.pictures reads them: here only that it does."""
  upright = picture(tmp_path / "a.png")
  exif = Image.Exif()
  exif[0x0112] = 6
  Image.fromarray(np.ascontiguousarray(np.rot90(upright, 1))).save(tmp_path / "b.png", exif=exif)
  deep = upright[..., 0].astype(np.uint16) * 257
  Image.fromarray(deep).save(tmp_path / "c.png")
  hidden = np.concatenate([upright, np.zeros([*SIZE, 1], np.uint8)], -1)
  Image.fromarray(hidden).save(tmp_path / "d.png")
  read = lambda name, **options: infer.read(tmp_path / name, model.metadata, **options)
  np.testing.assert_array_equal(read("b.png"), upright / np.float32(255))
  np.testing.assert_array_equal(read("c.png")[..., 1], upright[..., 0] / np.float32(255))
  assert (read("d.png") == 1).all()
  assert (read("d.png", background="black") == 0).all()


def test_more_slots_than_a_palette_holds(folder, model, tmp_path, capsys):
  pixels = picture(tmp_path / "a.png")
  out = run(tmp_path, model=str(folder), images=str(tmp_path / "a.png"), num_slots=300)
  with Image.open(out / "pictures" / "a" / "mask.png") as mask:
    slots = np.asarray(mask)
  assert slots.dtype == np.uint16
  masks = model.infer(pixels, num_slots=300).masks
  np.testing.assert_array_equal(slots, masks[..., 0].argmax(0))
  assert not list(out.glob("overview*"))
  assert "no overview: it has room for 64 slots, these are 300" in capsys.readouterr().out
  ids = np.arange(300).reshape(1, 300)
  one_hot = np.eye(300)[:, :, None][:, ids[0]].transpose(0, 2, 1)[..., None]
  for count in (256, 300):
    picture_ = mask_pictures.segmentation(one_hot[:count, :, :count])
    np.testing.assert_array_equal(np.asarray(picture_), ids[:, :count])


def test_a_rounding_error_is_put_right(model):
  def found(value):
    return infer.decompose(model, np.full([2, *SIZE, 3], value, np.float32), None, None, 0, 1)

  for near, value in ((-1e-4, 0), (1 + 1e-4, 1)):
    masks = found(near)["masks"]
    assert masks.shape == (2, 3, *SIZE, 1)
    np.testing.assert_array_equal(masks, found(value)["masks"])
  for wrong in (1.01, -0.01, np.nan):
    with pytest.raises(UserError, match=r"float images in \[0, 1\], got values from"):
      found(wrong)


def test_a_picture_has_the_same_slots_alone_as_in_a_batch(model):
  images = np.random.default_rng(0).uniform(size=[3, *SIZE, 3]).astype(np.float32)
  together = infer.decompose(model, images, None, None, 0, 3)
  alone = infer.decompose(model, images, None, None, 0, 1)
  several = infer.decompose(model, images, None, None, 0, 2, num_starts=4)
  energies = [found["nll"][:, -1] + found["kl"][:, -1].sum(axis=1) for found in (several, alone)]
  assert (energies[0] <= energies[1] + 1e-3).all()
  assert energies[0].sum() < energies[1].sum() - 1e-3
  for name in ("z", "posterior_mean", "masks"):
    np.testing.assert_allclose(alone[name], together[name], atol=1e-5)


@pytest.mark.parametrize(
  ("updates", "sentence"),
  [
    ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ({"batch_size": "many"}, "batch_size must be a whole number, got 'many'"),
    ({"num_overview": -1}, "num_overview must be at least 0, got -1"),
    ({"num_slots": 1}, "num_slots must be a whole number of at least 2, got 1"),
    ({"num_starts": 0}, "num_starts must be at least 1, got 0"),
    ({"frame_iterations": 2}, "frame_iterations is for the frames of a video"),
    ({"images": None}, "say which pictures"),
    ({"images": []}, "images names no picture"),
    ({"images": "none*.png"}, r"there is no picture none\*\.png"),
    ({"images": "{folder}"}, "is a folder, expected a picture"),
    ({"images": "{folder}/text.png"}, r"text\.png cannot be read as a picture"),
    ({"images": "{folder}/big.png"}, r"big\.png is 9 x 9 pixels .* resize=True crops"),
    ({"model": None}, "say which model"),
    ({"model": 17}, "there is no SavedModel in 17"),
    ({"background": "infrared"}, 'a colour is a name, as white, or #rrggbb, got "infrared"'),
  ],
)
def test_one_sentence(updates, sentence, folder, tmp_path):
  picture(tmp_path / "a.png")
  (tmp_path / "text.png").write_bytes(b"my thesis")
  Image.fromarray(np.zeros([9, 9, 3], np.uint8)).save(tmp_path / "big.png")
  updates = {k: v.format(folder=tmp_path) if isinstance(v, str) else v for k, v in updates.items()}
  with pytest.raises((UserError, datasets.DataError), match=sentence):
    run(tmp_path / "out", **{"model": str(folder), "images": str(tmp_path / "a.png"), **updates})


def test_no_images(model):
  with pytest.raises(Refusal, match="there are no pictures to decompose"):
    infer.decompose(model, np.zeros([0, *SIZE, 3], np.float32), None, None, 0, 1)
  with pytest.raises(Refusal, match="there are no pictures to decompose"):
    infer.read_all([], model.metadata)


def test_names_of_folders():
  assert infer.distinct(["a", "b", "a", "A", "a_2"]) == ["a", "b", "a_2", "A_3", "a_2_2"]
  assert infer.distinct([".", "..", "..."]) == ["_.", "_..", "_..."]


def test_the_stimulus_of_multistability(live, tmp_path):
  """Reads as infer does, but takes the model's size only."""
  pixels = picture(tmp_path / "[a].png")
  read = multistability.read_picture(tmp_path / "[a].png", live)
  np.testing.assert_array_equal(read, pixels[None] / np.float32(255))
  with pytest.raises(datasets.DataError, match=r"there is no picture .*none\.png"):
    multistability.read_picture(tmp_path / "none.png", live)
  Image.fromarray(np.zeros([9, 9, 3], np.uint8)).save(tmp_path / "big.png")
  with pytest.raises(Refusal, match=r"expected a picture of 8 x 6, got 9 x 9 in .*big\.png"):
    multistability.read_picture(tmp_path / "big.png", live)


def test_gray_is_the_mean_of_the_channels_as_in_training(live, tmp_path):
  pixels = np.zeros([*SIZE, 3], np.uint8)
  pixels[:, 1:3, 1], pixels[:, 3:, 2] = 255, 128  # green, and half of blue
  for name in ("a.png", "a.gif"):
    Image.fromarray(pixels).save(tmp_path / name)
  expected = pixels.astype(np.float32).mean(axis=-1, keepdims=True) / 255
  metadata = {"image_size": [*SIZE, 1], "grayscale": True}
  found = infer.read(tmp_path / "a.png", metadata)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  model = types.SimpleNamespace(metadata=metadata)
  fit = lambda frame, path: infer._as_the_model_wants(frame, path, metadata, False)
  [frame] = videos.prepared(tmp_path / "a.gif", model, fit, pictures.BACKGROUND)
  np.testing.assert_allclose(frame, expected, atol=1e-2)  # a palette
  config = live.config.model_copy(update={"image_size": (*SIZE, 1)})
  gray = types.SimpleNamespace(config=config)
  [stimulus] = multistability.read_picture(tmp_path / "a.png", gray, grayscale=True)
  np.testing.assert_allclose(stimulus, expected, atol=1e-6)


@pytest.fixture(scope="module")
def pixels():
  return np.random.default_rng(3).integers(256, size=[5, *SIZE, 3], dtype=np.uint8)


def clip_in(folder, pixels):
  """A folder of frames whose names want to be counted, not spelled."""
  folder.mkdir()
  for number, frame in enumerate(pixels):
    Image.fromarray(frame).save(folder / f"f{number + 8}.png")  # f8, f9, f10
  return folder


def test_a_video_is_followed_frame_by_frame(folder, model, pixels, tmp_path):
  out = run(tmp_path / "out", model=str(folder), video=str(clip_in(tmp_path / "clip", pixels)))
  state, expected = model.start(1), []
  steps = [pixels[0]] * 2 + list(pixels[1:]) + [pixels[-1]]  # T = 2 on the first frame
  for image in steps:
    found = model.refine(state, image)
    state = found.state
    expected.append(found)
  masks = sorted((out / "masks").iterdir())
  assert [path.name for path in masks] == [f"{n:04d}.png" for n in range(1, 6)]
  for path, found in zip(masks, expected[2:], strict=True):
    with Image.open(path) as mask:
      np.testing.assert_array_equal(np.asarray(mask), found.segmentation)
  tracks = np.load(out / "tracks.npz")
  np.testing.assert_allclose(tracks["area"].sum(axis=1), 1)
  means = np.stack([found.posterior_mean for found in expected[2:]])
  np.testing.assert_allclose(tracks["posterior_mean"], means, rtol=1e-5)
  predicted = [found.nll[0] for found in expected[2:-1]]
  np.testing.assert_allclose(tracks["next_nll"], [*predicted, np.nan], rtol=1e-5)
  shown = list(frames.read(out / "overlay.mp4"))
  assert len(shown) == 5
  assert shown[0].shape[0] >= 128


def test_a_gif_and_one_frame(folder, pixels, tmp_path, capsys):
  pictures_ = [Image.fromarray(frame) for frame in pixels]
  pictures_[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures_[1:])
  run(tmp_path / "out", model=str(folder), video=str(tmp_path / "a.gif"))
  assert "5 frames: " in capsys.readouterr().out
  pictures_[0].save(tmp_path / "one.png")
  out = run(tmp_path / "out", model=str(folder), video=str(tmp_path / "one.png"), num_iterations=1)
  assert [path.name for path in (out / "masks").iterdir()] == ["0001.png"]


@pytest.mark.parametrize(
  ("name", "sentence"),
  [
    ("none.mp4", r"there is no video .*none\.mp4"),
    ("empty", "empty holds no pictures, expected the frames of a sequence"),
    ("text.gif", r"text\.gif cannot be read as a picture"),
    ("mixed", r"f1\.png \(frame 1\) is 9 x 9 pixels, the first one 8 x 6"),
    ("big", r"big is 9 x 9 pixels \(height x width\), the model takes 8 x 6: resize=True crops"),
  ],
)
def test_videos_that_cannot_be_followed(name, sentence, folder, pixels, tmp_path):
  (tmp_path / "empty").mkdir()
  (tmp_path / "text.gif").write_bytes(b"my thesis")
  nine = np.zeros([9, 9, 3], np.uint8)
  for place, clip in (("mixed", [pixels[0], nine]), ("big", [nine, nine])):
    (tmp_path / place).mkdir()
    for number, frame in enumerate(clip):
      Image.fromarray(frame).save(tmp_path / place / f"f{number}.png")
  with pytest.raises((UserError, datasets.DataError), match=sentence):
    run(tmp_path / "out", model=str(folder), video=str(tmp_path / name))


def test_several_starts_are_for_images(folder, tmp_path):
  with pytest.raises(Refusal, match="num_starts is for images: a video is followed from one start"):
    run(tmp_path, model=str(folder), video="a.gif", num_starts=2)


def test_images_or_a_video(folder, tmp_path):
  with pytest.raises(Refusal, match="images and video are two kinds of input"):
    run(tmp_path, model=str(folder), video="a.gif", images="a.png")
