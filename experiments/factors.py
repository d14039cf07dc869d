"""What slots know of their objects: python -m experiments.factors with run=runs/3

Objects are matched to slots by their masks; each factor is predicted linearly from the frozen
latents of its slot (paper, Fig. 5), beside two baselines: a random slot of the same image, and
always the mean or commonest answer. Fitted on the validation split, scored on the test split.
Objects that are not visible count nowhere. DCI (Eastwood and Williams 2018) of the same latents.
More objects to fit on: data.num_validation=5000, if the run has not learned from these records.
"""

import threadpoolctl

from experiments.support.cli import Command, Refusal
from experiments.support.results import Results
from experiments.support.settings import ChosenRun, Names, OtherData, Paths, Whole
from experiments.support.slot_latents import both_splits, check_factors, factor_kinds, varying
from experiments.support.subjects import beside, open_run
from iodine import factors, plotting


class FactorSettings(ChosenRun):
  """See `ChosenRun`; whole splits are taken, the validation split to fit on, the test to score.

  Attributes:
    runs: as of `StudySettings`.
    factors: names, [x,shape]; all by default.
    num_trees: of DCI's forests; 0 leaves DCI out.
  """

  runs: Paths | None = None
  factors: Names | None = None
  num_trees: Whole = 50


command = Command("factors", FactorSettings, OtherData, storage=beside("factors"))


@command.main
def predict_factors(_run, _config):
  """Fits, scores and draws; returns the folder."""
  subject, results = open_run(_config), Results(_run)
  check_factors(subject, _config["factors"])
  held_out = both_splits(subject, _config)
  kinds = factor_kinds(subject, held_out["test"], _config["factors"])
  train, test = (held_out[split].objects(_config["seed"]) for split in ("validation", "test"))
  if not len(train.latents):
    raise Refusal(f"no slot of {subject.folder} holds an object of the validation split")
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
  results.figure("factors", plotting.comparison(bars, ylabel="R² or accuracy"))
  if _config["num_trees"] and min(len(kinds), train.latents.shape[1]) > 1:
    dci = factors.dci(train, test, kinds, _config["num_trees"], _config["seed"])
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


if __name__ == "__main__":
  command.run_commandline()
