"""datasets.generate: determinism, resuming, two at once, refusals."""

import errno
import gzip
import hashlib
import itertools
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import types
from concurrent import futures

import pytest

import datasets
from datasets import files as records
from datasets import generate
from datasets.generators import chunks, tetrominoes


def _make(folder, num=1200, **kwargs):
  return generate.generate("tetrominoes_quick", num, str(folder), progress=False, **kwargs)


@pytest.mark.parametrize("layout", ["compact", "released"])
def test_the_same_bytes_from_one_go_many_workers_and_a_resume(tmp_path, monkeypatch, layout):
  whole = _make(tmp_path / "a", layout=layout)
  spread = _make(tmp_path / "b", layout=layout, workers=2)

  drawn = []
  original = tetrominoes.generate_chunk

  def failing(seed, chunk, **parameters):
    drawn.append(chunk)
    if drawn == [0, 1, 2]:
      raise KeyboardInterrupt
    return original(seed, chunk, **parameters)

  monkeypatch.setattr(tetrominoes, "generate_chunk", failing)
  monkeypatch.setattr(
    generate, "parameters_of", lambda spec: {"image_size": 14, "block_size": 2, "num_pieces": 3}
  )
  with pytest.raises(KeyboardInterrupt):
    _make(tmp_path / "c", layout=layout)
  name = os.path.basename(whole)
  assert sorted(os.listdir(tmp_path / "c")) == [
    f"{name}.lock",
    f"{name}.partial",
    f"{name}.partial.log",
  ]
  with open(tmp_path / "c" / f"{name}.partial", "ab") as file:
    file.write(b"half a chunk")
  resumed = _make(tmp_path / "c", layout=layout)
  assert drawn == [0, 1, 2, 2]  # the first two were not drawn again
  contents = [pathlib.Path(path).read_bytes() for path in (whole, spread, resumed)]
  assert contents[0] == contents[1] == contents[2]
  indices = [pathlib.Path(f"{path}.index.json").read_text() for path in (whole, spread, resumed)]
  assert indices[0] == indices[1] == indices[2]
  assert not [n for n in os.listdir(tmp_path / "c") if "partial" in n]


def test_the_bytes_are_those_of_earlier_versions(tmp_path):
  """Golden: SHA-256 of the records, as they were before CRC-32C and Example came from libraries."""
  wanted = {
    ("tetrominoes_quick", "compact", 30): "a8e0ede7932f9339",
    ("tetrominoes_quick", "released", 30): "72760421d91e0c66",
    ("multi_dsprites", "compact", 10): "f8b745594ad95d2f",
    ("multi_dsprites", "released", 3): "f504ca58f5b4f934",
  }
  for (name, layout, num), digest in wanted.items():
    path = generate.generate(
      name, num, str(tmp_path / layout), seed=4, layout=layout, progress=False
    )
    data = pathlib.Path(path).read_bytes()
    data = gzip.decompress(data) if layout == "released" else data
    assert hashlib.sha256(data).hexdigest()[:16] == digest, (name, layout)


def test_two_at_once_wait_for_one_another(tmp_path, monkeypatch, capfd):
  """A second process on the same file waits, says so, and finds it whole."""
  started, go_on, drawn = threading.Event(), threading.Event(), []
  original = tetrominoes.generate_chunk

  def slow(seed, chunk, **parameters):
    drawn.append(chunk)
    started.set()
    assert go_on.wait(30)
    return original(seed, chunk, **parameters)

  monkeypatch.setattr(tetrominoes, "generate_chunk", slow)
  monkeypatch.setattr(
    generate, "parameters_of", lambda spec: {"image_size": 14, "block_size": 2, "num_pieces": 3}
  )
  with futures.ThreadPoolExecutor(2) as pool:
    one = pool.submit(_make, tmp_path, num=20)
    assert started.wait(30)
    two = pool.submit(_make, tmp_path, num=20)
    said = ""
    while "another process is making" not in said:
      assert not two.done()
      said += capfd.readouterr().err
      time.sleep(0.01)
    go_on.set()
    assert one.result(30) == two.result(30)
  assert drawn == [0]
  left = sorted(os.listdir(tmp_path))
  assert left == ["tetrominoes_quick.tfrecords", "tetrominoes_quick.tfrecords.index.json"]


