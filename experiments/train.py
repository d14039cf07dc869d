"""Trains IODINE: python -m experiments.train with tetrominoes quick

Presets: tetrominoes, multi_dsprites, multi_dsprites_binarized, shapes, clevr6, clevr. Modifiers:
quick, released. Any key can be set behind them (batch_size=4 num_slots=9 data.dir=...);
`python -m experiments.train print_config with clevr6` lists them all. `resume_from=runs/3` goes on
where run 3 stopped. strategy=multi_worker trains on all machines of TF_CONFIG (docs/scaling.md),
precision=mixed_bfloat16 in bfloat16. -m HOST:PORT:DB records to MongoDB, -u nowhere.
"""

import contextlib
import copy
import pathlib
import shutil
import signal
import sys
import tempfile

import numpy as np
import tensorflow as tf
from sacred.arg_parser import get_config_updates

import datasets
from experiments import evaluate, interrupts, runs
from experiments.experiment import (
  Refusal,
  ex,
  load_config,
  main,
  run_commandline,
  run_directory,
)
from experiments.progress import Progress
from iodine import evaluation, plotting
from iodine.training import (
  NonFiniteError,
  Trainer,
  TrainingConfig,
  cluster_task,
)

# what the collective operations of the others end with
LOST_WORKER = (
  tf.errors.UnavailableError,
  tf.errors.AbortedError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.FailedPreconditionError,
)


@main(ex)
def train(_run, _config):
  """Trains, evaluates on the test split, and says where everything lies."""
  config = copy.deepcopy(dict(_config))
  if config["on_nan"] not in ("stop", "skip", "rewind"):
    raise Refusal(f'on_nan must be "stop", "skip" or "rewind", got {config["on_nan"]!r}')
  model_config, training = runs.model_config(config), TrainingConfig.from_dict(config)
  strategy = _make_strategy(config)  # a cluster must come before TensorFlow's first operation
  runs.check_data(config["data"])
  is_chief = strategy.extended.should_checkpoint
  with contextlib.ExitStack() as stack:
    if is_chief:
      directory = run_directory(_run)
    else:  # the chief alone writes; what TensorFlow wants of the others is thrown away
      directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    try:
      trainer = Trainer(
        model_config,
        training,
        directory / runs.CHECKPOINTS,
        strategy,
        keep=config["keep_checkpoints"],
        num_background=runs.dataset_spec(config["data"]).num_background,
      )
      return _train(_run, config, trainer, directory)
    except (datasets.DataError, tf.errors.OpError) as error:
      goes_on = f"resume_from={directory}" if is_chief else "resume_from= the chief's run folder"
      is_data = isinstance(error, datasets.DataError)
      data_error = error if is_data else datasets.data_error(error)
      if data_error is not None:
        saved = any((directory / runs.CHECKPOINTS).glob("*.index"))
        intact = f"; what was saved is intact: {goes_on}" if saved else ""
        raise Refusal(f"{data_error}{intact}") from error
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


