"""Scores a run on held-out images: python -m experiments.evaluate with run=runs/3

Writes metrics.json and figures (decomposition, refinement, scores by iteration) into a new folder
runs/3/evaluate/N/test/. num_iterations, num_slots and the object-count filter may differ from
training; data.path=... data.max_objects=10 and so on change what it is scored on.
"""

from experiments.support import scoring
from experiments.support.cli import Command, Refusal, run_folder
from experiments.support.recording import run_directory
from experiments.support.settings import ChangedData, EvaluateSettings

command = Command("evaluate", EvaluateSettings, ChangedData, storage=run_folder("evaluate"))


@command.main
def evaluate(_run, _config):
  """Scores the checkpoint and writes the report."""
  if _config["run"] is None:
    raise Refusal("say which run: with run=runs/3")
  report = scoring.evaluate_run(
    _config["run"],
    run_directory(_run),
    which=_config["checkpoint"],
    split=_config["split"],
    num_images=_config["num_images"],
    num_iterations=_config["num_iterations"],
    num_slots=_config["num_slots"],
    batch_size=_config["batch_size"],
    data={k: v for k, v in _config["data"].items() if v != "run"},
    seed=_config["seed"],
    num_starts=_config["num_starts"],
  )
  _run.info["summary"] = report["summary"]
  print(scoring.sentence(report["summary"]))
  print("\n".join(["figures:", *report["figures"], "numbers:", report["metrics"]]))
  return report["summary"]["ari_fg"]


if __name__ == "__main__":
  command.run_commandline()
