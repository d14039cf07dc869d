"""Generates a dataset as a TFRecord file.

  python -m datasets.generate tetrominoes --num 60000 --out data/
  python -m datasets.generate multi_dsprites --variant binarized --num 60000 --out data/ --workers 2

The file is a pure function of the dataset, its parameters, the seed, the number of records and the
layout: the number of workers does not matter, nor does it that the command was interrupted and run
again, when it goes on where it was. Until it is whole the file is called `....partial`.
"""

import argparse
import contextlib
import importlib
import inspect
import json
import multiprocessing
import os
import signal
import sys
import time

import numpy as np
from tqdm import tqdm

from datasets import records, scene


def generator_of(spec):
  """The module that generates a dataset.

  Raises:
    DataError: there is none, or it lacks a package.
  """
  if spec.generator is None:
    raise records.DataError(f"there is no generator for {spec.name}; {records.how_to_get(spec)}")
  try:
    return importlib.import_module(spec.generator)
  except ModuleNotFoundError as error:
    if error.name == spec.generator:
      raise records.DataError(f"the generator of {spec.name} is not installed") from error
    raise records.DataError(
      f'generating {spec.name} needs the package "{error.name}": '
      "`pip install -r requirements-render.txt`"
    ) from error


def parameters_of(spec) -> dict:
  """The generator's parameters and their defaults (without `variant`, which the spec sets)."""
  signature = inspect.signature(generator_of(spec).generate_chunk)
  return {
    p.name: spec.parameters.get(p.name, p.default)
    for p in signature.parameters.values()
    if p.kind is p.KEYWORD_ONLY and p.name != "variant"
  }


def generate(
  spec,
  num,
  out="data",
  *,
  seed=0,
  workers=1,
  layout=records.COMPACT,
  file_name=None,
  progress=True,
  **parameters,
) -> str:
  """Generates `num` records of a dataset; see the module's docstring for what it guarantees.

  Args:
    spec: a DatasetSpec, or a name.
    num: number of records.
    out: the folder; made if it is not there.
    seed: any non-negative integer.
    workers: number of processes.
    layout: "compact" or "released".
    file_name: instead of the usual one, under which `datasets.load` finds the file.
    progress: whether to show a bar (terminal) or lines (elsewhere) on the standard error output.
    **parameters: of the generator, such as block_size; checked against its signature.

  Returns:
    The path of the file.

  Raises:
    DataError: a wrong value; an existing file made otherwise; a disk that is full.
  """
  spec = scene.get_spec(spec) if isinstance(spec, str) else spec
  module, known = generator_of(spec), parameters_of(spec)
  for name in parameters:
    if name not in known:
      raise records.DataError(
        f'{spec.name} has no parameter "{name}": {scene.nearest(name, known)}'
      )
  for name, value, least in (("num", num, 1), ("seed", seed, 0), ("workers", workers, 1)):
    if value < least:
      raise records.DataError(f"{name} must be at least {least}, got {value}")
  if layout not in (records.COMPACT, records.RELEASED):
    raise records.DataError(f'layout must be "compact" or "released", got "{layout}"')
  os.makedirs(out, exist_ok=True)
  path = os.path.join(out, file_name or _file_name(spec, parameters, known))
  recipe = {
    "dataset": spec.name,
    "seed": seed,
    "layout": layout,
    "parameters": {**known, **parameters},
  }
  recipe = json.loads(json.dumps(recipe))  # as it will be read back: tuples become lists
  if os.path.exists(path):
    index = records.RecordFile(path).index() or {}
    if index.get("num_records") == num and all(index.get(k) == v for k, v in recipe.items()):
      return path
    raise records.DataError(
      f"{path} exists and was not made by this very command: delete it, or choose another --out"
    )
  call = {**spec.parameters, **parameters, **({"variant": spec.variant} if spec.variant else {})}
  jobs = _Jobs(spec, module.CHUNK_SIZE, num, seed, layout, call)
  num_objects = _write(path, jobs, recipe, workers, progress)
  records.RecordFile(path).write_index(num_records=num, **recipe, num_objects=num_objects)
  return path


def _file_name(spec, parameters, known):
  size = parameters.get("image_size", known.get("image_size"))
  if size is None or size == known.get("image_size"):
    return spec.file
  return records.sized_name(spec.file, np.broadcast_to(size, 2))


