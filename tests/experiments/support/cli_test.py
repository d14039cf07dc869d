"""The command line: options, exit codes, and what is written where."""

import json
import logging
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from experiments import evaluate, infer, train
from experiments.support import errors, recording
from experiments.support.cli import Command
from experiments.support.errors import ROOT, Refusal, sentence
from iodine.config import Count
from iodine.errors import ConfigError
from iodine.settings import Settings


class ToySettings(Settings):
  """A command's settings."""

  count: Count = 3
  fault: str = "none"


toy = Command("toy", ToySettings, storage="toys")


@toy.main
def play(_run, _config):
  """Does what it is told."""
  fault = _config["fault"]
  if fault == "ours":
    raise ValueError("a bug of ours")
  if fault == "user":
    raise ConfigError("count is\nnot right")
  if fault == "interrupt":
    raise KeyboardInterrupt
  if fault == "file":
    open("/nowhere/at all")  # noqa: SIM115
  if fault == "pipe":
    reading, writing = os.pipe()
    os.close(reading)
    os.write(writing, b"nobody reads")
  if fault in ("print", "later"):
    print("\u00b1 \udcff")
  if fault == "made":
    (recording.run_directory(_run) / "made.txt").touch()
  if fault in ("made", "later"):
    raise Refusal("only now")
  (recording.run_directory(_run) / "made.txt").write_text(str(_config["count"]))
  return _config["count"]


def started(command, *words, program="toy"):
  """(exit code, the Sacred run or None) of a command line."""
  try:
    return 0, command.run_commandline([program, *words])
  except SystemExit as end:
    return end.code, None


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
  monkeypatch.setattr(recording.time, "strftime", lambda name: name)
  for count in (1, 2, 3):
    toy.run(updates={"count": count})
  made = sorted((tmp_path / "runs").glob("*/made.txt"))
  assert [path.read_text() for path in made] == ["1", "2", "3"]


def test_a_command_records_its_configuration_and_sources(tmp_path):
  code, run = started(toy, "with", "count=4.0")
  assert (code, run.result) == (0, 4)
  assert json.loads((tmp_path / "toys/1/config.json").read_text())["count"] == 4
  record = json.loads((tmp_path / "toys/1/run.json").read_text())
  sources = {name for name, _ in record["experiment"]["sources"]}
  assert {"experiments/support/cli.py", "iodine/model.py", "datasets/scene.py"} <= sources
  repositories = record["experiment"]["repositories"]
  assert len(repositories) == ((ROOT / ".git").exists())
  assert record["status"] == "COMPLETED"


