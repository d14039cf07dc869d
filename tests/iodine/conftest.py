import pytest

from tests.iodine.training.scenes import Trainers


@pytest.fixture(scope="session")
def trainers():
  return Trainers()


@pytest.fixture
def make_trainer(trainers):
  """As Trainer, but one that another test may have traced."""
  yield trainers
  trainers.release()
