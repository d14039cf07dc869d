"""N-EM, RNN-NEM and R-NEM against the original programs' numbers, and what they refuse."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from iodine import build_model, metrics
from iodine.baselines import Nem, NemConfig, layers, nem, nem_networks
from iodine.errors import ConfigError
from iodine.noise import Noise
from tests import golden
from tests.golden import relative_error
from tests.iodine.baselines import parity

TOLERANCE = 1e-9
SMALL = NemConfig(dtype="float64", num_slots=3, num_iterations=4, hidden_size=32)
CONFIGS = {
  "rnn_nem": SMALL,
  "nem": SMALL.replace(cell="gradient"),
  "rnn_nem_conv": SMALL.replace(
    num_iterations=3,
    hidden_size=20,
    cell_norm=True,
    encoder_channels=(5, 7),
    encoder_size=24,
    decoder_size=22,
    decoder_channels=(6, 4),
    flip_probability=0.2,
    loss_steps="sum",
    stop_gamma=True,
  ),
  "r_nem": SMALL.replace(
    image_size=(64, 64, 1),
    num_iterations=3,
    cell="relational",
    hidden_size=24,
    relation_sizes=(20, 18, 16, 12),
    encoder_channels=(4, 6, 8),
    encoder_size=32,
    decoder_size=30,
    decoder_channels=(7, 5, 3),
    flip_probability=0.2,
    loss_steps="mean",
    stop_gamma=True,
  ),
}


class GivenNoise(Nem):
  """The model with the reference's noise in place of its own."""

  def __init__(self, config, gamma, flips):
    super().__init__(config)
    self._gamma, self._flips = tf.constant(gamma), tf.constant(flips)

  def initial_gamma(self, noise, batch_size, num_slots):
    return self._gamma

  def flips(self, noise, batch_size):
    return tf.gather(self._flips, noise.iteration)


def names(layer, path):
  """(variable, name) of an affine layer in the original's words."""
  return [(layer.w, f"{path}/weights"), (layer.b, f"{path}/biases")]


def norm_names(norm, path):
  return [(norm.scale, f"{path}/gamma"), (norm.offset, f"{path}/beta")]


def variable_names(network):
  """(variable, the original's name without its first part) of every variable of a network."""
  if hasattr(network, "rate"):
    cell = "multi_rnn_cell/cell_0/NEMCell"
    return [(network.w, f"{cell}/input/weights"), (network.rate, f"{cell}/lr/scalar")]
  pairs = []
  # the numbers count the reshapes too: one before the encoder's convolutions, one in each chain
  for letter, chain, wrapper in (
    ("I", ["reshape", *network.encoder], "InputWrapper"),
    ("O", network.decoder, "OutputWrapper"),
  ):
    for number, layer in enumerate(chain):
      block = getattr(layer, "layer", layer)
      if not hasattr(block, "w"):
        continue
      kind = "Conv" if block.w.shape.rank == 4 else "fully_connected"
      pairs += names(block, f"{wrapper}{number}/{kind}")
      if hasattr(layer, "norm"):
        pairs += norm_names(layer.norm, f"LayerNorm{letter}{number}/LayerNorm")
  cell = network.cell
  if hasattr(cell, "core"):
    blocks = [cell.encoder, cell.core, cell.context, cell.attention]
    for number, block in enumerate(blocks):
      suffix = f"_{number}" if number else ""
      pairs += names(block.layer, f"NPE/fully_connected{suffix}")
      pairs += norm_names(block.norm, f"NPE/LayerNorm{suffix}")
    pairs += names(cell.attention_logit, "NPE/fully_connected_4")
    pairs += names(cell.linear, "NPE/fully_connected_5")
    pairs += norm_names(cell.norm, "LayerNormR0/LayerNorm")
  else:
    path = "multi_rnn_cell/cell_0/basic_rnn_cell"
    pairs += [(cell.linear.w, f"{path}/kernel"), (cell.linear.b, f"{path}/bias")]
    if cell.norm is not None:
      pairs += norm_names(cell.norm, "multi_rnn_cell/cell_0/LayerNormR0/LayerNorm")
  return pairs


def pairs_of(network, arrays, prefix):
  values = {k.split("/", 1)[1]: v for k, v in parity.section(arrays, prefix).items()}
  pairs = variable_names(network)
  assert {name for _, name in pairs} == set(values)
  return [(variable, values[name]) for variable, name in pairs]


