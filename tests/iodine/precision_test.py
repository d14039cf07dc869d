"""Mixed precision: layers, what stays in float32, loss scaling, and training beside float32."""

import json

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

from iodine import Iodine, IodineConfig, precision
from iodine.training import LossScale
from tests.iodine.training.scenes import MODEL, TRAINING, run, scenes, values

MODEL = MODEL.replace(decoder_channels=(8, 8), lstm_size=8)
LAYERS = [
  (lambda dtype: precision.Conv2D(5, 3, stride=2, compute_dtype=dtype), snt.Conv2D(5, 3, 2)),
  (
    lambda dtype: precision.Conv2DTranspose(5, 3, stride=2, compute_dtype=dtype),
    snt.Conv2DTranspose(5, 3, stride=2),
  ),
  (lambda dtype: precision.Linear(5, compute_dtype=dtype), snt.Linear(5)),
]


@pytest.mark.parametrize(("make", "plain"), LAYERS, ids=["conv", "transposed", "linear"])
@pytest.mark.parametrize(("dtype", "error"), [(tf.bfloat16, 2**-7), (tf.float16, 2**-9)])
def test_layers_compute_low_on_float32_variables(make, plain, dtype, error):
  rng = np.random.default_rng(0)
  shape = [2, 4] if isinstance(plain, snt.Linear) else [2, 6, 6, 4]
  x = tf.constant(rng.normal(size=shape), tf.float32)
  expected = plain(x)
  for compute_dtype in (None, dtype):
    layer = make(compute_dtype)
    layer(x)
    layer.w.assign(plain.w)
    layer.b.assign(plain.b + 0.5)
    assert {v.dtype for v in layer.variables} == {tf.float32}
    result = layer(x)
    if compute_dtype is None:
      np.testing.assert_array_equal(result, expected + 0.5)
    else:
      assert result.dtype == dtype
      np.testing.assert_allclose(tf.cast(result, tf.float32), expected + 0.5, atol=4 * error)


@pytest.mark.parametrize("decoder", ["broadcast", "deconv", "modulated"])
def test_likelihood_and_posterior_stay_in_float32(decoder):
  images = next(iter(scenes()))["image"]
  full, low = (
    Iodine(MODEL.replace(decoder=decoder, precision=p)) for p in ("float32", "mixed_bfloat16")
  )
  for model in (full, low):
    model.create_variables()
  for ours, theirs in zip(low.variables, full.variables, strict=True):
    assert ours.name == theirs.name
    ours.assign(theirs)
  ours, theirs = low(images, seed=[0, 1]), full(images, seed=[0, 1])
  assert {value.dtype for value in tf.nest.flatten(ours)} == {tf.float32}
  np.testing.assert_allclose(ours.loss, theirs.loss, rtol=0.01)
  assert np.abs(ours.means - theirs.means).max() > 1e-5  # something was computed in bfloat16


def test_a_bfloat16_training_follows_the_float32_one(make_trainer):
  losses = {}
  for name in ("float32", "mixed_bfloat16"):
    trainer = make_trainer(MODEL.replace(precision=name), TRAINING)
    metrics = run(trainer, 30)
    assert all(m["finite"] for m in metrics)
    assert {v.dtype for v in trainer.variables} == {tf.float32}
    losses[name] = np.array([float(m["loss"]) for m in metrics])
  full, low = losses.values()
  assert full[-5:].mean() < 0.6 * full[:5].mean()
  np.testing.assert_allclose(low, full, rtol=0.01)
  assert (low != full).all()


def test_the_gradient_is_without_the_scale_of_its_loss(make_trainer):
  norms = []
  for name in ("float32", "mixed_float16"):
    trainer = make_trainer(MODEL.replace(precision=name), TRAINING)
    if trainer._loss_scale:
      trainer._loss_scale.value.assign(64.0)  # the usual one overflows at first
    (logged,) = run(trainer, 1)
    norms.append(float(logged["grad_norm"]))
  np.testing.assert_allclose(norms[1], norms[0], rtol=0.02)


