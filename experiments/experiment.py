"""Sacred: experiments, the data ingredient, observers, and the command line all of them share."""

import copy
import difflib
import functools
import json
import logging
import pathlib
import sys
import tempfile
import time

import sacred
import tensorflow as tf
from docopt import docopt
from sacred.arg_parser import get_config_updates
from sacred.config.config_dict import ConfigDict
from sacred.observers import FileStorageObserver
from sacred.serializer import flatten
from sacred.utils import SacredError

import datasets
from experiments import configs
from experiments.interrupts import Stopped
from iodine.training import CheckpointError, NonFiniteError, write_json

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Capturing file descriptors would lose what progress bars overwrite.
sacred.SETTINGS.CAPTURE_MODE = "sys"
sacred.SETTINGS.CONFIG.READ_ONLY_CONFIG = False

# Lines about sharding, about the strategy, and about every glyph of a PDF.
for _name in ("absl", "tensorflow", "fontTools"):
  logging.getLogger(_name).setLevel(logging.WARNING)


def _save_json(observer, values, name):
  """Replaces a file of a run as a whole: a full disk costs the new lines, not the file."""
  path = pathlib.Path(observer.dir) / name
  try:
    write_json(path, flatten(values))
  except OSError as error:
    if not path.exists():
      raise
    logging.getLogger("iodine").warning("cannot write %s: %s; it stays", path, error.strerror)


FileStorageObserver.save_json = _save_json  # Sacred's own empties the file before it writes

OBSERVER_OPTIONS = ("--file_storage", "--mongo_db", "--tiny_db", "--sql", "--unobserved")


class Refusal(SacredError):
  """One sentence for the user, without a traceback."""

  def __init__(self, message):
    super().__init__(message, print_traceback=False, print_usage=False)


def make_experiment(name, config, ingredients=()):
  """A Sacred experiment with every key declared in `config` and sources recorded from ROOT."""
  ex = sacred.Experiment(name, base_dir=str(ROOT), ingredients=ingredients)
  ex.add_config(copy.deepcopy(config))
  for package in ("iodine", "datasets", "experiments"):  # Sacred alone finds a few of them
    for path in sorted((ROOT / package).rglob("*.py")):
      ex.add_source_file(str(path))
  return ex


