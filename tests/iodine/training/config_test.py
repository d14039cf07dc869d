"""Training settings that make no sense are refused in a sentence."""

import pytest

from iodine.training import TrainingConfig

TRAINING = TrainingConfig(batch_size=4, num_steps=20)


@pytest.mark.parametrize(
  ("stages", "message"),
  [
    ([{"num_slots": 4}], "until is missing"),
    ([{"until": 5, "slots": 4}], "there is no setting 'slots': did you mean 'num_slots'"),
    ([{"until": 5, "mixed": "perhaps"}], "mixed must be true or false, got 'perhaps'"),
    ([{"until": 5, "num_slots": 1}], "num_slots must be at least 2"),
    ([{"until": 5, "num_iterations": 0}], "num_iterations must be at least 1"),
    ([{"until": 5}, {"until": 5}], r"one after the other, got \[5, 5\]"),
    ([{"until": 0}], "until must be at least 1, got 0"),
    ([{"until": 5, "image_size": [0, 8]}], "image_size must be at least 1, got 0"),
    ([{"until": 5, "image_size": 8}], "image_size must be a list, got 8"),
    ([{"until": 5, "image_size": [8]}], r"image_size must be a list of at least 2, got \[8\]"),
    ([{"until": 5, "image_size": [8, 8, 3]}], r"image_size must be a list of at most 2"),
  ],
)
def test_a_curriculum_that_makes_no_sense(stages, message):
  with pytest.raises(ValueError, match=message):
    TRAINING.replace(curriculum=stages)


@pytest.mark.parametrize(
  ("step", "segments"),
  [
    (0, [(0, 3, (8, 8), None), (3, 5, None, None), (5, 9, None, 3), (9, None, None, None)]),
    (2, [(2, 3, (8, 8), None), (3, 5, None, None), (5, 9, None, 3), (9, None, None, None)]),
    (3, [(3, 5, None, None), (5, 9, None, 3), (9, None, None, None)]),
    (8, [(8, 9, None, 3), (9, None, None, None)]),
    (9, [(9, None, None, None)]),
    (30, [(30, None, None, None)]),
  ],
)
def test_a_training_goes_through_its_stages(step, segments):
  stages = [{"until": 3, "image_size": [8, 8]}, {"until": 5}, {"until": 9, "num_slots": 3}]
  training = TRAINING.replace(curriculum=stages)
  found = list(training.stages(step))
  assert [(f, e, stage.image_size, stage.num_slots) for f, e, stage in found] == segments
  for first, end, size, num_slots in segments:
    for at in range(first, end or first + 3):
      stage = training.stage(at)
      assert (stage.image_size, stage.num_slots) == (size, num_slots)


@pytest.mark.parametrize(
  "changes", [{"sigma_start": 0.6}, {"kl_weight_start": 0.1}, {"anneal_steps": 3}]
)
def test_annealing_is_said_in_full(changes):
  with pytest.raises(ValueError, match="need anneal_steps"):
    TRAINING.replace(**changes)


@pytest.mark.parametrize(
  "changes",
  [{"batch_size": 0}, {"num_steps": 0}, {"learning_rate": 0.0}, {"learning_rate_schedule": "step"}],
)
def test_bad_training_configurations_are_refused(changes):
  with pytest.raises(ValueError, match=next(iter(changes))):
    TRAINING.replace(**changes)


def test_waiting_needs_something_to_wait():
  with pytest.raises(ValueError, match=r"anneal_entropy=0\.5 holds annealing back"):
    TRAINING.replace(anneal_entropy=0.5)