@pytest.mark.parametrize(
  ("words", "told"),
  [
    (["with", "count=0"], "count must be at least 1, got 0"),
    (["with", "cuont=2"], "no config key 'cuont': did you mean 'count'"),
    (["count=2"], "values stand behind `with`: python -m experiments.toy with count=2"),
    (["play", "more", "words"], "cannot understand 'play more words'"),
    (["prnt_config"], "there is no command 'prnt_config'; there are: .*print_config"),
    (["--nosuch"], "cannot understand '--nosuch'"),
    (["-l", "LOUD"], "--loglevel is one of DEBUG, .* or a number, got 'LOUD'"),
    (["-b", "often"], "--beat-interval must be a number above 0, got 'often'"),
    (["-P", "high"], "--priority must be a number"),
    (["-C", "all"], "--capture is one of no, sys, fd"),
    (["-i", "../1"], "--id must be a name without slashes"),
  ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(tmp_path, capsys, words, told):
  import re

  code, _ = started(toy, *words)
  printed = capsys.readouterr()
  assert code == 2
  assert re.match(f"toy: .*{told}", printed.err), printed.err
  assert printed.err.count("\n") == 1
  assert "dummy" not in printed.err.lower()
  assert list(tmp_path.iterdir()) == []


def test_forgetting_with_before_names(capsys):
  assert started(train.command, "tetrominoes", "quick", program="train.py")[0] == 2
  assert "experiments.train with tetrominoes quick" in capsys.readouterr().err


def test_an_observer_without_its_package(capsys, monkeypatch):
  import importlib.util

  found = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, "find_spec", lambda name, *a: None if name == "pymongo" else found(name, *a)
  )
  assert started(toy, "-m", "localhost:27017:runs")[0] == 2
  printed = capsys.readouterr().err
  assert "--mongo_db records to MongoDB, which needs pymongo" in printed
  assert "requirements-observers.txt" in printed
  requirements = (ROOT / "requirements-observers.txt").read_text()
  assert all(name in requirements for name in ("pymongo", "sqlalchemy", "tinydb", "hashfs"))


def test_help_says_how_it_is_called(capsys):
  assert started(toy, "--help")[0] == 0
  printed = capsys.readouterr().out
  assert "python -m experiments.toy [(with UPDATE...)]" in printed
  assert "dummy" not in printed


def test_print_config_shows_what_a_run_would_have(capsys, tmp_path):
  assert started(toy, "print_config", "with", "count=4")[0] == 0
  assert "count = 4" in capsys.readouterr().out
  assert list(tmp_path.iterdir()) == []


def test_names_of_runs(tmp_path, capsys):
  assert started(toy, "-F", "count", "with", "count=2")[0] == 0  # the folder's name is a key's
  assert (tmp_path / "count/1/made.txt").read_text() == "2"
  assert started(toy, "-i", "mine")[0] == 0
  assert started(toy, "-i", "mine")[0] == 2
  assert "there is a run mine in toys already" in capsys.readouterr().err


def test_the_storage_s_folder_may_be_a_preset_s_name(tmp_path, monkeypatch):
  seen = []
  monkeypatch.setattr(train.command, "_function", lambda _run, _config: seen.append(_config))
  assert started(train.command, "-F", "tetrominoes", "with", "tetrominoes")[0] == 0
  assert (tmp_path / "tetrominoes/1/run.json").is_file()
  assert len(seen) == 1


def test_unrecorded_nothing_is_left_here(tmp_path):
  code, run = started(toy, "-u")
  assert code == 0
  assert list(tmp_path.iterdir()) == []
  assert run.result == 3


def test_ctrl_c_is_no_bug(capsys):
  assert started(toy, "with", "fault=interrupt")[0] == 130
  assert capsys.readouterr().err.endswith("stopped\n")


def test_exit_codes_and_tracebacks(capsys, tmp_path, caplog):
  assert started(toy, "with", "fault=user")[0] == 2
  assert capsys.readouterr().err.endswith("toy: count is not right\n")
  assert started(toy, "with", "fault=file")[0] == 2
  assert "toy: /nowhere/at all: No such file or directory\n" in capsys.readouterr().err
  assert "Failed after" not in caplog.text  # the sentence is all that is said
  assert started(toy, "with", "fault=ours")[0] == 1
  assert "Failed after" in caplog.text
  printed = capsys.readouterr().err
  assert "Traceback" in printed
  assert "ValueError: a bug of ours" in printed
  assert json.loads((tmp_path / "toys/2/run.json").read_text())["status"] == "FAILED"


@pytest.mark.parametrize("fault", ["user", "made", "later", "ours"])
@pytest.mark.parametrize("storage", [[], ["-F", "mine"]])
def test_a_run_refused_before_it_began_leaves_no_folder(tmp_path, fault, storage):
  started(toy, *storage, "with", f"fault={fault}")
  folder = tmp_path / (storage or ["toys"])[-1] / "1"
  assert folder.exists() == (fault != "user" or storage != [])
  assert toy.run(["fault=none"], folder=folder.parent).result == 3
  assert {path.name for path in folder.parent.glob("[0-9]*")} == (
    {"1", "2"} if fault != "user" or storage else {"1"}
  )


def test_of_a_run_sacred_says_what_came_of_it(caplog):
  with caplog.at_level(logging.INFO):
    assert started(toy)[0] == 0
  assert [record.message.partition(" after")[0] for record in caplog.records] == [
    "Result: 3",
    "Completed",
  ]


def test_which_errors_are_for_the_user(tmp_path):
  assert sentence(Refusal("no")) == "no"
  assert sentence(KeyError("ours")) is None
  assert sentence(ValueError("ours")) is None
  assert sentence(FileNotFoundError(2, "No such file", str(tmp_path / "a.png")))
  assert sentence(FileNotFoundError(2, "No such file", errors.__file__)) is None
  assert sentence(OSError("a library's")) is None
  assert sentence(OSError(28, "No space left on device")) == "No space left on device"


def test_a_locale_without_our_signs(tmp_path):
  """Also: a command run as a file says how it is run."""
  script = (
    "from tests.experiments.support.cli_test import toy\n"
    "toy.run_commandline(['toy', 'with', 'fault=print'])"
  )
  environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
  options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
  done = subprocess.run([sys.executable, "-c", script], **options)
  assert done.returncode == 0, done.stderr
  said = (tmp_path / "toys/1/cout.txt").read_text(encoding="utf-8")
  assert "\u00b1 \\udcff" in said
  done = subprocess.run([sys.executable, ROOT / "experiments/sweep.py"], **options)
  assert done.returncode == 1
  assert "python -m experiments.sweep" in done.stderr
  assert "Traceback" not in done.stderr


def test_a_reader_that_has_read_enough(tmp_path):
  """As `print_config | head`."""
  script = (
    "from tests.experiments.support.cli_test import toy\n"
    "toy.run_commandline(['toy', 'print_config'])"
  )
  reading, writing = os.pipe()
  os.close(reading)
  environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
  done = subprocess.run(
    [sys.executable, "-c", script],
    cwd=tmp_path,
    env=environment,
    stdout=writing,
    stderr=subprocess.PIPE,
    text=True,
  )
  os.close(writing)
  assert done.returncode == 128 + signal.SIGPIPE
  assert "Traceback" not in done.stderr
  assert "BrokenPipeError" not in done.stderr


def test_another_pipe_that_breaks_is_a_bug_of_ours(capfd):
  assert started(toy, "with", "fault=pipe")[0] == 1
  assert "BrokenPipeError" in capfd.readouterr().err


@pytest.mark.parametrize("command", [evaluate.command, infer.command])
def test_commands_that_need_something_say_so(command, capsys):
  assert started(command)[0] == 2
  assert "say which" in capsys.readouterr().err
  assert started(command, "with", "run=3" if command is evaluate.command else "model=3")[0] == 2


def test_a_run_that_is_not_there_gets_no_folder(tmp_path, capsys):
  assert started(evaluate.command, "with", "run=runs/3")[0] == 2
  assert "there is no run in runs/3" in capsys.readouterr().err
  assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
  pathlib.Path("toys").write_text("")
  assert started(toy)[0] == 2
  assert "cannot record runs in toys" in capsys.readouterr().err


def test_git_is_asked_once(monkeypatch):
  calls = []
  original = recording.dependencies.get_commit_if_possible

  def counted(path, save_git_info):
    if save_git_info:
      calls.append(path)
    return original(path, save_git_info)

  monkeypatch.setattr(recording.dependencies, "get_commit_if_possible", counted)
  logging.getLogger("toy").setLevel(logging.ERROR)
  assert started(toy)[0] == 0
  assert len(calls) == 1
