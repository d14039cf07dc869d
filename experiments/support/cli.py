"""The one door of the commands: their words are checked before anything is done."""

import contextlib
import functools
import importlib.util
import os
import pathlib
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import docopt
import tensorflow as tf
from sacred.observers import FileStorageObserver
from sacred.run import Run

import datasets
from experiments.support import config_files, recording, resolve
from experiments.support.errors import Refusal, refusal_for, sentence
from experiments.support.interrupts import Stopped, termination
from experiments.support.resolve import Schema
from experiments.support.runs import load_config, training_config
from iodine.errors import UserError
from iodine.settings import Settings

Storage = str | Callable[[Mapping[str, Any]], str]
_OBSERVERS = {  # option -> (modules that it needs, what it records to)
  "--mongo_db": (("pymongo",), "MongoDB"),
  "--sql": (("sqlalchemy",), "an SQL database"),
  "--tiny_db": (("tinydb", "tinydb_serialization", "hashfs"), "TinyDB"),
  "--s3": (("boto3",), "S3"),
}
_LEVELS = ("DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL", "NOTSET")


class Command:
  """What a user starts as `python -m experiments.NAME`.

  Args:
    name: of the Sacred experiment.
    settings: the classes whose keys it has.
    storage: the folder it records in; or a function of its configuration, nested, that names it.
    trains: whether it has the keys and presets of training too.
  """

  def __init__(
    self, name: str, *settings: type[Settings], storage: Storage = "runs", trains: bool = False
  ):
    self.name = name
    self.schema = Schema(*settings, trains=trains)
    self._storage = storage
    self._function: Callable | None = None

  def main(self, function: Callable) -> Callable:
    """Decorator of the main function, which takes `_run` and `_config`, a nested dict."""

    @functools.wraps(function)
    def wrapped(_run, _config):
      try:
        return function(_run, _config)
      except (tf.errors.OpError, MemoryError) as error:
        refusal = refusal_for(error, _config)
        if refusal is None:
          raise
        raise refusal from error
      finally:
        _run._get_captured_output()  # Sacred loses a failed run's last lines otherwise

    del wrapped.__wrapped__  # Sacred looks at the signature, which is this one's
    self._function = wrapped
    return function

  def configure(
    self, words: Sequence[str] = (), updates: Mapping[str, Any] | None = None
  ) -> dict[str, Any]:
    """The validated configuration, nested, of words as behind `with` and of further values.

    Raises:
      UserError: see `Schema.resolve`.
    """
    return config_files.nested(self._resolve(words, updates).values)

  def _resolve(self, words, updates=None):
    found = resolve.parse(words, self.schema)
    values = {**found.updates, **config_files.flat(dict(updates or {}))}
    base = None
    origin = values.get("resume_from") if self.schema.trains else None
    if origin is not None:
      if found.names:
        raise Refusal(
          f"resume_from={origin} takes that run's whole configuration; leave out "
          f"{' '.join(found.names)}"
        )
      base = config_files.flat(load_config(str(origin)))
    return self.schema.resolve(found.names, values, base)

  def run(
    self,
    words: Sequence[str] = (),
    updates: Mapping[str, Any] | None = None,
    folder: str | pathlib.Path | None = None,
  ) -> Run:
    """Runs the command from Python.

    Args:
      words: as behind `with`.
      updates: values by their keys, flat or nested.
      folder: of a file storage; None records nowhere, and results lie in a new folder under runs/.

    Returns:
      the Sacred run.

    Raises:
      UserError, datasets.DataError: what the command line tells in a sentence.
    """
    ex = self._experiment(self._resolve(words, updates))
    recording.add_sources(ex)
    if folder is not None:
      ex.observers.append(FileStorageObserver(str(folder)))
    return ex.run()

  def _experiment(self, resolved):
    config = config_files.nested(resolved.values)
    return recording.make_experiment(self.name, config, self._function, self.schema.trains)

  def run_commandline(self, argv: Sequence[str] | None = None) -> Run | None:
    """Runs the command from the command line.

    Args:
      argv: as sys.argv.

    Returns:
      the Sacred run. Exits with code 2 after one sentence where the user is to change something, 1
      after a traceback of a bug, 128 and the signal's number where it was stopped.
    """
    argv = [str(word) for word in (sys.argv if argv is None else argv)]
    for stream in (sys.stdout, sys.stderr):
      with contextlib.suppress(AttributeError, ValueError):
        stream.reconfigure(errors="backslashreplace")  # a locale that lacks our signs
    try:
      with termination():
        return self._run_commandline(argv)
    except Stopped as stopped:
      print(stopped, file=sys.stderr)
      sys.exit(stopped.exit_code)
    except KeyboardInterrupt:
      print("stopped", file=sys.stderr)
      sys.exit(128 + signal.SIGINT)
    except Exception as error:
      if isinstance(error, BrokenPipeError) and _has_no_reader(sys.stdout):  # `| head`
        # Python would say so once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
      told = sentence(error)
      if told is None or "--debug" in argv or "-d" in argv:
        traceback.print_exc()
      if told is None:
        sys.exit(1)
      print(f"{self._program(argv)}: {told}", file=sys.stderr)
      sys.exit(2)

  def _run_commandline(self, argv):
    # The options are Sacred's; what follows `with` is ours alone.
    split = argv.index("with") if "with" in argv else len(argv)
    blank = self._experiment(Schema().resolve())
    blank.doc = sys.modules["__main__"].__doc__  # --help shows it
    options = self._options(blank, argv[1:split], argv[split:][1:], self._program(argv))
    if options["help"] or options["--help"]:
      blank._handle_help(options, self._usage(blank, argv))
      return None
    resolved = self._resolve(options["UPDATE"])
    ex = self._experiment(resolved)
    command = options["COMMAND"] or ex.default_command
    check_options(options)
    own = None
    if command == ex.default_command:
      recording.add_sources(ex)
      own = self._observe(ex, options, config_files.nested(resolved.values))
    asked = config_files.nested(resolved.asked)
    meta = {"words": list(options["UPDATE"])}
    try:
      return ex.run(command, asked, info={}, meta_info=meta, options=options)
    except (UserError, datasets.DataError):
      if own is not None:
        recording.discard_if_empty(own)
      raise

  def _options(self, ex, before, words, program):
    """What docopt makes of the command line; Refusal with the right form where it is wrong."""
    usage = ex.get_usage()[2]
    stray, options = [], None
    try:
      # words that begin with a hyphen, or none, are no affair of docopt's
      options = docopt.docopt(usage, list(before), default_help=False)
      name = options["COMMAND"]
      if name is not None and name not in dict(ex.gather_commands()):
        stray = [name]
    except docopt.DocoptExit:
      stray = [word for word in before if not word.startswith("-")]
      options = None
    if options is not None and not stray:
      return {**options, "UPDATE": list(words)}
    meant = [w for w in stray if "=" in w or w in self.schema.names() or config_files.is_file(w)]
    if meant and not words:
      raise Refusal(
        f"values stand behind `with`: python -m experiments.{program} with {' '.join(stray)}"
      )
    commands = ", ".join(name for name, _ in ex.gather_commands())
    if options is not None:
      raise Refusal(f"there is no command {stray[0]!r}; there are: {commands}, help")
    raise Refusal(
      f"cannot understand {' '.join(before)!r}: python -m experiments.{program} [command] "
      f"[options] with key=value ...; --help lists the options"
    )

  def _usage(self, ex, argv):
    return ex.get_usage()[2].replace("dummy", f"python -m experiments.{self._program(argv)}")

  def _program(self, argv):
    return pathlib.Path(argv[0]).stem or self.name

  def _observe(self, ex, options, config):
    """Adds the file storage of the command's own, where no other is asked for, and returns it."""
    recorded = any(options[option] for option in ("--file_storage", "--unobserved", *_OBSERVERS))
    folder = options["--file_storage"]
    if not recorded:
      folder = self._storage(config) if callable(self._storage) else self._storage
    if folder is None:
      return None
    if options["--id"] is not None and (pathlib.Path(folder) / options["--id"]).exists():
      raise Refusal(f"there is a run {options['--id']} in {folder} already: leave out --id")
    recording.check_writable(folder)
    if recorded:
      return None
    own = FileStorageObserver(folder)
    ex.observers.append(own)
    return own


