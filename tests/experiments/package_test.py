"""What importing the experiments settles, and what a clash of package names comes to."""

import pathlib
import subprocess
import sys

import pytest

import datasets

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_one_keras_is_enough():
  assert "tf_keras" in sys.modules
  assert "keras" not in sys.modules


@pytest.mark.parametrize("source", ["", "def load_dataset(): pass"])
def test_a_foreign_datasets_is_told_in_a_sentence(tmp_path, source):
  (tmp_path / "datasets").mkdir()
  (tmp_path / "datasets" / "__init__.py").write_text(source)
  program = f"import sys; sys.path[:0] = {[str(tmp_path), str(ROOT)]!r}; import experiments"
  run = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
  )
  assert run.returncode == 1
  last = run.stderr.splitlines()[-1]
  assert last.startswith(f"ImportError: the package `datasets` in {tmp_path / 'datasets'}")
  assert "not this program's: another one, Hugging Face's" in last
  assert "virtual environment" in last


def test_ours_says_whose_it_is_where_the_other_is_meant():
  with pytest.raises(AttributeError, match=r"IODINE's and not Hugging Face's.* load_dataset"):
    _ = datasets.load_dataset
