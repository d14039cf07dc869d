"""datasets.masks: numbers, colours, one file an object, borders; which file is whose mask."""

import os
import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

import datasets
from datasets import masks
from tests.datasets import made
from tests.datasets.pictures_test import check, damaged

INPUTS = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "inputs"
IDS = np.array([[0, 0, 1], [2, 2, 1]])


def saved(path, values, palette=False):
  picture = Image.fromarray(np.asarray(values))
  if palette:
    picture.putpalette(np.random.default_rng(0).bytes(768))
  picture.save(path)
  return path


@pytest.fixture
def blank(tmp_path):
  """Makes empty files: blank("a.png", ...) -> their folder."""

  def make(*names):
    for name in names:
      path = tmp_path / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(b"")
    return tmp_path

  return make


# ----------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("numbers", [[0, 1, 2], [0, 85, 170], [0, 7, 255], [0, 254, 255]])
@pytest.mark.parametrize("kind", ["L", "P", "I;16", "RGB", "RGBA", "F", "I"])
def test_numbers(numbers, kind, tmp_path):
  values = np.array(numbers, np.uint8)[IDS]
  path = tmp_path / "a.tif"
  if kind in ("RGB", "RGBA"):  # gray levels in three channels
    channels = [values] * 3 + [np.full_like(values, 255)] * (kind == "RGBA")
    saved(path, np.stack(channels, -1))
  else:
    dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}.get(kind, np.uint8)
    saved(path, values.astype(dtype), kind == "P")
  mask = masks.read(path)
  np.testing.assert_array_equal(mask.labels, IDS)
  assert mask.names == [str(n) for n in numbers[1:]]
  assert mask.renumbered == (numbers != [0, 1, 2])


def test_16_bit_numbers(tmp_path):
  mask = masks.read(saved(tmp_path / "a.png", np.array([0, 26001, 26002], np.uint16)[IDS]))
  np.testing.assert_array_equal(mask.labels, IDS)
  assert mask.names == ["26001", "26002"]


def test_binary(tmp_path):
  for path in (
    saved(tmp_path / "a.png", (IDS > 0) * np.uint8(255)),
    saved(tmp_path / "b.png", IDS > 0),
  ):
    np.testing.assert_array_equal(masks.read(path).labels, IDS > 0)


@pytest.mark.parametrize("opacity", [False, True])
def test_colours(opacity, tmp_path):
  colors = np.array([[0, 0, 0, 255], [255, 0, 0, 255], [0, 0, 9, 255]], np.uint8)[IDS]
  if opacity:
    colors[0, 0] = [99, 98, 97, 0]  # not seen: background
  mask = masks.read(saved(tmp_path / "a.png", colors if opacity else colors[..., :3]))
  np.testing.assert_array_equal(mask.labels, np.array([0, 2, 1])[IDS])
  assert mask.names == ["#000009", "#ff0000"]
  assert mask.kind == "colors"
  assert not mask.renumbered


@pytest.mark.parametrize("kind", ["L", "P", "I;16"])
def test_a_border_is_nobodys(kind, tmp_path):
  values = np.array([0, 1, 255])[IDS].astype(np.uint16 if kind == "I;16" else np.uint8)
  path = saved(tmp_path / "a.png", values, kind == "P")
  mask = masks.read(path, [255])
  np.testing.assert_array_equal(mask.labels, np.array([0, 1, masks.NO_ENTITY])[IDS])
  assert mask.names == ["1"]
  assert not mask.renumbered


def test_a_border_among_colours(tmp_path):
  colors = np.array([[0, 0, 0], [255, 0, 0], [224, 224, 192]], np.uint8)[IDS]
  wanted = np.array([0, 1, masks.NO_ENTITY])[IDS]
  read = masks.read(saved(tmp_path / "a.png", colors), [(224, 224, 192)])
  np.testing.assert_array_equal(read.labels, wanted)
  colors[colors[..., 1] == 224] = 255  # white is gray level 255
  read = masks.read(saved(tmp_path / "a.png", colors), [255])
  np.testing.assert_array_equal(read.labels, wanted)


def test_a_negative_number(tmp_path):
  path = saved(tmp_path / "a.tif", np.array([0, 1, -1], np.int32)[IDS])
  np.testing.assert_array_equal(masks.read(path, [-1]).labels, np.array([0, 1, 255])[IDS])
  with pytest.raises(datasets.DataError, match=r"a\.tif: entity number -1, wanted 0, 1, 2"):
    masks.read(path)


