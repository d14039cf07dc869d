"""The training step against an oracle, replicas, resuming, faults."""

import dataclasses
import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from iodine import Iodine, ModelConfig
from iodine.training import (
  CheckpointError,
  Schedule,
  Trainer,
  TrainingConfig,
  make_strategy,
  restore,
)

MODEL = ModelConfig(
  image_size=(8, 8, 3),
  num_slots=3,
  num_iterations=2,
  latent_size=4,
  sigma=0.3,
  decoder_channels=(8,),
  encoder_channels=(8,),
  encoder_kernel=3,
  mlp_sizes=(8,),
  lstm_size=0,
)
EXACT = dataclasses.replace(MODEL, dtype="float64")  # Adam's first steps magnify float32 rounding
TRAINING = TrainingConfig(batch_size=4, num_steps=20, learning_rate=1e-3, seed=1)


def scenes(batch_size=4, pipeline=0, num_pipelines=1, start=0, num=40):
  """Batches of random images with masks of two objects on a background."""
  rng = np.random.default_rng(0)
  images = rng.uniform(size=[num, 8, 8, 3]).astype(np.float32)
  labels = rng.integers(3, size=[num, 8, 8])
  masks = np.moveaxis(np.eye(3, dtype=np.float32)[labels], -1, 1)[..., None]
  data = tf.data.Dataset.from_tensor_slices({"image": images, "mask": masks}).repeat()
  return data.batch(batch_size, drop_remainder=True).skip(start)


def cast(dataset, dtype):
  return dataset.map(lambda scene: {**scene, "image": tf.cast(scene["image"], dtype)})


def logical_devices(number):
  """Collectives, the default, take one group size only in a process."""
  return tf.distribute.MirroredStrategy(
    [f"CPU:{i}" for i in range(number)],
    cross_device_ops=tf.distribute.ReductionToOneDevice(),
  )


def run(trainer, num_steps, make=scenes):
  batches = iter(trainer.distribute(lambda *args: cast(make(*args), trainer.model.dtype)))
  return [trainer.train_step(next(batches)) for _ in range(num_steps)]


def values(trainer):
  return [v.numpy() for v in trainer.variables]


def test_steps_are_adam_on_the_clipped_gradient_of_equation_4():
  trainer = Trainer(EXACT, dataclasses.replace(TRAINING, learning_rate=0.01))
  oracle = Iodine(EXACT)
  oracle.create_variables()
  for ours, theirs in zip(oracle.trainable_variables, trainer.variables, strict=True):
    ours.assign(theirs)
  metrics = run(trainer, 3)
  moments = [(0.0, 0.0) for _ in trainer.variables]
  for step, batch in enumerate(cast(scenes(), tf.float64).take(3)):
    fold_in = tf.random.experimental.stateless_fold_in
    seed = fold_in(fold_in(tf.constant([1, 0]), step), 0)  # step, number of rewinds
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(oracle(batch["image"], seed=seed).loss)
    gradients = [g.numpy() for g in tape.gradient(loss, oracle.trainable_variables)]
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients))
    np.testing.assert_allclose(metrics[step]["loss"], loss, rtol=1e-4)  # Keras: rate in float32
    np.testing.assert_allclose(metrics[step]["grad_norm"], norm, rtol=1e-4)
    assert norm > 5.0  # else nothing is clipped and the test shows less
    for i, (v, g) in enumerate(zip(oracle.trainable_variables, gradients, strict=True)):
      g = g * 5.0 / norm
      m, s = moments[i]
      m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
      moments[i] = m, s
      rate = 0.01 * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
      v.assign_sub(rate * m / (np.sqrt(s) + 1e-8))
  for ours, theirs in zip(trainer.variables, oracle.trainable_variables, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("num_devices", "changes"), [(4, {}), (2, {"recompute": True, "batch_mean_gradients": True})]
)
def test_devices_change_nothing_but_speed(num_devices, changes):
  model = dataclasses.replace(EXACT, **changes)
  one = Trainer(model, TRAINING)
  many = Trainer(model, TRAINING, strategy=logical_devices(num_devices))
  for ours, theirs in zip(values(many), values(one), strict=True):
    np.testing.assert_array_equal(ours, theirs)
  for a, b in zip(run(one, 20), run(many, 20), strict=True):
    for name in a:
      np.testing.assert_allclose(b[name], a[name], rtol=1e-5, atol=1e-6, err_msg=name)
  for ours, theirs in zip(values(many), values(one), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)


