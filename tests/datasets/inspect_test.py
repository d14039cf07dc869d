"""datasets.inspect: what it says of whole and of damaged files."""

import dataclasses

import pytest
from PIL import Image

from datasets import files as records
from datasets import inspect
from tests.datasets.helpers import SPEC, flip, offset_of, stored


def test_inspect(files, tmp_path, capsys):
  inspect.main([str(files["compact"]), "--sheet", str(tmp_path / "sheet.png")])
  said = capsys.readouterr().out
  for words in ("records: 20", "objects in a scene: 3: 20", "shape: 1 to", "all checksums right"):
    assert words in said
  with Image.open(tmp_path / "sheet.png") as sheet:
    assert sheet.size[0] > 100
  flip(files["compact"], offset_of(files["compact"], 7) + 100)
  with pytest.raises(SystemExit) as stopped:
    inspect.main([str(files["compact"]), "--sheet", str(tmp_path / "sheet.png")])
  assert stopped.value.code == 1
  assert "DAMAGED: 1 records (7)" in capsys.readouterr().out


def test_inspect_reads_a_file_of_another_size(tmp_path):
  spec = dataclasses.replace(SPEC, image_size=(14, 14, 3))
  records.write_records(tmp_path / "x", stored(spec, 2), spec)
  text, sheet = inspect.report(str(tmp_path / "x"))
  assert "image: 14 x 14 x 3" in text
  assert "all checksums right" in text
  assert sheet is not None


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (["--limit", "0"], "--limit must be at least 1, got 0"),
    (["--sheet", "x.bogus"], "--sheet wants a name that ends as a picture's, in .png, got x.bogus"),
    (["--sheet", "x.psd"], "--sheet wants a name that ends as a picture's, in .png, got x.psd"),
    (["--sheet", "x"], "--sheet wants a name that ends as a picture's, in .png, got x"),
  ],
)
def test_what_inspect_refuses(files, capsys, words, says):
  with pytest.raises(SystemExit) as stopped:
    inspect.main([str(files["compact"]), *words])
  assert stopped.value.code == 2
  assert says in capsys.readouterr().err
