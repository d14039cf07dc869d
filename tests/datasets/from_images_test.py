"""datasets.from_images: a folder of pictures, and perhaps of masks, as records."""

import os

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets import files as records
from datasets import from_images
from tests.datasets import made

SPEC = datasets.get_spec("images")


def picture(path, height=16, width=16, seed=0):
  path.parent.mkdir(exist_ok=True, parents=True)
  pixels = made.picture(height, width, seed=seed)
  Image.fromarray(pixels).save(path)
  return pixels


def mask(path, numbers, height=16, width=16):
  """Background, and a square of each number."""
  path.parent.mkdir(exist_ok=True, parents=True)
  values = np.zeros([height, width], np.uint16 if max(numbers) > 255 else np.uint8)
  for i, number in enumerate(numbers):
    values[1 + i : 3 + i, 4 * i + 1 : 4 * i + 4] = number
  Image.fromarray(values).save(path)
  return values


def unpacked(path):
  return [records.decode(payload, SPEC, where="record") for _, payload in records.RecordFile(path)]


@pytest.fixture
def pack(tmp_path):
  """Packs tmp_path/pictures and returns (the records, the sentences)."""

  def call(**options):
    said = []
    out = str(tmp_path / "images.tfrecords")
    options = {"size": 16, "say": said.append, **options}
    number = from_images.pack(str(tmp_path / "pictures"), out, **options)
    found = unpacked(out)
    assert len(found) == number
    return found, said

  return call


def test_pictures_and_masks_belong_together(tmp_path, pack):
  names = ["A.PNG", "b.tif", "c_2.png", "c_10.png"]
  pixels = [picture(tmp_path / "pictures" / n, seed=i) for i, n in enumerate(names)]
  names = ["a.png", "B_mask.png", "c_2.png", "c_10.png"]
  labels = [mask(tmp_path / "masks" / n, [1, 2][: 1 + i % 2]) for i, n in enumerate(names)]
  found, said = pack(masks=str(tmp_path / "masks"))
  for record, image, own in zip(found, pixels, labels, strict=True):
    np.testing.assert_array_equal(record["image"], image)
    np.testing.assert_array_equal(record["labels"], own)
    np.testing.assert_array_equal(record["visibility"], [1, 1, own.max() > 1])
  assert said == [f"at most 2 objects a picture, in {tmp_path}/masks/B_mask.png"]