def test_float16_skips_overflows_until_the_scale_fits(tmp_path, make_trainer):
  config = MODEL.replace(precision="mixed_float16")
  trainer = make_trainer(config, TRAINING, tmp_path)
  trainer._loss_scale.value.assign(2.0**40)
  before = values(trainer)
  first = run(trainer, 1)[0]
  assert not first["finite"]
  assert np.isfinite(first["loss"])
  assert float(first["loss_scale"]) == 2.0**40
  for ours, theirs in zip(values(trainer), before, strict=True):
    np.testing.assert_array_equal(ours, theirs)
  trainer._loss_scale.value.assign(64.0)
  metrics = run(trainer, 20)
  assert metrics[-1]["finite"]
  assert float(metrics[-1]["loss"]) < float(first["loss"])
  assert trainer.num_nonfinite.numpy() == 0  # an overflow is no fault
  trainer.checkpoints.save()
  other = make_trainer(config, TRAINING)
  other.restore(tmp_path)
  restored, scale = (float(t._loss_scale.value.numpy()) for t in (other, trainer))
  assert restored == scale < 2.0**40
  nan = lambda *args: scenes(*args).map(lambda s: {**s, "image": s["image"] * np.float32(np.nan)})
  run(trainer, 1, nan)
  assert trainer.num_nonfinite.numpy() == 1


def test_the_scale_grows_back():
  scale = LossScale(initial=4.0, growth_steps=3)
  seen = []
  for finite in (True, True, False, True, True, True, True, False, False, False, False):
    scale.update(tf.constant(finite))
    seen.append(float(scale.value))
  assert seen == [4, 4, 2, 2, 2, 4, 4, 2, 1, 1, 1]


def test_precisions_that_are_none():
  with pytest.raises(ValueError, match="precision must be one of 'float32', 'mixed_bfloat16'"):
    MODEL.replace(precision="bfloat16")
  with pytest.raises(ValueError, match="needs dtype=float32, got float64"):
    IodineConfig(precision="mixed_bfloat16", dtype="float64")


def test_a_checkpoint_from_before_there_were_precisions(tmp_path, make_trainer):
  make_trainer(MODEL, TRAINING, tmp_path).checkpoints.save()
  path = tmp_path / "config.json"
  saved = json.loads(path.read_text())
  del saved["precision"]
  path.write_text(json.dumps(saved))
  assert make_trainer(MODEL, TRAINING).restore(tmp_path) == []


def test_a_run_goes_on_in_another_precision(tmp_path, make_trainer):
  half = MODEL.replace(precision="mixed_float16")
  for first, second in ((MODEL, half), (half, MODEL)):
    trainer = make_trainer(first, TRAINING, tmp_path / first.precision)
    run(trainer, 1)
    trainer.checkpoints.save()
    other = make_trainer(second, TRAINING)
    assert other.restore(tmp_path / first.precision) == []
    for ours, theirs in zip(values(other), values(trainer), strict=True):
      np.testing.assert_array_equal(ours, theirs)
    assert run(other, 8)[-1]["finite"]  # the first ones may overflow in float16
    make_trainer.release()


@pytest.mark.parametrize(
  ("features", "emulated"),
  [
    ("flags\t\t: fpu avx2 f16c", {"mixed_bfloat16", "mixed_float16"}),
    ("flags\t\t: fpu avx2 avx512bw", {"mixed_float16"}),
    ("flags\t\t: fpu avx2 avx512bw amx_bf16 avx512_fp16", set()),
    ("Features\t: fp asimd fphp bf16", set()),
    ("Features\t: fp asimd", {"mixed_bfloat16", "mixed_float16"}),
    ("hw : of another kind", set()),
  ],
)
def test_what_a_processor_has_no_units_for_is_known(tmp_path, features, emulated):
  cpuinfo = tmp_path / "cpuinfo"
  cpuinfo.write_text(f"processor\t: 0\n{features}\nbugs\t\t:\n")
  found = {p for p in precision.POLICIES if precision.is_emulated(p, False, cpuinfo)}
  assert found == emulated
  assert not any(precision.is_emulated(p, True, cpuinfo) for p in precision.POLICIES)
  assert not any(precision.is_emulated(p, False, tmp_path / "none") for p in precision.POLICIES)
