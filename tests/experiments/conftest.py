"""A tiny dataset and a run trained on it for a few steps, shared by the tests of this folder."""

import pytest

from datasets import generate
from experiments.support import bundles
from experiments.train import command

TINY = {
  "num_slots": 4,
  "num_iterations": 2,
  "latent_size": 4,
  "decoder_channels": [8],
  "encoder_channels": [8],
  "mlp_sizes": [8],
  "batch_size": 4,
  "cpu_devices": 1,
  "num_steps": 6,
  "log_every": 2,
  "validate_every": 3,
  "checkpoint_every": 3,
  "image_every": 0,
  "num_validation_images": 4,
  "seed": 7,
  "data": {"name": "tetrominoes_quick", "num_train": 40, "num_validation": 8, "num_test": 12},
}


def run_experiment(folder, names=("tetrominoes", "quick"), scored=True, **updates):
  """Runs a tiny training with a file storage in `folder`; returns the Sacred run.

  Half of its time goes into the final scores and their figures: `scored=False` leaves them out.
  """
  data = {**TINY["data"], **({} if scored else {"num_test": 0}), **updates.pop("data", {})}
  names = [] if "resume_from" in updates else names
  return command.run(names, {**TINY, **updates, "data": data}, folder)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
  """Folder with 60 small Tetrominoes scenes."""
  folder = tmp_path_factory.mktemp("data")
  generate.generate("tetrominoes_quick", 60, out=str(folder), progress=False)
  return folder


@pytest.fixture(scope="session")
def trained_run(tiny_data, tmp_path_factory):
  """Folder of a finished run of six steps."""
  folder = tmp_path_factory.mktemp("runs")
  run_experiment(folder, data={"dir": str(tiny_data)})
  return folder / "1"


@pytest.fixture(scope="session")
def bundle(trained_run, tmp_path_factory):
  """Folder of the bundle of that run."""
  folder = tmp_path_factory.mktemp("models") / "tiny"
  bundles.bundle_run(trained_run, folder, which="last")
  return folder
