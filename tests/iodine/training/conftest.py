import importlib.util
import pathlib
import sys

import pytest

# names of test modules may recur, so that pytest imports them by path: what they share, too
_PATH = pathlib.Path(__file__).with_name("scenes.py")
_SPEC = importlib.util.spec_from_file_location("training_scenes", _PATH)
sys.modules["training_scenes"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sys.modules["training_scenes"])


@pytest.fixture(scope="session")
def trainers():
  return sys.modules["training_scenes"].Trainers()


@pytest.fixture
def make_trainer(trainers):
  """As Trainer, but one that another test may have traced."""
  yield trainers
  trainers.release()
