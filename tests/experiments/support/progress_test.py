"""The speed that a training reports."""

import pytest

from experiments.support import progress


def test_the_speed_is_that_of_the_steps_since_the_last_restart(monkeypatch, capsys):
  """The first step of each part, which is traced, is left out, and so are pauses."""
  now = 100.0
  monkeypatch.setattr(progress.time, "monotonic", lambda: now)
  shown = progress.Progress(10, start=2, images_per_step=4)
  for step, seconds in ((3, 50), (4, 2), (5, 2)):
    now += seconds
    shown.update(step)
  assert shown.images_per_second(5) == pytest.approx(2.0)
  with shown.paused():
    now += 1000
  assert shown.images_per_second(5) == pytest.approx(2.0)
  shown.restart(5, left=12)  # larger images, and the last two steps take as long as nine of these
  for step, seconds in ((6, 60), (7, 8)):
    now += seconds
    shown.update(step)
  assert shown.images_per_second(7) == pytest.approx(0.5)
  shown.show(7, {"loss": 1.0})
  assert capsys.readouterr().out == "step 7/10: loss 1, 0.5 images/s, 0:01:20 left\n"
