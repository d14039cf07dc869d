"""Trains IODINE: python -m experiments.train with tetrominoes quick

Presets: tetrominoes, multi_dsprites, multi_dsprites_binarized, shapes, clevr6, clevr. Modifiers:
quick, released. Any key can be set behind them (batch_size=4 num_slots=9 data.dir=...);
`python -m experiments.train print_config with clevr6` lists them all. `resume_from=runs/3` goes on
where run 3 stopped. -m HOST:PORT:DB records to MongoDB, -u nowhere.
"""

import contextlib
import copy
import functools
import pathlib
import shutil

import numpy as np
import tensorflow as tf

from experiments import evaluate, interrupts, runs
from experiments.experiment import Refusal, ex, main, run_commandline, run_directory
from experiments.progress import Progress
from iodine import evaluation, plotting
from iodine.training import NonFiniteError, Trainer, TrainingConfig, make_strategy


@main(ex)
def train(_run, _config):
  """Trains, evaluates on the test split, and says where everything lies."""
  config = copy.deepcopy(dict(_config))
  data = config["data"]
  model_config = runs.model_config(config)
  training = TrainingConfig.from_dict(config)
  runs.check_data(data)
  directory = run_directory(_run)
  trainer = Trainer(
    model_config,
    training,
    directory / runs.CHECKPOINTS,
    make_strategy(config["num_devices"]),
    keep=config["keep_checkpoints"],
    num_background=runs.dataset_spec(data).num_background,
  )
  if config["resume_from"]:
    _resume(_run, trainer, pathlib.Path(config["resume_from"]), directory)
  start = trainer.steps_done
  parameters = sum(int(np.prod(v.shape)) for v in trainer.variables)
  print(runs.describe_data(data))
  print(f"{parameters:,} parameters, {trainer.strategy.num_replicas_in_sync} device(s)")
  print(f"run {directory}, from step {start} to {training.num_steps}", flush=True)

  batches = iter(trainer.distribute(functools.partial(_batches, data, training, start)))
  progress = Progress(training.num_steps, start, training.batch_size)
  writer = tf.summary.create_file_writer(str(directory / "tensorboard"))
  with writer.as_default(), interrupts.requests() as request, contextlib.closing(progress):
    for step in range(start + 1, training.num_steps + 1):
      values = trainer.train_step(next(batches))
      progress.update(step)
      if _due(step, config["log_every"], training):
        _log(_run, step, values, progress)
      if _due(step, config["validate_every"], training):
        _validate(_run, step, trainer, config, progress)
      if _due(step, config["checkpoint_every"], training):
        trainer.checkpoints.save()
      if _due(step, config["image_every"], training):
        _draw(step, trainer, config)
      if request.signum is not None and step < training.num_steps:
        trainer.checkpoints.save()
        raise interrupts.Stopped(
          request.signum, f"stopped at step {step} and saved: resume_from={directory} goes on"
        )
  return _finish(_run, directory, progress, trainer.steps_done)


def _due(step, every, training):
  return bool(every) and (step % every == 0 or step == training.num_steps)


def _batches(data, training, start, batch_size, pipeline, num_pipelines):
  return runs.load_data(
    data,
    "train",
    batch_size,
    shuffle=True,
    seed=training.seed,
    start_batch=start,
    drop_remainder=True,
    input_pipeline_id=pipeline,
    num_input_pipelines=num_pipelines,
  )


def _log(run, step, values, progress):
  values = {name: float(value) for name, value in values.items()}
  if not values.pop("finite"):
    terms = [name for name in ("nll", "kl", "grad_norm") if not np.isfinite(values[name])]
    raise NonFiniteError(
      f"step {step}: {', '.join(terms) or 'the loss'} is not finite, and nothing was updated; the "
      "last checkpoint is intact: resume from it with a lower learning_rate or clip_norm"
    )
  values["images_per_second"] = progress.images_per_second(step)
  for name, value in values.items():
    run.log_scalar(f"train.{name}", value, step)
    tf.summary.scalar(f"train/{name}", value, step)
  shown = ("loss", "mse", "kl", "ari_fg")
  progress.show(step, {name: values[name] for name in shown if name in values})


def _validate(run, step, trainer, config, progress):
  scores = evaluate.score(
    trainer.model, config["data"], "validation", config["num_validation_images"]
  )
  summary = evaluation.summarize(scores)
  for name in evaluation.METRICS:
    run.log_scalar(f"validation.{name}", summary[name], step)
    tf.summary.scalar(f"validation/{name}", summary[name], step)
  # without true masks the likelihood tells the best
  best = summary["ari_fg"] if summary["num_foreground"] else -summary["nll"]
  trainer.checkpoints.save_best(best)
  progress.write(
    f"step {step}: validation ARI-FG {summary['ari_fg']:.3f}, MSE {summary['mse']:.5f}, "
    f"KL {summary['kl']:.1f}"
  )


def _draw(step, trainer, config):
  figure = evaluate.draw_decomposition(trainer.model, config["data"], "validation", num_images=4)
  tf.summary.image("validation/decomposition", plotting.to_image(figure)[None], step)


def _resume(run, trainer, parent, directory):
  if not (parent / runs.CHECKPOINTS).is_dir():
    raise Refusal(f"{parent} has no checkpoints to resume from")
  for name in ("config.json", "best"):  # the parent's best stays the one to beat
    source = parent / runs.CHECKPOINTS / name
    if source.is_dir():
      shutil.copytree(source, directory / runs.CHECKPOINTS / name)
  damaged = trainer.restore(parent / runs.CHECKPOINTS)
  for path in damaged:
    print(f"{path} is damaged; took the one before")
  if (parent / "tensorboard").is_dir():  # so that the curves join
    shutil.copytree(parent / "tensorboard", directory / "tensorboard")
  run.info["resumed_from"] = {"run": str(parent), "step": trainer.steps_done}


def _finish(run, directory, progress, step):
  report = evaluate.evaluate_run(directory, directory, which="best")
  for name in ("ari_fg", "mse", "kl"):
    run.log_scalar(f"test.{name}", report["summary"][name], step)
  run.info["test"] = report["summary"]
  print(evaluate.sentence(report["summary"]))
  print(f"{progress.images_per_second(step):.0f} images/s")
  print(f"run: {directory}\nfigure: {report['figures'][0]}", flush=True)
  return report["summary"]["ari_fg"]


if __name__ == "__main__":
  run_commandline(ex)
