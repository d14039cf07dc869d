"""A trained model as a SavedModel, and the way back."""

from iodine.serving.client import Inferred, Model, Slots, load
from iodine.serving.graph import METADATA, describe, export

__all__ = ["METADATA", "Inferred", "Model", "Slots", "describe", "export", "load"]
