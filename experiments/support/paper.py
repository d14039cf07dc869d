"""Numbers of the paper that ours stand beside, and what its tables call the models."""

from collections.abc import Mapping
from typing import Any

from experiments.support.tables import Spread

# ARI-FG by preset and model, mean and standard deviation over seeds (Table 1); of the models other
# than IODINE the means alone.
TABLE1: dict[str, dict[str, Spread]] = {
  "clevr6": {"IODINE": Spread(0.988, 0.000), "MONet": Spread(0.962)},
  "multi_dsprites": {"IODINE": Spread(0.767, 0.056), "MONet": Spread(0.904)},
  "multi_dsprites_binarized": {"IODINE": Spread(0.648, 0.172), "R-NEM": Spread(0.685)},
  "shapes": {"IODINE": Spread(0.910, 0.119), "R-NEM": Spread(0.776)},
  "tetrominoes": {"IODINE": Spread(0.992, 0.004)},
}
TITLES = {
  "clevr6": "CLEVR6",
  "multi_dsprites": "Multi-dSprites",
  "multi_dsprites_binarized": "Multi-dSprites, binarized",
  "shapes": "Shapes",
  "tetrominoes": "Tetrominoes",
}
SCORES = {"ari_fg": "ARI-FG", "ari": "ARI", "covering": "mSC", "mse": "MSE", "kl": "KL"}


def method(config: Mapping[str, Any]) -> str:
  """What the model of a run's configuration is called; old runs name none and are IODINE's."""
  match config.get("model", "iodine"), config.get("cell"):
    case "iodine", _:
      decoder = config.get("decoder", "broadcast")  # the paper's
      return "IODINE" if decoder == "broadcast" else f"IODINE, {decoder}"
    case "nem", cell:
      return {"relational": "R-NEM", "recurrent": "RNN-NEM"}.get(cell, "N-EM")
    case "monet", _:
      return "MONet"
  return str(config["model"]).upper()