@pytest.mark.parametrize("form", ["0/1", "0/255", "16 bits", "opacity", "bits", "palette"])
def test_a_file_for_each_object(form, tmp_path):
  folder = tmp_path / "a"
  folder.mkdir()
  (folder / ".DS_Store").write_bytes(b"x")
  for number in (2, 10):
    inside = number // 9 + 1 == IDS
    picture = {
      "0/1": lambda inside: Image.fromarray(inside.astype(np.uint8)),
      "0/255": lambda inside: Image.fromarray(inside * np.uint8(255)),
      "16 bits": lambda inside: Image.fromarray(inside * np.uint16(65535)),
      "bits": Image.fromarray,
      "opacity": lambda inside: Image.fromarray(
        np.stack([inside * 0, inside * 3, inside * 0, inside * 255], -1).astype(np.uint8)
      ),
      "palette": lambda inside: Image.fromarray(inside * np.uint8(255)).quantize(2),
    }[form](inside)
    picture.save(folder / f"{number}.png")
  mask = masks.read(folder)
  np.testing.assert_array_equal(mask.labels, IDS)
  assert mask.names == ["2.png", "10.png"]


@hypothesis.settings(max_examples=100, derandomize=True)
@hypothesis.given(
  inside=st.lists(st.booleans(), min_size=12, max_size=12).filter(any),
  mode=st.sampled_from(
    ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I", "F"]
  ),
  high=st.integers(100, 255),
  low=st.integers(0, 40),
)
def test_an_opaque_object_is_where_it_is_bright(tmp_path_factory, inside, mode, high, low):
  """Whatever else a pixel stores: opacity that is the same everywhere, ink, or chroma."""
  folder = tmp_path_factory.getbasetemp() / "bright"
  folder.mkdir(exist_ok=True)
  inside = np.array(inside).reshape(3, 4)
  gray = np.where(inside, high, low).astype(np.uint8)
  if mode in ("I;16", "I", "F", "1"):
    dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32, "1": bool}[mode]
    picture = Image.fromarray(inside if mode == "1" else gray.astype(dtype))
  elif mode in ("P", "PA"):
    picture = Image.fromarray(inside.astype(np.uint8))
    picture.putpalette([low] * 3 + [high] * 3)
    picture = picture.convert(mode)
  else:
    picture = Image.fromarray(np.stack([gray] * 3, -1)).convert(mode)
  picture.save(folder / "0.tif")
  with Image.open(folder / "0.tif") as stored:
    assert stored.mode == mode or (mode, stored.mode) == ("RGBX", "RGB")  # by Pillow's libtiff
  np.testing.assert_array_equal(masks.read(folder).labels, inside)


def test_objects_that_overlap_or_are_empty(tmp_path):
  inside = [np.zeros([4, 4], np.uint8) for _ in range(4)]
  inside[0][:2], inside[1][1:3], inside[3][:3, 2:] = 255, 255, 255  # 2 is empty
  for number, own in enumerate(inside):
    saved(tmp_path / f"{number}.png", own)
  mask = masks.read(tmp_path)
  assert mask.names == ["0.png", "1.png", "3.png"]
  np.testing.assert_array_equal(mask.labels[:, 0], [1, 2, 2, 0])
  np.testing.assert_array_equal(mask.labels[:, 3], [3, 3, 3, 0])
  saved(tmp_path / "9.png", np.full([4, 4], 255, np.uint8))  # hides all the others
  hidden = masks.read(tmp_path)
  assert (hidden.labels == 1).all()
  assert hidden.names == ["9.png"]


def test_what_is_no_mask(tmp_path):
  def said(path):
    with pytest.raises(datasets.DataError) as caught:
      masks.read(path)
    return str(caught.value)

  noise = made.picture(20, 20)
  assert "noise.png has 400 colours, but at most 254" in said(saved(tmp_path / "noise.png", noise))
  ramp = np.arange(400, dtype=np.uint16).reshape(20, 20)
  assert "ramp.png has 399 entity numbers" in said(saved(tmp_path / "ramp.png", ramp))
  lossy = saved(tmp_path / "lossy.jpg", noise)
  assert "lossy.jpg is a JPEG, whose compression blurs entity numbers" in said(lossy)
  half = saved(tmp_path / "half.tif", np.array([[0, 0.5]], np.float32))
  assert "half.tif has fractions" in said(half)
  Image.fromarray(noise).convert("CMYK").save(tmp_path / "ink.tif")
  assert "ink.tif is a picture of mode CMYK, wanted entity numbers" in said(tmp_path / "ink.tif")
  (tmp_path / "objects").mkdir()
  assert "objects holds no pictures, expected one for each object" in said(tmp_path / "objects")
  saved(tmp_path / "objects" / "0.png", np.zeros([4, 4], np.uint8))
  saved(tmp_path / "objects" / "1.png", np.zeros([4, 5], np.uint8))
  assert "1.png is 4 x 5 pixels (height x width), the ones before 4 x 4" in said(
    tmp_path / "objects"
  )


