"""What slots know of their objects: python -m experiments.factors with run=runs/3

Objects are matched to slots by their masks; each factor is predicted linearly from the frozen
latents of its slot (paper, Fig. 5), beside two baselines: a random slot of the same image, and
always the mean or commonest answer. Fitted on the validation split, scored on the test split.
Objects that are not visible count nowhere. DCI (Eastwood and Williams 2018) of the same latents.
More objects to fit on: data.num_validation=5000, if the run has not learned from these records.
"""

import numpy as np
import threadpoolctl

from experiments.experiment import Refusal, main, make_experiment, run_commandline
from experiments.subjects import (
  Results,
  collect,
  factor_kinds,
  names_in,
  open_run,
  settings,
  storage,
)
from iodine import factors, plotting

CONFIG = settings(
  factors=None,  # names, [x,shape]; all by default
  num_trees=50,  # of DCI's forests, 0 leaves DCI out
)
for _key in ("split", "num_images"):  # whole splits; which, says what they are for
  del CONFIG[_key]
ex = make_experiment("factors", CONFIG)


@main(ex)
def predict_factors(_run, _config):
  """Fits, scores and draws; returns the folder."""
  config = {**_config, "split": "test", "num_images": None}
  subject, results = open_run(config), Results(_run)
  held_out = {
    split: collect(subject, config, split, subject.data[f"num_{split}"])
    for split in ("validation", "test")
  }
  kinds = factor_kinds(subject, held_out["test"], names_in(config["factors"]))
  train, test = (held_out[split].objects(config["seed"]) for split in ("validation", "test"))
  kinds = varying(kinds, train)
  with threadpoolctl.threadpool_limits(1):  # see projections
    scores = factors.regress_factors(train, test, kinds)
  fields = ("score", "error", "random_slot", "constant", "constant_error")
  matched = held_out["test"].share_matched
  print(f"{len(train.latents)} objects to fit on, {len(test.latents)} to score on; ", end="")
  print(f"{matched:.3f} of the visible objects have a slot")
  results.table(
    "factors",
    ["factor", "kind", "score", "error", "random slot", "constant", "error of constant"],
    [[name, s.kind, *(getattr(s, field) for field in fields)] for name, s in scores.items()],
    latex=True,
  )
  numbers = {
    "objects": {"fitted": len(train.latents), "scored": len(test.latents), "matched": matched},
    "factors": {name: {f: getattr(s, f) for f in fields} for name, s in scores.items()},
  }
  results.figure("predictions", plotting.factor_predictions(scores))
  bars = {"slot": "score", "random slot": "random_slot", "constant": "constant"}
  bars = {m: {n: getattr(s, field) for n, s in scores.items()} for m, field in bars.items()}
  results.figure("factors", plotting.comparison(bars, ylabel="$R^2$ or accuracy"))
  if config["num_trees"] and len(kinds) > 1:
    dci = factors.dci(train, test, kinds, config["num_trees"], config["seed"])
    columns = ("disentanglement", "completeness")
    results.table("dci", columns, [[getattr(dci, name) for name in columns]])
    numbers["dci"] = {
      **{name: getattr(dci, name) for name in columns},
      "informativeness": dci.informativeness,
      "importance": dci.importance.tolist(),
    }
    results.figure("importances", plotting.importances(dci.importance, dci.names))
  results.json("factors", numbers)
  return results.done()


def varying(kinds, objects):
  """Leaves out factors that are the same for all objects, as the colour of binarized sprites."""
  found = {
    name: kind for name, kind in kinds.items() if np.ptp(objects.factors[name], axis=0).any()
  }
  for name in sorted(set(kinds) - set(found)):
    print(f"{name} is left out: it is the same for all objects")
  if not found:
    raise Refusal("there is no factor that varies")
  return found


if __name__ == "__main__":
  run_commandline(ex, storage=storage("factors"))
