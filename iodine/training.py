"""The training step under a distribution strategy, and its checkpoints (paper, Sec. 3.3)."""

import contextlib
import dataclasses
import glob
import json
import math
import os
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras

from iodine import metrics
from iodine.config import check_iterations, check_slots
from iodine.geco import Geco
from iodine.model import Iodine
from iodine.parting import PartedClock


class NonFiniteError(ArithmeticError):
  """Loss or gradient is NaN or infinite; the variables are as they were before that step."""


class CheckpointError(RuntimeError):
  """No checkpoint that can be read, or one of another configuration."""


SCHEDULES = ("constant", "exponential", "cosine", "trapezoidal")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
  """How the model is trained; the defaults are the paper's (Sec. 4 and Appendix C).

  Attributes:
    batch_size: global, over all replicas.
    num_steps: updates.
    learning_rate: Adam's, at its highest.
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
      channel: the KL's weight follows it from `kl_weight` on (`iodine.geco`); None: it does not.
    geco_rate: how fast.
    clip_norm: bound on the global gradient norm, after the averaging over replicas.
    seed: of variables and noise.
    jit: compile the step with XLA.
    curriculum: stages before the model's own number of slots and iterations, for instance
      [{"until": 1500, "num_slots": 4, "num_iterations": 5}]: K and T up to that step; a number that
      is left out is the model's. "mixed": true scores the mixed image in place of Eq. 1
      (`iodine.distributions.SpatialMixture.mixed_log_prob`).
  """

  batch_size: int = 32
  num_steps: int = 1_000_000
  learning_rate: float = 3e-4
  learning_rate_schedule: str = "constant"
  learning_rate_decay: float = 0.1
  learning_rate_decay_steps: int = 1_000_000
  warmup_steps: int = 0
  beta1: float = 0.9
  anneal_steps: int = 0
  anneal_entropy: float | None = None
  sigma_start: float | None = None
  kl_weight_start: float | None = None
  geco_target: float | None = None
  geco_rate: float = 0.01
  clip_norm: float = 5.0
  seed: int = 0
  jit: bool = False
  curriculum: Sequence[Mapping[str, int | bool]] = ()

  def __post_init__(self):
    _check_curriculum(self.curriculum)
    for name in ("batch_size", "num_steps"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
    starts = [s for s in (self.sigma_start, self.kl_weight_start) if s is not None]
    if min(starts, default=1) <= 0:
      raise ValueError("sigma_start and kl_weight_start must be positive")
    if bool(starts) != (self.anneal_steps > 0):
      raise ValueError(
        "sigma_start and kl_weight_start need anneal_steps, and the other way round: got "
        f"{self.sigma_start}, {self.kl_weight_start}, {self.anneal_steps}"
      )
    if self.anneal_entropy is not None and not starts:
      raise ValueError(
        f"anneal_entropy={self.anneal_entropy} holds annealing back, but nothing is annealed: "
        "sigma_start and kl_weight_start are None"
      )
    if self.geco_target is not None and self.kl_weight_start is not None:
      raise ValueError(
        "geco_target and kl_weight_start both move the KL's weight: take one of them"
      )
    if self.learning_rate <= 0 or self.clip_norm <= 0:
      raise ValueError("learning_rate and clip_norm must be positive")
    if self.learning_rate_schedule not in SCHEDULES:
      raise ValueError(
        f"learning_rate_schedule must be one of {', '.join(SCHEDULES)}, "
        f"got {self.learning_rate_schedule!r}"
      )

  @classmethod
  def from_dict(cls, values):
    """From a mapping that may hold other keys too (a run's config)."""
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(**{k: v for k, v in values.items() if k in names})


STAGE_KEYS = ("num_slots", "num_iterations", "mixed")


def _check_curriculum(stages):
  ends = [0]
  for stage in stages:
    if "until" not in stage or set(stage) - {"until", *STAGE_KEYS}:
      raise ValueError(
        'a stage of the curriculum has "until", and "num_slots", "num_iterations" or "mixed": '
        f"got {dict(stage)}"
      )
    check_slots(stage.get("num_slots", 2))
    check_iterations(stage.get("num_iterations", 1))
    if not isinstance(stage.get("mixed", False), bool):
      raise ValueError(f'"mixed" in the curriculum is true or false, got {stage["mixed"]!r}')
    ends.append(stage["until"])
  if sorted(set(ends)) != ends:
    raise ValueError(f"the stages of the curriculum must end one after the other, got {ends[1:]}")


class Schedule(tf_keras.optimizers.schedules.LearningRateSchedule):
  """Learning rate at a step: warm-up times one of Keras's schedules."""

  def __init__(self, config):
    super().__init__()
    self._config = config
    schedules = tf_keras.optimizers.schedules
    if config.learning_rate_schedule == "exponential":
      self._decay = schedules.ExponentialDecay(
        config.learning_rate, config.learning_rate_decay_steps, config.learning_rate_decay
      )
    elif config.learning_rate_schedule == "cosine":
      self._decay = schedules.CosineDecay(config.learning_rate, config.num_steps)
    elif config.learning_rate_schedule == "trapezoidal":
      last = config.num_steps / 5
      left = lambda step: (config.num_steps - tf.cast(step, tf.float32)) / last
      self._decay = lambda step: config.learning_rate * tf.clip_by_value(left(step), 0.0, 1.0)
    else:
      self._decay = lambda step: tf.constant(config.learning_rate)

  def __call__(self, step):
    rate = self._decay(step)
    if not self._config.warmup_steps:
      return rate
    return rate * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1) / self._config.warmup_steps)

  def get_config(self):
    return dataclasses.asdict(self._config)


