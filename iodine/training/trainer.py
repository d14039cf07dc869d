"""The training step under a distribution strategy (paper, Sec. 2.3)."""

import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
import tf_keras

from iodine import metrics, unroll
from iodine.build import build_model, model_class
from iodine.config import ModelConfig
from iodine.errors import ConfigError, UserError
from iodine.geco import Geco
from iodine.parting import PartedClock
from iodine.training.adam import Adam
from iodine.training.checkpoints import Checkpoints, restore
from iodine.training.config import TrainingConfig
from iodine.training.distribution import make_strategy, replica_batches
from iodine.training.loss_scale import LossScale
from iodine.training.muon import Muon
from iodine.training.schedules import Schedule, annealed


class NonFiniteError(UserError, ArithmeticError):
  """Loss or gradient is NaN or infinite; the variables are as they were before that step."""


class Trainer:
  """Model, optimizer and step under one strategy.

  Args:
    model_config: of the model that is built (`build_model`).
    training_config: how it is trained.
    directory: where the checkpoints go; None keeps none.
    strategy: a MirroredStrategy or MultiWorkerMirroredStrategy; `make_strategy()` by default.
    keep: how many of the last checkpoints to keep; the best is kept besides.
    num_background: how many of the first true masks are background, for ARI-FG.

  Attributes:
    is_chief: whether this process is the one that writes; always, but for several machines.
    is_multi_worker: whether there are several machines.

  Raises:
    ConfigError: the number of replicas does not divide the batch; XLA is to compile for several of
      them or with `recompute`; something is to be annealed, or a stage of the curriculum wants
      something, that the model does not have.
  """

  def __init__(
    self,
    model_config: ModelConfig,
    training_config: TrainingConfig,
    directory: str | os.PathLike | None = None,
    strategy: tf.distribute.Strategy | None = None,
    keep: int = 3,
    num_background: int = 1,
  ):
    self.strategy = strategy or make_strategy()
    self.config = training_config
    self._num_background = num_background
    replicas = self.strategy.num_replicas_in_sync
    if training_config.batch_size % replicas:
      raise ConfigError(
        f"batch_size={training_config.batch_size} cannot be split over {replicas} devices: "
        f"take a multiple of {replicas}, or fewer devices"
      )
    if training_config.jit and replicas > 1:
      raise ConfigError(
        f"jit=True compiles the step for one device, got {replicas}: take num_devices=1 (on a CPU "
        "cpu_devices=1), or jit=False"
      )
    recompute = model_config.recompute and model_class(model_config).ITERATES  # one decode is kept
    if training_config.jit and recompute:
      raise ConfigError(
        "jit=True with recompute=True would compile at every step: take one of them"
      )
    self._replica_batch = training_config.batch_size // replicas
    if recompute:
      # else TensorFlow makes the one function of an iteration into T again, each with its constants
      tf.config.optimizer.set_experimental_options({"function_optimization": False})
    tf.random.set_seed(training_config.seed)  # variables; the noise has seeds of its own
    with self.strategy.scope():
      self.model = build_model(model_config)
      self.variables = self.model.create_variables()
      self._check_fits()
      self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
      self.num_nonfinite = tf.Variable(0, dtype=tf.int64, trainable=False, name="num_nonfinite")
      self.num_rewinds = tf.Variable(0, dtype=tf.int64, trainable=False, name="num_rewinds")
      self.best_score = tf.Variable(float("-inf"), trainable=False, name="best_score")
      self._geco = self._make_geco()
      self._parted = None
      if training_config.anneal_entropy is not None:
        self._parted = PartedClock(training_config.anneal_entropy)
      self._loss_scale = None
      if model_config.precision == "mixed_float16":
        self._loss_scale = LossScale()
      # Sonnet's optimizers refuse multi-worker strategies; Keras's serve them all
      self._schedule = Schedule(training_config)
      self.optimizer = _make_optimizer(training_config, self._schedule)
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
    self.checkpoints = directory and Checkpoints(directory, self.state(), model_config, keep)

  def _check_fits(self):
    """Raises ConfigError where the training is of another kind of model."""
    kind = self.model.config.model
    for name, start in self.config.starts.items():
      if start is not None and name not in self.model.weights():
        raise ConfigError(f"{name}_start={start} is not for model={kind}, which has no {name}")
    for stage in self.config.curriculum:
      for option in stage.step_options:
        if option not in self.model.STEP_OPTIONS:
          raise ConfigError(f"a stage with {option}=True is not for model={kind}")
      if stage.num_iterations is not None and not self.model.ITERATES:
        raise ConfigError(
          f"a stage with num_iterations is not for model={kind}, which decodes once"
        )
      if stage.mixed and self.model.config.flat().get("mask_gradient") == "mask":
        raise ConfigError(
          "a stage with mixed=True needs mask_gradient=logits: the gradient at the masks, "
          "mask_gradient=mask, is that of Eq. 1"
        )
      try:
        self.model.check_counts(stage.num_iterations, stage.num_slots)
        self.model.check_size(stage.image_size)
      except UserError as error:
        raise ConfigError(f"a stage until step {stage.until}: {error}") from error

  def check_clips(self, num_frames: int) -> None:
    """Raises ConfigError where a stage of the curriculum needs more frames than clips have."""
    for stage in self.config.curriculum:
      if stage.num_iterations is None:
        continue
      timeline = self.model.timeline(stage.num_iterations)._replace(pace=self.model.pace)
      if timeline.num_frames > num_frames:
        raise ConfigError(
          f"a stage until step {stage.until} with num_iterations={stage.num_iterations} needs "
          f"{timeline.num_frames} frames, the clips have {num_frames}"
        )

  def restore(self, directory):
    """Restores the last checkpoint of a folder that can be read; returns the damaged ones' paths.

    Raises:
      CheckpointError: none there, none readable, or another configuration.
    """
    _, damaged = restore(self.state(), self.model, directory, "last")
    settings = self.model.config.flat()
    has_moved = self._geco is not None and not math.isnan(float(self._geco.average.numpy()))
    for name, variable in self.model.weights().items():
      moved = has_moved and name == "kl_weight"
      if self.config.starts.get(name) is None and not moved:
        variable.assign(settings[name])  # may be another now
    self.forget_step()
    return damaged

  def forget_step(self) -> None:
    """Reads the step from its variable again, which somebody has set."""
    self._next_step = None

  def state(self) -> dict[str, Any]:
    """What a checkpoint holds, by name."""
    return {
      **({"loss_scale": self._loss_scale} if self._loss_scale else {}),
      **({"geco": self._geco} if self._geco else {}),
      **({"parted": self._parted} if self._parted else {}),
      "model": self.model,
      "optimizer": self.optimizer,
      "step": self.step,
      "best_score": self.best_score,
      "num_nonfinite": self.num_nonfinite,
      "num_rewinds": self.num_rewinds,
    }

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
      dict of scalar tensors: means over the batch of loss, nll, kl and mse (the last decode's) and
      ari_fg where there are true masks; grad_norm before clipping; learning_rate; loss_scale in
      mixed_float16; finite. Where `finite` is false, nothing was updated but the step counter.
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
    """What the curriculum has for the update that follows `step` others; {} for the model's own."""
    stage = self.config.stage(step)
    values = {
      "num_slots": stage.num_slots,
      "num_iterations": stage.num_iterations,
      "image_size": stage.image_size,
      "step_options": stage.step_options,
    }
    return {name: value for name, value in values.items() if value}

  def distribute(self, make_dataset: Callable[[int, int, int], tf.data.Dataset]) -> Iterator[Any]:
    """Batches for `train_step`.

    Args:
      make_dataset: (batch_size, input_pipeline_id, num_input_pipelines) -> tf.data.Dataset whose
        batches are this pipeline's slices of the global batches.
    """

    def dataset(context):
      num = context.num_input_pipelines
      pipeline = make_dataset(self.config.batch_size // num, context.input_pipeline_id, num)
      return pipeline.rebatch(self._replica_batch, drop_remainder=True)

    has_gpu = bool(tf.config.list_logical_devices("GPU"))
    if self.is_multi_worker or has_gpu:
      # without a GPU a copy to "the device" only takes a thread, which there may be just one of
      options = tf.distribute.InputOptions(experimental_fetch_to_device=has_gpu)
      return iter(self.strategy.distribute_datasets_from_function(dataset, options))
    return replica_batches(self.strategy, dataset(tf.distribute.InputContext()))

  @property
  def likelihood_stands(self) -> bool:
    """Whether sigma has come to its last value: before, likelihoods do not compare."""
    sigma = self.model.weights().get("sigma")
    if sigma is None:
      return True
    return math.isclose(float(sigma.numpy()), self.model.config.flat()["sigma"], rel_tol=1e-6)

  def any_worker(self, flag):
    """Whether `flag` is true in any of the cluster's processes, which must all call this: bool."""
    if not self.is_multi_worker:
      return bool(flag)
    return bool(self._any_worker(tf.constant(float(flag))) > 0)

  def _replicated_any(self, flag):
    return self.strategy.reduce("SUM", self.strategy.run(lambda: flag), axis=None)

  def _replicated_step(
    self, batch, num_slots=None, num_iterations=None, image_size=None, step_options=None
  ):
    fold_in = tf.random.experimental.stateless_fold_in
    seed = fold_in(tf.constant([self.config.seed, 0], tf.int32), tf.cast(self.step, tf.int32))
    seed = fold_in(seed, tf.cast(self.num_rewinds, tf.int32))
    self._anneal()
    values, gradients = self.strategy.run(
      self._gradients, args=(batch, seed, num_slots, num_iterations, image_size, step_options)
    )
    values = {k: self.strategy.reduce("SUM", v, axis=None) for k, v in values.items()}
    if "ari_fg" in values:
      values["ari_fg"] /= values.pop("foreground")  # NaN where no image has any
    local = self.strategy.experimental_local_results
    norm = local(gradients)[0][1]
    values["grad_norm"] = norm
    values["learning_rate"] = self._schedule(self.optimizer.iterations)
    values["finite"] = tf.math.is_finite(norm) & tf.math.is_finite(values["loss"])

    def update():
      self.strategy.run(self._apply, args=(gradients,))
      self._follow(values, image_size)
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

  def _anneal(self):
    settings = self.model.config.flat()
    for name, variable in self.model.weights().items():
      start = self.config.starts.get(name)
      if start is not None:
        step = self._parted.steps if self._parted else self.step
        value = annealed(start, settings[name], step, self.config.anneal_steps)
        variable.assign(tf.cast(value, variable.dtype))

  def _follow(self, values, image_size):
    """The KL's weight by GECO, and the clock of the annealing, after an update."""
    if self._geco:
      weight = self.model.weights()["kl_weight"]
      height, width, channels = self.model.config.image_size
      num_pixels = math.prod(image_size or (height, width))
      per_value = values["nll"] / (num_pixels * channels)
      updated = self._geco.update(per_value, tf.cast(weight, tf.float32))
      weight.assign(tf.cast(updated, weight.dtype))
    if self._parted:
      self._parted.update(values["mask_entropy"])

  def _gradients(self, batch, seed, num_slots, num_iterations, image_size, step_options):
    """Pure: this replica's part of the losses, and the gradients summed over replicas."""
    context = tf.distribute.get_replica_context()
    replica = tf.get_static_value(context.replica_id_in_sync_group)
    images = batch["image"]
    with tf.GradientTape() as tape:
      output = self.model(
        images,
        num_slots=num_slots,
        num_iterations=num_iterations,
        seed=seed,
        first_index=replica * self._replica_batch,
        step_options=step_options,
        image_size=image_size,
        as_function=not self.config.jit,
      )
      loss = tf.reduce_sum(output.loss) / self.config.batch_size
      scale = self._loss_scale.value if self._loss_scale else None
      target = loss if scale is None else loss * scale
    zero = tf.UnconnectedGradients.ZERO  # T = 1 refines nothing
    gradients = tape.gradient(target, self.variables, unconnected_gradients=zero)
    if context.num_replicas_in_sync > 1:  # TensorFlow keeps the graph of a sum for good
      gradients = context.all_reduce("SUM", gradients)
    if scale is not None:
      gradients = [g / scale for g in gradients]
    last = output.at(-1)
    target, true_mask = self._last_target(batch, num_iterations)
    sums = {
      "nll": last.nll,
      **last.terms,
      "mse": metrics.mse(target, last.reconstruction),
      "mask_entropy": metrics.mask_entropy(last.masks),
      "undecided_pixels": metrics.undecided_pixels(last.masks),
      "used_slots": metrics.used_slots(last.masks),
    }
    values = {
      "loss": loss,
      **{name: tf.reduce_sum(value) / self.config.batch_size for name, value in sums.items()},
      **_ari_sums(true_mask, last.masks, self._num_background),
    }
    return values, (gradients, tf.linalg.global_norm(gradients))

  def _make_geco(self):
    if self.config.geco_target is None:
      return None
    if "kl_weight" not in self.model.weights():
      raise ConfigError(f"geco_target needs a KL, which {self.model.config.model} does not have")
    highest = max(1.0, self.model.config.flat()["kl_weight"])
    return Geco(self.config.geco_target, self.config.geco_rate, (1e-3, highest))

  def _last_target(self, batch, num_iterations):
    """What the last decode is scored against: images [B, H, W, C], true masks or None."""
    images, true_mask = batch["image"], batch.get("mask")
    if images.shape.rank == 4:
      return images, true_mask
    timeline = unroll.timeline_of(self.model, images, num_iterations)
    last = timeline.num_decodes - 1
    masks = None if true_mask is None else timeline.target(true_mask, last)
    return timeline.target(images, last), masks

  def _apply(self, gradients):
    clipped, norm = gradients
    if self.config.clip_norm is not None:
      clipped, _ = tf.clip_by_global_norm(clipped, self.config.clip_norm, use_norm=norm)
    self.optimizer.apply_gradients(
      zip(clipped, self.variables, strict=True), skip_gradients_aggregation=True
    )


def _make_optimizer(config, schedule):
  # Where there is a GPU Keras would have XLA compile a function for each variable: at every start,
  # and another update than the one that is tested on a CPU.
  plain = {"jit_compile": False}
  if config.optimizer == "rmsprop":
    return tf_keras.optimizers.RMSprop(schedule, rho=0.9, epsilon=1e-10, **plain)
  if config.optimizer == "muon":
    return Muon(schedule, beta_1=config.beta1, epsilon=1e-8, **plain)
  return Adam(schedule, beta_1=config.beta1, epsilon=1e-8, **plain)


def _ari_sums(true_mask, masks, num_background):
  """ARI-FG summed over the images that have it, and their number; nothing without true masks."""
  if true_mask is None:
    return {}
  ari = metrics.ari_fg(true_mask, masks, num_background)
  defined = tf.math.is_finite(ari)
  return {
    "ari_fg": tf.reduce_sum(tf.where(defined, ari, 0.0)),
    "foreground": tf.reduce_sum(tf.cast(defined, tf.float32)),
  }
