"""MONet against two public programs' numbers: one stops two gradients, the other none."""

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf
import tensorflow_probability as tfp

from iodine.baselines import Monet, MonetConfig
from iodine.baselines.layers import ConvEncoder
from iodine.baselines.monet_networks import AttentionNetwork, ComponentDecoder
from tests import golden
from tests.golden import relative_error
from tests.iodine.baselines import parity

tfd = tfp.distributions

TOLERANCE = 1e-9
MONET = MonetConfig(
  image_size=(64, 64, 3),
  num_slots=3,
  dtype="float64",
  latent_size=5,
  attention_channels=(4, 5, 6, 7, 8),
  attention_sizes=(12, 10),
  encoder_channels=(4, 5, 6, 7),
  encoder_size=16,
  decoder_channels=(6, 7, 8, 9),
  stop_gradients=True,
)
GENESIS = MONET.replace(
  image_size=(32, 32, 3),
  attention_channels=(4, 8, 8, 8),
  attention_sizes=(128, 128),
  encoder_channels=(4, 4, 8, 8),
  encoder_size=256,
  decoder_channels=(6, 6, 6, 6),
  stop_gradients=False,
  mask_floor=1e-5,
)


class GivenNoise(Monet):
  """The model with the reference's noise in place of its own."""

  eps = None

  def noise(self, noise, shape):
    return tf.constant(self.eps, tf.float64)


class Genesis(GivenNoise):
  """With the other program's choices where they are not options of ours."""

  monte_carlo = True

  def __init__(self, config):
    super().__init__(config)
    self.attention = AttentionNetwork(
      config.attention_channels, config.attention_sizes, (4, 4, 8, 8), norm_scale=True
    )
    self.encoder = MaskFirst(config.encoder_channels, 3, config.encoder_size, 10)
    self.encoder.convs = [padded(conv) for conv in self.encoder.convs]
    self.decoder = ComponentDecoder(config.image_size, config.decoder_channels, tf.sigmoid)

  def scaled(self, images):
    return images

  def posterior(self, params):
    mean, raw = tf.split(params, 2, axis=-1)
    return tfd.Normal(mean, tf.nn.softplus(raw + 0.5) + 1e-8)

  def log_prob(self, images, means, log_masks):
    components = tfd.Normal(means, self.sigmas(tf.shape(means)[1])).log_prob(images[:, None])
    mixed = tf.reduce_logsumexp(log_masks + components, axis=1)  # each channel by itself
    return tf.reduce_sum(mixed, axis=-1, keepdims=True)

  def latent_kl(self, posterior, z):
    if not self.monte_carlo:
      return super().latent_kl(posterior, z)
    zero = tf.zeros([], z.dtype)
    return posterior.log_prob(z) - tfd.Normal(zero, zero + 1).log_prob(z)


class MaskFirst(ConvEncoder):
  """Reads the mask before the image."""

  def __call__(self, x):
    return super().__call__(tf.gather(x, [3, 0, 1, 2], axis=-1))


def padded(conv):
  """A pixel on either side, where TensorFlow's SAME has none before and one after."""
  return snt.Conv2D(conv.output_channels, 3, stride=2, padding=snt.pad.same)


def monet_pairs(model, values):
  attention, decoder = model.attention, model.decoder
  found = [(attention.output.w, "conv_out/w"), (attention.output.b, "conv_out/b")]
  for way in ("down", "up"):
    for i, block in enumerate(getattr(attention, way)):
      found.append((block.conv.w, f"{way}_{i}/conv/w"))
      found.append((block.norm.offset, f"{way}_{i}/instance_norm/beta"))
  for i, linear in enumerate(attention.mlp):
    found += [(linear.w, f"linear_{i}/w"), (linear.b, f"linear_{i}/b")]
  pairs = [(v, f"model/attention_net/{name}") for v, name in found]
  found = [(decoder, "conv_0"), (decoder.output, "conv_out")]
  found += [(conv, f"conv_{i + 1}") for i, conv in enumerate(decoder.convs)]
  found = [(layer, f"decoder/{name}") for layer, name in found]
  layers = encoder_layers(model.encoder)
  encoder = [f"conv_{i}" for i in range(4)] + ["linear_0", "linear_out"]
  found += [(layer, f"encoder/{name}") for layer, name in zip(layers, encoder, strict=True)]
  for layer, name in found:
    pairs += [(getattr(layer, x), f"model/vae_net/{name}/{x}") for x in ("w", "b")]
  assert {name for _, name in pairs} == set(values)
  return [(v, values[name]) for v, name in pairs]


def genesis_pairs(model, values):
  attention, decoder = model.attention, model.decoder
  depth = len(attention.down)
  found = []
  for way, blocks in (("down", attention.down), ("up", attention.up[::-1])):
    for i, block in enumerate(blocks):
      name = f"att_process.core.{way}.{i}"
      found.append((block.conv.w, f"{name}.0.weight"))
      found += [(block.norm.scale, f"{name}.1.weight"), (block.norm.offset, f"{name}.1.bias")]
  assert depth == 4
  layers = [(attention.output, "att_process.core.final_conv")]
  layers += [(m, f"att_process.core.mlp.{2 * i + 1}") for i, m in enumerate(attention.mlp)]
  convs = [decoder, *decoder.convs, decoder.output]
  layers += [(m, f"comp_vae.decoder_module.seq.{2 * i + 1}") for i, m in enumerate(convs)]
  numbers = (0, 2, 4, 6, 9, 11)
  encoder = encoder_layers(model.encoder)
  layers += [
    (m, f"comp_vae.encoder_module.module.{i}") for m, i in zip(encoder, numbers, strict=True)
  ]
  for layer, name in layers:
    found += [(layer.w, f"{name}.weight"), (layer.b, f"{name}.bias")]
  assert {name for _, name in found} == set(values)
  return [(v, values[name]) for v, name in found]


