"""Configurations in files: JSON and YAML, `with my.yaml`."""

import json
import os
import pathlib
from typing import Any

import yaml

from experiments.support.errors import Refusal

SUFFIXES = (".json", ".yaml", ".yml")


def is_file(word: str) -> bool:
  """Whether a word behind `with` means a file."""
  if pathlib.Path(word).suffix.lower() in SUFFIXES or os.path.isfile(word):
    return True
  return os.sep in word and "=" not in word  # else a key whose value is a path


def read(path: str | os.PathLike) -> dict[str, Any]:
  """What a file sets, by flat names: {"num_steps": 3, "data.name": "shapes"}.

  Keys of `data` are accepted as a mapping or with their dots. A byte-order mark and any line ends
  are taken.

  Raises:
    Refusal: there is no such file, it cannot be read, or it is no mapping of names.
  """
  path = pathlib.Path(path)
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise Refusal(f"a configuration is a file {', '.join(SUFFIXES)}, got {path}")
  try:
    text = path.read_bytes().decode("utf-8-sig")
    values = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
  except OSError as error:
    raise Refusal(f"cannot read the configuration {path}: {error.strerror}") from error
  except UnicodeDecodeError as error:
    raise Refusal(f"the configuration {path} is no UTF-8 text: {error.reason}") from error
  except json.JSONDecodeError as error:
    raise Refusal(
      f"{path}, line {error.lineno}, column {error.colno} is no JSON: {error.msg}"
    ) from error
  except yaml.YAMLError as error:
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = getattr(error, "problem", None) or "it cannot be parsed"
    raise Refusal(f"{path}{where} is no YAML: {problem}") from error
  except (ValueError, RecursionError) as error:  # numbers of thousands of digits, deep nesting
    raise Refusal(f"{path} cannot be parsed: {error}") from error
  values = {} if values is None else values
  if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
    raise Refusal(f"{path} must be a mapping from keys to values, got {type(values).__name__}")
  return flat(values)


def flat(values: dict[str, Any]) -> dict[str, Any]:
  """{"data": {"name": x}} as {"data.name": x}; other mappings are values."""
  result = {}
  for key, value in values.items():
    if key == "data" and isinstance(value, dict):
      result.update({f"data.{name}": v for name, v in value.items()})
    else:
      result[key] = value
  return result


def nested(values: dict[str, Any]) -> dict[str, Any]:
  """The inverse of `flat`."""
  result: dict[str, Any] = {}
  for key, value in values.items():
    section, dot, name = key.partition(".")
    if dot and section == "data":
      result.setdefault("data", {})[name] = value
    else:
      result[key] = value
  return result
