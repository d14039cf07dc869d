"""TensorFlow's first lines at the level that is asked for; whatever else is said comes through."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from iodine import startup

SAID = (
  "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
  "I0000 00:00:1796029287.945375    8863 port.cc:153] information",
  "W0000 00:00:1796029287.945375    8863 port.cc:153] a warning",
  "E0000 00:00:1796029287.945375    8863 port.cc:153] an error",
  "F0000 00:00:1796029287.945375    8863 port.cc:153] the last",
  "ImportError: I0000 is another line's",
)
PROGRAM = """
import os, runpy, sys
startup = runpy.run_path(sys.argv[1])
startup["_level"].__globals__["_GPUS"] = [sys.argv[4]]
with startup["at_log_level"]():
  os.write(2, sys.argv[2].encode())
  if sys.argv[3] == "abort":
    os.abort()
  if sys.argv[3] == "raise":
    raise ImportError("no such library")
os.write(2, b"I0000 behind\\n")
"""


NO_GPU = "E0000 00:00:1796029287.945375    8863 cuda.cc:52] failed call to cuInit: UNKNOWN"


def stderr(level, end="go on", said=SAID, gpus="/nowhere/*"):
  environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": level}
  words = [PROGRAM, startup.__file__, "\n".join([*said, ""]), end, gpus]
  done = subprocess.run([sys.executable, "-c", *words], env=environment, stderr=subprocess.PIPE)
  return done.stderr.decode().splitlines()


@pytest.mark.parametrize(
  ("level", "left_out"),
  [("0", 0), ("", 0), ("much", 0), ("-1", 0), ("1", 2), ("2", 3), ("3", 4), ("9", 4)],
)
def test_lines_below_the_level_are_left_out(level, left_out):
  assert stderr(level) == [*SAID[left_out:], "I0000 behind"]


@pytest.mark.parametrize(("gpus", "seen"), [("/nowhere/*", []), (os.devnull, [NO_GPU])])
def test_a_gpu_that_fails_is_an_error_where_there_is_one(gpus, seen):
  assert stderr("2", said=[NO_GPU], gpus=gpus) == [*seen, "I0000 behind"]


def test_the_last_words_of_a_crash_are_seen():
  assert stderr("2", "abort") == list(SAID[3:])


def test_an_error_keeps_its_traceback():
  lines = stderr("2", "raise")
  assert lines[:3] == list(SAID[3:])
  assert lines[-1] == "ImportError: no such library"


def test_a_command_says_its_one_sentence(tmp_path):
  root = pathlib.Path(startup.__file__).parent.parent
  # refused after it has looked for devices
  command = [sys.executable, "-m", "experiments.train", "with", "clevr6", "data.path=none"]
  environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
  environment["PYTHONPATH"] = str(root)
  done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
  assert done.returncode == 2
  assert re.fullmatch(r"train: none does not exist: download .+\n", done.stderr), done.stderr
  assert done.stdout == ""
