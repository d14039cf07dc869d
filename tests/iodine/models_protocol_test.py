"""What every model promises, whichever it is: one list of models, one test for all of them."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

import iodine
from iodine import build_model, make_config, serving, starts, unroll
from iodine.errors import ConfigError, UserError
from iodine.evaluation import Evaluator, summarize
from iodine.inference import Inference
from iodine.noise import Noise
from iodine.slot_model import SlotModel
from iodine.training import Trainer, TrainingConfig
from tests.iodine.training.scenes import untuned

SEED = tf.constant([3, 9], tf.int32)
MODELS = {
  "iodine": {
    "model": "iodine",
    "num_slots": 3,
    "num_iterations": 2,
    "latent_size": 4,
    "decoder_channels": [4],
    "encoder_channels": [4],
    "mlp_sizes": [4],
    "lstm_size": 3,
  },
  "vae": {
    "model": "vae",
    "latent_size": 4,
    "encoder_channels": [4, 4],
    "encoder_size": 8,
    "decoder_channels": [4],
  },
  "monet": {
    "model": "monet",
    "num_slots": 3,
    "latent_size": 4,
    "attention_channels": [3, 4],
    "attention_sizes": [8],
    "encoder_channels": [4, 4],
    "encoder_size": 8,
    "decoder_channels": [4, 4],
    "sigma": 0.3,
    "sigma_background": 0.2,
  },
  "rnn_nem": {"model": "nem", "num_slots": 3, "num_iterations": 2, "hidden_size": 6},
  "nem": {
    "model": "nem",
    "cell": "gradient",
    "num_slots": 3,
    "num_iterations": 2,
    "hidden_size": 6,
  },
  "r_nem": {
    "model": "nem",
    "cell": "relational",
    "num_slots": 3,
    "num_iterations": 2,
    "hidden_size": 6,
    "relation_sizes": [5, 6, 4, 3],
    "encoder_channels": [3],
    "encoder_size": 7,
    "decoder_size": 8,
    "decoder_channels": [4],
    "loss_steps": "mean",
    "stop_gamma": True,
  },
}
TRAINING = TrainingConfig(batch_size=4, num_steps=20, learning_rate=1e-3, clip_norm=None, seed=1)


def config_of(name, **changes):
  size = [8, 8, 1 if MODELS[name]["model"] == "nem" else 3]
  return make_config({**MODELS[name], "image_size": size, **changes})


def fill(model):
  """Leaves no variable at zero; the same values in every process."""
  tf.random.set_seed(0)
  rng = np.random.default_rng(1)
  for variable in model.create_variables():
    variable.assign_add(rng.normal(scale=0.2, size=variable.shape))
  return model


class Case(NamedTuple):
  name: str
  model: SlotModel
  images: np.ndarray  # [4, 8, 8, C]
  output: iodine.SlotOutput  # of the images


@pytest.fixture(scope="module", params=MODELS)
def case(request):
  model = fill(build_model(config_of(request.param, dtype="float64")))
  images = scene_images(model.config.image_size[-1])[:4].astype(np.float64)
  return Case(request.param, model, images, model(images, seed=SEED))


def scene_images(channels, num=12):
  rng = np.random.default_rng(0)
  if channels == 1:
    return rng.integers(2, size=[num, 8, 8, 1]).astype(np.float32)
  return rng.uniform(size=[num, 8, 8, channels]).astype(np.float32)


def test_the_record_has_its_shapes_and_adds_up(case):
  output, config = case.output, case.model.config
  decodes = len(output.nll)
  many, one = (decodes, 4, config.num_slots, 8, 8), (decodes, 4)
  assert output.means.shape == (*many, config.image_size[-1])
  assert output.mask_logits.shape == output.masks.shape == (*many, 1)
  np.testing.assert_allclose(tf.reduce_sum(output.masks, axis=2), 1, rtol=1e-9)
  softmax = tf.nn.softmax(output.mask_logits, axis=2)
  np.testing.assert_allclose(softmax, output.masks, rtol=1e-7, atol=1e-12)
  assert output.nll.shape == one
  assert set(output.terms) == set(case.model.latent_terms)
  assert all(term.shape == one for term in output.terms.values())
  assert output.loss.shape == (4,)
  alone = case.model(case.images[:1], seed=SEED)  # fewer images than decodes
  for d in range(decodes):
    np.testing.assert_allclose(alone.at(d).masks, output.masks[d][:1], rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(alone.at(d).loss, alone.loss)
  size = case.model.latent_size
  assert (output.latents is None) == (size is None)
  if size is not None:
    for value in (output.latents.mean, output.latents.stddev, output.latents.z, output.latents.kl):
      assert value.shape == (decodes, 4, config.num_slots, size)
    kl = tf.reduce_sum(output.latents.kl, axis=[2, 3])
    np.testing.assert_allclose(kl, output.terms["kl"], rtol=1e-9)
    decoded = case.model.decoder(output.latents.z[-1])
    np.testing.assert_allclose(decoded.means, output.means[-1], rtol=1e-9, atol=1e-12)
    assert case.model.sample_prior(2, 1, Noise(SEED, 0)).shape == (2, 1, size)


def test_the_gradient_is_that_of_the_loss(case):
  """Along a random direction, against a difference; where gradients are stopped, only finite."""
  model = case.model
  variables = model.trainable_variables

  def loss():
    return tf.reduce_sum(model(case.images, seed=SEED).loss)

  with tf.GradientTape() as tape:
    value = loss()
  gradients = tape.gradient(value, variables)
  assert all(np.all(np.isfinite(g)) for g in gradients)
  if case.name in ("iodine", "r_nem"):
    return
  rng = np.random.default_rng(2)
  directions = [rng.normal(size=v.shape) for v in variables]
  slope = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
  ends = []
  for step in (1e-8, -2e-8, 1e-8):  # so short that no ReLU changes sides on the way
    for variable, direction in zip(variables, directions, strict=True):
      variable.assign_add(step * direction)
    ends.append(loss())
  np.testing.assert_allclose((ends[0] - ends[1]) / 2e-8, slope, rtol=1e-4, atol=1e-5)


def test_an_image_does_not_depend_on_its_batch(case):
  alone = case.model(case.images[2:3], seed=SEED, first_index=2)
  np.testing.assert_allclose(alone.masks[:, 0], case.output.masks[:, 2], rtol=1e-7, atol=1e-12)
  np.testing.assert_allclose(alone.nll[:, 0], case.output.nll[:, 2], rtol=1e-9)
  np.testing.assert_allclose(alone.loss[0], case.output.loss[2], rtol=1e-9)


@pytest.mark.parametrize(("more_slots", "more_iterations"), [(0, 0), (2, 1)])
def test_a_loop_with_k_and_t_as_tensors_is_the_unroll(case, more_slots, more_iterations):
  config = case.model.config
  slots = config.num_slots + (more_slots if case.model.MAX_SLOTS is None else 0)
  iterations = config.num_iterations + more_iterations
  whole = case.model(case.images, num_slots=slots, num_iterations=iterations, seed=SEED)

  @tf.function(autograph=False)
  def folded(images, slots, iterations):
    found = unroll.fold(
      case.model,
      images,
      lambda output, frame, d: output.nll,
      num_iterations=iterations,
      num_slots=slots,
      noise=Noise(SEED, tf.constant(0), tf.constant(0)),
    )
    return found.last, found.kept

  last, nll = folded(case.images, tf.constant(slots), tf.constant(iterations))
  np.testing.assert_allclose(nll, whole.nll, rtol=1e-9)
  np.testing.assert_allclose(last.masks, whole.masks[-1], rtol=1e-7, atol=1e-12)
  np.testing.assert_allclose(last.means, whole.means[-1], rtol=1e-7, atol=1e-12)


def test_a_stage_with_iterations_is_for_a_model_that_iterates(case):
  training = TRAINING.replace(curriculum=[{"until": 5, "num_iterations": 3}])
  if case.model.ITERATES:
    Trainer(config_of(case.name), training)
    return
  with pytest.raises(ConfigError, match=r"num_iterations is not for model=\w+, which decodes once"):
    Trainer(config_of(case.name), training)


def test_slots_are_exchangeable_where_they_should_be(case):
  """Another order of the slots in the state is the same order of the outcome."""
  model = case.model
  if not model.ITERATES:
    pytest.skip("one slot, or slots that follow from one another")
  order = [2, 0, 1]
  frame = unroll.Frame(tf.constant(case.images), tf.constant(case.images))
  noise = Noise(SEED, tf.constant(0))
  _, state, _ = model.step(frame, model.start(4, 3, noise), noise)
  _, state, _ = model.step(frame, state, noise)  # a state whose slots differ
  permuted = {name: tf.gather(value, order, axis=1) for name, value in state.items()}
  if case.name == "iodine":  # its noise is a slot's
    draw = model.noise
    expected, _, _ = model.step(frame, state, noise)
    model.noise = lambda *args: tf.gather(draw(*args), order, axis=1)
    found, _, _ = model.step(frame, permuted, noise)
    del model.noise
  else:
    expected, _, _ = model.step(frame, state, noise)
    found, _, _ = model.step(frame, permuted, noise)
  masks = tf.gather(expected.masks, order, axis=1)
  np.testing.assert_allclose(found.masks, masks, rtol=1e-7, atol=1e-12)
  np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-9)


def test_too_few_or_too_many_slots(case):
  model = case.model
  with pytest.raises(UserError, match=f"num_slots must be at least {model.MIN_SLOTS}, got 0"):
    model(case.images, num_slots=0)
  if model.MAX_SLOTS is not None:
    with pytest.raises(UserError, match="num_slots must be at most 1, got 2"):
      Inference(model, num_slots=2)
  with pytest.raises(ConfigError, match="there is no setting 'nonsense'"):
    model.config.replace(nonsense=1)


def test_a_config_survives_json(case):
  config = case.model.config
  assert make_config(config.flat()) == config
  assert set(config.FREE) <= set(config.flat())
  names = [v.name for v in case.model.variables]
  assert len(set(names)) == len(names)


def test_scores_and_the_last_decode_agree(case):
  masks = tf.one_hot(tf.constant(np.arange(64).reshape(1, 8, 8) % 3), 3, axis=1)[..., None]
  batch = {"image": tf.constant(case.images), "mask": tf.repeat(masks, 4, axis=0)}
  scores = Evaluator(case.model)([batch])
  found = Inference(case.model)(case.images)
  np.testing.assert_allclose(scores["nll"][:, -1], found.nll, rtol=1e-6)
  mse = np.mean((found.reconstruction - case.images) ** 2, axis=(1, 2, 3))
  np.testing.assert_allclose(scores["mse"][:, -1], mse, rtol=1e-5)
  summary = summarize(scores)
  assert np.isfinite(summary["ari_fg"])
  assert np.isnan(summary["kl"]) == (case.model.latent_size is None)


@pytest.mark.usefixtures("uncompiled")
def test_of_several_starts_each_image_keeps_its_best(case):
  model = fill(build_model(config_of(case.name, dtype="float64", num_starts=3)))
  seeds = [starts.start_seed(tf.constant([4, 1]), number) for number in range(3)]
  every = [case.model(case.images, seed=seed) for seed in seeds]
  energy = np.stack([case.model.energy(o.nll, o.terms)[-1] for o in every])  # [S, B]
  best = energy.argmin(axis=0)
  if case.model.latent_size is not None:
    np.testing.assert_allclose(energy[0], every[0].nll[-1] + every[0].terms["kl"][-1])
    assert len(set(best)) > 1  # of different starts
  found = Inference(model)(case.images, seed=4)
  decodes = Inference(model).iterations(case.images, seed=4)
  scores = Evaluator(model, seed=4)([{"image": tf.constant(case.images)}])
  for image, start in enumerate(best):
    expected = np.asarray(every[start].masks)[:, image]
    np.testing.assert_allclose(found.masks[image], expected[-1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(decodes.masks[:, image], expected, rtol=1e-6, atol=1e-9)
    nll = np.asarray(every[start].nll)[:, image]
    np.testing.assert_allclose(scores["nll"][image], nll, rtol=1e-6)
  one = Inference(model, num_starts=1)(case.images, seed=4)
  np.testing.assert_allclose(one.masks, every[0].masks[-1], rtol=1e-6, atol=1e-9)


def test_every_decode_can_be_kept(case):
  """Of a model without latents too."""
  found = Inference(case.model).iterations(case.images, seed=3)
  expected = case.model(case.images, seed=tf.constant([3, 1]))
  assert (found.latents is None) == (expected.latents is None)
  for name in ("masks", "means", "nll"):
    np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-7, atol=1e-9)
  if found.latents is not None:
    np.testing.assert_allclose(found.latents.kl, expected.latents.kl, rtol=1e-7, atol=1e-9)


def test_an_export_gives_the_same_numbers(tmp_path, case):
  live = fill(build_model(config_of(case.name)))
  serving.export(live, tmp_path)
  loaded = iodine.load(tmp_path)
  images = case.images.astype(np.float32)
  found = loaded.infer(images)
  expected = unroll.fold(
    live, tf.constant(images), lambda output, frame, d: (), noise=shared_noise()
  ).last
  np.testing.assert_allclose(found.masks, expected.masks, atol=1e-4)
  np.testing.assert_allclose(found.means, expected.means, atol=1e-4)
  np.testing.assert_allclose(found.nll[:, -1], expected.nll, rtol=1e-4)
  assert set(found.terms) == set(live.latent_terms)
  if live.MAX_SLOTS is None:
    assert loaded.infer(images, num_slots=4).masks.shape[1] == 4
  else:
    with pytest.raises(UserError, match="num_slots must be at most 1, got 4"):
      loaded.infer(images, num_slots=4)
  if live.latent_size is None:
    with pytest.raises(UserError, match="latents"):
      loaded.sample()
  else:
    decoded = loaded.decode(found.z)
    np.testing.assert_allclose(decoded.means, found.means, atol=1e-4)
    assert loaded.sample(2).means.shape == (2, *found.means.shape[1:])
  if live.ITERATES:
    state = loaded.start(4)
    for _ in range(live.config.num_iterations):
      stepped = loaded.refine(state, images)
      state = stepped.state
    np.testing.assert_allclose(stepped.masks, found.masks, atol=1e-4)
    frames_followed_by_an_export(loaded, live, images)
  else:
    with pytest.raises(UserError, match="iterates"):
      loaded.start(4)
  several_starts_of_an_export(loaded, live, images)
  restored = loaded.restore()
  for ours, theirs in zip(restored.variables, live.variables, strict=True):
    np.testing.assert_array_equal(ours, theirs)


def frames_followed_by_an_export(loaded, live, frames):
  """Each frame comes with what has seen it, whether a decode reads its frame first or not."""
  found = list(loaded.follow(frames, first_iterations=2))
  np.testing.assert_array_equal([frame for frame, _ in found], frames)
  state, decoded = loaded.start(1), []
  for frame in [frames[0], *frames, frames[-1]]:
    decoded.append(loaded.refine(state, frame))
    state = decoded[-1].state
  first = 1 if live.READS_FIRST else 2
  for (frame, slots), expected in zip(found, decoded[first:], strict=False):
    np.testing.assert_allclose(slots.masks, expected.masks, atol=1e-5)
    if live.READS_FIRST:  # the responsibilities are for this very frame
      joint = frame * slots.means + (1 - frame) * (1 - slots.means) + 1e-6
      np.testing.assert_allclose(slots.masks, joint / joint.sum(axis=0), atol=1e-5)
  nll = np.array([slots.nll[0] for _, slots in found])
  expected = np.array([slots.nll[0] for slots in decoded[first : first + len(frames)]])
  if not live.READS_FIRST:
    expected[-1] = np.nan  # there is no frame to predict
  np.testing.assert_allclose(nll, expected, rtol=1e-5)


def several_starts_of_an_export(loaded, live, images):
  seeds = [np.asarray(starts.start_seed(tf.constant([5, 1]), number)) for number in range(3)]
  singles = [loaded.infer(images, seed=seed) for seed in seeds]
  energies = []
  for single in singles:
    terms = {name: value[:, -1] for name, value in single.terms.items()}
    if "kl" in terms:  # [B, K]
      terms["kl"] = terms["kl"].sum(axis=1)
    energies.append(live.energy(single.nll[:, -1], terms))
  several = loaded.infer(images, seed=5, num_starts=3)
  for image, start in enumerate(np.argmin(energies, axis=0)):
    for name, value in several.arrays().items():
      np.testing.assert_array_equal(value[image], singles[start].arrays()[name][image], name)
    for name, value in (several.state or {}).items():
      if name not in ("iteration", "seed"):
        np.testing.assert_array_equal(value[image], singles[start].state[name][image], name)
  if live.ITERATES:
    np.testing.assert_array_equal(several.state["seed"], [5, 1])
    loaded.refine(several.state, images)
  with pytest.raises(UserError, match="num_starts must be a whole number of at least 1, got 0"):
    loaded.infer(images, num_starts=0)


def shared_noise():
  return Noise(tf.constant([0, 1]), tf.constant(0), tf.constant(0), shared=True)


def batches(config, start=0):
  """(batch size, pipeline, number of them) -> batches of images, and masks of three entities."""
  images = scene_images(config.image_size[-1]).astype(config.dtype)
  masks = np.eye(3, dtype=np.float32)[np.arange(64).reshape(8, 8) % 3]
  masks = np.broadcast_to(np.moveaxis(masks, -1, 0)[None, ..., None], [len(images), 3, 8, 8, 1])

  def make(batch_size, pipeline=0, num_pipelines=1):
    data = tf.data.Dataset.from_tensor_slices({"image": images, "mask": masks}).repeat()
    return untuned(data.batch(batch_size, drop_remainder=True).skip(start))

  return make


def train(trainer, num_steps, start=0):
  data = trainer.distribute(batches(trainer.model.config, start))
  return [trainer.train_step(next(data)) for _ in range(num_steps)]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "iodine"])  # trainer_test
def test_two_devices_change_nothing_and_a_resumed_run_is_the_same(tmp_path, name):
  config = config_of(name, dtype="float64")
  devices = tf.distribute.MirroredStrategy(
    ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
  )
  one, two = Trainer(config, TRAINING, tmp_path), Trainer(config, TRAINING, strategy=devices)
  first = train(one, 2)
  one.checkpoints.save()
  for a, b in zip(first, train(two, 2), strict=True):
    for key in a:
      np.testing.assert_allclose(b[key], a[key], rtol=1e-5, atol=1e-6, err_msg=key)
  for ours, theirs in zip(two.variables, one.variables, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8)

  train(one, 2, start=2)
  expected = [v.numpy() for v in one.variables]
  assert one.restore(tmp_path) == []
  assert one.steps_done == 2
  train(one, 2, start=2)
  for ours, theirs in zip(one.variables, expected, strict=True):
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
  ("precision", "error"), [("mixed_bfloat16", 0.02), ("mixed_float16", 0.003)]
)
@pytest.mark.parametrize("name", MODELS)
def test_layers_compute_low_and_what_is_made_of_them_in_full(name, precision, error):
  full, low = (fill(build_model(config_of(name, precision=p))) for p in ("float32", precision))
  kinds = [[(v.name, v.shape, v.dtype) for v in model.variables] for model in (full, low)]
  assert kinds[0] == kinds[1]  # a checkpoint serves both
  images = scene_images(full.config.image_size[-1])[:4]
  theirs, ours = (model(images, seed=SEED) for model in (full, low))
  given = [value.dtype for value in tf.nest.flatten(ours) if value is not None]
  assert set(given) == {tf.float32}
  np.testing.assert_allclose(ours.loss, theirs.loss, rtol=error)
  assert 1e-6 < np.abs(ours.means - theirs.means).mean() < error  # something was computed low


@pytest.mark.parametrize("name", [name for name in MODELS if name != "iodine"])  # precision_test
def test_a_bfloat16_training_follows_the_float32_one(name):
  full, low = (
    Trainer(config_of(name, precision=p), TRAINING) for p in ("float32", "mixed_bfloat16")
  )
  theirs, ours = (
    np.array([float(metrics["loss"]) for metrics in train(trainer, 12)]) for trainer in (full, low)
  )
  assert {v.dtype for v in low.variables} == {tf.float32}
  np.testing.assert_allclose(ours, theirs, rtol=0.01)
  assert (ours != theirs).any()


@pytest.mark.parametrize("name", MODELS)
def test_xla_computes_the_same_but_other_samples(name, monkeypatch):
  drawn = []

  def draw(self, operation, batch_size, row_shape):
    """In place of numbers from a generator, which XLA makes others of: the same for every row."""
    drawn.append(operation)
    row = 0.5 + 0.4 * tf.cos(tf.range(tf.reduce_prod(row_shape), dtype=tf.float32))
    return tf.tile(tf.reshape(row, [1, *row_shape]), [batch_size] + [1] * len(row_shape))

  config = config_of(name, dtype="float64")
  monkeypatch.setattr(Noise, "_draw", draw)
  plain, compiled = (Trainer(config, TRAINING.replace(jit=jit)) for jit in (False, True))
  first, second = train(plain, 2), train(compiled, 2)
  assert drawn
  for a, b in zip(first, second, strict=True):
    for key in a:
      np.testing.assert_allclose(b[key], a[key], rtol=1e-5, atol=1e-6, err_msg=key)
  for ours, theirs in zip(compiled.variables, plain.variables, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8)


def test_rmsprop_begins_as_it_says():
  """rho 0.9 and epsilon inside the root, from zero: the first step is rate x g / sqrt(g^2 / 10).

  TensorFlow 1's began at one, which makes no difference to gradients of sums over pixels after the
  first few steps.
  """
  training = TRAINING.replace(optimizer="rmsprop")
  trainer = Trainer(config_of("vae", dtype="float64"), training)
  before = [v.numpy() for v in trainer.variables]
  train(trainer, 1)
  moves = [np.abs(v.numpy() - b).max() for v, b in zip(trainer.variables, before, strict=True)]
  np.testing.assert_allclose(max(moves), 1e-3 * np.sqrt(10), rtol=1e-4)
