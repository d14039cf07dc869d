"""datasets.benchmark: every way of reading is measured and told (not how fast it is)."""

import pytest

from datasets import benchmark, generate
from datasets.specs import get_spec


def test_the_table(files, capsys, monkeypatch):
  monkeypatch.setattr(benchmark, "_rate", lambda dataset, num: benchmark.Speed(num / 2, 1e-3))
  benchmark.main([str(files["compact"]), "--num", "20"])
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].split()[:4] == ["tf.io", "released", "compact", "memory"]
  # Compact and memory are read ten times over.
  assert lines[1].split() == ["tetrominoes_quick", "scenes/s", "10", "10", "100", "100", "10.0x"]
  assert lines[2].split() == ["tetrominoes_quick", "CPU", "us", *["1,000"] * 4, "1.0x"]


def test_a_way_of_reading_counts_its_scenes(files):
  spec = get_spec("tetrominoes_quick")
  for speed in (
    benchmark.speed(spec, str(files["compact"]), 40, batch_size=8),
    benchmark.tf_io_speed(spec, str(files["released"]), 40, batch_size=8),
  ):
    assert speed.rate > 0
    assert speed.cost > 0
  with pytest.raises(SystemExit):
    benchmark.main(["no such file"])


def test_files_of_any_size(tmp_path, monkeypatch):
  shapes = []

  def rate(dataset, num):
    shapes.append(next(iter(dataset))["image"].shape[1:])
    return benchmark.Speed(1.0, 1.0)

  monkeypatch.setattr(benchmark, "_rate", rate)
  path = generate.generate("tetrominoes", 3, tmp_path, image_size=20, block_size=4)
  assert benchmark.measure(get_spec("tetrominoes"), path, num=3, rounds=1).keys() == {
    "tf.io", "released", "compact", "memory"
  }  # fmt: skip
  assert set(shapes) == {(20, 20, 3)}
