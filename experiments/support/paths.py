"""Paths and lists of them as they come from the command line.

A path is a path: what exists under exactly the name that was given is taken, whatever characters
are in it. Only where nothing does, is the name a pattern ('photos/*.png') or a list ([a.png,b.png],
a.png,b.png). `~` is the home folder, and a number is a name, since Sacred makes 3 of out=3.
"""

import glob
import os
import pathlib
from typing import Any

from datasets import pictures
from experiments.support.errors import Refusal

shown = pictures.shown
_LABEL = 24  # characters of a name in a figure
_JOINED = 8  # commas that one name in a list may have


def name(value: Any, key: str) -> str:
  """The path that a key names, `~` expanded.

  Args:
    value: of the configuration: str, os.PathLike, or a number that is a name.
    key: of the configuration, for the message.

  Raises:
    Refusal: it is another type, or empty.
  """
  text = _text(value, key)
  return text if _exists(text) else os.path.expanduser(text)


def _text(value, key):
  if isinstance(value, bool | int | float):
    value = str(value)
  if not isinstance(value, str | os.PathLike) or not os.fspath(value):
    raise Refusal(f"{key} is a path, as {key}=folder/3, got {value!r}")
  return os.fspath(value)


def find(value: Any, key: str, what: str = "file") -> list[pathlib.Path]:
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
    text = _text(part, key)
    matches, missing = _resolve(text)
    if missing:
      raise Refusal(f"there is no {what} {shown(missing)}")
    found += matches
  return list(dict.fromkeys(found))


def _resolve(text):
  """The paths that one string stands for, and the name of which there is none, or ""."""
  if matches := _literal(text):
    return matches, ""
  bracketed = len(text) > 1 and (text[0], text[-1]) in (("[", "]"), ("(", ")"))
  listed, missing = [], text
  if bracketed or "," in text:
    listed, missing = _list(text[1:-1] if bracketed else text)
  if listed and not missing:  # before patterns, for [a.png,b.png] is one of a single character
    return listed, ""
  if matches := _pattern(text):
    return matches, ""
  return [], missing if bracketed and missing else text


def _list(text):
  """The paths of a list without its brackets, and the first name of which there is none, or ""."""
  parts = text.split(",")
  found, start = [], 0
  while start < len(parts):
    # a name may hold commas itself: the longest that exists is taken
    for end in range(min(len(parts), start + _JOINED), start, -1):
      matches = _listed(",".join(parts[start:end]))
      if matches:
        break
    else:
      if parts[start].strip():
        return [], parts[start].strip()
      end = start + 1  # [a.png,]
    found += matches
    start = end
  return found, ""


def _listed(text):
  """What one entry of a list stands for; it may be in quotes and between spaces."""
  for candidate in (text, text.strip(), text.strip().strip("'\"")):
    if candidate and (matches := _literal(candidate) or _pattern(candidate)):
      return matches
  return []


def _literal(text):
  """What exists under exactly this name."""
  return [pathlib.Path(p) for p in (text, os.path.expanduser(text)) if _exists(p)][:1]


def _pattern(text):
  """What matches a name; a folder in it that exists is no pattern."""
  if not text or "\0" in text:
    return []
  text = os.path.expanduser(text)
  folder = os.path.dirname(text)
  while folder and not _exists(folder):
    folder = os.path.dirname(folder)
  matches = glob.glob(glob.escape(folder) + text[len(folder) :], recursive=True)
  matches = matches or glob.glob(text, recursive=True)
  return [pathlib.Path(match) for match in sorted(matches, key=pictures.natural)]


def _exists(path):
  try:
    return os.path.lexists(path)
  except ValueError:  # a null character
    return False


def label(text: str, most: int = _LABEL) -> str:
  r"""A name as text in a figure: no formula between dollars, no line break, not too long.

  Matplotlib sets what stands between two `$` as a formula, unless they are written `\$`; it cannot
  draw characters that are no Unicode.
  """
  text = shown(text)
  if len(text) > most:
    text = f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"
  return text.replace("$", r"\$")
