"""Tells a training that will not part its images, and what to try."""

import collections
from collections.abc import Collection, Mapping

WINDOW = 20  # logged steps that are looked at
MIN_STEPS = 1000  # before which no model has to part
# Of the pixels, undecided ones: no slot has any. Where objects have come apart and the ground is
# everybody's there are 0.84 to 0.89 of sprites.
SHARED = 0.98
SETTLED = 0.02  # the error has come to rest if it has fallen by less in the window
ADVICE = {  # by the setting that a model must have for it
  "sigma": "a wider sigma (or sigma_start with anneal_steps)",
  "kl_weight": "a lighter kl_weight",
  "hidden_size": "a smaller hidden_size",
}


class Plateau:
  """Watches a training's masks and error.

  Args:
    num_slots: K; with one slot there is nothing to part.
    settings: names of what can be set of the model.
  """

  def __init__(self, num_slots: int, settings: Collection[str]):
    self._slots = num_slots
    self._advice = [advice for name, advice in ADVICE.items() if name in settings]
    self._seen = collections.deque(maxlen=WINDOW)
    self._told = False

  def note(self, step: int, values: Mapping[str, float]) -> str | None:
    """Takes the metrics of a logged step; returns a line for the user, once, or None.

    Args:
      step: updates so far.
      values: of `Trainer.train_step`, `undecided_pixels`, `used_slots` and `mse` among them.
    """
    if (
      self._slots == 1 or self._told or not {"undecided_pixels", "used_slots", "mse"} <= set(values)
    ):
      return None
    self._seen.append((values["undecided_pixels"], values["used_slots"], values["mse"]))
    if step < MIN_STEPS or len(self._seen) < WINDOW:
      return None
    half = WINDOW // 2
    undecided, used, _ = (sum(column) / WINDOW for column in zip(*self._seen, strict=True))
    errors = [error for *_, error in self._seen]
    before, after = sum(errors[:half]), sum(errors[half:])
    if before - after > SETTLED * before:
      return None  # it still learns
    if undecided > SHARED:
      what = f"all slots share every pixel ({100 * undecided:.0f} % of them undecided)"
    elif used < 1.5:
      what = f"one slot has nearly all pixels ({used:.1f} slots are used)"
    else:
      return None
    self._told = True
    advice = [*self._advice, "another seed", "or init_from= a model that parts easier images"]
    return (
      f"step {step}: {what}, and the error no longer falls: this model does not part its images. "
      f"What helps most: {', '.join(advice)} (docs/quick.md)"
    )
