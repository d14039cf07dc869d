"""Trains a model: python -m experiments.train with tetrominoes quick

Presets: tetrominoes, multi_dsprites, multi_dsprites_binarized, shapes, clevr6, clevr, clevr_single;
of videos objects_room_flights and cater (docs/sequences.md); of Fig. 11 textured_mnist,
textured_mnist_single and clevr6_grayscale.
Modifiers: monet, rnn_nem, r_nem, vae (else it is IODINE; docs/models.md), deconv and modulated
(other decoders of IODINE's); quick and overnight, for two CPU cores; released, as the original
program.
Any key of the model can be set behind them (batch_size=4 num_slots=9 data.dir=...);
`python -m experiments.train print_config with clevr6` lists them all. `resume_from=runs/3` goes on
where run 3 stopped. strategy=multi_worker trains on all machines of TF_CONFIG (docs/scaling.md),
precision=mixed_bfloat16 in bfloat16. -m HOST:PORT:DB records to MongoDB (pip install -r
requirements-observers.txt), -u nowhere.
"""

import contextlib
import copy
import os
import pathlib
import signal
import sys
import tempfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

import datasets
from experiments.support import clips, held_out, interrupts, resume, runs, scoring
from experiments.support.errors import Refusal, refusal_for
from experiments.support.loop import Loop
from experiments.support.progress import Progress
from experiments.support.recording import run_directory
from experiments.support.training import command
from iodine import precision
from iodine.build import model_class
from iodine.errors import UserError
from iodine.training import Trainer, TrainingConfig, cluster_task

# what the collective operations of the others end with
LOST_WORKER = (
  tf.errors.UnavailableError,
  tf.errors.AbortedError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.FailedPreconditionError,
)


@command.main
def train(_run, _config):
  """Trains, evaluates on the test split, and says where everything lies."""
  config = copy.deepcopy(dict(_config))
  model_config, training = runs.model_config(config), TrainingConfig.from_flat(config)
  strategy = _make_strategy(config)  # a cluster must come before TensorFlow's first operation
  runs.check_data(config["data"])
  for stage in training.curriculum:
    if stage.image_size is not None:
      runs.check_data(runs.resized(config["data"], stage.image_size))
  follows = clips.is_video(config["data"]) and model_class(model_config).ITERATES
  if follows and model_config.num_starts > 1:  # not when its scores are due, after the training
    raise Refusal(clips.ONE_START)
  parent = config["resume_from"] and resume.with_checkpoint(config["resume_from"])
  if parent:
    resume.check(config, parent)
  origin = parent or config["init_from"]
  before = held_out.learned(origin) if origin else []
  held_out.check(before, config["data"], ["validation", "test"])
  is_chief = strategy.extended.should_checkpoint
  with contextlib.ExitStack() as stack:
    if is_chief:
      directory = run_directory(_run)
    else:  # the chief alone writes; what TensorFlow wants of the others is thrown away
      directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    held_out.record(directory, config["data"], before)
    try:
      trainer = Trainer(
        model_config,
        training,
        directory / runs.CHECKPOINTS,
        strategy,
        keep=config["keep_checkpoints"],
        num_background=runs.dataset_spec(config["data"]).num_background,
      )
      return _train(_run, config, trainer, directory, parent)
    except (datasets.DataError, tf.errors.OpError, MemoryError) as error:
      goes_on = f"resume_from={directory}" if is_chief else "resume_from= the chief's run folder"
      refusal = error if isinstance(error, datasets.DataError) else refusal_for(error, config)
      if refusal is not None:
        saved = any((directory / runs.CHECKPOINTS).glob("*.index"))
        intact = f"; what was saved is intact: {goes_on}" if saved else ""
        raise Refusal(f"{refusal}{intact}") from error
      if not (isinstance(error, LOST_WORKER) and config["strategy"] == "multi_worker"):
        raise
      raise Refusal(
        "another worker of the cluster is gone, which stops them all: start the command on every "
        f"machine again, with {goes_on}"
      ) from error


def _make_strategy(config):
  if config["strategy"] == "multi_worker":
    number, addresses = cluster_task()
    print(
      f"worker {number} of {len(addresses)}{', the chief' if number == 0 else ''}; "
      f"all of {', '.join(addresses)} must come before it starts",
      flush=True,
    )
  return runs.strategy(config)


