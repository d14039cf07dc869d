"""Which frame, which weight, how many decodes: against a NumPy oracle of indices."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from iodine import Iodine, IodineConfig, unroll
from iodine.noise import Noise
from iodine.unroll import Pace, Timeline

CONFIG = IodineConfig(
  image_size=(6, 6, 1),
  num_slots=2,
  num_iterations=3,
  latent_size=3,
  decoder_channels=(4,),
  encoder_channels=(4,),
  mlp_sizes=(4,),
  lstm_size=4,
  dtype="float64",
)
SEED = tf.constant([1, 2])


@pytest.fixture(scope="module")
def models():
  """One a kind of sequence, with the same variables."""
  made = {}
  for final in (False, True):
    for objective in ("next_step", "reconstruction"):
      tf.random.set_seed(0)
      model = Iodine(CONFIG.replace(final_decode=final, objective=objective))
      model.create_variables()
      made[final, objective] = model
  return made


@pytest.fixture(scope="module")
def clip():
  return tf.constant(np.random.default_rng(0).uniform(size=[2, 4, 6, 6, 1]))


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("objective", ["next_step", "reconstruction"])
@pytest.mark.parametrize("num_iterations", [1, 3])
def test_decode_d_is_scored_against_its_frame(models, clip, final, objective, num_iterations):
  """A posterior that has seen frames 0 .. d - 1 is scored against frame d, or frame d - 1."""
  model = models[final, objective]
  output = model(clip, num_iterations=num_iterations, seed=SEED)
  num_decodes = num_iterations + final
  assert output.nll.shape == [num_decodes, 2]
  state = model.start(2, 2, Noise(SEED, 0))
  for d in range(num_decodes):
    target = d if objective == "next_step" else max(d - 1, 0)
    drawn = model.noise(Noise(SEED, d), 2, 2)
    scored = model.decode(clip[:, target], state["params"], drawn)
    np.testing.assert_allclose(output.nll[d], scored.nll, rtol=1e-10)
    seen = model.decode(clip[:, d], state["params"], drawn)  # it is frame d that refines
    state = model.refine(clip[:, d], state, seen)
  first = 0 if final else 1
  weights = np.arange(first, num_iterations + 1) / num_iterations
  np.testing.assert_allclose(model.timeline(num_iterations).weights, weights)
  terms = output.nll + output.terms["kl"]
  np.testing.assert_allclose(output.loss, weights @ terms.numpy(), rtol=1e-6)


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("objective", ["next_step", "reconstruction"])
def test_a_frame_may_take_several_iterations(models, clip, final, objective):
  """As if the clip stood still for so long; the number of iterations follows."""
  model = models[final, objective]
  waiting = Iodine(model.config.replace(first_iterations=3, frame_iterations=2))
  waiting.create_variables()
  for ours, theirs in zip(waiting.variables, model.variables, strict=True):
    ours.assign(theirs)
  found = waiting(clip[:, :2], seed=SEED)
  still = model(tf.gather(clip, [0, 0, 0, 1, 1], axis=1), seed=SEED)
  for name in ("nll", "loss", "masks"):
    np.testing.assert_allclose(getattr(found, name), getattr(still, name), rtol=1e-10)


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("objective", ["next_step", "reconstruction"])
def test_a_sequence_is_used_to_its_last_frame(models, clip, final, objective):
  """Four frames: a decode of each, and one more before anything was seen if that is not it."""
  model = models[final, objective]
  decodes = 4 + (objective == "reconstruction")
  nll = model(clip, seed=SEED).nll
  assert nll.shape == [decodes, 2]
  with pytest.raises(ValueError, match=r"decodes need \d frames, got 4"):
    model(clip, num_iterations=decodes - final + 1, seed=SEED)
  other = tf.concat([clip[:, :3], 1 - clip[:, 3:]], axis=1)
  changed = model(other, seed=SEED).nll
  np.testing.assert_array_equal(changed[:-1], nll[:-1])
  assert (np.abs(changed[-1] - nll[-1]) > 1e-3).all()


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("kind", ["images", "clip"])
def test_the_loop_of_the_graph_is_the_unrolled_one(models, clip, final, kind):
  model = models[final, "reconstruction"]
  images = clip if kind == "clip" else clip[:, 0]
  expected = model(images, num_iterations=3, num_slots=3, seed=SEED)

  @tf.function(autograph=False)
  def fold(num_iterations, num_slots):
    return unroll.fold(
      model,
      images,
      lambda output, frame, d: {"nll": output.nll, "target": frame.target, "d": d},
      num_iterations=num_iterations,
      num_slots=num_slots,
      noise=Noise(SEED, tf.constant(0), tf.constant(0)),
      final_state=True,
    )

  for numbers in ((3, 3), (tf.constant(3), tf.constant(3))):
    found = fold(*numbers)
    np.testing.assert_allclose(found.kept["nll"], expected.nll, rtol=1e-9)
    np.testing.assert_allclose(found.last.masks, expected.masks[-1], rtol=1e-7)
    np.testing.assert_array_equal(found.kept["d"], np.arange(3 + final))
    assert set(found.state) == {"params", "hidden", "cell"}
  if kind == "clip":
    targets = [max(d - 1, 0) for d in range(3 + final)]
    np.testing.assert_array_equal(found.kept["target"], np.stack([clip[:, t] for t in targets]))


@given(first=st.integers(1, 5), each=st.integers(1, 4), num_frames=st.integers(1, 6))
def test_a_pace_shows_every_frame_so_often(first, each, num_frames):
  pace = Pace(first, each)
  expected = np.repeat(np.arange(num_frames), [first, *[each] * (num_frames - 1)])
  assert pace.iterations(num_frames) == len(expected)
  assert [pace.frame(i) for i in range(len(expected))] == list(expected)
  np.testing.assert_array_equal(pace.frame(tf.range(len(expected))), expected)
  timeline = Timeline(len(expected), tf.ones([len(expected)]), pace=pace)
  assert timeline.num_frames == num_frames


def test_frames_by_lag():
  frames = tf.range(5)[None]
  ahead = Timeline(3, tf.ones([3]), target_lag=-1)  # scored against what is to come
  assert ahead.num_frames == 4
  assert [int(ahead.target(frames, d)[0]) for d in range(3)] == [1, 2, 3]
  behind = Timeline(3, tf.ones([3]), target_lag=1)
  assert behind.num_frames == 2  # the last decode reads nothing
  assert [int(behind.target(frames, d)[0]) for d in range(3)] == [0, 0, 1]
