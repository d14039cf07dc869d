import pytest

from experiments.support.plateau import MIN_STEPS, WINDOW, Plateau

K = 4
SHARED = {"undecided_pixels": 0.995, "used_slots": 3.0}
ONE_SLOT = {"undecided_pixels": 0.01, "used_slots": 1.0}
PARTED = {"undecided_pixels": 0.03, "used_slots": 3.6}
SHARED_GROUND = {"undecided_pixels": 0.88, "used_slots": 5.5}  # of sprites: each has a slot


def told(masks, error, steps=range(50, 4001, 50), num_slots=K):
  """(step, line) of what is said in a training whose error is a function of the step."""
  plateau = Plateau(num_slots, ["sigma", "latent_size"])
  lines = [(step, plateau.note(step, {**masks, "mse": error(step)})) for step in steps]
  return [(step, line) for step, line in lines if line]


@pytest.mark.parametrize(("masks", "what"), [(SHARED, "share every pixel"), (ONE_SLOT, "one slot")])
def test_it_is_said_once_when_the_error_rests(masks, what):
  ((step, line),) = told(masks, lambda step: 0.05)
  assert step == MIN_STEPS
  assert what in line
  assert "sigma" in line
  assert "kl_weight" not in line  # the model has none
  assert "\n" not in line


def test_what_parts_or_still_learns_is_left_alone():
  for masks in (PARTED, SHARED_GROUND):
    assert told(masks, lambda step: 0.05) == []
  assert told(SHARED, lambda step: 0.99 ** (step / 50)) == []  # falls all the way
  assert told(SHARED, lambda step: 0.05, steps=range(1, MIN_STEPS)) == []
  assert told(SHARED, lambda step: 0.05, steps=range(5000, 5000 + WINDOW - 1)) == []


def test_without_masks_there_is_nothing_to_say():
  plateau = Plateau(K, ["sigma"])
  assert all(plateau.note(step, {"mse": 0.05}) is None for step in range(900, 2000, 10))


def test_one_slot_parts_nothing():
  assert told(ONE_SLOT, lambda step: 0.05, num_slots=1) == []
