"""How a model is trained, as data."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field

from iodine.config import Count, Positive
from iodine.settings import Settings

Fraction = Annotated[float, Field(ge=0, lt=1)]


class Stage(Settings):
  """A stage of a curriculum.

  Attributes:
    until: the step at which it ends.
    num_slots: K, None for the model's.
    num_iterations: T, None for the model's.
    image_size: (H, W) that images are resized to, None for the model's: smaller ones take a
      fraction of the time. The KL's weight is in proportion to their pixels.
    mixed: score the mixed image in place of Eq. 1 (`distributions.SpatialMixture.mixed_log_prob`).
  """

  until: Count
  num_slots: Annotated[int, Field(ge=2)] | None = None
  num_iterations: Count | None = None
  image_size: tuple[Count, Count] | None = None
  mixed: bool = False

  @property
  def step_options(self) -> dict[str, bool]:
    """What the model's steps are told."""
    return {"mixed": True} if self.mixed else {}


class TrainingConfig(Settings):
  """How a model is trained; the defaults are the paper's (Sec. 4 and Appendix C).

  Attributes:
    batch_size: global, over all replicas.
    num_steps: updates.
    optimizer: "adam"; "rmsprop" (MONet); "muon", which needs fewer steps (`iodine.training.muon`;
      not in the paper).
    learning_rate: its own, at its highest.
    learning_rate_schedule: "constant"; "exponential", times `learning_rate_decay` every
      `learning_rate_decay_steps`, smoothly; "cosine" to zero at `num_steps`; "trapezoidal",
      constant but for the last fifth of `num_steps`, over which it falls linearly to zero.
    learning_rate_decay: see above.
    learning_rate_decay_steps: see above.
    warmup_steps: linear from zero, before any schedule.
    beta1: Adam's.
    anneal_steps: over so many steps `sigma` and `kl_weight` change geometrically from their starts
      to the model's, and then stay.
    anneal_entropy: count only steps at which the masks' entropy, a moving average in nats a pixel,
      is below this (`iodine.parting`); None: all. It is log K where all slots share everything.
    sigma_start: the pixels' sigma at the first step; None: the model's. A wide start makes mixing
      colours costly, so that the masks have to part the image early.
    kl_weight_start: the KL's weight at the first step; None: the model's. A small one lets the
      slots say what they hold before they have to be brief.
    geco_target: what the last decode's negative log-likelihood shall come to, in nats per pixel and
      channel (`iodine.geco.target_for_mse` tells it from an error): the KL's weight follows it from
      `kl_weight` on, between 0.001 and the higher of 1 and `kl_weight`; None: it does not.
    geco_rate: how fast.
    clip_norm: bound on the global gradient norm, after the averaging over replicas; None: no bound.
    seed: of variables and noise.
    jit: compile the step with XLA, which draws other samples for the same seed.
    curriculum: stages before the model's own number of slots and iterations, for instance
      [{"until": 1500, "num_slots": 4, "num_iterations": 5}]: K and T up to that step; what is left
      out is the model's. "image_size": [35, 35] trains on images of that size, "mixed": true scores
      the mixed image in place of Eq. 1.
  """

  batch_size: Count = 32
  num_steps: Count = 1_000_000
  optimizer: Literal["adam", "rmsprop", "muon"] = "adam"
  learning_rate: Positive = 3e-4
  learning_rate_schedule: Literal["constant", "exponential", "cosine", "trapezoidal"] = "constant"
  learning_rate_decay: Positive = 0.1
  learning_rate_decay_steps: Count = 1_000_000
  warmup_steps: Annotated[int, Field(ge=0)] = 0
  beta1: Fraction = 0.9
  anneal_steps: Annotated[int, Field(ge=0)] = 0
  anneal_entropy: Positive | None = None
  sigma_start: Positive | None = None
  kl_weight_start: Positive | None = None
  geco_target: Annotated[float, Field(allow_inf_nan=False)] | None = None
  geco_rate: Positive = 0.01
  clip_norm: Positive | None = 5.0
  seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
  jit: bool = False
  curriculum: tuple[Stage, ...] = ()

  @pydantic.field_validator("curriculum")
  @classmethod
  def _in_order(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    ends = [stage.until for stage in stages]
    if sorted(set(ends)) != ends:
      raise ValueError(f"the stages of the curriculum must end one after the other, got {ends}")
    return stages

  @pydantic.model_validator(mode="after")
  def _starts_need_steps(self) -> Self:
    starts = any(start is not None for start in self.starts.values())
    if starts != (self.anneal_steps > 0):
      raise ValueError(
        "sigma_start and kl_weight_start need anneal_steps, and the other way round: got "
        f"{self.sigma_start}, {self.kl_weight_start}, {self.anneal_steps}"
      )
    return self

  @pydantic.model_validator(mode="after")
  def _something_to_hold_back(self) -> Self:
    if self.anneal_entropy is not None and not self.anneal_steps:
      raise ValueError(
        f"anneal_entropy={self.anneal_entropy} holds annealing back, but nothing is annealed: "
        "sigma_start and kl_weight_start are None"
      )
    return self

  @pydantic.model_validator(mode="after")
  def _one_hand_on_the_kl(self) -> Self:
    if self.geco_target is not None and self.kl_weight_start is not None:
      raise ValueError(
        "geco_target and kl_weight_start both move the KL's weight: take one of them"
      )
    return self

  def stage(self, step: int) -> Stage:
    """The stage of the update that follows `step` others; one without numbers behind them all."""
    return next(self.stages(step))[2]

  def stages(self, step: int) -> Iterator[tuple[int, int | None, Stage]]:
    """What training goes through from a step on.

    Args:
      step: how many updates there have been.

    Yields:
      (first, end, stage): between these numbers of updates `stage` is the one; the last one, that
      of the model's own numbers, has no end.
    """
    for stage in self.curriculum:
      if stage.until > step:
        yield step, stage.until, stage
        step = stage.until
    yield step, None, Stage(until=self.num_steps)

  @property
  def starts(self) -> dict[str, float | None]:
    """First values of what is annealed, by the setting that is its last."""
    return {"sigma": self.sigma_start, "kl_weight": self.kl_weight_start}
