"""Properties of the unrolled inference in the paper's configuration."""

import numpy as np
import pytest
import tensorflow as tf

from iodine import Iodine, IodineConfig
from iodine.auxiliary import ALL_INPUTS
from iodine.errors import UserError
from iodine.noise import Noise

CONFIG = IodineConfig(
  image_size=(8, 9, 3),
  num_slots=3,
  num_iterations=3,
  latent_size=4,
  sigma=0.3,
  decoder_channels=(8, 8),
  decoder_kernel=3,
  encoder_channels=(8, 8),
  encoder_kernel=3,
  encoder_stride=2,
  mlp_sizes=(16,),
  lstm_size=6,
  dtype="float64",
)
SEED = tf.constant([3, 5])


def noise_of(model, iteration=0, batch_size=4, num_slots=3, first_index=0, seed=SEED):
  return model.noise(Noise(seed, iteration, first_index), batch_size, num_slots)


def initial_params(model, batch_size=4, num_slots=3):
  return model.start(batch_size, num_slots, Noise(SEED, 0))["params"]


def make(**changes):
  tf.random.set_seed(0)
  model = Iodine(CONFIG.replace(**changes))
  model.create_variables()
  model.initial_params.assign_add(
    tf.random.stateless_normal(model.initial_params.shape, [1, 1], dtype=tf.float64) * 0.1
  )
  return model


@pytest.fixture(scope="module")
def images():
  return tf.constant(np.random.default_rng(0).uniform(size=[4, 8, 9, 3]))


def test_shapes(images):
  output = make()(images, seed=SEED)
  assert output.means.shape == [3, 4, 3, 8, 9, 3]
  assert output.masks.shape == output.mask_logits.shape == [3, 4, 3, 8, 9, 1]
  latents = output.latents
  assert latents.mean.shape == latents.z.shape == latents.kl.shape == [3, 4, 3, 4]
  assert latents.params.shape == [3, 4, 3, 8]
  assert output.nll.shape == [3, 4]
  assert output.terms["kl"].shape == [3, 4]
  assert output.reconstruction.shape == [3, 4, 8, 9, 3]
  np.testing.assert_allclose(tf.reduce_sum(output.masks, axis=2), 1.0)


def test_the_loss_is_equation_4(images):
  output = make()(images, seed=SEED)
  expected = sum(
    (t + 1) / 3 * (output.nll[t].numpy() + output.latents.kl[t].numpy().sum((-2, -1)))
    for t in range(3)
  )
  np.testing.assert_allclose(output.loss, expected)
  final = make(final_decode=True)(images, seed=SEED)
  weights = make(final_decode=True).timeline(3).weights
  np.testing.assert_allclose(weights, np.linspace(0, 1, 4))
  terms = final.nll + final.terms["kl"]
  np.testing.assert_allclose(final.loss, np.linspace(0, 1, 4) @ terms.numpy())
  np.testing.assert_allclose(final.nll[:3], output.nll)


def test_a_lighter_kl_weighs_less_in_the_loss(images):
  model = make(num_iterations=1)
  model.kl_weight.assign(0.25)
  output = model(images, seed=SEED)
  expected = output.nll[0] + 0.25 * output.terms["kl"][0]
  np.testing.assert_allclose(output.loss, expected)


