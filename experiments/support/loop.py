"""What happens between the steps of a training: batches, curves, scores, pictures, going back."""

import functools
import itertools
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from sacred.run import Run
from tensorboard.plugins.image import metadata

from experiments.support import clips, held_out, resume, runs, scoring
from experiments.support.plateau import Plateau
from experiments.support.progress import Progress
from iodine import evaluation, plotting
from iodine.training import NonFiniteError, Trainer


class Loop:
  """What happens between the steps of a run.

  Args:
    run: the Sacred run.
    config: its configuration.
    trainer: the Trainer.
    progress: the bar.
    directory: the run's folder.
    history: scores that told the best, by step, of the runs before.
  """

  def __init__(
    self,
    run: Run,
    config: Mapping[str, Any],
    trainer: Trainer,
    progress: Progress,
    directory: pathlib.Path,
    history: Mapping[int, float],
  ):
    self._run, self._config = run, config
    self._trainer, self._progress = trainer, progress
    self._directory, self._history = directory, dict(history)
    self._learned = held_out.learned(directory)
    self._evaluator = evaluation.Evaluator(
      trainer.model, num_background=runs.dataset_spec(config["data"]).num_background
    )
    self._plateau = Plateau(trainer.model.config.num_slots, trainer.model.config.flat())
    self._known_nonfinite = int(trainer.num_nonfinite.numpy())
    if config["on_nan"] == "rewind":
      trainer.checkpoints.save()  # so that there is one to go back to

  def due(self, what: str, step: int) -> bool:
    """Whether `what` ("log", "validate", "checkpoint", "image") comes behind a step."""
    every = self._config[f"{what}_every"]
    if what in ("validate", "image") and not self._config["data"]["num_validation"]:
      return False
    return bool(every) and (step % every == 0 or step == self._trainer.config.num_steps)

  def batches(self) -> Iterator[Any]:
    """Distributed batches, from where the trainer is; as large as the curriculum wants them."""
    trainer = self._trainer
    for first, end, stage in trainer.config.stages(trainer.steps_done):
      self._progress.restart(first, self._work_left(first) / self._work(stage))
      batches = trainer.distribute(functools.partial(self._training_data, first, stage.image_size))
      yield from itertools.islice(batches, None if end is None else end - first)

  def _work_left(self, step):
    """What all steps behind this one ask for, in the unit of `_work`."""
    config = self._trainer.config
    parts = [
      (max(0, min(end or config.num_steps, config.num_steps) - first), stage)
      for first, end, stage in config.stages(step)
    ]
    return sum(steps * self._work(stage) for steps, stage in parts)

  def _work(self, stage):
    """What a step of a stage asks for, about: decoded pixels."""
    own = self._trainer.model.config
    slots, iterations = stage.num_slots or own.num_slots, stage.num_iterations or own.num_iterations
    return slots * iterations * math.prod((stage.image_size or own.image_size)[:2])

  def _training_data(self, first, size, batch_size, pipeline, num_pipelines):
    """The batches of one input pipeline from a step on, of images of (H, W)."""
    data = self._config["data"]
    return runs.load_data(
      data if size is None else runs.resized(data, size),
      "train",
      batch_size,
      shuffle=True,
      seed=self._trainer.data_seed,
      start_batch=first,
      drop_remainder=True,
      input_pipeline_id=pipeline,
      num_input_pipelines=num_pipelines,
    )

  def rewound(self, step: int, values: Mapping[str, Any]) -> bool:
    """Deals with steps that were not finite, as `on_nan` says; True if the trainer went back."""
    trainer, config = self._trainer, self._config
    total = int(trainer.num_nonfinite.numpy())
    new, self._known_nonfinite = total - self._known_nonfinite, total
    if not new:
      return False
    terms = [
      name
      for name in ("nll", *trainer.model.latent_terms, "grad_norm")
      if not np.isfinite(float(values.get(name, 0.0)))
    ]
    what = f"step {step}: {', '.join(terms) or 'the loss'} not finite in {new} step(s)"
    if config["on_nan"] == "skip":
      self._progress.write(f"{what}, which updated nothing; {total} so far")
      return False
    rewinds = int(trainer.num_rewinds.numpy())
    if config["on_nan"] == "rewind" and rewinds < config["max_rewinds"]:
      trainer.rewind()
      self._history = resume.until(self._history, trainer.steps_done)
      resume.restore_best_score(trainer, self._history)
      self._known_nonfinite = int(trainer.num_nonfinite.numpy())
      self._progress.write(f"{what}; back to step {trainer.steps_done}, time {rewinds + 1}")
      return True
    raise NonFiniteError(
      f"{what}, and nothing was updated; the last checkpoint is intact: resume from it with a "
      'lower learning_rate or clip_norm, or with on_nan="skip" or "rewind"'
    )

  def log(self, step: int, values: Mapping[str, Any]) -> None:
    """Records the metrics of a step."""
    values = {name: float(value) for name, value in values.items() if name != "finite"}
    values["images_per_second"] = self._progress.images_per_second(step)
    values["num_nonfinite"] = self._known_nonfinite
    self._record("train", values, step)
    shown = ("loss", "mse", "kl", "ari_fg")
    self._progress.show(step, {name: values[name] for name in shown if name in values})
    line = self._plateau.note(step, values)
    if line:
      self._progress.write(line)

  def validate(self, step: int) -> None:
    """Scores the validation split, and keeps the checkpoint if it is the best."""
    with self._progress.paused():
      summary = evaluation.summarize(self._evaluator(self._validation_scenes()))
      self._record("validation", {name: summary[name] for name in evaluation.METRICS}, step)
      # without true masks the likelihood tells the best, once its sigma is the last one
      labelled = self._config["best_by"] == "ari_fg" and summary["num_foreground"]
      likelihood = -summary["nll"] if self._trainer.likelihood_stands else float("nan")
      score = summary["ari_fg"] if labelled else likelihood
      self._trainer.checkpoints.save_best(score)
      self._history[step] = score
      resume.write_history(self._directory, self._history)
    self._progress.write(f"step {step}: validation {scoring.sentence(summary)}")

  def _validation_scenes(self):
    num_images = self._config["num_validation_images"]
    return held_out.scenes(self._config["data"], "validation", num_images, 16, self._learned)

  def draw(self, step: int) -> None:
    """Puts a decomposition of validation images, or a clip that moves, into TensorBoard."""
    data = self._config["data"]
    subject = scoring.Scored(self._trainer.model, data, "validation", self._learned)
    with self._progress.paused():
      if clips.is_video(data) and self._trainer.model.ITERATES:
        figure, animation = scoring.draw_clip(subject)
        tf.summary.image("validation/sequence", plotting.to_image(figure)[None], step)
        _write_animation("validation/clip", animation, step)
      else:
        figure = scoring.draw_decomposition(subject, num_images=4)
        tf.summary.image("validation/decomposition", plotting.to_image(figure)[None], step)

  def _record(self, prefix, values, step):
    for name, value in values.items():
      self._run.log_scalar(f"{prefix}.{name}", value, step)
      tf.summary.scalar(f"{prefix}/{name}", value, step)


def _write_animation(tag, frames, step):
  """An image summary whose picture is a GIF, which TensorBoard shows as it is."""
  size = [str(frames.shape[2]), str(frames.shape[1])]
  value = tf.constant([*size, plotting.encode_gif(frames, 6.0)])
  tf.summary.write(tag, value, step, metadata.create_summary_metadata(None, None))
