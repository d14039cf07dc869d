"""How far a run is: a live bar on a terminal, plain lines elsewhere and in the record."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping

import tqdm

LINE_EVERY = 30.0  # seconds between plain lines
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"  # without tqdm's time left


class Progress:
  """Counts steps.

  Args:
    total: steps in all.
    start: steps done before.
    images_per_step: for images/s.
    unit: what is counted.
    quiet: show nothing and write nothing.
  """

  def __init__(
    self,
    total: int,
    start: int = 0,
    images_per_step: int = 1,
    unit: str = "step",
    quiet: bool = False,
  ):
    self._total, self._images, self._quiet = total, images_per_step, quiet
    self._last_line = time.monotonic()
    terminal = sys.__stderr__ is not None and sys.__stderr__.isatty()
    self._bar = tqdm.tqdm(
      total=total,
      initial=start,
      unit=unit,
      file=sys.__stderr__,
      dynamic_ncols=True,
      disable=quiet or not terminal,
    )
    self.restart(start)

  def images_per_second(self, step: int) -> float:
    """Mean since the last `restart`, the first step (tracing) left out."""
    return (step - self._start) * self._images / max(time.monotonic() - self._began, 1e-9)

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Leaves the time of what is done inside out of images/s."""
    began = time.monotonic()
    try:
      yield
    finally:
      self._began += time.monotonic() - began

  def update(self, step: int) -> None:
    """One more step is done: `step` in all."""
    if self._first:  # its time is mostly tracing
      self._first = False
      self._start, self._began = step, time.monotonic()
    self._bar.update(1)

  def restart(self, step: int, left: float | None = None) -> None:
    """From a step on training is another one: it went back to it, or images are larger now.

    Args:
      step: this one.
      left: how long all steps that are left take, in steps as long as those that come now; None:
        they are as long as these.
    """
    self._bar.n = self._start = step
    self._end = self._total if left is None else step + left
    self._began = time.monotonic()
    self._first = True

  def show(self, step: int, values: Mapping[str, float]) -> None:
    """Shows values (name -> float) beside the bar, and now and then as a line."""
    text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    rate = self.images_per_second(step)
    if rate:  # unknown at the first step
      left = (self._end - step) * self._images / rate
      text += f", {_speed(rate)} images/s, {_clock(left)} left"
    self._bar.bar_format = BAR
    self._bar.set_postfix_str(text, refresh=False)
    now = time.monotonic()
    if now - self._last_line >= LINE_EVERY or step >= self._total:
      self._last_line = now
      self.write(f"step {step}/{self._total}: {text}")

  def write(self, line: str) -> None:
    """A line above the bar, which also goes into the run's captured output."""
    if not self._quiet:
      self._bar.write(line, file=sys.stdout)
      sys.stdout.flush()

  def close(self) -> None:
    self._bar.close()


def _speed(rate):
  return f"{rate:.0f}" if rate >= 9.5 else f"{rate:.2g}"


def _clock(seconds):
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02d}:{seconds:02d}"
