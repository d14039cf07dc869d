"""datasets.from_images: folders of pictures and masks."""

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets import from_images


def test_from_images(tmp_path):
  (tmp_path / "pictures").mkdir()
  (tmp_path / "masks").mkdir()
  rng = np.random.default_rng(0)
  for i, size in enumerate([(16, 16), (16, 24)]):
    picture = rng.integers(256, size=(*size, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "pictures" / f"{i}.png")
    mask = np.zeros(size, np.uint8)
    mask[4:8, 4:8], mask[10:, 10:] = 1, 2
    Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
  out = str(tmp_path / "images.tfrecords")
  masks = str(tmp_path / "masks")
  assert from_images.pack(str(tmp_path / "pictures"), out, size=16, masks=masks) == 2
  batch = next(
    iter(
      datasets.load(
        datasets.get_spec("images"), out, split="all", batch_size=2)
    )
  )  # fmt: skip
  assert batch["mask"].shape == (2, 3, 16, 16, 1)
  with Image.open(tmp_path / "pictures" / "0.png") as picture:
    np.testing.assert_allclose(batch["image"][0] * 255, np.asarray(picture), atol=1e-3)
  assert batch["mask"][0, 1, 4:8, 4:8].numpy().all()
  (tmp_path / "masks" / "1.png").unlink()
  with pytest.raises(datasets.DataError, match="does not exist: every picture needs its mask"):
    from_images.pack(str(tmp_path / "pictures"), out, size=16, masks=masks)
  with pytest.raises(datasets.DataError, match=r"holds no \.png"):
    from_images.pack(masks[:-5] + "pictures/..", out, size=16)
