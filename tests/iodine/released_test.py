"""Parity with the original program, from its own numbers in float64."""

import numpy as np
import pytest
import tensorflow as tf

from iodine import Iodine, IodineConfig, released
from iodine.auxiliary import Gradients
from iodine.noise import Noise
from tests import golden
from tests.golden import relative_error

RELEASED = {
  "likelihood": "logistic",
  "sigma": 0.03,
  "coordinate_type": "cosine",
  "latent_scale": "variance",
  "final_decode": True,
  "log_space_inputs": True,
  "batch_mean_gradients": True,
  "activate_mlp_output": False,
  "capacity_channels": True,
}
SMALL = IodineConfig(
  image_size=(35, 35, 3),
  num_slots=3,
  num_iterations=3,
  latent_size=8,
  decoder_channels=(16, 16, 16, 16),
  decoder_kernel=5,
  encoder_channels=(16, 16, 16),
  encoder_kernel=5,
  encoder_stride=2,
  mlp_sizes=(32,),
  lstm_size=0,
  dtype="float64",
  **RELEASED,
)
TOLERANCE = 1e-12  # relative to the largest entry; the largest error met is 4e-14


class GivenNoise(Iodine):
  """The model with the reference's noise in place of its own."""

  def __init__(self, config, eps):
    super().__init__(config)
    self._eps = tf.constant(eps, tf.float64)

  def noise(self, noise, batch_size, num_slots):
    eps = tf.gather(self._eps, noise.iteration)
    return tf.slice(eps, [0, 0, 0], [batch_size, num_slots, -1])


@pytest.fixture(
  scope="module", params=golden.sources(["tetris_f64", "tetris_lstm_f64"]), ids="-".join
)
def run(request):
  """The reference's arrays, our model with its variables, our output, loss and gradients."""
  arrays = golden.load(request)
  config = SMALL.replace(lstm_size=24 if "lstm" in request.param[0] else 0)
  model = GivenNoise(config, arrays["eps"])
  model.create_variables()
  variables = {
    k.removeprefix("var/"): v.astype(np.float64) for k, v in arrays.items() if "var/" in k
  }
  released.assign(model, variables)
  images = tf.constant(arrays["image"][:, 0], tf.float64)
  with tf.GradientTape() as tape:
    output = model(images)
    loss = tf.reduce_mean(output.loss)
  gradients = tape.gradient(loss, model.trainable_variables)
  by_id = {id(v): g for v, g in zip(model.trainable_variables, gradients, strict=True)}
  return arrays, model, images, output, loss, by_id


@pytest.mark.parametrize(
  ("ours", "theirs"),
  [
    ("params", "zp"),
    ("mean", "z_mean"),
    ("stddev", "z_std"),
    ("z", "z"),
    ("means", "components"),
    ("mask_logits", "mask_logits"),
    ("masks", "masks"),
    ("nll", "re"),
    ("kl", "kl"),
  ],
)
def test_every_iteration_agrees(run, ours, theirs):
  arrays, _, _, output, _, _ = run
  record = output.latents if hasattr(output.latents, ours) else output
  value = getattr(record, ours)
  value = tf.reduce_sum(value, axis=-1) if ours == "kl" else value
  assert relative_error(value, arrays[f"out/{theirs}"]) < TOLERANCE


def test_loss_and_reconstruction_agree(run):
  arrays, _, _, output, loss, _ = run
  np.testing.assert_allclose(loss, arrays["out/total_loss"], rtol=1e-6)  # float32 loss weights
  assert relative_error(output.reconstruction[:, :, None], arrays["out/recons"]) < TOLERANCE


def test_gradient_of_every_variable_agrees(run):
  arrays, model, _, _, _, gradients = run
  expected = {k.removeprefix("grad/"): v for k, v in arrays.items() if k.startswith("grad/")}
  found = in_the_original_layout(model, gradients, {k: v.shape for k, v in expected.items()})
  errors = {k: relative_error(found[k], v) for k, v in expected.items()}
  assert max(errors.values()) < TOLERANCE, errors
  norm = np.sqrt(sum(np.sum(np.square(g)) for g in gradients.values()))
  np.testing.assert_allclose(norm, arrays["grad_global_norm"], rtol=1e-6)


def in_the_original_layout(model, gradients, shapes):
  """Our gradients (by the variable's id) by the original's names, in its order of entries."""
  places, start = {}, 0
  for name, shape in shapes.items():
    places[name] = np.arange(start, start + np.prod(shape), dtype=np.float64).reshape(shape)
    start += places[name].size
  moved = released.convert(model, places, forget_bias=0.0)
  assert {id(v) for v, _ in moved} == set(gradients)
  entries = np.full(start, np.nan)
  for variable, place in moved:
    entries[np.asarray(place, int)] = gradients[id(variable)]
  return {name: entries[place.astype(int)] for name, place in places.items()}


@pytest.mark.parametrize("iteration", [0, 1])
def test_auxiliary_inputs_agree(run, iteration):
  arrays, model, images, output, _, _ = run
  params = output.latents.params[iteration]
  decode = model.decode(images, params, model.noise(Noise([0, 0], iteration), 2, 3))
  grads = Gradients(*[g / 2 for g in decode.grads])
  ours = model.auxiliary.normalised(images, params, decode.mixture, grads)
  for name, theirs in released.SPATIAL.items():
    if name != "capacity":
      expected = arrays[f"in{iteration}/spatial/{theirs}"]
      actual = np.broadcast_to(ours[name], expected.shape)
      assert relative_error(actual, expected) < TOLERANCE, name
  for name in ("posterior", "grad_posterior"):
    expected = arrays[f"in{iteration}/flat/{released.VECTOR[name]}"]
    assert relative_error(ours[name], expected) < TOLERANCE, name


def test_encoder_agrees(run):
  arrays, model, _, _, _, _ = run
  if isinstance(arrays["core0/spatial_concat"], golden.Digest):
    pytest.skip("what goes in is in the full file only")
  channels = arrays["core0/spatial_concat"].shape[-1]
  order = released._reorder(model.auxiliary.channels, released.SPATIAL)
  assert sorted(order) == list(range(channels))
  encoded = model.refinement.encode(tf.constant(arrays["core0/spatial_concat"][..., order]))
  assert relative_error(encoded, arrays["core0/encoder_out"]) < TOLERANCE


def test_missing_and_left_over_variables_are_named(run):
  arrays, model, *_ = run
  variables = {k.removeprefix("var/"): v for k, v in arrays.items() if "var/" in k}
  variables["refinement_head/extra"] = variables.pop("refinement_head/residual_head/linear/b")
  with pytest.raises(ValueError, match=r"missing \['refinement_head/residual_head/linear/b'\]"):
    released.convert(model, variables)
