"""From the words behind `with` to a validated configuration.

The values of a command come in layers, the later over the earlier: defaults; a data set's preset;
modifiers, one that chooses a model first; files; what is written as key=value. All of it is checked
here, before anything is built or written.
"""

import ast
import types
import typing
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

import datasets
from experiments.support import config_files, presets
from experiments.support.errors import Refusal
from experiments.support.settings import DataSettings, RunSettings, names_in
from iodine.build import MODELS, config_class
from iodine.config import ModelConfig
from iodine.errors import ConfigError
from iodine.settings import Settings, hint
from iodine.training import TrainingConfig

# Of a model's settings, what the data decide and what is no choice for users.
HIDDEN = frozenset({"image_size", "dtype"})
KINDS = tuple(config.model_fields["model"].default for config in MODELS)
_OBSOLETE = frozenset({"data.seed"})  # old runs have it


class Resolved(NamedTuple):
  """A configuration: all values, and those of them that the user wrote; flat."""

  values: dict[str, Any]
  asked: dict[str, Any]


class Schema:
  """The keys of a command.

  Args:
    settings: the classes whose keys it has.
    trains: whether it has those of a model, of training, of a run and of data besides, and the
      presets; which they are depends on the kind of model.
  """

  def __init__(self, *settings: type[Settings], trains: bool = False):
    self._own = settings
    self.trains = trains

  def fields(self, kind: str = presets.IODINE) -> dict[str, FieldInfo]:
    """Every key by its flat name, for a kind of model."""
    fields = {}
    for part in self._parts(kind):
      fields.update({k: f for k, f in part.flat_fields().items() if k not in _hidden(part)})
    return {"seed": TrainingConfig.flat_fields()["seed"], **fields}

  def _parts(self, kind) -> tuple[type[Settings], ...]:
    if not self.trains:
      return self._own
    return (config_class(kind), TrainingConfig, RunSettings, DataSettings, *self._own)

  def names(self) -> list[str]:
    """Presets and modifiers."""
    return sorted([*presets.SCENES, *presets.MODIFIERS]) if self.trains else []

  def resolve(
    self,
    names: Iterable[str] = (),
    updates: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
  ) -> Resolved:
    """A validated configuration.

    Args:
      names: presets and modifiers.
      updates: what the user wrote, flat.
      base: the configuration of a run that is gone on with; it takes the place of the presets.

    Raises:
      UserError: a name or key that does not exist, or a value that is not what it should be.
    """
    names, updates = list(names), dict(updates or {})
    self._check_names(names)
    if base is None:
      kind, values = self._layers(names, updates)
    else:
      base = {k: v for k, v in base.items() if k not in _OBSOLETE}
      kind = updates.get("model", base.get("model", presets.IODINE))
      values = {k: v for k, v in base.items() if k in self.fields(_kind(kind))}
    self._check_keys(updates, kind)
    valid = self._validate({**values, **updates}, kind)
    asked = {k: valid[k] for k in updates if k in valid}
    if "seed" not in values and "seed" not in updates and not self._has_seed():
      valid.pop("seed", None)  # Sacred draws one
    return Resolved(valid, asked)

  def _has_seed(self):
    return any("seed" in part.flat_fields() for part in self._own)

  def _check_names(self, names):
    known = self.names()
    for name in names:
      if name not in known:
        there = f"; there are: {', '.join(known)}" if known else ": this command has none"
        near = hint(name, known)
        raise Refusal(f"there is no configuration {name!r}{near}{there}")
    scenes = [name for name in names if name in presets.SCENES]
    if len(scenes) > 1:
      raise Refusal(f"a run has one data set, got {' and '.join(scenes)}")

  def _layers(self, names, updates):
    """(kind of model, flat values of presets and modifiers)."""
    if not self.trains:
      return presets.IODINE, {}
    scene = next((n for n in names if n in presets.SCENES), presets.DEFAULT)
    models = [n for n in names if n in presets.MODELS]
    others = [n for n in names if n in presets.MODIFIERS and n not in presets.MODELS]
    others.sort(key=lambda name: name not in presets.FIRST)  # else in the order that they came in
    decoders = [n for n in names if n in presets.DECODERS]
    for what, several in (("model", models), ("decoder", decoders)):
      if len(several) > 1:
        raise Refusal(f"a run has one {what}, got {' and '.join(several)}")
    chosen = presets.KINDS[models[0]] if models else presets.IODINE
    kind = _kind(updates.get("model", chosen))
    if models and kind != chosen:
      raise Refusal(f"{models[0]} is model={chosen}, got model={kind} besides")
    if not models and kind != presets.IODINE:
      models = [presets.modifier_of(kind)]
    fields = self.fields(kind)
    defaults = {k: v for part in self._parts(kind) for k, v in _defaults(part).items()}
    preset = presets.preset(scene, kind)
    values = {k: v for k, v in preset.items() if k in fields}
    for name in [*models, *others]:
      current = {**defaults, **values, **updates, "model": kind, "modifier": (*models, "")[0]}
      current["asked"] = frozenset(updates)
      try:
        changes = presets.MODIFIERS[name](current)
      except (TypeError, ValueError, ArithmeticError):  # of a value that is refused below
        changes = {}
      foreign = sorted(set(changes) - set(fields))
      if foreign:
        raise Refusal(f"{name} is not for model={kind}, which has no key {foreign[0]}")
      values.update(changes)
    return kind, values

  def _check_keys(self, updates, kind):
    fields = self.fields(kind)
    for key in updates:
      if key in fields:
        continue
      for other in KINDS if self.trains else ():
        if key in config_class(other).flat_fields() and key not in HIDDEN:
          near = hint(key, fields).replace(": ", "; ", 1)
          raise ConfigError(f"there is no config key {key!r} of model={kind}: {other} has it{near}")
      raise ConfigError(f"there is no config key {key!r}{hint(key, fields)}")

  def _validate(self, values, kind):
    """All values, in the types that they should have."""
    fields = self.fields(kind)
    for key, value in values.items():
      if isinstance(value, str) and value != fields[key].default and _is_list(fields[key]):
        values = {**values, key: names_in(value)}
    valid: dict[str, Any] = {"seed": values.get("seed")} if "seed" in values else {}
    for part in self._parts(kind):
      own = dict(values)
      if issubclass(part, ModelConfig):
        own.update(_image_size(values, self._parts(kind)))
      settings = part.from_flat(own)
      valid.update({k: v for k, v in settings.flat().items() if k not in _hidden(part)})
    if self.trains:
      _check_pixels(valid, kind)
    if "seed" in valid:
      valid["seed"] = TrainingConfig.from_flat({"seed": valid["seed"]}).seed
    for key, value in values.items():  # else True would be the number 1
      if isinstance(value, bool) and not isinstance(valid[key], bool | str):
        raise ConfigError(f"{key} must be a number, got {value!r}")
    return valid


