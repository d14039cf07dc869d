"""TensorFlow's first lines at the level that is asked for; whatever else is said comes through."""

import os
import pathlib
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
with startup["at_log_level"]():
  os.write(2, sys.argv[2].encode())
  if sys.argv[3] == "abort":
    os.abort()
  if sys.argv[3] == "raise":
    raise ImportError("no such library")
os.write(2, b"I0000 behind\\n")
"""


def stderr(level, end="go on"):
  environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": level}
  words = [PROGRAM, startup.__file__, "\n".join([*SAID, ""]), end]
  done = subprocess.run([sys.executable, "-c", *words], env=environment, stderr=subprocess.PIPE)
  return done.stderr.decode().splitlines()


@pytest.mark.parametrize(
  ("level", "left_out"),
  [("0", 0), ("", 0), ("much", 0), ("-1", 0), ("1", 2), ("2", 3), ("3", 4), ("9", 4)],
)
def test_lines_below_the_level_are_left_out(level, left_out):
  assert stderr(level) == [*SAID[left_out:], "I0000 behind"]


def test_the_last_words_of_a_crash_are_seen():
  assert stderr("2", "abort") == list(SAID[3:])


def test_an_error_keeps_its_traceback():
  lines = stderr("2", "raise")
  assert lines[:3] == list(SAID[3:])
  assert lines[-1] == "ImportError: no such library"


def test_a_command_says_its_one_sentence():
  root = pathlib.Path(startup.__file__).parent.parent
  command = [sys.executable, "-m", "experiments.evaluate", "with", "num_strats=3"]
  environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
  done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
  assert done.returncode == 2
  said = "evaluate: there is no config key 'num_strats': did you mean 'num_starts'?\n"
  assert (done.stdout, done.stderr) == ("", said)
