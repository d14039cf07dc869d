"""The models that the paper compares IODINE with, under the same `SlotModel` protocol."""

from iodine.baselines.monet import Monet, MonetConfig
from iodine.baselines.nem import Nem, NemConfig
from iodine.baselines.vae import Vae, VaeConfig

__all__ = ["Monet", "MonetConfig", "Nem", "NemConfig", "Vae", "VaeConfig"]