def _kind(value):
  config_class(value)  # raises ConfigError
  return value


def _hidden(part):
  return HIDDEN if issubclass(part, ModelConfig) else ()


def _defaults(part):
  return {k: f.get_default() for k, f in part.flat_fields().items() if k not in _hidden(part)}


def _image_size(values, parts):
  """{"image_size": ...} of the data, as far as that is known without their file."""
  if DataSettings not in parts:
    return {}
  data = DataSettings.from_flat(values)
  try:
    spec = datasets.get_spec(data.name)
  except (KeyError, ValueError) as error:
    raise ConfigError(str(error.args[0])) from None
  size = data.image_size or spec.training_size or (spec.image_size or ())[:2]
  if not size:
    return {}
  return {"image_size": (*size, 1 if data.grayscale or not spec.image_size else spec.image_size[2])}


def _check_pixels(values, kind):
  spec = datasets.get_spec(values["data.name"])
  if config_class(kind).BINARY and spec.image_size and not spec.binary:  # one's own: not known
    raise ConfigError(
      f"model={kind} models binary images, each pixel as a Bernoulli, to which gray means nothing: "
      f"{spec.name} has gray ones"
    )


class Words(NamedTuple):
  """What stands behind `with`."""

  names: list[str]
  updates: dict[str, Any]


def parse(words: Sequence[str], schema: Schema) -> Words:
  """Sorts the words of a command line into names and values; files are read.

  Raises:
    Refusal: a file cannot be read.
  """
  names, files, updates = [], {}, {}
  known = {}
  for kind in KINDS if schema.trains else (presets.IODINE,):
    known.update(schema.fields(kind))
  for word in words:
    key, equals, text = word.partition("=")
    key = key.strip()
    if equals and (key in known or not config_files.is_file(word)):
      updates[key] = literal(text, known.get(key))
    elif word not in schema.names() and config_files.is_file(word):
      files.update(config_files.read(word))
    elif word:
      names.append(word)
  return Words(names, {**files, **updates})


def literal(text: str, field: FieldInfo | None) -> Any:
  """The value of a text: a Python literal, or the text itself where names are wanted."""
  if field is not None and text.strip() == field.default:
    return text.strip()  # "run" of what is as in the run
  if field is not None and _is(field, str):
    value = _literal(text.strip())
    if value is None and text.strip() == "None":
      return None
    return value if isinstance(value, str) and value != text.strip() else text
  if field is not None and _is_list(field):
    return None if text.strip() == "None" else names_in(text)
  return _literal(text.strip())


def _literal(text):
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # of escapes in what is no literal
      return ast.literal_eval(text)
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    return text


def _is_list(field: FieldInfo) -> bool:
  """Whether a field holds a list of texts, and nothing that is one text."""
  return _is(field, tuple, str) and not _is(field, str)


def _is(field: FieldInfo, kind: type, of: type | None = None) -> bool:
  """Whether a field, where it is not None, is of a type: str, or tuple of str."""
  return _matches(field.annotation, kind, of)


def _matches(annotation, kind, of):
  origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is typing.Annotated:
    return _matches(arguments[0], kind, of)
  if origin in (typing.Union, types.UnionType):
    return any(_matches(a, kind, of) for a in arguments if a is not type(None))
  if of is not None:
    return origin is kind and bool(arguments) and arguments[0] is of
  return annotation is kind
