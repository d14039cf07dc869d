"""A configuration becomes a model here and nowhere else."""

from collections.abc import Mapping
from typing import Any

from iodine.baselines import Monet, MonetConfig, Nem, NemConfig, Vae, VaeConfig
from iodine.config import IodineConfig, ModelConfig
from iodine.errors import ConfigError
from iodine.model import Iodine
from iodine.slot_model import SlotModel

MODELS: dict[type[ModelConfig], type[SlotModel]] = {
  IodineConfig: Iodine,
  MonetConfig: Monet,
  NemConfig: Nem,
  VaeConfig: Vae,
}


def config_class(kind: str) -> type[ModelConfig]:
  """The settings that a kind of model has; raises ConfigError for one that does not exist."""
  for config in MODELS:
    if config.model_fields["model"].default == kind:
      return config
  kinds = ", ".join(config.model_fields["model"].default for config in MODELS)
  raise ConfigError(f"model must be one of {kinds}, got {kind!r}")


def make_config(values: Mapping[str, Any]) -> ModelConfig:
  """The settings of a model from flat names among which others may stand: a run's config, JSON.

  Files that are older than the other models name no kind: they are IODINE's.
  """
  return config_class(values.get("model", "iodine")).from_flat(values)


def model_class(config: ModelConfig) -> type[SlotModel]:
  """What `build_model` makes of the settings."""
  for settings, model in MODELS.items():
    if isinstance(config, settings):
      return model
  raise TypeError(f"no model is made of {type(config).__name__}")


def build_model(config: ModelConfig) -> SlotModel:
  """The model that the settings describe; its variables come with `create_variables`."""
  return model_class(config)(config)