@pytest.mark.parametrize(
  "changes",
  [
    {},
    {"decoder_upsampling": 2, "coordinate_type": "cosine", "capacity_channels": True},
    {"mask_entropy_weight": 0.3, "final_decode": True, "decoder_full_channels": 3},
    {"decoder": "modulated", "decoder_upsampling": 2, "capacity_channels": True},
  ],
)
@pytest.mark.parametrize("size", [(6, 5), (11, 9)])
def test_images_of_another_size_are_those_of_a_model_made_for_them(changes, size):
  """Its variables serve them; the KL's weight is in proportion to their pixels."""
  images = tf.constant(np.random.default_rng(1).uniform(size=[2, *size, 3]))
  model = make(kl_weight=0.5, **changes)
  share = size[0] * size[1] / (8 * 9)
  other = make(kl_weight=0.5 * share, image_size=(*size, 3), **changes)
  for ours, theirs in zip(model.trainable_variables, other.trainable_variables, strict=True):
    theirs.assign(ours)
  results = []
  for case, options in ((model, {"image_size": size}), (other, {})):
    with tf.GradientTape() as tape:
      output = case(images, seed=SEED, **options)
    gradients = tape.gradient(output.loss, case.trainable_variables)
    results.append([*tf.nest.flatten(output), *gradients])
  for ours, theirs in zip(*results, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_another_size_is_asked_for(images):
  small = images[:, :6, :5]
  with pytest.raises(UserError, match=r"expected images \[B, 8, 9, 3\] .*, got \(4, 6, 5, 3\)"):
    make()(small)
  with pytest.raises(UserError, match=r"expected images \[B, 6, 5, 3\]"):
    make()(images, image_size=(6, 5))
  deconv = Iodine(CONFIG.replace(decoder="deconv", decoder_kernel=5))
  with pytest.raises(UserError, match=r"image_size must be \[8, 9\], .*, got \[6, 5\]"):
    deconv(small, image_size=(6, 5))


def test_the_entropy_of_the_masks_has_its_weight_in_the_loss(images):
  plain, weighed = make(num_iterations=1), make(num_iterations=1, mask_entropy_weight=0.3)
  before, after = plain(images, seed=SEED), weighed(images, seed=SEED)
  masks = after.masks[0].numpy()
  entropy = -np.sum(masks * np.log(masks), axis=(1, 2, 3, 4))
  np.testing.assert_allclose(after.terms["entropy"][0], entropy)
  np.testing.assert_allclose(after.loss, before.loss + 0.3 * entropy)
  assert (set(before.terms), set(plain.latent_terms)) == ({"kl"}, {"kl"})
  assert set(after.terms) == set(weighed.latent_terms)


def test_the_initial_posterior_is_the_prior():
  model = Iodine(CONFIG)
  model.create_variables()
  params = initial_params(model, 2)
  decode = model.decode(tf.zeros([2, 8, 9, 3], tf.float64), params, tf.zeros([2, 3, 4], tf.float64))
  np.testing.assert_allclose(decode.kl, 0.0, atol=1e-12)


@pytest.mark.parametrize(("kl_weight", "entropy_weight"), [(1.0, 0.0), (0.2, 0.0), (0.5, 2.0)])
def test_posterior_gradient_by_finite_differences(images, kl_weight, entropy_weight):
  model = make(mask_entropy_weight=entropy_weight)
  model.kl_weight.assign(kl_weight)
  params = initial_params(model)
  params += tf.random.stateless_normal(params.shape, [7, 7], dtype=tf.float64)
  noise = noise_of(model)

  def loss(p):
    decode = model.decode(images, p, noise)
    entropy = tf.reduce_sum(decode.mixture.mask_entropy, axis=[1, 2, 3, 4])
    kl = tf.reduce_sum(decode.kl, axis=[-2, -1])
    return decode.nll + kl_weight * kl + entropy_weight * entropy

  gradient = model.decode(images, params, noise).grads.params.numpy()
  for b, k, i in [(0, 0, 0), (1, 2, 3), (2, 1, 4), (3, 0, 7)]:
    step = np.zeros(params.shape)
    step[b, k, i] = 1e-5
    numeric = (loss(params + step) - loss(params - step)) / 2e-5
    np.testing.assert_allclose(gradient[b, k, i], numeric[b], rtol=1e-6)


def test_likelihood_gradients_have_their_closed_form(images):
  model = make()
  params = initial_params(model)
  decode = model.decode(images, params, noise_of(model))
  mixture = decode.mixture
  share = tf.exp(mixture.log_masks + mixture.log_components - mixture.log_prob)
  means = -share * (images[:, None] - mixture.means) / 0.3**2
  np.testing.assert_allclose(decode.grads.means, means, rtol=1e-9, atol=1e-12)
  np.testing.assert_allclose(decode.grads.mask_logits, mixture.masks - share, atol=1e-12)


class Permuted(Iodine):
  """Gives slot k the noise of slot order[k]."""

  order = None

  def noise(self, *args, **kwargs):
    noise = super().noise(*args, **kwargs)
    return noise if self.order is None else tf.gather(noise, self.order, axis=1)


def test_slots_can_be_permuted(images):
  model, permuted = make(), Permuted(CONFIG)
  permuted.create_variables()
  for ours, theirs in zip(permuted.trainable_variables, model.trainable_variables, strict=True):
    ours.assign(theirs)
  permuted.order = (2, 0, 1)
  output, other = model(images, seed=SEED), permuted(images, seed=SEED)
  np.testing.assert_allclose(other.loss, output.loss, rtol=1e-10)
  np.testing.assert_allclose(
    other.masks, tf.gather(output.masks, permuted.order, axis=2), atol=1e-10
  )


@pytest.mark.parametrize(("num_iterations", "num_slots"), [(1, 2), (3, 3), (5, 6)])
def test_k_and_t_can_change(images, num_iterations, num_slots):
  output = make()(images, seed=SEED, num_iterations=num_iterations, num_slots=num_slots)
  assert output.masks.shape == [num_iterations, 4, num_slots, 8, 9, 1]
  if num_slots == 3:
    np.testing.assert_allclose(output.loss, make()(images, seed=SEED).loss)


def test_more_iterations_go_on_from_the_same_ones(images):
  model = make()
  short, long = model(images, seed=SEED), model(images, seed=SEED, num_iterations=5)
  np.testing.assert_allclose(long.latents.params[:3], short.latents.params, rtol=1e-12)


def test_an_image_does_not_depend_on_its_batch(images):
  model = make()
  together = model(images, seed=SEED)
  alone = model(images[2:3], seed=SEED, first_index=2)
  np.testing.assert_allclose(alone.nll[:, 0], together.nll[:, 2], rtol=1e-10)
  released = make(batch_mean_gradients=True)
  together, alone = released(images, seed=SEED), released(images[2:3], seed=SEED, first_index=2)
  assert abs(alone.nll[-1, 0] - together.nll[-1, 2]) > 1e-8  # the original's flaw, kept there


def test_noise_is_a_function_of_seed_iteration_and_row():
  model = make()
  rows = noise_of(model, 1, 6).numpy()
  np.testing.assert_array_equal(noise_of(model, 1, 2, first_index=3), rows[3:5])
  assert not np.allclose(noise_of(model, 2, 6), rows)
  assert not np.allclose(noise_of(model, 1, 6, seed=tf.constant([3, 6])), rows)
  many = noise_of(model, 0, 500).numpy()
  assert abs(many.mean()) < 0.05
  assert abs(many.std() - 1) < 0.05


@pytest.mark.parametrize("name", ALL_INPUTS)
def test_each_input_can_be_ablated(images, name):
  full = make(num_iterations=1)
  ablated = make(num_iterations=2, inputs=tuple(n for n in ALL_INPUTS if n != name))
  assert name not in ablated.auxiliary.names
  count = lambda model: sum(int(np.prod(v.shape)) for v in model.trainable_variables)
  assert count(ablated) < count(full)
  assert np.isfinite(ablated(images, seed=SEED).loss).all()


def test_gradients_stop_at_the_normalised_inputs(images):
  """Dropping second derivatives: only layer norm's own parameters learn from those inputs."""
  model = make()
  params = initial_params(model)
  noise = noise_of(model)
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(params)
    decode = model.decode(images, params, noise)
    inputs = model.auxiliary.normalised(images, params, decode.mixture, decode.grads)
    sums = {name: tf.reduce_sum(x**2) for name, x in inputs.items()}
  stopped = {"grad_means", "grad_mask", "likelihood", "leave_one_out", "grad_posterior"}
  for name, total in sums.items():
    reaches = tape.gradient(total, params) is not None
    assert reaches == (name not in stopped | {"image", "coordinates"}), name


@pytest.mark.parametrize("recompute", [False, True])
def test_mixed_scores_the_mixed_image(images, recompute):
  """The loss is that of a Gaussian around the reconstruction, and so is what is refined with."""
  model = make(recompute=recompute)
  output = model(images, seed=SEED, step_options={"mixed": True})
  assert len(output.nll) == 3
  for nll, reconstruction in zip(output.nll, output.reconstruction, strict=True):
    residual = (images.numpy() - reconstruction.numpy()) / 0.3
    expected = 0.5 * residual**2 + np.log(0.3 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(nll, expected.sum((1, 2, 3)), rtol=1e-10)
  plain = model(images, seed=SEED)
  np.testing.assert_allclose(output.latents.params[0], plain.latents.params[0])
  assert not np.allclose(output.latents.params[1], plain.latents.params[1])


def test_mask_gradient_at_the_mask_itself(images):
  """Through the softmax it becomes the other: m_k (g_k - sum_j m_j g_j)."""
  grads = {}
  for where in ("mask", "logits"):
    model = make(mask_gradient=where)
    decode = model.decode(images, initial_params(model), noise_of(model))
    grads[where] = decode.grads.mask_logits.numpy()
    masks = decode.mixture.masks.numpy()
  at_mask = grads["mask"]
  through = masks * (at_mask - np.sum(masks * at_mask, axis=1, keepdims=True))
  np.testing.assert_allclose(through, grads["logits"], rtol=1e-8, atol=1e-12)


def test_a_sequence_of_equal_frames_is_the_image(images):
  model = make()
  frames = tf.tile(images[:, None], [1, 3, 1, 1, 1])
  np.testing.assert_allclose(model(frames, seed=SEED).loss, model(images, seed=SEED).loss)
  with pytest.raises(ValueError, match="5 decodes need 5 frames, got 3"):
    model(frames, num_iterations=5)


def test_in_a_graph_it_is_the_same(images):
  model = make()
  graph = tf.function(lambda x: model(x, seed=SEED).nll, autograph=False)
  np.testing.assert_allclose(graph(images), model(images, seed=SEED).nll, rtol=1e-10)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"num_slots": 1}, "num_slots must be at least 2, got 1"),
    ({"num_iterations": 0}, "num_iterations must be at least 1, got 0"),
    ({"inputs": ("image", "grad_mean")}, "did you mean 'grad_means'"),
    ({"inputs": ("posterior",)}, "at least one spatial"),
    ({"mask_gradient": "masks"}, "mask_gradient must be one of 'logits' or 'mask', got 'masks'"),
    ({"decoder": "deconvolution"}, "'deconvolution'"),
    ({"decoder_upsampling": 0}, "decoder_upsampling must be at least 1, got 0"),
    ({"decoder_upsampling": 2, "decoder": "deconv"}, "is for decoder=broadcast"),
    ({"decoder_full_channels": 8, "decoder": "deconv"}, "decoder_full_channels=8 is for"),
    ({"decoder_full_channels": 8, "decoder": "modulated"}, "not for decoder=modulated"),
    ({"decoder_kernel": 2, "decoder": "modulated"}, "decoder_kernel must be odd, got 2"),
    ({"decoder_kernel": 4}, "decoder_kernel must be odd, got 4"),
    ({"sigma": 0.0}, "sigma must be above 0"),
    ({"kl_weight": 0.0}, "kl_weight must be above 0"),
    ({"image_size": (8, 8)}, r"image_size must be a list of at least 3, got \(8, 8\)"),
    ({"encoder_channels": ()}, "encoder_channels"),
  ],
)
def test_bad_configurations_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    CONFIG.replace(**changes)


