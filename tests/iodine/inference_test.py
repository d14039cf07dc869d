import numpy as np
import pytest
import tensorflow as tf

from iodine import Iodine, IodineConfig, evaluation
from iodine.errors import UserError
from iodine.inference import Inference

CONFIG = IodineConfig(
  image_size=(8, 8, 3),
  num_slots=3,
  num_iterations=2,
  latent_size=4,
  decoder_channels=(8,),
  encoder_channels=(8,),
  mlp_sizes=(8,),
  lstm_size=5,
)
IMAGES = tf.constant(np.random.default_rng(0).uniform(size=[5, 8, 8, 3]), tf.float32)


@pytest.fixture(scope="module", params=[False, True])
def model(request):
  tf.random.set_seed(0)
  scale = "variance" if request.param else "stddev"
  model = Iodine(CONFIG.replace(final_decode=request.param, latent_scale=scale))
  model.create_variables()
  return model


def test_it_is_the_unrolled_model(model):
  decoded = Inference(model, num_iterations=3, num_slots=4).iterations(IMAGES, seed=6)
  output = model(IMAGES, num_iterations=3, num_slots=4, seed=[6, 1])
  for name in ("means", "mask_logits", "masks", "nll"):
    actual, expected = getattr(decoded, name), getattr(output, name)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4, err_msg=name)
  for name, actual in decoded.latents._asdict().items():
    expected = getattr(output.latents, name)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3, err_msg=name)


def test_the_last_decode_does_not_depend_on_the_batch(model):
  infer = Inference(model)
  together = infer(IMAGES, seed=1)
  np.testing.assert_allclose(together.masks, infer.iterations(IMAGES, seed=1).masks[-1], atol=1e-6)
  alone = infer(IMAGES[3:4], seed=1, first_index=3)
  pairs = zip(tf.nest.flatten(alone), tf.nest.flatten(together), strict=True)
  for value, expected in pairs:
    np.testing.assert_allclose(value, expected[3:4], rtol=1e-4, atol=1e-5)
  assert np.abs(infer(IMAGES, seed=2).latents.z - together.latents.z).max() > 0.1


def test_it_agrees_with_the_evaluator(model):
  scores = evaluation.Evaluator(model, seed=3)([{"image": IMAGES}])
  decoded = Inference(model)(IMAGES, seed=3)
  error = np.mean((IMAGES - decoded.reconstruction) ** 2, axis=(1, 2, 3))
  np.testing.assert_allclose(scores["mse"][:, -1], error, rtol=1e-4)


def test_wrong_numbers(model):
  with pytest.raises(ValueError, match="num_slots must be at least 2"):
    Inference(model, num_slots=1)


def test_images_that_the_model_does_not_take(model):
  infer = Inference(model)
  with pytest.raises(UserError, match="got uint8: divide by 255"):
    infer(np.zeros([1, 8, 8, 3], np.uint8))
  with pytest.raises(UserError, match="expected images"):
    infer(np.zeros([1, 8, 9, 3], np.float32))


def test_images_and_clips_of_any_length_one_after_the_other(model):
  infer, evaluate = Inference(model), evaluation.Evaluator(model)
  clips = [np.random.default_rng(n).uniform(size=[2, n, 8, 8, 3]).astype("f") for n in (3, 5, 3)]
  last = int(model.config.released.final_decode)
  for frames in (*clips, IMAGES, clips[1][:1]):
    decodes = model.config.num_iterations + last if frames.ndim == 4 else frames.shape[1]
    assert infer.iterations(frames).nll.shape == (decodes, len(frames))
    assert evaluate([{"image": tf.constant(frames)}])["nll"].shape == (len(frames), decodes)