@pytest.fixture(scope="module", params=golden.sources(CONFIGS), ids="-".join)
def run(request):
  """The reference's arrays, our model with its variables, output, loss and gradients."""
  name, arrays = request.param[0], golden.load(request)
  gamma = np.abs(arrays["gamma_noise"].astype(np.float64))
  gamma /= gamma.sum(axis=1, keepdims=True)
  flips = arrays["noise_flip"][:, :, 0].astype(np.float64)  # [T + 1, B, H, W, 1]
  model = GivenNoise(CONFIGS[name], gamma, flips)
  images = tf.constant(np.moveaxis(arrays["image"][:, :, 0], 0, 1).astype(np.float64))
  model(images)  # [B, T + 1, H, W, 1]
  parity.assign(model, pairs_of(model.network, arrays, "var/"))
  return name, arrays, model, images, *parity.loss_and_gradients(model, images)


def test_every_step_agrees(run):
  _, arrays, model, _, output, loss, _ = run
  assert relative_error(output.means, arrays["out/pred"]) < TOLERANCE
  gamma = tf.concat([model.initial_gamma(None, 2, 3)[None], output.masks], axis=0)
  assert relative_error(gamma, arrays["out/gamma"]) < TOLERANCE
  from_logits = tf.nn.softmax(output.mask_logits, axis=2)
  assert relative_error(from_logits, output.masks) < TOLERANCE
  terms = np.stack([output.terms["intra"], output.terms["inter"]], axis=-1).mean(axis=1)
  assert relative_error(terms, arrays["out/losses"][:, 1:]) < TOLERANCE
  assert relative_error(loss, arrays["out/total_loss"]) < TOLERANCE


def test_gradient_of_every_variable_agrees(run):
  _, arrays, model, _, _, _, gradients = run
  pairs = pairs_of(model.network, arrays, "grad/")
  assert parity.worst_gradient(gradients, pairs) < TOLERANCE
  norm = np.sqrt(sum(np.sum(np.square(g)) for g in gradients.values()))
  assert relative_error(norm, arrays["grad_global_norm"]) < TOLERANCE


def test_a_still_image_is_a_sequence_of_itself(run):
  name, _, model, images, output, _, _ = run
  if name not in ("rnn_nem", "nem"):
    pytest.skip("its images move")
  still = model(images[:, 0], seed=[0, 0])
  np.testing.assert_array_equal(still.masks, output.masks)
  np.testing.assert_array_equal(still.loss, output.loss)


def test_attention_to_each_other_slot_agrees(run):
  name, arrays, model, _, _, _, _ = run
  if name != "r_nem" or isinstance(arrays["out/theta"], golden.Digest):
    pytest.skip("has no relations, or the full file is needed")
  cell = model.network.cell
  others = np.array([[j for j in range(3) if j != k] for k in range(3)])
  for step, hidden in enumerate(arrays["out/theta"][:-1]):
    states = cell.encoder(tf.reshape(hidden, [6, -1]))
    _, attention = cell.effects(tf.reshape(states, [2, 3, -1]))
    found = np.take_along_axis(attention.numpy()[..., 0], others[None], axis=2)
    assert relative_error(found, arrays["mid/attention"][step]) < TOLERANCE