def annealed(start, end, step, num_steps):
  """A number on its geometric way from `start` to `end`, where it is at `num_steps`: float32 []."""
  done = tf.minimum(tf.cast(step, tf.float32) / num_steps, 1.0)
  return start * (end / start) ** done


STRATEGIES = ("auto", "mirrored", "multi_worker", "cpu")


def split_cpu(num_devices):
  """Makes several devices of the CPU, each with its share of the cores, for "mirrored".

  The small convolutions of small images keep one core busy but not many: replicas that have a core
  each are faster. It must come before TensorFlow's first operation.

  Args:
    num_devices: at most; never more than cores.

  Returns:
    how many there are now: 1 if TensorFlow has begun already.
  """
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
  num_devices = min(num_devices, cores)
  try:
    tf.config.set_logical_device_configuration(
      tf.config.list_physical_devices("CPU")[0],
      [tf.config.LogicalDeviceConfiguration()] * num_devices,
    )
    tf.config.threading.set_intra_op_parallelism_threads(cores // num_devices)
    tf.config.threading.set_inter_op_parallelism_threads(num_devices)
  except RuntimeError:
    return 1
  return num_devices


def make_strategy(name="auto", num_devices=None):
  """A distribution strategy by its name.

  Args:
    name: "auto": all GPUs of this machine, one CPU without any; "mirrored": the same, but all
      logical CPU devices without a GPU; "cpu": one CPU, whatever there is; "multi_worker": all
      GPUs, else the CPU, of every machine in TF_CONFIG. It waits until all of them are there, and
      must come before TensorFlow's first operation.
    num_devices: only the first so many devices of this machine.

  Returns:
    tf.distribute.MirroredStrategy or tf.distribute.MultiWorkerMirroredStrategy.

  Raises:
    ValueError: another name, or a TF_CONFIG that is missing or wrong.
  """
  if name not in STRATEGIES:
    raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, got {name!r}")
  if name == "multi_worker":
    cluster_task()
    if num_devices is not None:
      gpus = tf.config.list_physical_devices("GPU")
      tf.config.set_visible_devices(gpus[:num_devices], "GPU")
    return tf.distribute.MultiWorkerMirroredStrategy()
  devices = tf.config.list_logical_devices("CPU")
  if name != "mirrored":
    devices = devices[:1]
  if name != "cpu":
    devices = tf.config.list_logical_devices("GPU") or devices
  return tf.distribute.MirroredStrategy([d.name for d in devices[:num_devices]])


def cluster_task():
  """This process's place in the cluster that TF_CONFIG describes.

  Returns:
    (number of this process, 0 being the chief; list of all addresses, in this order).

  Raises:
    ValueError: TF_CONFIG is missing or wrong; the message shows a right one.
  """
  example = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
  )
  try:
    values = json.loads(os.environ["TF_CONFIG"])
    cluster, task = values["cluster"], values["task"]
    addresses = [*cluster.get("chief", []), *cluster["worker"]]
    offset = len(cluster.get("chief", [])) if task["type"] == "worker" else 0
    number = offset + int(task["index"])
    if set(cluster) - {"chief", "worker"} or task["type"] not in cluster:
      raise ValueError("only chief and worker take part")
    if not 0 <= int(task["index"]) < len(cluster[task["type"]]):
      raise ValueError(f"there is no {task['type']} {task['index']}")
  except KeyError as error:
    missing = "TF_CONFIG" if error.args == ("TF_CONFIG",) else f"{error} in TF_CONFIG"
    raise ValueError(
      f"strategy=multi_worker needs {missing}, for instance TF_CONFIG='{example}'"
    ) from None
  except (TypeError, AttributeError, ValueError) as error:
    raise ValueError(f"TF_CONFIG is wrong ({error}); a right one is '{example}'") from None
  return number, addresses


