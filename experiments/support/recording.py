"""Sacred: an experiment made for one run, its observers, and where a run's results lie."""

import contextlib
import itertools
import logging
import os
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import sacred
from sacred import dependencies
from sacred.observers import FileStorageObserver
from sacred.run import Run
from sacred.serializer import flatten

from experiments.support import config_files, presets
from experiments.support.errors import ROOT, Refusal, sentence
from iodine.files import write_json

# Capturing file descriptors would lose what progress bars overwrite.
sacred.SETTINGS.CAPTURE_MODE = "sys"
sacred.SETTINGS.CONFIG.READ_ONLY_CONFIG = False

# Lines about sharding, about the strategy, and about every glyph of a PDF.
for _name in ("absl", "tensorflow", "fontTools"):
  logging.getLogger(_name).setLevel(logging.WARNING)
_tensorflow = logging.getLogger("tensorflow")
_tensorflow.propagate = False  # it has a handler of its own: each line would come twice
# a study traces a graph for each T and K that it is asked for
_tensorflow.addFilter(lambda record: "triggered tf.function retracing" not in record.getMessage())


def _is_news(record):
  """Whether a line of Sacred's says more than the command's own lines and its one sentence."""
  if record.msg.startswith(("Running command", "Started")):
    return False
  error = sys.exc_info()[1]
  return not (record.msg.startswith("Failed after") and error is not None and sentence(error))


def make_experiment(
  name: str, config: Mapping[str, Any], function: Callable, with_presets: bool = False
) -> sacred.Experiment:
  """A Sacred experiment whose configuration is known, for one run.

  Args:
    name: of the experiment.
    config: nested; every key there is.
    function: its main function, of `_run` and `_config`.
    with_presets: whether `print_named_configs` shows them.
  """
  # Sacred asks git about every file of every experiment, which took some 225 processes; here the
  # sources are gathered once, with one look at the repository.
  ex = sacred.Experiment(name, base_dir=str(ROOT), save_git_info=False)
  logging.getLogger(name).addFilter(_is_news)
  ex.add_config(dict(config))
  if with_presets:
    for scene in presets.SCENES:
      ex.add_named_config(scene, config_files.nested(presets.preset(scene)))
    for modifier, make in presets.MODIFIERS.items():
      ex.named_configs[modifier] = make
  ex.main(function)
  return ex


def add_sources(ex: sacred.Experiment) -> None:
  """Records the sources of all packages, and the state of the repository that they lie in."""
  paths = {source.filename for source in ex.sources}
  for package in ("iodine", "datasets", "experiments"):  # Sacred alone finds a few of them
    paths |= {str(path) for path in (ROOT / package).rglob("*.py")}
  ex.sources, repository = set(), _repository()
  for path in sorted(paths):
    ex.sources.add(dependencies.Source(path, dependencies.get_digest(path), *repository))
    repository = None, None, None  # said once


def _repository():
  """(url, commit, whether there are changes) of the sources' repository; Nones without one."""
  try:
    return dependencies.get_commit_if_possible(str(ROOT / "README.md"), save_git_info=True)
  except Exception:  # no git on this machine, a repository without a commit: many kinds
    return None, None, None


def _save_json(observer, values, name):
  """Replaces a file of a run as a whole: a full disk costs the new lines, not the file."""
  path = pathlib.Path(observer.dir) / name
  try:
    write_json(path, flatten(values))
  except OSError as error:
    if not path.exists():
      raise
    logging.getLogger("iodine").warning("cannot write %s: %s; it stays", path, error.strerror)


def _save_cout(observer):
  """Appends what was printed, names of files that are no UTF-8 included."""
  with open(os.path.join(observer.dir, "cout.txt"), "ab") as file:
    file.write(observer.cout[observer.cout_write_cursor :].encode("utf-8", "backslashreplace"))
  observer.cout_write_cursor = len(observer.cout)


FileStorageObserver.save_json = _save_json  # Sacred's own empties the file before it writes
FileStorageObserver.save_cout = _save_cout


def check_writable(folder: str | os.PathLike) -> None:
  """Makes a folder; raises Refusal where nothing can be written into it."""
  try:
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
  except (OSError, ValueError) as error:
    reason = getattr(error, "strerror", None) or error
    raise Refusal(f"cannot record runs in {folder}: {reason}") from error


_SACREDS = {"config.json", "cout.txt", "info.json", "metrics.json", "run.json"}


def discard_if_empty(observer: FileStorageObserver) -> None:
  """Removes the folder of a run that was refused before it said or wrote anything."""
  if observer.dir is None:
    return
  folder = pathlib.Path(observer.dir)
  with contextlib.suppress(OSError):  # what is told is the refusal
    written = {path.name for path in folder.iterdir()} - _SACREDS
    if not written and not (folder / "cout.txt").stat().st_size:
      shutil.rmtree(folder)


def run_directory(run: Run) -> pathlib.Path:
  """Where a run writes: its file storage's folder.

  Recorded elsewhere, in MongoDB for instance, a new folder under runs/; of a run that is not to be
  recorded (-u), a temporary one.
  """
  for observer in run.observers:
    if isinstance(observer, FileStorageObserver) and not run.unobserved:
      return pathlib.Path(observer.dir)
  name = run.experiment_info["name"]
  if run.unobserved:
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-"))
  else:
    folder = _new_folder(pathlib.Path("runs") / time.strftime(f"{name}-%Y%m%d-%H%M%S"))
  write_json(folder / "config.json", run.config)
  return folder


def _new_folder(path):
  """Makes a folder of this name; where others of the same second have it, with -2, -3, ..."""
  for number in itertools.count(1):
    folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
    with contextlib.suppress(FileExistsError):
      folder.mkdir(parents=True)
      return folder
