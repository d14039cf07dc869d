"""What is said when something is wrong with data or with a value: one sentence, no more."""

import difflib
import numbers


class DataError(ValueError):
  """A data file is missing, damaged, or not what was asked for. One sentence says it all."""


class NoSceneError(DataError):
  """No scene has the number of objects that is asked for; the data are whole."""


def nearest(word: str, known) -> str:
  """A phrase that offers the nearest known word: 'did you mean "x"?', or the list of them."""
  known = sorted(known)
  close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
  return f'did you mean "{close[0]}"?' if close else f"known are {', '.join(known)}"


def by(shape) -> str:
  """A shape for people: "35 x 35 x 3"."""
  return " x ".join(str(n) for n in shape)


def whole_number(name: str, value, least: int) -> int:
  """Gives `value` as an int.

  Raises:
    DataError: it is no whole number, or smaller than `least`.
  """
  # 4.0 out of a configuration file means 4; True does not mean 1.
  whole = isinstance(value, numbers.Real) and not isinstance(value, bool) and value == value // 1
  if not whole:
    raise DataError(f"{name} must be a whole number, got {value!r}")
  if value < least:
    raise DataError(f"{name} must be at least {least}, got {value}")
  return int(value)


def whole_numbers(record, **least):
  """Checks fields of a frozen dataclass with `whole_number` and stores them as int; None stays."""
  for name, smallest in least.items():
    value = getattr(record, name)
    if value is not None:
      object.__setattr__(record, name, whole_number(name, value, smallest))