@pytest.mark.skipif(not INPUTS.is_dir(), reason="the inputs are not beside this checkout")
@pytest.mark.parametrize(
  ("name", "entities"),
  [
    ("mask_sparse_ids.png", 2),
    ("mask_border255.png", 2),
    ("masks_refused/m16.png", 2),
    ("masks_refused/rgbm.png", 2),
    ("masks_refused/m255.png", 1),
    ("masks_refused/voc.png", 2),
  ],
)
def test_shared_inputs(name, entities):
  mask = masks.read(INPUTS / name, [] if name.endswith("m255.png") else [255])
  assert len(mask.names) == entities
  assert set(np.unique(mask.labels)) - {masks.NO_ENTITY} == set(range(entities + 1))


@hypothesis.settings(max_examples=100, derandomize=True)
@hypothesis.given(content=st.one_of(st.binary(max_size=64), damaged()))
def test_any_bytes_are_a_mask_or_one_sentence(tmp_path_factory, content):
  path = tmp_path_factory.getbasetemp() / "any.png"
  check(path, content, lambda path: masks.read(path).labels)


@hypothesis.settings(max_examples=100, derandomize=True)
@hypothesis.given(
  ids=st.lists(st.integers(0, 65535), min_size=12, max_size=12),
  ignore=st.lists(st.integers(0, 65535), max_size=2),
)
def test_any_numbers_are_told_apart(tmp_path_factory, ids, ignore):
  """Two pixels have the same label if and only if they have the same number."""
  path = tmp_path_factory.getbasetemp() / "ids.png"
  values = np.array(ids, np.uint16).reshape(3, 4)
  labels = masks.read(saved(path, values), ignore).labels.ravel()
  nobody = np.isin(ids, ignore)
  np.testing.assert_array_equal(labels == masks.NO_ENTITY, nobody)
  kept, own = labels[~nobody], np.array(ids)[~nobody]
  np.testing.assert_array_equal(kept[:, None] == kept, own[:, None] == own)
  np.testing.assert_array_equal(kept == 0, own == 0)
  found = set(kept[kept > 0].tolist())
  assert found == set(range(1, len(found) + 1))


# -------------------------------------------------------------------------------- whose mask it is


def test_a_mask_by_its_name(blank):
  folder = blank(
    "A.PNG", "b_mask.png", "b.png", "c.tif", "d/0.png", "E_MASK.png", "f_mask/x.png", "g.jpg",
    "g.png", "straße.png",
  )  # fmt: skip
  names = ["a.jpg", "b.jpg", "C.jpg", "d.png", "e.png", "f.png", "G.jpg", "STRASSE.jpg"]
  wanted = [
    "A.PNG", "b_mask.png", "c.tif", "d", "E_MASK.png", "f_mask", "g.png", "straße.png",
  ]  # fmt: skip
  found = masks.find(folder, names)
  assert found == {n: os.path.join(folder, w) for n, w in zip(names, wanted, strict=True)}


def test_none_or_several(blank):
  folder = blank("a.png", "a.tif", "B.png", "b.png")
  with pytest.raises(datasets.DataError, match=r"has several masks for a\.jpg: a\.png, a\.tif"):
    masks.find(folder, ["a.jpg"])
  assert masks.find(folder, ["b.jpg"]) == {"b.jpg": str(folder / "b.png")}
  assert masks.find(folder, ["B.jpg"]) == {"B.jpg": str(folder / "B.png")}
  with pytest.raises(datasets.DataError, match=r"c\.png does not exist: every picture needs its"):
    masks.find(folder, ["c.jpg"])


def test_masks_among_pictures():
  names = ["a.jpg", "a_mask.png", "b.jpg", "b.png", "gas_mask.png", "C.png", "c_MASK.png"]
  assert masks.among(names) == ["a_mask.png", "c_MASK.png"]
  assert masks.among(names, masks_too=True) == [
    "a_mask.png", "b.png", "gas_mask.png", "c_MASK.png",
  ]  # fmt: skip
  assert masks.among(["a.png", "a.tif"], masks_too=True) == []  # which is which nobody knows


def test_masks_beside_their_pictures(blank):
  folder = blank("a.jpg", "a.png", "b.png", "b_mask.png")
  found = masks.find(folder, ["a.jpg", "b.png"], beside=True)
  assert found == {"a.jpg": str(folder / "a.png"), "b.png": str(folder / "b_mask.png")}
  with pytest.raises(datasets.DataError, match="every picture needs its mask"):
    masks.find(blank("c.png"), ["c.png"], beside=True)


def test_as_many_entities_as_fit(tmp_path):
  numbers = np.arange(256, dtype=np.uint16).reshape(16, 16)
  Image.fromarray(np.minimum(numbers, 254)).save(tmp_path / "most.png")
  assert masks.read(tmp_path / "most.png").labels.max() == 254
  Image.fromarray(numbers).save(tmp_path / "more.png")
  with pytest.raises(datasets.DataError, match="255 entity numbers, but at most 254"):
    masks.read(tmp_path / "more.png")
