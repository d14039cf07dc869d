"""Settings as typed, validated data: pydantic models that are nested in Python and flat on disk.

A nested setting has a flat name, its alias, under which command lines, run folders and SavedModels
know it: `decoder.channels` is `decoder_channels`. Both forms are accepted wherever settings are
made.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Self

import pydantic
from pydantic.fields import FieldInfo

from iodine.errors import ConfigError


class Settings(pydantic.BaseModel):
  """Base of all settings: immutable, no unknown keys, each error one sentence.

  Raises:
    ConfigError: a key that does not exist, or a value of another type or out of its bounds.
  """

  model_config = pydantic.ConfigDict(
    frozen=True, extra="forbid", populate_by_name=True, validate_default=True
  )

  def __init__(self, **values: Any):
    try:
      super().__init__(**values)
    except pydantic.ValidationError as error:
      raise ConfigError(sentence(error)) from None

  @pydantic.model_validator(mode="before")
  @classmethod
  def _nest(cls, values: Any) -> Any:
    """Moves flat keys into the sections that they belong to; refuses keys that there are not."""
    if not isinstance(values, Mapping):
      return values
    _check_known(values, {*cls.flat_fields(), *cls.model_fields})
    nested = dict(values)
    for name, field in cls.model_fields.items():
      section = _section(field)
      if section is None:
        continue
      whole = nested.pop(name) if isinstance(nested.get(name), Settings | Mapping) else {}
      whole = whole.flat() if isinstance(whole, Settings) else whole
      own = {key: nested.pop(key) for key in section.flat_fields() if key in nested}
      if whole or own:  # a section may be called as one of its settings is: `decoder`
        nested[name] = {**whole, **own}
    return nested

  @classmethod
  def flat_fields(cls) -> dict[str, FieldInfo]:
    """Every setting that is no section, by its flat name."""
    fields = {}
    for name, field in cls.model_fields.items():
      section = _section(field)
      fields.update(section.flat_fields() if section else {field.alias or name: field})
    return fields

  @classmethod
  def from_flat(cls, values: Mapping[str, Any]) -> Self:
    """From a mapping of flat names that may hold keys of other settings too (a run's config)."""
    known = cls.flat_fields()
    return cls(**{key: value for key, value in values.items() if key in known})

  def flat(self) -> dict[str, Any]:
    """Every setting by its flat name, as JSON would hold it: lists, no tuples."""
    return dict(self._flat())

  def _flat(self) -> Iterator[tuple[str, Any]]:
    for name, field in type(self).model_fields.items():
      value = getattr(self, name)
      if isinstance(value, Settings):
        yield from value._flat()
      else:
        yield field.alias or name, _plain(value)

  def replace(self, **changes: Any) -> Self:
    """The same settings with others in place of some; keys are flat names."""
    _check_known(changes, self.flat_fields())
    return type(self)(**{**self.flat(), **changes})


def _check_known(keys, known):
  for key in keys:
    if key not in known:
      raise ConfigError(f"there is no setting {key!r}{hint(key, known)}")


def _section(field: FieldInfo) -> type[Settings] | None:
  kind = field.annotation
  return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def _plain(value: Any) -> Any:
  if isinstance(value, Settings):
    return value.flat()
  if isinstance(value, tuple | list):
    return [_plain(v) for v in value]
  return value


def hint(word: str, known) -> str:
  """ ": did you mean ...?" with the nearest of the known names, or nothing.

  What stands before a dot may be left out or too much: "num_train" is near "data.num_train".
  """
  word, by_last = str(word), {}
  for name in known:
    by_last.setdefault(name.rpartition(".")[2], []).append(name)
  near = difflib.get_close_matches(word.rpartition(".")[2], by_last, n=1)
  if not near:
    return ""
  (nearest,) = difflib.get_close_matches(word, by_last[near[0]], n=1, cutoff=0)
  return f": did you mean {nearest!r}?"


def sentence(error: pydantic.ValidationError) -> str:
  """The first thing that is wrong, with its flat name, the value met and the value wanted."""
  first = error.errors(include_url=False)[0]
  names = [str(part) for part in first["loc"] if isinstance(part, str)]
  # pydantic names a nested place by its path; the last part is the alias, which users know
  key = names[-1] if names else ""
  met, kind, context = first.get("input"), first["type"], first.get("ctx", {})
  if kind in ("value_error", "assertion_error"):
    text = str(context.get("error", first["msg"]))
    return text
  if kind == "missing" and isinstance(first["loc"][-1], int):  # of a list
    return f"{key} must be a list of at least {first['loc'][-1] + 1}, got {met!r}"
  if kind == "missing":
    return f"{key} is missing"
  return f"{key} must be {_wanted(kind, context, first['msg'])}, got {met!r}"


_TYPES = {
  "int": "a whole number",
  "float": "a number",
  "bool": "true or false",
  "string": "a text",
  "list": "a list",
  "tuple": "a list",
  "dict": "a mapping",
  "model": "a mapping",
  "none": "None",
}
_BOUNDS = {
  "greater_than_equal": ("ge", "at least"),
  "greater_than": ("gt", "above"),
  "less_than_equal": ("le", "at most"),
  "less_than": ("lt", "below"),
}


def _wanted(kind: str, context: Mapping[str, Any], message: str) -> str:
  if kind in _BOUNDS:
    bound, words = _BOUNDS[kind]
    return f"{words} {context[bound]:g}"
  if kind == "literal_error":
    return f"one of {context['expected']}"
  if kind in ("too_short", "too_long"):
    many = kind == "too_long"
    count = context["max_length" if many else "min_length"]
    return f"a list of at {'most' if many else 'least'} {count}"
  if kind == "finite_number":
    return "a finite number"
  if kind == "int_from_float":
    return "a whole number"
  stem = kind.split("_")[0]
  if stem in _TYPES and kind.endswith(("_type", "_parsing")):
    return _TYPES[stem]
  return message[0].lower() + message[1:]