def check_options(options: Mapping[str, Any]) -> None:
  """Raises Refusal for a value of Sacred's options that it would stumble over."""
  level = options["--loglevel"]
  if level is not None and level not in _LEVELS and not level.isdecimal():
    raise Refusal(f"--loglevel is one of {', '.join(_LEVELS)} or a number, got {level!r}")
  for option in ("--beat-interval", "--priority"):
    value = options[option]
    try:
      valid = value is None or float(value) > 0
    except ValueError:
      valid = False
    if not valid:
      raise Refusal(f"{option} must be a number above 0, got {value!r}")
  capture = options["--capture"]
  if capture not in (None, "no", "sys", "fd"):
    raise Refusal(f"--capture is one of no, sys, fd, got {capture!r}")
  name = options["--id"]
  if name is not None and (not name or "/" in name or name in (".", "..")):
    raise Refusal(f"--id must be a name without slashes, got {name!r}")
  for option, (modules, what) in _OBSERVERS.items():
    missing = [m for m in modules if options[option] and importlib.util.find_spec(m) is None]
    if missing:
      raise Refusal(
        f"{option} records to {what}, which needs {', '.join(missing)}: "
        "pip install -r requirements-observers.txt"
      )


def _has_no_reader(stream):
  """Whether what a stream is written to is a pipe whose other end is closed."""
  try:
    writable = select.poll()
    writable.register(stream.fileno(), select.POLLOUT)
  except (OSError, ValueError):  # no file, or a closed one
    return False
  return any(event & select.POLLERR for _, event in writable.poll(0))


def run_folder(name: str) -> Callable[[Mapping[str, Any]], str]:
  """A storage under the run that a command is about; it refuses what is none."""

  def folder(config):
    if config["run"] is None:
      raise Refusal("say which run: with run=runs/3")
    training_config(config["run"])
    return f"{config['run']}/{name}"

  return folder


__all__ = ["Command", "Refusal", "UserError", "check_options", "run_folder"]