def test_bad_images_are_refused():
  model = make()
  with pytest.raises(ValueError, match=r"expected images \[B, 8, 9, 3\]"):
    model(tf.zeros([2, 8, 8, 3], tf.float64))
  with pytest.raises(ValueError, match="uint8: divide by 255"):
    model(tf.zeros([2, 8, 9, 3], tf.uint8))
  with pytest.raises(ValueError, match="at least 2"):
    model(tf.zeros([2, 8, 9, 3], tf.float64), num_slots=1)
  with pytest.raises(ValueError, match="expected at least one image, got none"):
    model(tf.zeros([0, 8, 9, 3], tf.float64))
  for wrong, met in ((255.0, "0 to 255: divide"), (-0.1, "-0.1 to 0"), (np.nan, "nan to nan")):
    images = np.zeros([2, 8, 9, 3])
    images[1, 3, 4, 1] = wrong
    with pytest.raises(ValueError, match=rf"images in \[0, 1\], got values from {met}"):
      model(images)
  assert np.isfinite(model(tf.fill([1, 8, 9, 3], tf.constant(1 + 1e-4, tf.float64))).nll).all()


def test_a_number_is_a_seed_as_in_an_evaluation(images):
  model = make()
  np.testing.assert_array_equal(model(images, seed=3).nll, model(images, seed=[3, 1]).nll)
  wrongs = ([1, 2, 3], r"\[1, 2, 3\]"), ("one", r"\['one', '1'\]"), (0.5, r"\[0.5, 1.0\]")
  for wrong, met in wrongs:
    with pytest.raises(ValueError, match=f"seed must be an int or two of them, got {met}"):
      model(images, seed=wrong)
  with pytest.raises(ValueError, match=r"seed must be from .*, got \[1099511627776, 1\]"):
    model(images, seed=2**40)