def test_a_partial_file_of_another_seed_is_not_gone_on_with(tmp_path):
  other = tmp_path / "tetrominoes_quick.tfrecords.partial"
  other.write_bytes(b"x" * 100)
  (tmp_path / (other.name + ".log")).write_text('{"seed": 9}\n[50, [3]]\n')
  made = _make(tmp_path, num=20, seed=1)
  afresh = _make(tmp_path / "b", num=20, seed=1)
  assert pathlib.Path(made).read_bytes() == pathlib.Path(afresh).read_bytes()


def test_an_existing_file_is_kept(tmp_path):
  path = _make(tmp_path, num=20)
  stamp = os.stat(path).st_mtime_ns
  assert _make(tmp_path, num=20) == path
  assert os.stat(path).st_mtime_ns == stamp
  with pytest.raises(datasets.DataError, match="exists and was not made by this very command"):
    _make(tmp_path, num=21)


def test_a_full_disk_leaves_no_file_under_the_final_name(tmp_path, monkeypatch):
  def full(payloads, layout):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with monkeypatch.context() as patched:
    patched.setattr(records, "seal", full)
    with pytest.raises(datasets.DataError, match=r"No space left on device at record 0 of 30"):
      _make(tmp_path, num=30)
    assert not [n for n in os.listdir(tmp_path) if n.endswith(".tfrecords")]
  assert records.RecordFile(_make(tmp_path, num=30)).count() == 30


@pytest.mark.parametrize(
  ("number", "says"),
  [
    (errno.EDQUOT, f"{os.strerror(errno.EDQUOT)} at record 0 of 30: make room and run"),
    (errno.EIO, f"{os.strerror(errno.EIO)} at record 0 of 30: put that right and run"),
  ],
)
def test_room_is_asked_for_only_where_it_is_wanting(tmp_path, monkeypatch, number, says):
  def failing(payloads, layout):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(records, "seal", failing)
  with pytest.raises(datasets.DataError, match=says):
    _make(tmp_path, num=30)


def test_a_killed_worker_ends_the_command(tmp_path):
  with futures.ThreadPoolExecutor(1) as pool:
    one = pool.submit(_make, tmp_path, num=20_000, workers=2)
    while not (workers := multiprocessing.active_children()):
      assert not one.done()
      time.sleep(0.01)
    os.kill(workers[0].pid, signal.SIGKILL)
    with pytest.raises(datasets.DataError, match=r"a worker process was killed .* fewer --workers"):
      one.result(60)
  assert not multiprocessing.active_children()
  assert not [name for name in os.listdir(tmp_path) if name.endswith(".tfrecords")]


# Workers print as well: a line is written in one piece, else those of two may mix.
_UNGUARDED = """
from datasets.generate import generate
print(generate("tetrominoes_quick", 20, "whole") + "\\n", end="", flush=True)
print(generate("tetrominoes_quick", 1200, "data", workers=2))
"""