def test_the_picture_lies_on_its_mask_when_turned(tmp_path, pack):
  """As cameras store it: rows run along what is a column to the eye (orientation 6)."""
  upright = np.zeros([24, 16], np.uint8)
  upright[2:6, 1:5] = 255
  folder = tmp_path / "pictures"
  folder.mkdir()
  stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright, 1)))
  stored.save(folder / "a.jpg", exif=made.oriented(6), quality=95)
  Image.fromarray(upright // 255).save(folder / "a.png")
  [record], _ = pack(masks=str(folder), size=(24, 16), grayscale=True)
  np.testing.assert_array_equal(record["image"][..., 0] > 128, record["labels"] == 1)
  np.testing.assert_array_equal(record["labels"], upright // 255)


def test_the_size_is_height_by_width(tmp_path, pack):
  pixels = picture(tmp_path / "pictures" / "a.png", 20, 30)
  [record], _ = pack(size=(10, 30))
  np.testing.assert_array_equal(record["image"], pixels[5:15])
  [record], _ = pack(size=8)
  assert record["image"].shape == (8, 8, 3)


def test_sparse_numbers_are_renumbered_and_said(tmp_path, pack):
  for i in range(3):
    picture(tmp_path / "pictures" / f"{i}.png", seed=i)
  mask(tmp_path / "masks" / "0.png", [85, 170])
  mask(tmp_path / "masks" / "1.png", [26001, 26007, 300])
  mask(tmp_path / "masks" / "2.png", [1])
  found, said = pack(masks=str(tmp_path / "masks"))
  assert [r["labels"].max() for r in found] == [2, 3, 1]
  visible = [r["visibility"] for r in found]
  np.testing.assert_array_equal(visible, [[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]])
  [sentence] = [s for s in said if "renumbered" in s]
  assert "in 2 of 3 masks" in sentence
  assert "0.png has 85, 170" in sentence


def test_a_border_is_nobodys(tmp_path, pack):
  picture(tmp_path / "pictures" / "a.png")
  values = mask(tmp_path / "masks" / "a.png", [1, 2, 255])
  [record], said = pack(masks=str(tmp_path / "masks"))
  assert any("255 beside other numbers, taken for an entity, in 1 of 1" in s for s in said)
  [record], said = pack(masks=str(tmp_path / "masks"), ignore=[255])
  np.testing.assert_array_equal(record["labels"] == records.NO_ENTITY, values == 255)
  batch = next(
    iter(
      datasets.load(
        SPEC, str(tmp_path / "images.tfrecords"), split="all", batch_size=1,
        order=datasets.Order(shuffle=False),
      )
    )
  )  # fmt: skip
  assert batch["mask"].shape == (1, 3, 16, 16, 1)
  np.testing.assert_array_equal(np.sum(batch["mask"], 1)[0, ..., 0], values != 255)
  assert len(said) == 1


def test_masks_without_an_object_are_counted(tmp_path, pack):
  for i, number in enumerate([0, 255, 3]):
    picture(tmp_path / "pictures" / f"{i}.png")
    mask(tmp_path / "masks" / f"{i}.png", [number])
  found, said = pack(masks=str(tmp_path / "masks"), ignore=[255])
  assert [r["visibility"].sum() for r in found] == [1, 1, 2]
  assert any(s.startswith("no object in 2 of 3 masks") and s.endswith("0.png") for s in said)


def test_objects_cut_away_are_counted(tmp_path, pack):
  picture(tmp_path / "pictures" / "a.png", 16, 48)
  values = np.zeros([16, 48], np.uint8)
  values[2:4, 0:3], values[5:9, 20:26], values[2:4, 40:44] = 1, 2, 3
  (tmp_path / "masks").mkdir()
  Image.fromarray(values).save(tmp_path / "masks" / "a.png")
  [record], said = pack(masks=str(tmp_path / "masks"))
  np.testing.assert_array_equal(record["labels"], values[:, 16:32] // 2)
  np.testing.assert_array_equal(record["visibility"], [1, 1])
  assert any(s.startswith("2 objects in 1 pictures are cut away by the crop") for s in said)


def test_a_file_for_each_object(tmp_path, pack):
  picture(tmp_path / "pictures" / "a.png")
  for i in range(2):
    mask(tmp_path / "pictures" / "a" / f"{i}.png", [0] * i + [255])
  [record], said = pack(masks=str(tmp_path / "pictures"))
  assert record["labels"].max() == 2
  assert len(said) == 1  # the folder is not "passed over"


def test_masks_beside_pictures_are_not_packed(tmp_path, pack):
  folder = tmp_path / "pictures"
  pixels = picture(folder / "a.png")
  values = mask(folder / "a_mask.png", [1])
  [record], said = pack()
  np.testing.assert_array_equal(record["image"], pixels)
  assert not record["labels"].any()
  assert said == [
    f"not packed, being masks of others: a_mask.png; to use them say --masks {folder}"
  ]
  [record], said = pack(masks=str(folder))
  np.testing.assert_array_equal(record["labels"], values)


def test_what_cannot_be_read_is_named_and_the_others_are_packed(tmp_path, pack):
  folder = tmp_path / "pictures"
  pixels = [picture(folder / f"{i}.png", seed=i) for i in range(3)]
  (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:300])
  (folder / "._0.png").write_bytes(b"x")
  (folder / "film.mp4").write_bytes(b"x")
  (folder / "more").mkdir()
  found, said = pack()
  np.testing.assert_array_equal([r["image"] for r in found], pixels)
  assert said[0].startswith("passed over, being no pictures of a format read here: film.mp4, more")
  assert said[1].startswith(f"left out: {folder}/cut.png cannot be read as a picture")
  with pytest.raises(datasets.DataError, match=r"cut\.png cannot be read"):
    pack(on_error="raise")
  for i in range(3):
    mask(tmp_path / "masks" / f"{i}.png", [1])
  mask(tmp_path / "masks" / "cut.png", [1])
  (tmp_path / "masks" / "0.png").write_bytes(b"x")
  mask(tmp_path / "masks" / "1.png", [1], 16, 17)
  found, said = pack(masks=str(tmp_path / "masks"))
  np.testing.assert_array_equal([r["image"] for r in found], pixels[2:])
  assert any("1.png is 16 x 17 pixels (height x width), its picture 16 x 16" in s for s in said)
  (tmp_path / "images.tfrecords").unlink()
  for i in range(3):
    (folder / f"{i}.png").write_bytes(b"x")
  with pytest.raises(datasets.DataError, match=r"0\.png cannot be read"):
    pack()
  assert not list(tmp_path.glob("images*"))


def test_refusals(tmp_path, pack):
  (tmp_path / "pictures").mkdir()
  with pytest.raises(datasets.DataError, match=r"holds no \.png, \.jpg or other picture"):
    pack()
  picture(tmp_path / "pictures" / "a.png")
  for options, sentence in (
    ({"size": 0}, "size must be at least 1 pixel each way, got 0 x 0"),
    ({"size": (3, -1)}, "got 3 x -1"),
    ({"masks": str(tmp_path / "none")}, "none is no folder, expected one of masks"),
    ({"background": "no"}, 'a colour is a name, as white, or #rrggbb, got "no"'),
    ({"on_error": "stop"}, "on_error must be"),
  ):
    with pytest.raises(datasets.DataError, match=sentence):
      pack(**options)
  with pytest.raises(datasets.DataError, match="is a folder, expected the name of a file to write"):
    from_images.pack(str(tmp_path / "pictures"), str(tmp_path), size=8)


def run(capsys, *words):
  """Exit code, standard output, standard error."""
  code = 0
  try:
    from_images.main(list(map(str, words)))
  except SystemExit as stopped:
    code = stopped.code
  return code, *capsys.readouterr()


def test_the_command(tmp_path, capsys, monkeypatch):
  folder, out = tmp_path / os.fsdecode(b"[my] \xff{pictures},~"), tmp_path / "new" / "[1].tfrecords"
  picture(folder / "a$1_$2.png", 30, 40)
  mask(tmp_path / "masks" / "a$1_$2.png", [3, 255], 30, 40)
  words = [
    folder,
    "--size",
    "12x16",
    "--out",
    out,
    "--masks",
    tmp_path / "masks",
    "--ignore",
    "255",
  ]
  code, stdout, stderr = run(capsys, *words)
  assert code == 0, stderr
  assert stdout == f"{out}: 1 pictures\n"
  assert "a$1_$2.png has 3" in stderr
  assert unpacked(out)[0]["image"].shape == (12, 16, 3)
  before = out.read_bytes()
  code, _, stderr = run(capsys, *words)
  assert code == 2
  assert stderr.endswith("exists already: --force overwrites it\n")
  assert out.read_bytes() == before
  assert run(capsys, *words, "--force")[0] == 0
  monkeypatch.setenv("HOME", str(tmp_path))
  assert run(capsys, folder, "--out=~/home.tfrecords")[0] == 0
  assert unpacked(tmp_path / "home.tfrecords")[0]["image"].shape == (64, 64, 3)


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    (["--size", "64x"], '"64x" is no size, wanted a number or HxW'),
    (["--size", "-1"], "size"),
    (["--size", "0"], "at least 1 pixel"),
    (["--ignore", "border"], '"border" is neither a number nor a colour'),
    (["--sise", "3"], 'did you mean "--size"?'),
    (["--out", "{folder}"], "is a folder, expected the name of a file"),
    (["--out", "{folder}/a.png/b"], "a.png"),
    (["--background", "infrared"], "infrared"),
  ],
)
def test_a_wrong_word_is_one_sentence(words, sentence, tmp_path, capsys):
  picture(tmp_path / "a.png")
  words = [word.format(folder=tmp_path) for word in words]
  if "--out" not in words:
    words += ["--out", tmp_path / "out.tfrecords"]
  code, _, stderr = run(capsys, tmp_path, *words)
  assert code == 2
  assert sentence in stderr
  assert stderr.count("\n") == 1
