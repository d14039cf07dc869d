"""Training on clips: prediction, replicas, going on."""

import numpy as np
import pytest
import tensorflow as tf

from iodine import IodineConfig, tracking
from iodine.training import TrainingConfig
from tests.iodine.training.scenes import logical_devices, run, values

LENGTH = 4
MODEL = IodineConfig(
  image_size=(6, 6, 1),
  num_slots=2,
  num_iterations=LENGTH,
  latent_size=4,
  sigma=0.3,
  kl_weight=0.1,
  decoder_channels=(8,),
  encoder_channels=(8,),
  mlp_sizes=(16,),
  lstm_size=0,
)
EXACT = MODEL.replace(dtype="float64", update="predictor_corrector")
TRAINING = TrainingConfig(batch_size=8, num_steps=1000, learning_rate=5e-3, seed=1)


def blobs(batch_size=8, pipeline=0, num_pipelines=1, start=0, num=48):
  """Clips of a square of 3 x 3 that goes a pixel to the right with every frame."""
  rng = np.random.default_rng(0)
  images = np.zeros([num, LENGTH, 6, 6, 1], np.float32)
  for clip, row in zip(images, rng.integers(4, size=num), strict=True):
    for t in range(LENGTH):
      clip[t, row : row + 3, t : t + 3] = 1
  masks = np.stack([1 - images, images], axis=2)
  data = tf.data.Dataset.from_tensor_slices({"image": images, "mask": masks}).repeat()
  return data.batch(batch_size, drop_remainder=True).skip(start)


def shorter(*args, **kwargs):
  """Their first two frames, which make a smaller graph."""
  return blobs(*args, **kwargs).map(lambda clip: {k: v[:, :2] for k, v in clip.items()})


def test_next_step_predicts_what_reconstruction_only_repeats(make_trainer):
  """The objective's frame is the one that a decode learns to show (A.1)."""
  clips = next(iter(blobs(48)))["image"]
  errors = {}
  for objective in ("next_step", "reconstruction"):
    training = TRAINING.replace(learning_rate=1e-2)
    trainer = make_trainer(MODEL.replace(objective=objective), training)
    run(trainer, 100, blobs)
    predictions = tracking.Tracker(trainer.model)(clips).predicted.reconstruction
    before, now = (
      float(np.mean(np.square(predictions[:, 2:] - clips[:, first : first + 2])))
      for first in (1, 2)
    )
    errors[objective] = {"before": before, "now": now}
  assert errors["next_step"]["now"] < 0.7 * errors["next_step"]["before"]
  assert errors["reconstruction"]["before"] < 0.7 * errors["reconstruction"]["now"]
  assert errors["next_step"]["now"] < 0.7 * errors["reconstruction"]["now"]
  # copying the last frame is wrong in 6 of 36 pixels
  assert errors["next_step"]["now"] < 6 / 36


@pytest.mark.parametrize("changes", [{}, {"recompute": True, "batch_mean_gradients": True}])
def test_devices_change_nothing_on_clips(changes, make_trainer):
  model = EXACT.replace(**changes)
  one = make_trainer(model, TRAINING)
  two = make_trainer(model, TRAINING, strategy=logical_devices(2))
  for a, b in zip(run(one, 5, shorter), run(two, 5, shorter), strict=True):
    for name in a:
      np.testing.assert_allclose(b[name], a[name], rtol=1e-5, atol=1e-6, err_msg=name)
  for ours, theirs in zip(values(two), values(one), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)


def test_going_on_with_clips_is_as_if_never_stopped(make_trainer, tmp_path):
  whole = make_trainer(EXACT, TRAINING, tmp_path)
  run(whole, 2, shorter)
  whole.checkpoints.save()
  run(whole, 3, lambda *args: shorter(*args, start=2))
  expected = values(whole)
  make_trainer.release()
  resumed = make_trainer(EXACT, TRAINING)
  resumed.restore(tmp_path)
  run(resumed, 3, lambda *args: shorter(*args, start=2))
  for ours, theirs in zip(values(resumed), expected, strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_a_stage_may_look_at_fewer_frames(make_trainer):
  """The curriculum's T cuts clips short; their first frames are the ones that are seen."""
  training = TRAINING.replace(curriculum=[{"until": 1, "num_iterations": 2}])
  short = make_trainer(MODEL.replace(num_iterations=3), training)
  plain = make_trainer(MODEL, TRAINING)
  [ours], [theirs] = run(short, 1, blobs), run(plain, 1, shorter)
  for name in ours:
    np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, err_msg=name)