def _train(_run, config, trainer, directory):
  """The training loop, from wherever the trainer or `resume_from` is."""
  training = trainer.config
  if config["resume_from"]:
    _resume(_run, trainer, config, directory)
  start, end = trainer.steps_done, training.num_steps
  parameters = sum(int(np.prod(v.shape)) for v in trainer.variables)
  print(runs.describe_data(config["data"]))
  print(f"{parameters:,} parameters, {trainer.strategy.num_replicas_in_sync} device(s)")
  where = directory if trainer.is_chief else "of the chief"
  print(f"run {where}, from step {start} to {end}", flush=True)

  progress = Progress(end, start, training.batch_size, quiet=not trainer.is_chief)
  loop = Loop(_run, config, trainer, progress)
  writer = tf.summary.create_file_writer(str(directory / "tensorboard"))
  with writer.as_default(), interrupts.requests() as request, contextlib.closing(progress):
    batches, step = loop.batches(), start
    while step < end:
      step += 1
      values = trainer.train_step(next(batches))
      progress.update(step)
      due = {what: every and (step % every == 0 or step == end) for what, every in loop.every}
      if (due["log"] or due["checkpoint"]) and loop.rewound(step, values):
        batches, step = loop.batches(), trainer.steps_done
        continue
      if due["log"]:
        loop.log(step, values)
      if due["validate"] and trainer.is_chief:
        loop.validate(step)
      if due["checkpoint"]:
        writer.flush()  # the curves shall not end before the checkpoint does
        trainer.checkpoints.save()
      if due["image"] and trainer.is_chief:
        loop.draw(step)
      if trainer.any_worker(request.signum is not None) and step < end:
        trainer.checkpoints.save()
        raise interrupts.Stopped(
          request.signum or signal.SIGTERM,
          f"stopped at step {step} and saved: resume_from={directory} goes on"
          if trainer.is_chief
          else f"stopped at step {step}; the chief has saved",
        )
  return _finish(_run, directory, progress, step) if trainer.is_chief else None


class Loop:
  """What happens between the steps of a run."""

  def __init__(self, run, config, trainer, progress):
    self._run, self._config = run, config
    self._trainer, self._progress = trainer, progress
    self._evaluator = evaluation.Evaluator(
      trainer.model, num_background=runs.dataset_spec(config["data"]).num_background
    )
    self._known_nonfinite = int(trainer.num_nonfinite.numpy())
    self.every = [
      (what, config[f"{what}_every"]) for what in ("log", "validate", "checkpoint", "image")
    ]
    if config["on_nan"] == "rewind":
      trainer.checkpoints.save()  # so that there is one to go back to

  def batches(self):
    """Iterator over distributed batches, from where the trainer is."""
    trainer = self._trainer

    def dataset(batch_size, pipeline, num_pipelines):
      return runs.load_data(
        self._config["data"],
        "train",
        batch_size,
        shuffle=True,
        seed=trainer.data_seed,
        start_batch=trainer.steps_done,
        drop_remainder=True,
        input_pipeline_id=pipeline,
        num_input_pipelines=num_pipelines,
      )

    return iter(trainer.distribute(dataset))

  def rewound(self, step, values):
    """Deals with steps that were not finite, as `on_nan` says; True if the trainer went back."""
    trainer, config = self._trainer, self._config
    total = int(trainer.num_nonfinite.numpy())
    new, self._known_nonfinite = total - self._known_nonfinite, total
    if not new:
      return False
    terms = [name for name in ("nll", "kl", "grad_norm") if not np.isfinite(float(values[name]))]
    what = f"step {step}: {', '.join(terms) or 'the loss'} not finite in {new} step(s)"
    if config["on_nan"] == "skip":
      self._progress.write(f"{what}, which updated nothing; {total} so far")
      return False
    rewinds = int(trainer.num_rewinds.numpy())
    if config["on_nan"] == "rewind" and rewinds < config["max_rewinds"]:
      trainer.rewind()
      self._known_nonfinite = int(trainer.num_nonfinite.numpy())
      self._progress.rewind(trainer.steps_done)
      self._progress.write(f"{what}; back to step {trainer.steps_done}, time {rewinds + 1}")
      return True
    raise NonFiniteError(
      f"{what}, and nothing was updated; the last checkpoint is intact: resume from it with a "
      'lower learning_rate or clip_norm, or with on_nan="skip" or "rewind"'
    )

  def log(self, step, values):
    """Records the metrics of a step."""
    values = {name: float(value) for name, value in values.items() if name != "finite"}
    values["images_per_second"] = self._progress.images_per_second(step)
    values["num_nonfinite"] = self._known_nonfinite
    self._record("train", values, step)
    shown = ("loss", "mse", "kl", "ari_fg")
    self._progress.show(step, {name: values[name] for name in shown if name in values})

  def validate(self, step):
    """Scores the validation split, and keeps the checkpoint if it is the best."""
    num_images = self._config["num_validation_images"]
    held_out = evaluate.held_out(self._config["data"], "validation", num_images, batch_size=16)
    summary = evaluation.summarize(self._evaluator(held_out))
    self._record("validation", {name: summary[name] for name in evaluation.METRICS}, step)
    # without true masks the likelihood tells the best
    best = summary["ari_fg"] if summary["num_foreground"] else -summary["nll"]
    self._trainer.checkpoints.save_best(best)
    self._progress.write(f"step {step}: validation {evaluate.sentence(summary)}")

  def draw(self, step):
    """Puts a decomposition of validation images into TensorBoard."""
    figure = evaluate.draw_decomposition(
      self._trainer.model, self._config["data"], "validation", num_images=4
    )
    tf.summary.image("validation/decomposition", plotting.to_image(figure)[None], step)

  def _record(self, prefix, values, step):
    for name, value in values.items():
      self._run.log_scalar(f"{prefix}.{name}", value, step)
      tf.summary.scalar(f"{prefix}/{name}", value, step)


