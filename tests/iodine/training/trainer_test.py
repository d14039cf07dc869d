"""The training step against an oracle, on replicas, with faults."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from iodine import Iodine, make_config, metrics
from iodine.errors import ConfigError, UserError
from iodine.geco import DECAY
from iodine.training import Trainer, make_strategy
from iodine.training.distribution import replica_batches
from tests.iodine.training.scenes import (
  EXACT,
  MODEL,
  TRAINING,
  cast,
  logical_devices,
  run,
  scenes,
  values,
)


def nan_images(*args):
  nan = lambda scene: {**scene, "image": scene["image"] * np.float32(np.nan)}
  return scenes(*args).map(nan)


def test_steps_are_adam_on_the_clipped_gradient_of_equation_4(make_trainer):
  trainer = make_trainer(EXACT, TRAINING.replace(learning_rate=0.01))
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


@pytest.mark.parametrize("num_devices", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_devices_change_nothing_but_speed(num_devices, make_trainer):
  one = make_trainer(EXACT, TRAINING)
  many = make_trainer(EXACT, TRAINING, strategy=logical_devices(num_devices))
  for ours, theirs in zip(values(many), values(one), strict=True):
    np.testing.assert_array_equal(ours, theirs)
  for a, b in zip(run(one, 20), run(many, 20), strict=True):
    for name in a:
      np.testing.assert_allclose(b[name], a[name], rtol=1e-5, atol=1e-6, err_msg=name)
  for ours, theirs in zip(values(many), values(one), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)


def test_a_trainer_that_is_let_go_leaves_nothing_in_memory():
  trainer = Trainer(MODEL, TRAINING)
  batch = next(trainer.distribute(scenes))
  trainer.train_step(batch)
  graph = weakref.ref(trainer.traced_step(batch).graph)
  assert graph() is not None
  del trainer
  gc.collect()
  assert graph() is None


@pytest.mark.parametrize("jit", [False, True])
def test_an_iteration_is_a_function_but_for_xla(make_trainer, jit):
  """XLA compiles at every step where a function hands shapes to its gradient."""
  trainer = make_trainer(MODEL, TRAINING.replace(jit=jit))
  graph = trainer.traced_step(next(trainer.distribute(scenes))).graph.as_graph_def()
  nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
  assert any(node.op.endswith("PartitionedCall") for node in nodes) != jit


@pytest.mark.parametrize(
  ("num_devices", "changes", "sentence"),
  [(2, {}, "for one device, got 2"), (1, {"recompute": True}, "would compile at every step")],
)
def test_what_xla_cannot_do_is_refused(num_devices, changes, sentence):
  strategy = logical_devices(num_devices)
  with pytest.raises(ConfigError, match=sentence):
    Trainer(MODEL.replace(**changes), TRAINING.replace(jit=True), strategy=strategy)


def test_replicas_read_one_pipeline_in_turn():
  """Its own options hold, for there is no other pipeline behind it; half a round is left out."""
  strategy = logical_devices(2)
  pipeline = tf.data.Dataset.range(10).batch(2)
  rounds = [
    [part.numpy().tolist() for part in strategy.experimental_local_results(batch)]
    for batch in replica_batches(strategy, pipeline)
  ]
  assert rounds == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


def test_a_curriculum_is_one_training_after_the_other(tmp_path, make_trainer):
  stage = {"num_slots": 4, "num_iterations": 1}
  training = TRAINING.replace(curriculum=[{"until": 2, **stage}])
  whole = make_trainer(MODEL, training, tmp_path / "whole")
  run(whole, 1)
  whole.checkpoints.save()
  run(whole, 3, lambda *args: scenes(*args, start=1))

  first = make_trainer(MODEL.replace(**stage), TRAINING, tmp_path / "first")
  run(first, 2)
  first.checkpoints.save()
  second = make_trainer(MODEL, TRAINING)
  second.restore(tmp_path / "first")
  run(second, 2, lambda *args: scenes(*args, start=2))
  for ours, theirs in zip(values(whole), values(second), strict=True):
    np.testing.assert_array_equal(ours, theirs)

  whole.restore(tmp_path / "whole")  # goes back into the stage
  run(whole, 1, lambda *args: scenes(*args, start=1))
  for ours, theirs in zip(values(whole), values(first), strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_a_stage_of_smaller_images_is_the_training_of_a_smaller_model(tmp_path, make_trainer):
  def small(*args, start=0):
    crop = lambda scene: {"image": scene["image"][:, :6, :5], "mask": scene["mask"][:, :, :6, :5]}
    return scenes(*args, start=start).map(crop)

  training = TRAINING.replace(curriculum=[{"until": 2, "image_size": [6, 5]}], geco_target=-50.0)
  whole = make_trainer(EXACT, training, tmp_path / "whole")
  seen = run(whole, 2, small)
  whole.checkpoints.save()

  share = 6 * 5 / (8 * 8)
  smaller = EXACT.replace(image_size=[6, 5, 3], kl_weight=share * EXACT.likelihood.kl_weight)
  alone = make_trainer(smaller, TRAINING)
  (expected,) = run(alone, 1, small)
  for name in ("loss", "nll", "kl", "mse", "ari_fg", "grad_norm"):
    np.testing.assert_allclose(seen[0][name], expected[name], rtol=1e-10, err_msg=name)
  per_value = float(seen[0]["nll"]) / (6 * 5 * 3)  # GECO's target is one of a pixel and channel
  second = float(seen[1]["nll"]) / (6 * 5 * 3)
  average = DECAY * (per_value + 50) + (1 - DECAY) * (second + 50)
  np.testing.assert_allclose(whole.state()["geco"].average, average, rtol=1e-5)

  again = make_trainer(EXACT, training, tmp_path / "again")
  again.restore(tmp_path / "whole")
  (large,), (other,) = run(whole, 1), run(again, 1)  # at their own size
  for name in ("loss", "mse"):
    np.testing.assert_array_equal(large[name], other[name])
  with pytest.raises(UserError, match=r"expected images \[B, 8, 8, 3\]"):
    run(whole, 1, small)


def test_what_is_reported_is_of_the_last_decode():
  trainer = Trainer(EXACT, TRAINING, num_background=2)
  batch = next(iter(cast(scenes(), tf.float64)))
  fold_in = tf.random.experimental.stateless_fold_in
  seed = fold_in(fold_in(tf.constant([1, 0]), 0), 0)
  last = trainer.model(batch["image"], seed=seed).at(-1)
  (logged,) = run(trainer, 1)
  expected = {
    "nll": last.nll,
    "kl": last.terms["kl"],
    "mse": metrics.mse(batch["image"], last.reconstruction),
    "mask_entropy": metrics.mask_entropy(last.masks),
    "ari_fg": metrics.ari_fg(batch["mask"], last.masks, 2),
  }
  for name, value in expected.items():
    np.testing.assert_allclose(logged[name], np.nanmean(value), rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("optimizer", ["adam", "muon", "rmsprop"])
def test_the_schedule_is_the_optimizers(make_trainer, optimizer):
  """The first of four steps of warm-up moves a quarter as far."""
  moves = []
  for warmup in (0, 4):
    trainer = make_trainer(EXACT, TRAINING.replace(optimizer=optimizer, warmup_steps=warmup))
    before = values(trainer)
    run(trainer, 1)
    moves.append([now - then for now, then in zip(values(trainer), before, strict=True)])
  for plain, warm in zip(*moves, strict=True):
    np.testing.assert_allclose(warm, plain / 4, rtol=1e-4, atol=1e-12)


def test_a_non_finite_step_leaves_geco_as_it_was(make_trainer):
  trainer = make_trainer(MODEL, TRAINING.replace(geco_target=-1.0, geco_rate=0.1))
  run(trainer, 2)
  known = lambda: (trainer.model.kl_weight.numpy(), trainer._geco.average.numpy())
  before = known()
  assert not run(trainer, 1, nan_images)[0]["finite"]
  assert known() == before


def test_a_non_finite_step_updates_nothing(make_trainer):
  trainer = make_trainer(MODEL, TRAINING)
  run(trainer, 1)
  before = values(trainer)

  metrics = run(trainer, 1, nan_images)[0]
  assert not metrics["finite"]
  for ours, theirs in zip(values(trainer), before, strict=True):
    np.testing.assert_array_equal(ours, theirs)
  assert trainer.num_nonfinite.numpy() == 1
  assert run(trainer, 1)[0]["finite"]


def test_a_rewind_goes_back_and_takes_another_way(tmp_path, make_trainer):
  trainer = make_trainer(MODEL, TRAINING, tmp_path)
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


def test_images_without_masks_train(make_trainer):
  trainer = make_trainer(MODEL, TRAINING)
  metrics = run(trainer, 1, lambda *args: scenes(*args).map(lambda s: {"image": s["image"]}))
  assert np.isfinite(metrics[0]["loss"])
  assert "ari_fg" not in metrics[0]


def test_devices_that_do_not_divide_the_batch(make_trainer):
  strategy = logical_devices(3)
  with pytest.raises(ValueError, match="batch_size=4 cannot be split over 3 devices"):
    make_trainer(MODEL, TRAINING, strategy=strategy)
  assert make_strategy().num_replicas_in_sync == 1


def test_sigma_and_the_weight_of_the_kl_are_annealed_and_kept(tmp_path, make_trainer):
  training = TRAINING.replace(sigma_start=0.6, kl_weight_start=0.01, anneal_steps=2)
  trainer = make_trainer(MODEL, training, tmp_path)
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
  other = make_trainer(MODEL, training)
  other.restore(tmp_path)
  np.testing.assert_allclose(other.model.sigma.numpy(), sigmas[1])
  np.testing.assert_allclose(other.model.kl_weight.numpy(), weights[1])


def test_geco_moves_the_kl_weight_towards_its_target(tmp_path, make_trainer):
  """By the formula, from the logged errors of 8 x 8 x 3 values; a resume goes on with it."""
  training = TRAINING.replace(geco_target=-1.0, geco_rate=0.1)
  trainer = make_trainer(MODEL, training, tmp_path)
  average, weight = None, MODEL.likelihood.kl_weight
  for found in run(trainer, 4):
    violation = float(found["nll"]) / (8 * 8 * 3) + 1.0
    average = violation if average is None else 0.99 * average + 0.01 * violation
    weight = np.clip(weight * np.exp(-0.1 * average), 1e-3, 1.0)
  assert weight != MODEL.likelihood.kl_weight
  np.testing.assert_allclose(trainer.model.kl_weight, weight, rtol=1e-4)
  trainer.checkpoints.save()
  saved = trainer.model.kl_weight.numpy()
  expected = run(trainer, 2, lambda *args: scenes(*args, start=4))
  make_trainer.release()
  second = make_trainer(MODEL, training)
  second.restore(tmp_path)
  np.testing.assert_array_equal(second.model.kl_weight, saved)
  found = run(second, 2, lambda *args: scenes(*args, start=4))
  for ours, theirs in zip(found, expected, strict=True):
    np.testing.assert_array_equal(ours["loss"], theirs["loss"])


def test_geco_may_begin_with_a_resume(tmp_path, make_trainer):
  first = make_trainer(MODEL, TRAINING, tmp_path)
  run(first, 1)
  first.checkpoints.save()
  weight = 0.4 * MODEL.likelihood.kl_weight
  lighter = MODEL.replace(kl_weight=weight)
  second = make_trainer(lighter, TRAINING.replace(geco_target=-50.0))
  second.restore(tmp_path)
  np.testing.assert_allclose(second.model.kl_weight, weight, rtol=1e-6)
  run(second, 1, lambda *args: scenes(*args, start=1))
  assert 0.001 <= second.model.kl_weight.numpy() < weight


def test_a_stage_may_score_the_mixed_image(make_trainer):
  training = TRAINING.replace(curriculum=[{"until": 1, "mixed": True}])
  trainer = make_trainer(EXACT, training)
  batch = next(iter(cast(scenes(), tf.float64)))
  fold_in = tf.random.experimental.stateless_fold_in
  for step, mixed in enumerate((True, False)):
    seed = fold_in(fold_in(tf.constant([1, 0]), step), 0)
    expected = tf.reduce_mean(
      trainer.model(batch["image"], seed=seed, step_options={"mixed": mixed}).loss
    )
    (metrics,) = run(trainer, 1)
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-10)


@pytest.mark.parametrize(("threshold", "waits"), [(2.0, False), (1e-6, True)])
def test_annealing_waits_until_slots_have_parted(tmp_path, threshold, waits, make_trainer):
  """Three slots have at most log 3 nats: above that nothing waits, at none it waits for ever."""
  plain = TRAINING.replace(sigma_start=0.6, anneal_steps=4)
  trainer = make_trainer(MODEL, plain.replace(anneal_entropy=threshold), tmp_path)
  for step in range(3):
    (metrics,) = run(trainer, 1)
    assert 1e-6 < metrics["mask_entropy"] < np.log(3)
    expected = 0.6 if waits else 0.6 * 0.5 ** (step / 4)
    assert trainer.model.sigma.numpy() == pytest.approx(expected)
  trainer.checkpoints.save()
  make_trainer.release()
  second = make_trainer(MODEL, plain.replace(anneal_entropy=threshold))
  second.restore(tmp_path)
  run(second, 1)
  assert second.model.sigma.numpy() == pytest.approx(0.6 if waits else 0.6 * 0.5 ** (3 / 4))


@pytest.mark.parametrize(
  ("changes", "training", "sentence"),
  [
    ({}, {"curriculum": [{"until": 2, "num_slots": 3}]}, "until step 2: num_slots must be at most"),
    ({}, {"curriculum": [{"until": 2, "mixed": True}]}, "mixed=True is not for model=vae"),
    ({}, {"curriculum": [{"until": 2, "image_size": [4, 4]}]}, r"until step 2: image_size must be"),
    (
      {"decoder": "deconv"},
      {"curriculum": [{"until": 2, "image_size": [4, 4]}]},
      r"image_size must be \[8, 8\], .*, got \[4, 4\]",
    ),
    (
      {"mask_gradient": "mask"},
      {"curriculum": [{"until": 2, "mixed": True}]},
      "mixed=True needs mask_gradient=logits",
    ),
  ],
)
def test_a_curriculum_of_another_model_is_refused(changes, training, sentence):
  vae = make_config({"model": "vae", "image_size": [8, 8, 3], "encoder_channels": [4, 4, 4]})
  model = MODEL.replace(**changes) if changes else vae
  with pytest.raises(ConfigError, match=sentence):
    Trainer(model, TRAINING.replace(**training))


def test_nothing_is_annealed_that_a_model_does_not_have():
  nem = make_config({"model": "nem", "image_size": [8, 8, 1]})
  with pytest.raises(ConfigError, match=r"sigma_start=0.5 is not for model=nem"):
    Trainer(nem, TRAINING.replace(sigma_start=0.5, anneal_steps=3))


def test_a_stage_needs_as_many_frames_as_clips_have(make_trainer):
  stages = [{"until": 1, "num_iterations": 9}, {"until": 2, "num_slots": 4}]
  trainer = make_trainer(MODEL, TRAINING.replace(curriculum=stages))
  trainer.check_clips(9)
  with pytest.raises(ConfigError, match=r"until step 1 with num_iterations=9 needs 9 frames, .* 8"):
    trainer.check_clips(8)


def test_geco_leaves_a_heavy_kl_its_weight(make_trainer):
  trainer = make_trainer(MODEL.replace(kl_weight=3.0), TRAINING.replace(geco_target=1e6))
  run(trainer, 1)
  assert trainer.model.weights()["kl_weight"].numpy() == 3.0
  trainer = make_trainer(MODEL, TRAINING.replace(geco_target=1e6))
  run(trainer, 1)
  assert trainer.model.weights()["kl_weight"].numpy() == 1.0


@pytest.mark.parametrize("optimizer", ["adam", "muon", "rmsprop"])
def test_a_gpu_is_updated_as_the_cpu_is(optimizer, monkeypatch):
  """Keras asks whether there is one when the optimizer is made."""
  gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
  listed = tf.config.list_physical_devices
  monkeypatch.setattr(
    tf.compat.v2.config,
    "list_physical_devices",
    lambda kind=None: [gpu] if kind == "GPU" else listed(kind),
  )
  trainer = Trainer(MODEL, TRAINING.replace(optimizer=optimizer))
  assert not trainer.optimizer.jit_compile