def test_ari_of_the_foreground_agrees(run):
  _, arrays, _, _, output, _, _ = run
  groups = arrays["groups"][-1, :, 0, ..., 0]  # [B, H, W], 0 is not scored
  true = (groups[:, None] == np.arange(groups.max() + 1)[:, None, None])[..., None]
  ours = metrics.ari_fg(tf.constant(true, tf.float32), output.masks[-1])
  np.testing.assert_allclose(np.mean(ours), arrays["out/ari"][1], rtol=1e-5)
  labels = np.argmax(output.masks[-1, ..., 0], axis=1)
  expected = [
    adjusted_rand_score(g[g > 0], found[g > 0]) for g, found in zip(groups, labels, strict=True)
  ]
  np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_losses_at_and_beyond_their_clips():
  arrays = golden.small("rnn_nem")
  mu = tf.constant(arrays["edge/mu"])
  for target in (0.0, 1.0):
    with tf.GradientTape(persistent=True) as tape:
      tape.watch(mu)
      cost = nem.cross_entropy(mu, tf.constant(target, tf.float64))
    row = int(target)
    np.testing.assert_allclose(cost, arrays["edge/bce"][row], rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(tape.gradient(cost, mu), arrays["edge/dbce"][row], rtol=1e-12)
  with tf.GradientTape() as tape:
    tape.watch(mu)
    cost = nem.divergence_from_black(mu)
  np.testing.assert_allclose(cost, arrays["edge/kl"], rtol=1e-12, atol=1e-15)
  np.testing.assert_allclose(tape.gradient(cost, mu), arrays["edge/dkl"], rtol=1e-12)


def test_colour_is_refused_with_the_reason():
  with pytest.raises(ConfigError, match=r"binary images.*expected image_size of 1 channel, got 3"):
    NemConfig(image_size=(28, 28, 3))


def test_the_better_of_several_starts_has_less_clustering_loss():
  terms = {"intra": np.array([1.0, 2.0]), "inter": np.array([0.5, 0.0])}
  np.testing.assert_allclose(Nem.energy(5.0, terms), [1.5, 2.0])


def test_one_matrix_has_no_convolutions():
  with pytest.raises(ConfigError, match=r"expected encoder_channels=\[\] .*, got \[4\] and \[\]"):
    NemConfig(cell="gradient", encoder_channels=[4])


def test_noise_flips_as_many_pixels_as_it_should_and_the_start_sums_to_one():
  model = Nem(NemConfig(flip_probability=0.2))
  noise = Noise(tf.constant([1, 2]), tf.constant(5))
  flips = model.flips(noise, 20).numpy()
  assert set(np.unique(flips)) == {0.0, 1.0}
  assert abs(flips.mean() - 0.2) < 4 * np.sqrt(0.16 / flips.size)
  gamma = model.initial_gamma(noise, 3, 4).numpy()
  assert gamma.min() > 0
  np.testing.assert_allclose(gamma.sum(axis=1), 1, rtol=1e-6)


def test_a_sequence_is_scored_against_the_frame_after_the_one_that_was_read():
  model = Nem(SMALL.replace(loss_steps="mean", flip_probability=0.0))
  clip = np.random.default_rng(0).integers(2, size=[1, 3, 28, 28, 1]).astype(np.float64)
  output = model(tf.constant(clip), seed=[0, 0])
  assert output.nll.shape == [2, 1]  # 3 frames: 2 predictions
  mu = output.means[:, 0].numpy()  # [D, K, H, W, 1]
  for step in range(2):
    target = clip[0, step + 1]
    joint = target * mu[step] + (1 - target) * (1 - mu[step]) + 1e-6
    np.testing.assert_allclose(output.masks[step, 0], joint / joint.sum(axis=0), rtol=1e-9)
    nll = -np.log(joint.mean(axis=0)).sum()
    np.testing.assert_allclose(output.nll[step, 0], nll, rtol=1e-9)
  changed = clip.copy()
  changed[0, 2] = 1 - changed[0, 2]  # only scored, never read
  np.testing.assert_array_equal(model(tf.constant(changed), seed=[0, 0]).means, output.means)


@given(st.tuples(*[st.integers(1, 6)] * 4), st.integers(0, 9))
def test_a_doubling_convolution_is_that_of_the_doubled_image(sizes, seed):
  height, width, inputs, outputs = sizes
  rng = np.random.default_rng(seed)
  x = tf.Variable(rng.normal(size=(2, height, width, inputs)))
  conv = nem_networks.DoublingConv2D(outputs, "conv")
  conv(x)
  conv.b.assign(rng.normal(size=outputs))
  weights = tf.constant(rng.normal(size=(2, 2 * height, 2 * width, outputs)))
  with tf.GradientTape(persistent=True) as tape:
    got = conv(x)
    wanted = tf.nn.conv2d(layers.double(x), conv.w, 1, "SAME") + conv.b
    scores = [tf.reduce_sum(weights * y) for y in (got, wanted)]
  np.testing.assert_allclose(got, wanted, atol=1e-12)
  for gradients in zip(*(tape.gradient(score, [x, conv.w]) for score in scores), strict=True):
    np.testing.assert_allclose(*gradients, atol=1e-11)


def test_sizes_that_the_doublings_do_not_divide():
  model = Nem(CONFIGS["rnn_nem_conv"].replace(image_size=(9, 13, 1)))
  output = model(tf.zeros([2, 9, 13, 1], tf.float64), num_iterations=2)
  assert output.means.shape == [2, 2, 3, 9, 13, 1]


def test_full_sizes_have_the_published_number_of_parameters():
  def parameters(config):
    return sum(v.shape.num_elements() for v in build_model(config).create_variables())

  assert parameters(NemConfig()) == 455_534
  assert parameters(NemConfig(cell="gradient")) == 196_001