def _resume(run, trainer, config, directory):
  """Goes on from the run in `resume_from`: its state, its best checkpoint, its curves."""
  parent = _with_checkpoint(config["resume_from"])
  source = parent / runs.CHECKPOINTS
  for path in trainer.restore(source):
    print(f"{path} is damaged; took the one before")
  known = load_config(parent)["data"]
  if any(known.get(key) != config["data"][key] for key in runs.SCENE_KEYS):
    trainer.best_score.assign(float("-inf"))  # of other scenes
  elif (source / "best").is_dir() and trainer.is_chief:  # the parent's best is the one to beat
    shutil.copytree(source / "best", directory / runs.CHECKPOINTS / "best")
  if (parent / "tensorboard").is_dir() and trainer.is_chief:  # so that the curves join
    shutil.copytree(parent / "tensorboard", directory / "tensorboard")
  trainer.checkpoints.save()  # last: whoever finds a checkpoint here finds all of the above
  run.info["resumed_from"] = {"run": str(parent), "step": trainer.steps_done}


def _with_checkpoint(folder):
  """The run in `folder`; where it was stopped before its first checkpoint, the one it resumed."""
  path = parent = pathlib.Path(folder)
  while not any((parent / runs.CHECKPOINTS).glob("*.index")):
    origin = load_config(parent).get("resume_from") if (parent / "config.json").is_file() else None
    if origin is None:
      raise Refusal(f"{path} has no checkpoints to resume from")
    parent = pathlib.Path(origin)
  if parent != path:
    print(f"{path} has no checkpoint of its own yet; goes on from {parent}, where it came from")
  return parent


def _finish(run, directory, progress, step):
  report = evaluate.evaluate_run(directory, directory, which="best")
  for name in ("ari_fg", "mse", "kl"):
    run.log_scalar(f"test.{name}", report["summary"][name], step)
  run.info["test"] = report["summary"]
  print(evaluate.sentence(report["summary"]))
  print(f"{progress.images_per_second(step):.0f} images/s")
  print(f"run: {directory}\nfigure: {report['figures'][0]}", flush=True)
  return report["summary"]["ari_fg"]


def commandline(argv):
  """The words of a command line; a worker that is not the chief keeps no record of its own."""
  updates, _ = get_config_updates(argv[argv.index("with") + 1 :] if "with" in argv else [])
  with contextlib.suppress(Refusal, ValueError):  # it comes again, as a sentence, in the run
    if "strategy" not in updates and updates.get("resume_from"):
      updates = load_config(updates["resume_from"])
    if updates.get("strategy") == "multi_worker" and cluster_task()[0] > 0:
      return [argv[0], "--unobserved", *argv[1:]]
  return argv


if __name__ == "__main__":
  run_commandline(ex, commandline(sys.argv))