class _Jobs:
  """The chunks of one file, as picklable calls."""

  def __init__(self, spec, chunk_size, num, seed, layout, parameters):
    self.spec, self.chunk_size, self.num = spec, chunk_size, num
    self.seed, self.layout, self.parameters = seed, layout, parameters

  def __len__(self):
    return -(-self.num // self.chunk_size)

  def size(self, chunk):
    return min(self.chunk_size, self.num - chunk * self.chunk_size)

  def __call__(self, chunk):
    """The bytes of one chunk and the number of objects of each of its scenes."""
    module = generator_of(self.spec)
    arrays = module.generate_chunk(self.seed, chunk, **self.parameters)
    payloads, num_objects = [], []
    for i in range(self.size(chunk)):
      record = {name: value[i] for name, value in arrays.items()}
      payloads.append(records.encode(record, self.spec, self.layout))
      if "visibility" in record:
        visible = record["visibility"] > 0
      else:
        axis = self.spec.mask_layout.index("L")
        visible = (
          np.moveaxis(record["mask"], axis, 0).reshape(record["mask"].shape[axis], -1).any(1)
        )
      num_objects.append(int(visible[self.spec.num_background :].sum()))
    return records.seal(payloads, self.layout), num_objects


def _write(path, jobs, recipe, workers, progress):
  """Writes what is missing of `<path>.partial`, then renames it; returns objects per scene.

  `<path>.partial.log` tells how far it is: the recipe, then a line [bytes, objects] for each chunk.
  """
  partial, log = f"{path}.partial", f"{path}.partial.log"
  ends, num_objects = _resume(partial, log, jobs, recipe)
  done = len(num_objects)
  bar = _Progress(os.path.basename(path), done, jobs.num, progress)
  try:
    with (
      open(partial, "r+b" if ends else "wb") as data,
      open(log, "a" if ends else "w") as journal,
      _pool(workers) as pool,
    ):
      data.truncate(ends[-1] if ends else 0)
      data.seek(0, os.SEEK_END)
      if not ends:
        journal.write(json.dumps(recipe) + "\n")
      chunks = range(len(ends), len(jobs))
      for blob, objects in pool.imap(jobs, chunks) if pool else map(jobs, chunks):
        data.write(blob)
        data.flush()
        num_objects.extend(objects)
        journal.write(json.dumps([data.tell(), objects]) + "\n")
        journal.flush()
        bar.update(len(num_objects))
      os.fsync(data.fileno())
  except OSError as error:
    raise records.DataError(
      f"{partial}: {error.strerror or error} at record {len(num_objects):,} of {jobs.num:,}: make "
      "room and run the same command again, it goes on from there"
    ) from error
  finally:
    bar.close()
  os.replace(partial, path)
  os.remove(log)
  return num_objects


def _resume(partial, log, jobs, recipe):
  """What an interrupted run left that can be gone on with: chunk ends in bytes, object counts."""
  ends, num_objects = [], []
  with contextlib.suppress(OSError, ValueError), open(log) as journal:
    size = os.path.getsize(partial)
    if json.loads(next(journal, "null")) != recipe:
      return [], []
    for line in journal:
      end, objects = json.loads(line)
      whole = len(objects) == jobs.chunk_size and len(ends) < jobs.num // jobs.chunk_size
      if end > size or not whole:
        break
      ends.append(end)
      num_objects.extend(objects)
  if ends:  # drop lines behind the last good one
    with open(log) as journal:
      lines = journal.readlines()[: len(ends) + 1]
    with records.replacing(log + ".new") as temporary, open(temporary, "w") as journal:
      journal.writelines(lines)
    os.replace(log + ".new", log)
  return ends, num_objects


@contextlib.contextmanager
def _pool(workers):
  if workers == 1:
    yield None
    return
  # spawn: the parent may hold TensorFlow or threads, which do not survive a fork.
  context = multiprocessing.get_context("spawn")
  with context.Pool(
    workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
  ) as p:
    yield p


class _Progress:
  """A bar on a terminal, a line every ten seconds elsewhere, on the standard error output."""

  def __init__(self, name, done, total, enabled):
    self.total, self.first, self.name = total, done, name
    self.enabled, self.bar = enabled, None
    self.start = self.last = time.monotonic()
    if enabled and sys.stderr.isatty():
      self.bar = tqdm(total=total, initial=done, unit=" scenes", desc=name)
    elif enabled and done:
      print(f"{name}: going on at {done:,} of {total:,}", file=sys.stderr, flush=True)

  def update(self, done):
    now = time.monotonic()
    if self.bar is not None:
      self.bar.update(done - self.bar.n)
    elif self.enabled and (now - self.last > 10 or done == self.total):
      rate = (done - self.first) / max(now - self.start, 1e-9)
      left = (self.total - done) / rate
      print(
        f"{self.name}: {done:,} of {self.total:,}, {rate:,.0f} scenes/s, {left:,.0f} s left",
        file=sys.stderr,
        flush=True,
      )
      self.last = now

  def close(self):
    if self.bar is not None:
      self.bar.close()


# ------------------------------------------------------------------------------ command line


class Parser(argparse.ArgumentParser):
  """An argument parser whose complaints are one sentence and name the nearest right option."""

  def __init__(self, **kwargs):
    super().__init__(
      allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
    )

  def error(self, message):
    self.exit(2, f"{self.prog}: {message}\n")

  def parse_args(self, args=None, namespace=None):
    values, unknown = self.parse_known_args(args, namespace)
    options = {option for action in self._actions for option in action.option_strings}
    for word in unknown:
      if word.startswith("-"):
        word = word.split("=")[0]
        self.error(f'no option "{word}": {scene.nearest(word, options)}')
      self.error(f'unexpected argument "{word}"')
    return values


def _add_parameters(parser, spec):
  module = generator_of(spec)
  helps = getattr(module, "PARAMETER_HELP", {})
  group = parser.add_argument_group(f"parameters of {spec.name}")
  for name, default in parameters_of(spec).items():
    option, text = "--" + name.replace("_", "-"), f"{helps.get(name, '')} (default: {default})"
    if isinstance(default, bool):
      group.add_argument(option, action=argparse.BooleanOptionalAction, default=default, help=text)
    elif isinstance(default, (tuple, list)):
      kind = type(default[0]) if default else str
      group.add_argument(option, nargs="+", type=kind, default=default, help=text)
    else:
      kind = str if default is None else type(default)
      group.add_argument(option, type=kind, default=default, help=text)


def main(argv=None):
  argv = sys.argv[1:] if argv is None else list(argv)
  parser = Parser(prog="python -m datasets.generate", description=__doc__)
  names = sorted(name for name, spec in scene.SPECS.items() if spec.generator)
  parser.add_argument("name", help=f"one of {', '.join(names)}")
  parser.add_argument("--num", type=int, help="number of scenes; required")
  parser.add_argument("--out", default="data", help="folder for the file (default: data)")
  parser.add_argument("--seed", type=int, default=0, help="default: 0")
  parser.add_argument("--workers", type=int, default=os.cpu_count(), help="default: one per CPU")
  parser.add_argument("--layout", choices=[records.COMPACT, records.RELEASED], default="compact")
  parser.add_argument("--variant", default="", help="of multi_dsprites or objects_room")
  parser.add_argument("--file-name", help="instead of the name under which it is looked for")
  try:
    spec = None
    if argv and not argv[0].startswith("-"):
      # The generator's own options are known once the name and the variant are.
      first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
      first.add_argument("name")
      first.add_argument("--variant", default="")
      first.exit_on_error = False
      known, _ = first.parse_known_args(argv)
      spec = scene.get_spec(known.name, known.variant)
      _add_parameters(parser, spec)
    args = vars(parser.parse_args(argv))
    if spec is None:
      parser.error("the name of the dataset comes first: " + ", ".join(names))
    if args["num"] is None:
      parser.error("say how many scenes: --num 1000")
    del args["name"], args["variant"]
    defaults = parameters_of(spec)
    for name, default in defaults.items():
      if isinstance(default, tuple):
        args[name] = tuple(args[name])
    start = time.monotonic()
    path = generate(spec, args.pop("num"), args.pop("out"), **args)
  except ValueError as error:  # a DataError, a wrong name, a parameter the generator refuses
    parser.exit(2, f"{parser.prog}: {error}\n")
  except KeyboardInterrupt:
    parser.exit(130, "\ninterrupted: the same command goes on from here\n")
  print(f"{path}: {os.path.getsize(path) / 2**20:,.1f} MiB, {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
  main()