class LossScale(tf.Module):
  """Factor on the loss that keeps small float16 gradients above zero (Micikevicius et al. 2018).

  An overflow halves it, and `growth_steps` updates without one double it.
  """

  def __init__(self, initial=2.0**10, growth_steps=2000):
    super().__init__(name="loss_scale")
    self._growth_steps = growth_steps
    self.value = tf.Variable(initial, trainable=False, dtype=tf.float32, name="value")
    self.good_steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="good_steps")

  def update(self, finite):
    """Takes note of a step whose gradients were finite or not."""
    good = tf.where(finite, self.good_steps + 1, 0)
    grows = good >= self._growth_steps
    kept = tf.where(grows, 2 * self.value, self.value)
    self.value.assign(tf.where(finite, kept, tf.maximum(self.value / 2, 1.0)))
    self.good_steps.assign(tf.where(grows, tf.zeros_like(good), good))


class Trainer:
  """Model, optimizer and step under one strategy.

  Args:
    model_config: ModelConfig.
    training_config: TrainingConfig.
    directory: where the checkpoints go; None keeps none.
    strategy: a MirroredStrategy or MultiWorkerMirroredStrategy; `make_strategy()` by default.
    keep: how many of the last checkpoints to keep; the best is kept besides.
    num_background: how many of the first true masks are background, for ARI-FG.

  Attributes:
    is_chief: whether this process is the one that writes; always, but for several machines.
    is_multi_worker: whether there are several machines.

  Raises:
    ValueError: the number of replicas does not divide the batch.
  """

  def __init__(
    self, model_config, training_config, directory=None, strategy=None, keep=3, num_background=1
  ):
    self.strategy = strategy or make_strategy()
    self.config = training_config
    self._num_background = num_background
    replicas = self.strategy.num_replicas_in_sync
    if training_config.batch_size % replicas:
      raise ValueError(
        f"batch_size={training_config.batch_size} cannot be split over {replicas} devices: "
        f"take a multiple of {replicas}, or fewer devices"
      )
    self._replica_batch = training_config.batch_size // replicas
    if model_config.recompute:
      # else TensorFlow makes the one function of an iteration into T again, each with its constants
      tf.config.optimizer.set_experimental_options({"function_optimization": False})
    tf.random.set_seed(training_config.seed)  # variables; the noise has seeds of its own
    with self.strategy.scope():
      self.model = Iodine(model_config)
      self.variables = self.model.create_variables()
      self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
      self.num_nonfinite = tf.Variable(0, dtype=tf.int64, trainable=False, name="num_nonfinite")
      self.num_rewinds = tf.Variable(0, dtype=tf.int64, trainable=False, name="num_rewinds")
      self.best_score = tf.Variable(float("-inf"), trainable=False, name="best_score")
      self._geco = None
      if training_config.geco_target is not None:
        self._geco = Geco(training_config.geco_target, training_config.geco_rate)
      self._parted = None
      if training_config.anneal_entropy is not None:
        self._parted = PartedClock(training_config.anneal_entropy)
      self._loss_scale = None
      if model_config.precision == "mixed_float16":
        self._loss_scale = LossScale()
      # Sonnet's optimizers refuse multi-worker strategies; Keras's serve them all
      self._schedule = Schedule(training_config)
      self.optimizer = tf_keras.optimizers.Adam(
        self._schedule, beta_1=training_config.beta1, epsilon=1e-8
      )
      self.optimizer.build(self.variables)
    self._next_step = None  # `steps_done` without waiting for the device; None: not known
    self.is_chief = self.strategy.extended.should_checkpoint
    self.is_multi_worker = isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy)
    self._any_worker = tf.function(self._replicated_any, autograph=False)
    self._train_step = tf.function(
      self._replicated_step,
      autograph=False,  # nothing to convert, and the start is a third shorter
      jit_compile=True if training_config.jit else None,
    )
    self.checkpoints = directory and Checkpoints(
      directory, {**self._state(), **self._followers()}, model_config, keep
    )

  def restore(self, directory):
    """Restores the last checkpoint of a folder that can be read; returns the damaged ones' paths.

    Raises:
      CheckpointError: none there, none readable, or another configuration.
    """
    state = self._state()
    path, damaged = restore(tf.train.Checkpoint(**state), self.model, directory, "last")
    # from a run without them they begin here
    tf.train.Checkpoint(**self._followers()).restore(path).expect_partial()
    for variable, start, end in self._weights():
      moved = self._geco and variable is self.model.kl_weight
      if start is None and not moved:
        variable.assign(end)  # may be another now
    self._next_step = None
    return damaged

  def _state(self):
    return {
      **({"loss_scale": self._loss_scale} if self._loss_scale else {}),
      "model": self.model,
      "optimizer": self.optimizer,
      "step": self.step,
      "best_score": self.best_score,
      "num_nonfinite": self.num_nonfinite,
      "num_rewinds": self.num_rewinds,
    }

  def _followers(self):
    """What follows the training's values and is saved too, but need not be in a checkpoint."""
    followers = {"geco": self._geco, "parted": self._parted}
    return {name: module for name, module in followers.items() if module}

  def rewind(self):
    """Goes back to the last checkpoint of its own, with other noise from there on.

    The caller takes another data order: `data_seed`.
    """
    rewinds = self.num_rewinds.numpy()
    self.restore(self.checkpoints.directory)
    self.num_rewinds.assign(rewinds + 1)

  @property
  def data_seed(self):
    """Seed of the data order: the run's, another after each rewind."""
    return self.config.seed + 1_000_003 * int(self.num_rewinds.numpy())

  @property
  def steps_done(self):
    """Updates so far, those included that were not finite: int."""
    return int(self.step.numpy())

  def train_step(self, batch):
    """One update from a batch of the strategy (`distribute`).

    Returns:
      dict of scalar tensors: means over the batch of loss, and of the last decode's nll, kl, mse,
      mask_entropy, and ari_fg where there are true masks; grad_norm before clipping; learning_rate;
      loss_scale in mixed_float16; finite. Where `finite` is false, nothing was updated but the step
      counter.
    """
    if self._next_step is None:
      self._next_step = self.steps_done
    values = self._train_step(batch, **self._stage(self._next_step))
    self._next_step += 1
    return values

  def traced_step(self, batch):
    """The tf.ConcreteFunction behind `train_step`, for who wants to know what it consists of."""
    return self._train_step.get_concrete_function(batch, **self._stage(self.config.num_steps))

  def _stage(self, step):
    """K and T of the curriculum for the update that follows `step` others; {} for the model's."""
    for stage in self.config.curriculum:
      if step < stage["until"]:
        return {name: number for name, number in stage.items() if name != "until"}
    return {}

  def distribute(self, make_dataset):
    """A dataset for `train_step`.

    Args:
      make_dataset: (batch_size, input_pipeline_id, num_input_pipelines) -> tf.data.Dataset whose
        batches are this pipeline's slices of the global batches.
    """

    def dataset(context):
      num = context.num_input_pipelines
      pipeline = make_dataset(self.config.batch_size // num, context.input_pipeline_id, num)
      return pipeline.rebatch(self._replica_batch, drop_remainder=True)

    # without a GPU a copy to "the device" only takes a thread, which there may be just one of
    options = tf.distribute.InputOptions(
      experimental_fetch_to_device=bool(tf.config.list_logical_devices("GPU"))
    )
    return self.strategy.distribute_datasets_from_function(dataset, options)

  def any_worker(self, flag):
    """Whether `flag` is true in any of the cluster's processes, which must all call this: bool."""
    if not self.is_multi_worker:
      return bool(flag)
    return bool(self._any_worker(tf.constant(float(flag))) > 0)

  def _replicated_any(self, flag):
    return self.strategy.reduce("SUM", self.strategy.run(lambda: flag), axis=None)

  def _replicated_step(self, batch, num_slots=None, num_iterations=None, mixed=False):
    fold_in = tf.random.experimental.stateless_fold_in
    seed = fold_in(tf.constant([self.config.seed, 0], tf.int32), tf.cast(self.step, tf.int32))
    seed = fold_in(seed, tf.cast(self.num_rewinds, tf.int32))
    self._anneal()
    values, gradients = self.strategy.run(
      self._gradients, args=(batch, seed, num_slots, num_iterations, mixed)
    )
    values = {k: self.strategy.reduce("SUM", v, axis=None) for k, v in values.items()}
    if "ari_fg" in values:
      values["ari_fg"] = tf.math.divide_no_nan(values["ari_fg"], values.pop("foreground"))
    local = self.strategy.experimental_local_results
    norm = local(gradients)[0][1]
    values["grad_norm"] = norm
    values["learning_rate"] = self._schedule(self.optimizer.iterations)
    values["finite"] = tf.math.is_finite(norm) & tf.math.is_finite(values["loss"])

    def update():
      self.strategy.run(self._apply, args=(gradients,))
      self._follow(values)
      return True

    tf.cond(values["finite"], update, lambda: False)
    failed = ~values["finite"]
    if self._loss_scale:
      # gradients alone that overflow are the scale's affair, as long as it can fall
      scale = values["loss_scale"] = tf.identity(self._loss_scale.value)
      failed &= ~tf.math.is_finite(values["loss"]) | (scale <= 1.0)
      self._loss_scale.update(values["finite"])
    self.num_nonfinite.assign_add(tf.cast(failed, tf.int64))
    self.step.assign_add(1)
    return values

  def _weights(self):
    """The model's sigma and KL weight: (variable, first value or None, last value)."""
    config, model = self.config, self.model
    return (
      (model.sigma, config.sigma_start, model.config.sigma),
      (model.kl_weight, config.kl_weight_start, model.config.kl_weight),
    )

  def _anneal(self):
    for variable, start, end in self._weights():
      if start is not None:
        step = self._parted.steps if self._parted else self.step
        value = annealed(start, end, step, self.config.anneal_steps)
        variable.assign(tf.cast(value, variable.dtype))

  def _follow(self, values):
    """The KL's weight by GECO, and the clock of the annealing, after an update."""
    if self._geco:
      weight, per_value = self.model.kl_weight, math.prod(self.model.config.image_size)
      weight.assign(tf.cast(self._geco.update(values["nll"] / per_value, weight), weight.dtype))
    if self._parted:
      self._parted.update(values["mask_entropy"])

  def _gradients(self, batch, seed, num_slots, num_iterations, mixed):
    """Pure: this replica's part of the losses, and the gradients summed over replicas."""
    context = tf.distribute.get_replica_context()
    replica = tf.get_static_value(context.replica_id_in_sync_group)
    images = batch["image"]
    with tf.GradientTape() as tape:
      output = self.model(
        images,
        num_slots=num_slots,
        num_iterations=num_iterations,
        mixed=mixed,
        seed=seed,
        first_index=replica * self._replica_batch,
      )
      loss = tf.reduce_sum(output.loss) / self.config.batch_size
      scale = self._loss_scale.value if self._loss_scale else None
      target = loss if scale is None else loss * scale
    zero = tf.UnconnectedGradients.ZERO  # T = 1 refines nothing
    gradients = tape.gradient(target, self.variables, unconnected_gradients=zero)
    gradients = context.all_reduce("SUM", gradients)
    if scale is not None:
      gradients = [g / scale for g in gradients]
    masks = output.masks[-1]
    reconstruction = tf.reduce_sum(masks * output.means[-1], axis=1)
    values = {
      "loss": loss,
      "nll": tf.reduce_sum(output.nll[-1]) / self.config.batch_size,
      "kl": tf.reduce_sum(output.kl[-1]) / self.config.batch_size,
      "mse": tf.reduce_sum(metrics.mse(images, reconstruction)) / self.config.batch_size,
      "mask_entropy": tf.reduce_sum(metrics.mask_entropy(masks)) / self.config.batch_size,
      **_ari_sums(batch, masks, self._num_background),
    }
    return values, (gradients, tf.linalg.global_norm(gradients))

  def _apply(self, gradients):
    gradients, norm = gradients
    clipped, _ = tf.clip_by_global_norm(gradients, self.config.clip_norm, use_norm=norm)
    self.optimizer.apply_gradients(
      zip(clipped, self.variables, strict=True), skip_gradients_aggregation=True
    )


def _ari_sums(batch, masks, num_background):
  """ARI-FG summed over the images that have it, and their number; nothing without true masks."""
  if "mask" not in batch:
    return {}
  ari = metrics.ari_fg(batch["mask"], masks, num_background)
  defined = tf.math.is_finite(ari)
  return {
    "ari_fg": tf.reduce_sum(tf.where(defined, ari, 0.0)),
    "foreground": tf.reduce_sum(tf.cast(defined, tf.float32)),
  }


class Checkpoints:
  """Saves and restores a Trainer: the last few checkpoints, the best one, and the configuration.

  TensorFlow writes a checkpoint under a temporary name and moves it into place, and so do we with
  `config.json`; a kill at any moment leaves the ones before intact.
  """

  def __init__(self, directory, state, config, keep=3):
    self.directory = pathlib.Path(directory)
    self._config = config
    self._step, self._best_score = state["step"], state["best_score"]
    self._checkpoint = tf.train.Checkpoint(**state)
    self._last = tf.train.CheckpointManager(
      self._checkpoint, str(self.directory), max_to_keep=keep, step_counter=state["step"]
    )
    self._best = tf.train.CheckpointManager(
      self._checkpoint,
      str(self.directory / "best"),
      max_to_keep=1,
      step_counter=state["step"],
      checkpoint_name="best",
    )

  def save(self):
    """Writes a checkpoint; returns its path."""
    return self._save(self._last)

  def save_best(self, score):
    """Writes a checkpoint if `score` is the highest so far; returns its path or None."""
    if not score > float(self._best_score.numpy()):
      return None
    self._best_score.assign(score)
    return self._save(self._best)

  def _save(self, manager):
    try:
      self.directory.mkdir(parents=True, exist_ok=True)
      write_json(self.directory / "config.json", dataclasses.asdict(self._config))
      return manager.save(checkpoint_number=self._step.numpy())
    except (OSError, tf.errors.OpError) as error:
      self._remove_unfinished(manager)
      reason = re.sub(r"^\{\{.*?\}\} ", "", str(error)).splitlines()[0]  # name of a graph node
      raise CheckpointError(
        f"cannot write a checkpoint to {self.directory}: {reason}; the ones before are intact"
      ) from error

  def _remove_unfinished(self, manager):
    """Takes away what a failed write left: on a full disk, the room for the run's record."""
    name = "best" if manager is self._best else "ckpt"
    prefix = os.path.join(manager.directory, f"{name}-{self._step.numpy()}")
    shutil.rmtree(f"{prefix}_temp", ignore_errors=True)
    with contextlib.suppress(Exception):  # TensorFlow raises many kinds for a file it cannot read
      _verify(prefix)
      return  # whole: only the folder's list of them was not written
    for path in glob.glob(f"{glob.escape(prefix)}.*"):
      with contextlib.suppress(OSError):
        os.remove(path)


def restore(checkpoint, model, directory, which="last"):
  """Restores `checkpoint` (a tf.train.Checkpoint with `model` in it) from a folder.

  Args:
    checkpoint: what to restore into.
    model: Iodine; its configuration must be the one that was saved.
    directory: a run's checkpoint folder.
    which: "last" or "best" (the last one where no best was kept).

  Returns:
    (path, list of newer paths that were damaged).

  Raises:
    CheckpointError: none there, none readable, or another configuration (the differing keys).
  """
  directory = pathlib.Path(directory)
  check_config(model.config, directory / "config.json")
  candidates = _saved(directory / "best") if which == "best" else []
  candidates += _saved(directory)
  damaged = []
  for path in candidates:
    try:
      _verify(path)
    except Exception:  # TensorFlow raises many kinds for a file it cannot read
      damaged.append(path)
      continue
    checkpoint.restore(path).assert_existing_objects_matched().expect_partial()
    return path, damaged
  if damaged:
    raise CheckpointError(f"no checkpoint in {directory} can be read; damaged: {damaged}")
  raise CheckpointError(f"no checkpoint in {directory}: the run stopped before it wrote one")


def _saved(directory):
  """Checkpoint paths of a folder, newest first; by their files, for the state file may be old."""
  paths = [p.with_suffix("") for p in pathlib.Path(directory).glob("*.index")]
  return [str(p) for p in sorted(paths, key=lambda p: int(p.name.rsplit("-", 1)[1]), reverse=True)]


def _verify(path):
  """Reads every tensor, which checks its checksum."""
  reader = tf.train.load_checkpoint(path)
  for name in reader.get_variable_to_shape_map():
    reader.get_tensor(name)


def check_config(config, path):
  """Raises CheckpointError with the differing keys if `path` holds another configuration."""
  try:
    saved = json.loads(pathlib.Path(path).read_text())
  except FileNotFoundError:
    return
  except ValueError as error:
    raise CheckpointError(f"{path} is damaged: {error}") from error
  ours = json.loads(json.dumps(dataclasses.asdict(config)))
  defaults = json.loads(json.dumps(dataclasses.asdict(type(config)())))
  saved = {**defaults, **saved}  # keys that have come since
  # The variables of a model are the same whatever these are.
  free = {"num_slots", "num_iterations", "recompute", "sigma", "kl_weight"}
  differing = [
    f"{key}: {saved.get(key)} saved, {ours.get(key)} now"
    for key in sorted(saved.keys() | ours.keys())
    if key not in free and saved.get(key) != ours.get(key)
  ]
  if differing:
    raise CheckpointError(
      f"the checkpoint in {path.parent} belongs to another configuration: {'; '.join(differing)}"
    )


def write_json(path, values):
  """Writes JSON under a temporary name and moves it into place."""
  path = pathlib.Path(path)
  temporary = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    temporary.write_text(json.dumps(values, indent=2) + "\n")
    temporary.replace(path)
  except OSError:
    temporary.unlink(missing_ok=True)
    raise