def test_resuming_is_bit_identical(tmp_path):
  whole = Trainer(MODEL, TRAINING)
  run(whole, 6)
  first = Trainer(MODEL, TRAINING, tmp_path)
  run(first, 3)
  first.checkpoints.save()
  second = Trainer(MODEL, TRAINING)
  assert second.restore(tmp_path) == []
  assert second.steps_done == 3
  run(second, 3, lambda *args: scenes(*args, start=3))
  for ours, theirs in zip(values(second), values(whole), strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_geco_moves_the_kl_weight_towards_its_target(tmp_path):
  """By the formula, from the logged errors of 8 x 8 x 3 values; a resume goes on with it."""
  training = dataclasses.replace(TRAINING, geco_target=-1.0, geco_rate=0.1)
  trainer = Trainer(MODEL, training, tmp_path)
  average, weight = None, MODEL.kl_weight
  for metrics in run(trainer, 4):
    violation = float(metrics["nll"]) / (8 * 8 * 3) + 1.0
    average = violation if average is None else 0.99 * average + 0.01 * violation
    weight = np.clip(weight * np.exp(-0.1 * average), 1e-3, 1.0)
  assert weight != MODEL.kl_weight
  np.testing.assert_allclose(trainer.model.kl_weight, weight, rtol=1e-4)
  trainer.checkpoints.save()
  second = Trainer(MODEL, training)
  second.restore(tmp_path)
  np.testing.assert_array_equal(second.model.kl_weight, trainer.model.kl_weight)
  for ours, theirs in zip(
    run(second, 2, lambda *args: scenes(*args, start=4)),
    run(trainer, 2, lambda *args: scenes(*args, start=4)),
    strict=True,
  ):
    np.testing.assert_array_equal(ours["loss"], theirs["loss"])


def test_geco_may_begin_with_a_resume(tmp_path):
  first = Trainer(MODEL, TRAINING, tmp_path)
  run(first, 1)
  first.checkpoints.save()
  second = Trainer(MODEL, dataclasses.replace(TRAINING, geco_target=-50.0))
  second.restore(tmp_path)
  run(second, 1, lambda *args: scenes(*args, start=1))
  assert 0.001 <= second.model.kl_weight.numpy() < MODEL.kl_weight


def test_a_curriculum_is_one_training_after_the_other(tmp_path):
  stage = {"num_slots": 4, "num_iterations": 1}
  training = dataclasses.replace(TRAINING, curriculum=[{"until": 2, **stage}])
  whole = Trainer(MODEL, training, tmp_path / "whole")
  run(whole, 1)
  whole.checkpoints.save()
  run(whole, 3, lambda *args: scenes(*args, start=1))

  first = Trainer(dataclasses.replace(MODEL, **stage), TRAINING, tmp_path / "first")
  run(first, 2)
  first.checkpoints.save()
  second = Trainer(MODEL, TRAINING)
  second.restore(tmp_path / "first")
  run(second, 2, lambda *args: scenes(*args, start=2))
  for ours, theirs in zip(values(whole), values(second), strict=True):
    np.testing.assert_array_equal(ours, theirs)

  whole.restore(tmp_path / "whole")  # goes back into the stage
  run(whole, 1, lambda *args: scenes(*args, start=1))
  for ours, theirs in zip(values(whole), values(first), strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_a_stage_may_score_the_mixed_image():
  training = dataclasses.replace(TRAINING, curriculum=[{"until": 1, "mixed": True}])
  trainer = Trainer(EXACT, training)
  batch = next(iter(cast(scenes(), tf.float64)))
  fold_in = tf.random.experimental.stateless_fold_in
  for step, mixed in enumerate((True, False)):
    seed = fold_in(fold_in(tf.constant([1, 0]), step), 0)
    expected = tf.reduce_mean(trainer.model(batch["image"], seed=seed, mixed=mixed).loss)
    (metrics,) = run(trainer, 1)
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-10)


@pytest.mark.parametrize(
  ("stages", "message"),
  [
    ([{"num_slots": 4}], 'a stage of the curriculum has "until"'),
    ([{"until": 5, "slots": 4}], r"got \{'until': 5, 'slots': 4\}"),
    ([{"until": 5, "num_slots": 1}], "num_slots must be at least 2"),
    ([{"until": 5, "num_iterations": 0}], "num_iterations must be at least 1"),
    ([{"until": 5}, {"until": 5}], r"one after the other, got \[5, 5\]"),
    ([{"until": 5, "mixed": 1}], '"mixed" in the curriculum is true or false, got 1'),
    ([{"until": 0}], r"one after the other, got \[0\]"),
  ],
)
def test_a_curriculum_that_makes_no_sense(stages, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(TRAINING, curriculum=stages)


def test_a_non_finite_step_updates_nothing():
  trainer = Trainer(MODEL, TRAINING)
  run(trainer, 1)
  before = values(trainer)

  def broken(*args):
    nan = lambda scene: {**scene, "image": scene["image"] * np.float32(np.nan)}
    return scenes(*args).map(nan)

  metrics = run(trainer, 1, broken)[0]
  assert not metrics["finite"]
  for ours, theirs in zip(values(trainer), before, strict=True):
    np.testing.assert_array_equal(ours, theirs)
  assert trainer.num_nonfinite.numpy() == 1
  assert run(trainer, 1)[0]["finite"]


def test_a_rewind_goes_back_and_takes_another_way(tmp_path):
  trainer = Trainer(MODEL, TRAINING, tmp_path)
  run(trainer, 1)
  trainer.checkpoints.save()
  before = values(trainer)
  loss = run(trainer, 2)[0]["loss"]
  assert trainer.data_seed == TRAINING.seed
  trainer.rewind()
  assert trainer.steps_done == 1
  assert trainer.data_seed != TRAINING.seed
  for ours, theirs in zip(values(trainer), before, strict=True):
    np.testing.assert_array_equal(ours, theirs)
  assert run(trainer, 1)[0]["loss"] != loss  # the same images, other noise


def test_images_without_masks_train():
  trainer = Trainer(MODEL, TRAINING)
  metrics = run(trainer, 1, lambda *args: scenes(*args).map(lambda s: {"image": s["image"]}))
  assert np.isfinite(metrics[0]["loss"])
  assert "ari_fg" not in metrics[0]


def test_the_last_few_and_the_best_are_kept(tmp_path):
  trainer = Trainer(MODEL, TRAINING, tmp_path, keep=2)
  for score in (0.1, 0.9, 0.5):
    run(trainer, 1)
    trainer.checkpoints.save_best(score)
    trainer.checkpoints.save()
  assert sorted(p.name for p in tmp_path.glob("*.index")) == ["ckpt-2.index", "ckpt-3.index"]
  assert [p.name for p in (tmp_path / "best").glob("*.index")] == ["best-2.index"]
  model = Iodine(MODEL)
  model.create_variables()
  step = tf.Variable(0, dtype=tf.int64)
  restore(tf.train.Checkpoint(model=model, step=step), model, tmp_path, "best")
  assert int(step) == 2
  with pytest.raises(AssertionError):
    np.testing.assert_array_equal(model.trainable_variables[0], trainer.variables[0])


@pytest.mark.parametrize("damage", ["truncated", "bit", "missing"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage):
  trainer = Trainer(MODEL, TRAINING, tmp_path)
  for _ in range(2):
    run(trainer, 1)
    trainer.checkpoints.save()
  data = tmp_path / "ckpt-2.data-00000-of-00001"
  content = bytearray(data.read_bytes())
  if damage == "missing":
    data.unlink()
  else:
    content[len(content) // 2] ^= 255
    data.write_bytes(content[: len(content) // 2] if damage == "truncated" else content)
  other = Trainer(MODEL, TRAINING)
  assert other.restore(tmp_path) == [str(tmp_path / "ckpt-2")]
  assert other.steps_done == 1
  for path in tmp_path.glob("ckpt-1.data*"):
    path.write_bytes(b"")
  with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"):
    other.restore(tmp_path)


def test_another_configuration_is_refused_with_the_keys(tmp_path):
  trainer = Trainer(MODEL, TRAINING, tmp_path)
  trainer.checkpoints.save()
  other = Trainer(dataclasses.replace(MODEL, latent_size=5, num_slots=4), TRAINING)
  with pytest.raises(CheckpointError, match="latent_size: 4 saved, 5 now") as error:
    other.restore(tmp_path)
  assert "num_slots" not in str(error.value)  # K may change
  assert json.loads((tmp_path / "config.json").read_text())["latent_size"] == 4


def test_resumed_with_another_weight_of_the_kl_and_sigma(tmp_path):
  trainer = Trainer(MODEL, TRAINING, tmp_path)
  trainer.checkpoints.save()
  other = Trainer(dataclasses.replace(MODEL, kl_weight=0.25, sigma=0.2), TRAINING)
  other.restore(tmp_path)
  assert other.model.kl_weight.numpy() == 0.25
  assert other.model.sigma.numpy() == np.float32(0.2)
  annealing = dataclasses.replace(TRAINING, sigma_start=0.6, anneal_steps=2)
  other = Trainer(dataclasses.replace(MODEL, kl_weight=0.25), annealing)
  other.restore(tmp_path)
  assert other.model.kl_weight.numpy() == 0.25  # the one that is not annealed


def test_no_checkpoint_and_no_folder(tmp_path):
  trainer = Trainer(MODEL, TRAINING)
  with pytest.raises(CheckpointError, match="no checkpoint in"):
    trainer.restore(tmp_path / "absent")
  (tmp_path / "file").write_text("")
  blocked = Trainer(MODEL, TRAINING, tmp_path / "file" / "checkpoints")
  with pytest.raises(CheckpointError, match="cannot write a checkpoint to"):
    blocked.checkpoints.save()


def test_a_full_file_system(tmp_path):
  mount = ["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", str(tmp_path)]
  if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
    pytest.skip("no file system can be mounted here")
  try:
    trainer = Trainer(MODEL, TRAINING, tmp_path / "run", keep=100)

    def train_on():
      for _ in range(100):
        run(trainer, 1)
        trainer.checkpoints.save()

    with pytest.raises(CheckpointError, match=r"No space left.*the ones before are intact"):
      train_on()
    left = {p.name for p in (tmp_path / "run").glob("ckpt-*")}
    # the last one is whole, too, if what found no room was the folder's list of checkpoints
    last = trainer.steps_done - (f"ckpt-{trainer.steps_done}.index" not in left)
    kinds = ("index", "data-00000-of-00001")
    assert left == {f"ckpt-{n}.{kind}" for n in range(1, last + 1) for kind in kinds}
    other = Trainer(MODEL, TRAINING)
    assert other.restore(tmp_path / "run") == []
    assert other.steps_done == last > 0
  finally:
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_devices_that_do_not_divide_the_batch():
  strategy = logical_devices(3)
  with pytest.raises(ValueError, match="batch_size=4 cannot be split over 3 devices"):
    Trainer(MODEL, TRAINING, strategy=strategy)
  assert make_strategy().num_replicas_in_sync == 1


@pytest.mark.parametrize(
  ("changes", "step", "expected"),
  [
    ({}, 10**6, 1e-3),
    ({"learning_rate_schedule": "exponential"}, 500_000, 1e-3 * 0.1**0.5),
    ({"learning_rate_schedule": "cosine"}, 10, 0.5e-3),
    ({"warmup_steps": 10}, 4, 0.5e-3),
    ({"learning_rate_schedule": "trapezoidal"}, 16, 1e-3),
    ({"learning_rate_schedule": "trapezoidal"}, 18, 0.5e-3),
    ({"warmup_steps": 10, "learning_rate_schedule": "cosine"}, 19, 1e-3 * 0.00615583),
  ],
)
def test_learning_rate(changes, step, expected):
  schedule = Schedule(dataclasses.replace(TRAINING, **changes))
  np.testing.assert_allclose(schedule(tf.constant(step, tf.int64)), expected, rtol=1e-5)


def test_sigma_and_the_weight_of_the_kl_are_annealed_and_kept(tmp_path):
  training = dataclasses.replace(TRAINING, sigma_start=0.6, kl_weight_start=0.01, anneal_steps=2)
  trainer = Trainer(MODEL, training, tmp_path)
  sigmas, weights = [], []
  for _ in range(4):
    run(trainer, 1)
    sigmas.append(float(trainer.model.sigma.numpy()))
    weights.append(float(trainer.model.kl_weight.numpy()))
    trainer.checkpoints.save()
  np.testing.assert_allclose(sigmas, [0.6, (0.6 * 0.3) ** 0.5, 0.3, 0.3], rtol=1e-6)
  np.testing.assert_allclose(weights, [0.01, 0.1, 1, 1], rtol=1e-6)
  for path in tmp_path.glob("ckpt-[34].index"):
    path.unlink()
  other = Trainer(MODEL, training)
  other.restore(tmp_path)
  np.testing.assert_allclose(other.model.sigma.numpy(), sigmas[1])
  np.testing.assert_allclose(other.model.kl_weight.numpy(), weights[1])


@pytest.mark.parametrize(("threshold", "waits"), [(2.0, False), (1e-6, True)])
def test_annealing_waits_until_slots_have_parted(tmp_path, threshold, waits):
  """Three slots have at most log 3 nats: above that nothing waits, at none it waits for ever."""
  plain = dataclasses.replace(TRAINING, sigma_start=0.6, anneal_steps=4)
  trainer = Trainer(MODEL, dataclasses.replace(plain, anneal_entropy=threshold), tmp_path)
  for step in range(3):
    (metrics,) = run(trainer, 1)
    assert 1e-6 < metrics["mask_entropy"] < np.log(3)
    expected = 0.6 if waits else 0.6 * 0.5 ** (step / 4)
    assert trainer.model.sigma.numpy() == pytest.approx(expected)
  trainer.checkpoints.save()
  second = Trainer(MODEL, dataclasses.replace(plain, anneal_entropy=threshold))
  second.restore(tmp_path)
  run(second, 1)
  assert second.model.sigma.numpy() == pytest.approx(0.6 if waits else 0.6 * 0.5 ** (3 / 4))


def test_waiting_needs_something_to_wait():
  with pytest.raises(ValueError, match=r"anneal_entropy=0\.5 holds annealing back"):
    dataclasses.replace(TRAINING, anneal_entropy=0.5)


@pytest.mark.parametrize(
  "changes", [{"sigma_start": 0.6}, {"kl_weight_start": 0.1}, {"anneal_steps": 3}]
)
def test_annealing_is_said_in_full(changes):
  with pytest.raises(ValueError, match="need anneal_steps"):
    dataclasses.replace(TRAINING, **changes)


@pytest.mark.parametrize(
  "changes",
  [{"batch_size": 0}, {"num_steps": 0}, {"learning_rate": 0.0}, {"learning_rate_schedule": "step"}],
)
def test_bad_training_configurations_are_refused(changes):
  with pytest.raises(ValueError, match=next(iter(changes))):
    dataclasses.replace(TRAINING, **changes)