def test_a_script_without_a_guard_ends_with_a_sentence(tmp_path):
  (tmp_path / "script.py").write_text(_UNGUARDED)
  ended = subprocess.run(
    [sys.executable, "script.py"],
    cwd=tmp_path,
    env={**os.environ, "PYTHONPATH": os.getcwd()},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert ended.returncode == 1
  assert 'DataError: call generate under `if __name__ == "__main__":`' in ended.stderr
  assert "DataError: a worker process ended before its work was done" in ended.stderr
  # The workers found the first file whole and went on to the second, which they did not begin.
  assert set(ended.stdout.split()) == {"whole/tetrominoes_quick.tfrecords"}
  assert os.listdir(tmp_path / "data") == []


@pytest.mark.parametrize(
  ("arguments", "says"),
  [
    (["tetromino", "--num", "3"], 'did you mean "tetrominoes"?'),
    (["tetrominoes", "--nun", "3"], 'no option "--nun": did you mean "--num"?'),
    (["tetrominoes", "--num", "3", "--blocksize", "3"], 'did you mean "--block-size"?'),
    (["tetrominoes"], "--num"),
    (["tetrominoes", "--num", "0"], "num must be at least 1, got 0"),
    (["tetrominoes", "--num", "x"], "invalid int value"),
    (["cater_train", "--num", "3"], "no generator"),
    (["--num", "3"], "name"),
    (["multi_dsprites", "--num", "3", "--variant"], "argument --variant: expected one argument"),
    (["tetrominoes", "--num", "3", "--seed", "-1"], "seed must be at least 0, got -1"),
    (["multi_dsprites", "--num", "3", "--image-size", "0"], "image_size must be at least 1, got 0"),
    (["shapes", "--num", "3", "--image-size", "-1"], "image_size must be at least 1, got -1"),
    (["shapes", "--num", "3", "--image-size", "6"], "expected shape_size from 5 to 4"),
    (["tetrominoes", "--num", "3", "--image-size", "5"], "image_size must be at least 20"),
  ],
)
def test_misspelt_commands_get_one_sentence(arguments, says, capsys, tmp_path):
  with pytest.raises(SystemExit) as stopped:
    generate.main([*arguments, "--out", str(tmp_path)])
  message = capsys.readouterr().err
  assert stopped.value.code == 2
  assert says in message
  assert len(message.strip().splitlines()) == 1
  assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_gets_one_sentence(tmp_path, capsys):
  (tmp_path / "data").write_text("")
  with pytest.raises(SystemExit) as stopped:
    generate.main(["tetrominoes_quick", "--num", "3", "--out", str(tmp_path / "data")])
  message = capsys.readouterr().err.strip()
  assert stopped.value.code == 2
  assert f"{tmp_path / 'data'} cannot be made a folder" in message
  assert len(message.splitlines()) == 1


def test_the_command_makes_a_file_that_loads(tmp_path, capsys):
  generate.main(
    f"tetrominoes --num 8 --out {tmp_path} --workers 1 --block-size 2 --image-size 14".split()
  )
  path = tmp_path / "tetrominoes_train_14x14.tfrecords"
  assert str(path) in capsys.readouterr().out
  spec = datasets.get_spec("tetrominoes")
  seen = datasets.check(spec, data_dir=str(tmp_path), image_size=(14, 14))
  assert seen["image_shape"] == (14, 14, 3)
  with pytest.raises(datasets.DataError, match=r"14 x 14 x 3, wanted 35 x 35 x 3"):
    datasets.check(spec, path)


def test_a_slow_generation_says_how_slow(tmp_path, monkeypatch, capsys):
  seconds = itertools.count(step=200)  # a look at the clock lasts long
  monkeypatch.setattr(chunks, "time", types.SimpleNamespace(monotonic=lambda: next(seconds)))
  generate.generate("tetrominoes_quick", 8, str(tmp_path))
  assert capsys.readouterr().err.splitlines()[-1].endswith("8 of 8, 0.04 scenes/s, 00:00 left")


@pytest.mark.parametrize(
  ("name", "size", "said"),
  [
    ("clevr", (64, 64, 64), r"must be a number, or a height and a width, got \(64, 64, 64\)"),
    ("clevr", "x", "must be a whole number, got 'x'"),
    ("clevr", 0, "must be at least 1, got 0"),
    ("tetrominoes", (35, 35), r"image_size must be a number, got \(35, 35\)"),
    ("tetrominoes", 35.5, "must be a whole number, got 35.5"),
  ],
)
def test_image_sizes_that_are_none(name, size, said, tmp_path, monkeypatch):
  monkeypatch.setattr(generate, "parameters_of", lambda spec: {"image_size": SIZES[name]})
  with pytest.raises(datasets.DataError, match=said):
    generate.generate(name, 1, tmp_path, image_size=size)
  assert list(tmp_path.iterdir()) == []


SIZES = {"clevr": (240, 320), "tetrominoes": 35}


@pytest.mark.parametrize("size", [35, 35.0, [35], (35,)])
def test_an_image_size_is_what_it_means(size):
  assert generate._image_size(size, SIZES["tetrominoes"]) == 35
  assert generate._image_size(size, SIZES["clevr"]) == (35, 35)