@pytest.mark.parametrize("final_decode", [False, True])
def test_graph_function_and_recompute_change_nothing(images, final_decode):
  results = []
  for recompute, graph, as_function in (
    (False, False, False),
    (False, True, False),
    (False, True, True),
    (True, False, False),
    (True, True, False),
  ):
    model = make(recompute=recompute, final_decode=final_decode)

    def run(model=model, as_function=as_function):
      with tf.GradientTape() as tape:
        output = model(images, seed=SEED, as_function=as_function)
        loss = tf.reduce_mean(output.loss) + tf.reduce_sum(output.masks[0] ** 2)
      return loss, tape.gradient(loss, model.trainable_variables)

    results.append((tf.function(run, autograph=False) if graph else run)())
  (loss, gradients), *others = results
  for other_loss, other_gradients in others:
    np.testing.assert_allclose(other_loss, loss, rtol=1e-12)
    for actual, expected in zip(other_gradients, gradients, strict=True):
      np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("option", ["recompute", "as_function"])
def test_the_graph_holds_one_iteration(images, option):
  model = make(recompute=option == "recompute")
  options = {"seed": SEED, "as_function": option == "as_function"}

  def convolutions(num_iterations):
    @tf.function(autograph=False)
    def gradients():
      with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(images, num_iterations=num_iterations, **options).loss)
      return tape.gradient(loss, model.trainable_variables)

    graph = gradients.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return sum(n.op.startswith("Conv2D") for n in nodes)

  assert convolutions(5) == convolutions(3) > 0