def _train(_run, config, trainer, directory, parent):
  """The training loop, from wherever the trainer or `resume_from` is."""
  training = trainer.config
  history = resume.resume(_run, trainer, config, parent, directory) if parent else {}
  if config["init_from"] and not parent:
    print(runs.initialise(trainer.model, config["init_from"], config["init_checkpoint"]))
  resume.write_history(directory, history)
  if clips.is_video(config["data"]) and trainer.model.ITERATES:
    trainer.check_clips(runs.num_frames(config["data"]))
  start, end = trainer.steps_done, training.num_steps
  if start > end:
    raise Refusal(f"{parent} has done {start} steps already: num_steps={end} is less")
  parameters = sum(int(np.prod(v.shape)) for v in trainer.variables)
  print(runs.describe_data(config["data"]))
  print(f"{parameters:,} parameters, {trainer.strategy.num_replicas_in_sync} device(s)")
  lower, gpus = trainer.model.config.precision, bool(tf.config.list_logical_devices("GPU"))
  if precision.is_emulated(lower, gpus):
    print(f"precision={lower} is slower than float32 on this processor")
  where = directory if trainer.is_chief else "of the chief"
  print(f"run {where}, from step {start} to {end}", flush=True)

  progress = Progress(end, start, training.batch_size, quiet=not trainer.is_chief)
  loop = Loop(_run, config, trainer, progress, directory, history)
  writer = tf.summary.create_file_writer(str(directory / "tensorboard"))
  with writer.as_default(), interrupts.requests() as request, contextlib.closing(progress):
    batches, step = loop.batches(), start
    if start and trainer.is_chief and loop.due("validate", start) and start not in history:
      loop.validate(start)  # the run before was lost between its checkpoint and its scores
    while step < end:
      step += 1
      values = trainer.train_step(next(batches))
      progress.update(step)
      log, save = loop.due("log", step), step == end or loop.due("checkpoint", step)
      if (log or save) and loop.rewound(step, values):
        batches, step = loop.batches(), trainer.steps_done
        continue
      if log:
        loop.log(step, values)
      if save:
        writer.flush()  # the curves shall not end before the checkpoint does
        trainer.checkpoints.save()
      if trainer.is_chief:  # behind the saving, so that what goes wrong here loses nothing
        if loop.due("validate", step):
          loop.validate(step)
        if loop.due("image", step):
          loop.draw(step)
      if trainer.any_worker(request.signum is not None) and step < end:
        trainer.checkpoints.save()
        raise interrupts.Stopped(
          request.signum or signal.SIGTERM,
          f"stopped at step {step} and saved: resume_from={directory} goes on"
          if trainer.is_chief
          else f"stopped at step {step}; the chief has saved",
        )
  return _finish(_run, config, directory, progress, step) if trainer.is_chief else None


def _finish(run, config, directory, progress, step):
  print(f"{progress.images_per_second(step):.0f} images/s")
  print(f"run: {directory}", flush=True)
  if not config["data"]["num_test"]:
    print("there is no test split (data.num_test=0): not scored")
    return None
  report = scoring.evaluate_run(directory, directory, which="best")
  for name in ("ari_fg", "mse", "kl"):
    run.log_scalar(f"test.{name}", report["summary"][name], step)
  run.info["test"] = report["summary"]
  print(scoring.sentence(report["summary"]))
  print(f"figure: {report['figures'][0]}", flush=True)
  return report["summary"]["ari_fg"]


def commandline(argv: Sequence[str]) -> list[str]:
  """The words of a command line; a worker that is not the chief keeps no record of its own."""
  words = argv[argv.index("with") + 1 :] if "with" in argv else []
  with contextlib.suppress(UserError, OSError):  # it comes again, as a sentence, in the run
    strategy = command.configure(words)["strategy"] if "TF_CONFIG" in os.environ else None
    if strategy == "multi_worker" and cluster_task()[0] > 0:
      return [argv[0], "--unobserved", *argv[1:]]
  return list(argv)


if __name__ == "__main__":
  command.run_commandline(commandline(sys.argv))