def encoder_layers(encoder):
  return [*encoder.convs, encoder.hidden, encoder.output]


@pytest.fixture(scope="module", params=golden.sources(["monet", "monet_genesis"]), ids="-".join)
def run(request):
  """The reference's arrays, our model with its variables, output, loss and gradients."""
  arrays, genesis = golden.load(request), request.param[0] == "monet_genesis"
  model = Genesis(GENESIS) if genesis else GivenNoise(MONET)
  model.eps = arrays["eps"]
  images = tf.constant(arrays["image"].astype(np.float64))
  model(images)
  pairs = genesis_pairs if genesis else monet_pairs
  parity.assign(model, pairs(model, parity.section(arrays, "var/")))
  return arrays, model, images, pairs, *parity.loss_and_gradients(model, images)


def test_every_output_agrees(run):
  arrays, model, _, _, output, loss, _ = run
  output = output.at(0)
  _, mask_logits = model.decoder(output.latents.z)
  ours = {
    "log_mask": output.mask_logits,
    "component_mean": output.means,
    "mask_logits": mask_logits,
    "z_loc": output.latents.mean,
    "z_scale": output.latents.stddev,
    "z": output.latents.z,
    "z_raw_scale": output.latents.params[..., 5:],
    "loss_nll": output.nll,
    "loss_mask": output.terms["mask_kl"],
    "total_loss": loss,
  }
  if "out/kl_l" in arrays:
    ours["kl_l"] = tf.reduce_sum(output.latents.kl, axis=-1)
  else:
    ours["loss_kld"] = output.terms["kl"]
  for name, value in ours.items():
    assert relative_error(value, arrays[f"out/{name}"]) < TOLERANCE, name


def test_gradient_of_every_variable_agrees(run):
  arrays, model, _, pairs, _, _, gradients = run
  expected = pairs(model, parity.section(arrays, "grad/"))
  assert parity.worst_gradient(gradients, expected) < TOLERANCE


def test_the_kl_in_closed_form_agrees(run):
  arrays, model, images, pairs, _, _, _ = run
  if "out/kl_l_analytic" not in arrays:
    pytest.skip("this program has the closed form only: see above")
  model.monte_carlo = False
  output, loss, gradients = parity.loss_and_gradients(model, images)
  model.monte_carlo = True
  kl = tf.reduce_sum(output.latents.kl[0], axis=-1)
  assert relative_error(kl, arrays["out/kl_l_analytic"]) < TOLERANCE
  assert relative_error(loss, arrays["out/total_loss_analytic"]) < TOLERANCE
  expected = pairs(model, parity.section(arrays, "grad_analytic/"))
  assert parity.worst_gradient(gradients, expected) < TOLERANCE


def test_stopping_the_gradients_changes_the_attention_s_alone(run):
  _, model, images, _, output, _, gradients = run
  if isinstance(model, Genesis):
    pytest.skip("its gradients are not stopped")
  whole = GivenNoise(MONET.replace(stop_gradients=False))
  whole.eps = model.eps
  whole(images)
  parity.assign(whole, list(zip(whole.trainable_variables, model.trainable_variables, strict=True)))
  same, _, others = parity.loss_and_gradients(whole, images)
  np.testing.assert_array_equal(same.loss, output.loss)
  for ours, theirs in zip(whole.trainable_variables, model.trainable_variables, strict=True):
    error = relative_error(others[id(ours)], gradients[id(theirs)])
    in_attention = any(ours is v for v in whole.attention.trainable_variables)
    assert (error > 1e-3) if in_attention else (error < TOLERANCE), ours.name


@pytest.mark.parametrize(
  ("size", "blocks"), [(32, (32, 32, 64, 64)), (64, (32, 32, 64, 64, 64)), (35, (32, 32, 64, 64))]
)
def test_the_u_net_is_as_deep_as_the_image_asks_for(size, blocks):
  assert MonetConfig(image_size=(size, size, 3)).unet_channels == blocks


def test_full_size_has_the_published_number_of_parameters():
  variables = Monet(MonetConfig(image_size=(64, 64, 3))).create_variables()
  assert sum(v.shape.num_elements() for v in variables) == 1_019_717


def test_any_size_of_image_and_the_masks_sum_to_one():
  model = Monet(MONET.replace(image_size=(21, 14, 3), attention_channels=(4, 5, 6)))
  images = tf.constant(np.random.default_rng(0).uniform(size=[2, 21, 14, 3]))
  output = model(images, num_slots=4)
  assert output.means.shape == [1, 2, 4, 21, 14, 3]
  np.testing.assert_allclose(tf.reduce_sum(output.masks, axis=2), 1, rtol=1e-12)


def test_annealing_sigma_keeps_the_background_s_ratio():
  model = Monet(MONET)
  model.sigma.assign(0.22)
  np.testing.assert_allclose(model.sigmas(3)[:, 0, 0, 0], [0.18, 0.22, 0.22], rtol=1e-12)


def test_a_floor_under_the_masks_keeps_the_kl_finite():
  log_masks = tf.constant([0.0, -200.0], tf.float64)[None, :, None, None, None]
  kl = Monet(MONET.replace(mask_floor=1e-5)).mask_kl(log_masks, log_masks[:, ::-1])
  masks = np.array([1.0, 1e-5]) / (1 + 1e-5)
  np.testing.assert_allclose(kl, [np.sum(masks * np.log(masks / masks[::-1]))], rtol=1e-9)
