"""Paths and lists of them as they come from the command line.

A path is a path: what exists under exactly the name that was given is taken, whatever characters
are in it. Only where nothing does, is the name a pattern ('photos/*.png') or a list ([a.png,b.png],
a.png,b.png). `~` is the home folder, and a number is a name, since Sacred makes 3 of out=3.
"""

import glob
import os
import pathlib

from datasets import pictures
from experiments.experiment import Refusal

shown = pictures.shown
_LABEL = 32  # characters of a name in a figure
_JOINED = 8  # commas that one name in a list may have


def name(value, key: str) -> str:
  """The path that a key names, `~` expanded.

  Args:
    value: of the configuration: str, os.PathLike, or a number that is a name.
    key: of the configuration, for the message.

  Raises:
    Refusal: it is another type, or empty.
  """
  if isinstance(value, bool | int | float):
    value = str(value)
  if not isinstance(value, str | os.PathLike) or not os.fspath(value):
    raise Refusal(f"{key} is a path, as {key}=folder/3, got {value!r}")
  text = os.fspath(value)
  return text if os.path.lexists(text) else os.path.expanduser(text)


def find(value, key: str, what: str = "file") -> list[pathlib.Path]:
  """The files or folders that a key names: a path, a pattern, or a list of these.

  Args:
    value: of the configuration.
    key: of the configuration, for the message.
    what: is looked for, for the message: "picture", "run".

  Returns:
    Paths that exist, in the order of the list, each once; those of a pattern in the order of their
    names, 2 before 10.

  Raises:
    Refusal: nothing is named, or something that does not exist.
  """
  if value is None or (isinstance(value, str | list | tuple) and not value):
    raise Refusal(f"{key} names no {what}: say which, as {key}=path or {key}=[path,path]")
  found = []
  for part in value if isinstance(value, list | tuple) else [value]:
    text = name(part, key)
    matches = _resolve(text)
    if not matches:
      raise Refusal(f"there is no {what} {shown(text)}")
    found += matches
  return list(dict.fromkeys(found))


def _resolve(text):
  """The paths that one string stands for; [] for none."""
  matches = _one(text)
  if matches:
    return matches
  bracketed = len(text) > 1 and (text[0], text[-1]) in (("[", "]"), ("(", ")"))
  if not bracketed and "," not in text:
    return []
  parts = (text[1:-1] if bracketed else text).split(",")
  found, start = [], 0
  while start < len(parts):
    # a name may hold commas itself: the longest that exists is taken
    for end in range(min(len(parts), start + _JOINED), start, -1):
      matches = _listed(",".join(parts[start:end]))
      if matches:
        break
    else:
      if parts[start].strip():
        return []
      end = start + 1  # [a.png,]
    found += matches
    start = end
  return found


def _listed(text):
  """One entry of a list, which may stand in quotes and between spaces."""
  for candidate in (text, text.strip(), text.strip().strip("'\"")):
    matches = _one(candidate) if candidate else []
    if matches:
      return matches
  return []


def _one(text):
  """What exists under a name, or else matches it."""
  for literal in (text, os.path.expanduser(text)):
    if _exists(literal):
      return [pathlib.Path(literal)]
  if "\0" in text:
    return []
  matches = sorted(glob.glob(os.path.expanduser(text), recursive=True), key=pictures.natural)
  return [pathlib.Path(match) for match in matches]


def _exists(path):
  try:
    return os.path.lexists(path)
  except ValueError:  # a null character
    return False


def label(text, most: int = _LABEL) -> str:
  r"""A name as text in a figure: no formula between dollars, no line break, not too long.

  Matplotlib sets what stands between two `$` as a formula, unless they are written `\$`; it cannot
  draw characters that are no Unicode.
  """
  text = shown(text)
  if len(text) > most:
    text = f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"
  return text.replace("$", r"\$")
