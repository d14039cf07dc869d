"""Generates a dataset as a TFRecord file.

  python -m datasets.generate tetrominoes --num 60000 --out data/
  python -m datasets.generate multi_dsprites --variant binarized --num 60000 --out data/ --workers 2

The file is a pure function of the dataset, its parameters, the seed, the number of records and the
layout: the number of workers does not matter, nor does it that the command was interrupted and run
again, when it goes on where it was. Until it is whole the file is called `....partial`.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time

import numpy as np

from datasets import files
from datasets.cli import Parser
from datasets.errors import DataError, nearest, whole_number
from datasets.generators import chunks, generator_of, parameters_of
from datasets.specs import SPECS, get_spec


def generate(
  spec,
  num: int,
  out="data",
  *,
  seed: int = 0,
  workers: int = 1,
  layout: str = files.COMPACT,
  file_name: str | None = None,
  progress: bool = True,
  **parameters,
) -> str:
  """Generates `num` records of a dataset; see the module's docstring for what it guarantees.

  Args:
    spec: a DatasetSpec, or a name.
    num: number of records.
    out: the folder; made if it is not there.
    seed: any non-negative integer.
    workers: number of processes; a script that wants several calls this under
      `if __name__ == "__main__":`, for each of them runs the script up to there.
    layout: "compact" or "released".
    file_name: instead of the usual one, under which `datasets.load` finds the file.
    progress: whether to show a bar (terminal) or lines (elsewhere) on the standard error output.
    **parameters: of the generator, such as block_size; checked against its signature.

  Returns:
    The path of the file.

  Raises:
    DataError: a wrong value; an existing file made otherwise; a disk that is full; a worker that
      was killed. A file that another process is making is waited for.
  """
  spec = get_spec(spec) if isinstance(spec, str) else spec
  known = parameters_of(spec)
  for name in parameters:
    if name not in known:
      raise DataError(f'{spec.name} has no parameter "{name}": {nearest(name, known)}')
  num, seed, workers = (
    whole_number(name, value, least)
    for name, value, least in (("num", num, 1), ("seed", seed, 0), ("workers", workers, 1))
  )
  if "image_size" in parameters:
    parameters["image_size"] = _image_size(parameters["image_size"], known["image_size"])
  if layout not in (files.COMPACT, files.RELEASED):
    raise DataError(f'layout must be "compact" or "released", got "{layout}"')
  out = os.path.expanduser(out)
  try:
    os.makedirs(out, exist_ok=True)
  except OSError as error:
    raise DataError(f"{out} cannot be made a folder ({error.strerror}): --out wants one") from error
  path = os.path.join(out, file_name or _file_name(spec, parameters, known))
  recipe = {
    "dataset": spec.name,
    "seed": seed,
    "layout": layout,
    "parameters": {**known, **parameters},
    **({"revision": spec.revision} if spec.revision else {}),
  }
  recipe = json.loads(json.dumps(recipe))  # as it will be read back: tuples become lists
  call = {**spec.parameters, **parameters, **({"variant": spec.variant} if spec.variant else {})}
  # A worker runs the script that called us, and would wait for its parent, which waits for it.
  if getattr(multiprocessing.current_process(), "_inheriting", False) and not os.path.exists(path):
    raise DataError('call generate under `if __name__ == "__main__":`')
  with chunks.alone(path):
    if os.path.exists(path):
      index = files.RecordFile(path).index() or {}
      if index.get("num_records") == num and all(index.get(k) == v for k, v in recipe.items()):
        return path
      raise DataError(
        f"{path} exists and was not made by this very command: delete it, or choose another --out"
      )
    num_objects = chunks.write(path, spec, num, recipe, call, workers, progress)
    files.RecordFile(path).write_index(num_records=num, **recipe, num_objects=num_objects)
  return path


def _image_size(value, default):
  """As the generator takes it: (H, W) where its own is a pair, else one number."""
  sizes = [whole_number("image_size", size, 1) for size in np.ravel(value).tolist()]
  if len(sizes) == 1:
    return (sizes[0], sizes[0]) if isinstance(default, tuple) else sizes[0]
  if len(sizes) != 2 or not isinstance(default, tuple):
    wanted = "a number, or a height and a width" if isinstance(default, tuple) else "a number"
    raise DataError(f"image_size must be {wanted}, got {value}")
  return tuple(sizes)


def _file_name(spec, parameters, known):
  size = parameters.get("image_size", known.get("image_size"))
  if size is None or size == known.get("image_size"):
    return spec.file
  return files.sized_name(spec.file, np.broadcast_to(size, 2))


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
  names = sorted(name for name, spec in SPECS.items() if spec.generator)
  parser.add_argument("name", help=f"one of {', '.join(names)}")
  parser.add_argument("--num", type=int, help="number of scenes; required")
  parser.add_argument("--out", default="data", help="folder for the file (default: data)")
  parser.add_argument("--seed", type=int, default=0, help="default: 0")
  parser.add_argument("--workers", type=int, default=os.cpu_count(), help="default: one per CPU")
  parser.add_argument("--layout", choices=[files.COMPACT, files.RELEASED], default="compact")
  parser.add_argument("--variant", default="", help="of multi_dsprites or objects_room")
  parser.add_argument("--file-name", help="instead of the name under which it is looked for")
  with parser.sentences("interrupted: the same command goes on from here"):
    spec = None
    if argv and not argv[0].startswith("-"):
      # The generator's own options are known once the name and the variant are.
      first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
      first.add_argument("name")
      first.add_argument("--variant", default="")
      first.exit_on_error = False
      try:
        known, _ = first.parse_known_args(argv)
      except argparse.ArgumentError as error:
        parser.error(str(error))
      spec = get_spec(known.name, known.variant)
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
  print(f"{path}: {os.path.getsize(path) / 2**20:,.1f} MiB, {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
  main()
