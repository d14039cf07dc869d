"""Numbers of the paper that ours stand beside."""

from experiments.support.tables import Spread

# ARI-FG of IODINE by preset, mean and standard deviation over seeds (Table 1).
TABLE1 = {
  "clevr6": Spread(0.988, 0.000),
  "multi_dsprites": Spread(0.767, 0.056),
  "multi_dsprites_binarized": Spread(0.648, 0.172),
  "shapes": Spread(0.910, 0.119),
  "tetrominoes": Spread(0.992, 0.004),
}
SCORES = {"ari_fg": "ARI-FG", "ari": "ARI", "covering": "mSC", "mse": "MSE", "kl": "KL"}
