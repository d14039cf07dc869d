"""The data sets that can be made here: one module each; `datasets.scene` says what it must have."""

import importlib
import inspect

from datasets.errors import DataError
from datasets.files import how_to_get


def generator_of(spec):
  """The module that generates a dataset.

  Raises:
    DataError: there is none, or it lacks a package.
  """
  if spec.generator is None:
    raise DataError(f"there is no generator for {spec.name}; {how_to_get(spec)}")
  try:
    return importlib.import_module(spec.generator)
  except ModuleNotFoundError as error:
    if error.name == spec.generator:
      raise DataError(f"the generator of {spec.name} is not installed") from error
    raise DataError(
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