def main(ex):
  """Decorator for an experiment's main function: expected errors become one sentence."""

  def decorate(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
      try:
        return function(*args, **kwargs)
      except (datasets.DataError, CheckpointError, NonFiniteError, ValueError, OSError) as error:
        if isinstance(error, ValueError | OSError) and not _is_for_user(error):
          raise
        raise Refusal(str(error)) from error
      except tf.errors.OpError as error:
        sentence = datasets.data_error(error)
        if sentence is None:
          raise
        raise Refusal(str(sentence)) from error
      finally:
        if ex.current_run is not None:
          ex.current_run._get_captured_output()  # Sacred loses a failed run's last lines otherwise

    return ex.main(wrapped)

  return decorate


def _is_for_user(error):
  """Our own checks raise their sentence directly; a library's ValueError keeps its traceback."""
  frame = error.__traceback__
  while frame.tb_next:
    frame = frame.tb_next
  return ROOT in pathlib.Path(frame.tb_frame.f_code.co_filename).parents and (
    ".venv" not in frame.tb_frame.f_code.co_filename
  )


class Modifier:
  """A named config that depends on the ones before it, as Sacred calls it."""

  def __init__(self, function):
    self._function = function
    self.__doc__ = function.__doc__

  def __call__(self, fixed=None, preset=None, fallback=None):
    current = {**(preset or {}), **(fixed or {})}
    return ConfigDict(self._function(current))(fixed, preset, fallback)


def add_presets(experiment):
  """Gives an experiment, whose keys include those of training, all presets and modifiers."""
  for name, preset in configs.PRESETS.items():
    experiment.add_named_config(name, copy.deepcopy(preset))
  for name, function in configs.MODIFIERS.items():
    experiment.named_configs[name] = Modifier(function)


data_ingredient = sacred.Ingredient("data", base_dir=str(ROOT))
data_ingredient.add_config(copy.deepcopy(configs.DATA))

# The training experiment stands here, not in train.py, which `python -m` would make exist twice.
ex = make_experiment("iodine", configs.BASE, [data_ingredient])
add_presets(ex)


def run_commandline(experiment, argv=None, storage="runs"):
  """Runs an experiment from the command line, recording under `storage` unless told otherwise.

  Args:
    experiment: sacred.Experiment.
    argv: as sys.argv.
    storage: folder of the file storage; or a function from the config updates to it.

  Returns:
    the sacred Run; exits with code 2 where a name or key is misspelt, 1 where a run is refused.
  """
  argv = list(sys.argv if argv is None else argv)
  experiment.doc = sys.modules["__main__"].__doc__  # --help shows it; Sacred has this module's
  try:
    options = docopt(experiment.get_usage()[2], argv[1:], default_help=False)
    words = options["UPDATE"]
    rest = [a for a in argv[1:] if a not in ("with", *words)]
    updates, names = get_config_updates(words)
    check_names(experiment, names)
    check_keys(experiment, updates)
    if updates.get("resume_from"):
      words = resumed_words(updates["resume_from"], names) + words
    # data sets first, so that a modifier knows what it modifies
    words.sort(key=lambda w: ("=" in w, w not in configs.PRESETS))
    argv = [argv[0], *rest, *(["with", *words] if words else [])]
    if not any(options[option] for option in OBSERVER_OPTIONS):
      folder = storage(updates) if callable(storage) else storage
      check_writable(folder)
      experiment.observers.append(FileStorageObserver(folder))
  except Refusal as error:
    print(f"{pathlib.Path(argv[0]).name}: {error}", file=sys.stderr)
    sys.exit(2)
  try:
    return experiment.run_commandline(argv)
  except Stopped as stopped:
    print(stopped, file=sys.stderr)
    sys.exit(stopped.exit_code)


def check_writable(folder):
  """Makes a folder; raises Refusal where nothing can be written into it."""
  try:
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
  except OSError as error:
    raise Refusal(f"cannot record runs in {folder}: {error.strerror}") from error


def check_names(experiment, names):
  """Raises Refusal for a named config that does not exist, with the nearest that does."""
  known = sorted(experiment.named_configs)
  for name in names:
    if name not in known and not pathlib.Path(name).is_file():
      raise Refusal(
        f"there is no configuration {name!r}{_nearest(name, known)}; there are: {', '.join(known)}"
      )


def check_keys(experiment, updates):
  """Raises Refusal for a key that no configuration has, with the nearest that exists."""
  known = set(_flatten(known_config(experiment)))
  known |= {"seed", *(f"{i.path}.seed" for i in experiment.ingredients)}
  for key in _flatten(updates):
    if key not in known and key.rpartition(".")[0] not in known:
      raise Refusal(f"there is no config key {key!r}{_nearest(key, known)}")


def known_config(experiment):
  """Default configuration of an experiment and its ingredients as one nested dict."""
  config = {i.path: dict(i.configurations[0]._conf) for i in experiment.ingredients}
  for part in experiment.configurations:
    config.update(part._conf)
  return config


def _flatten(config, prefix=""):
  for key, value in config.items():
    if isinstance(value, dict) and value:
      yield from _flatten(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}"


def _nearest(word, known):
  near = difflib.get_close_matches(word, known, n=1)
  return f": did you mean {near[0]!r}?" if near else ""


def resumed_words(folder, names):
  """A run's configuration as command-line updates, for a run that goes on from it."""
  if names:
    raise Refusal(
      f"resume_from={folder} takes that run's whole configuration; leave out {' '.join(names)}"
    )
  config = load_config(folder)
  words = []
  for key in _flatten(config):
    value = config
    for part in key.split("."):
      value = value[part]
    if key not in ("resume_from", "data.seed"):
      words.append(f"{key}={value!r}")
  return words


def load_config(folder):
  """The configuration of the run in `folder`; raises Refusal where there is none."""
  path = pathlib.Path(folder) / "config.json"
  try:
    return json.loads(path.read_text())
  except FileNotFoundError:
    raise Refusal(f"there is no run in {folder}: {path} does not exist") from None
  except ValueError as error:
    raise Refusal(f"{path} is damaged: {error}") from error


def run_directory(run):
  """The folder of a Sacred run: its file storage's, or a new one under runs/ without any."""
  for observer in run.observers:
    if isinstance(observer, FileStorageObserver):
      return pathlib.Path(observer.dir)
  folder = pathlib.Path("runs") / time.strftime(f"{run.experiment_info['name']}-%Y%m%d-%H%M%S")
  folder.mkdir(parents=True, exist_ok=True)
  write_json(folder / "config.json", run.config)
  return folder
