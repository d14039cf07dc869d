"""Predictions and what was found after the update: against decodes of the model, one by one."""

import numpy as np
import pytest
import tensorflow as tf

from iodine import Iodine, IodineConfig, tracking
from iodine.build import build_model, make_config
from iodine.errors import UserError
from iodine.noise import Noise
from iodine.unroll import Pace

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


@pytest.fixture(scope="module")
def clip():
  return np.random.default_rng(0).uniform(size=[2, 3, 6, 6, 1])


@pytest.mark.parametrize(
  "changes", [{}, {"objective": "reconstruction"}, {"final_decode": True}], ids=str
)
def test_a_frame_is_predicted_by_those_before_it_and_found_by_those_up_to_it(clip, changes):
  model = Iodine(CONFIG.replace(**changes))
  model.create_variables()
  tracked = tracking.Tracker(model)(clip, seed=5, first_index=7)
  seed, first = tf.constant([5, 1]), tf.constant(7)
  state = model.start(2, 2, Noise(seed, 0, first))
  decodes = []
  for d in range(4):
    seen = tf.constant(clip[:, min(d, 2)])
    decode = model.decode(seen, state["params"], model.noise(Noise(seed, d, first), 2, 2))
    decodes.append((state, decode))
    state = model.refine(seen, state, decode)
  for t in range(3):
    for decoded, d in ((tracked.predicted, t), (tracked.updated, t + 1)):
      before, decode = decodes[d]
      noise = model.noise(Noise(seed, d, first), 2, 2)
      scored = model.decode(tf.constant(clip[:, t]), before["params"], noise)
      np.testing.assert_allclose(decoded.masks[:, t], decode.mixture.masks, rtol=1e-9)
      np.testing.assert_allclose(decoded.nll[:, t], scored.nll, rtol=1e-9)
      expected = np.sum(decode.mixture.masks * decode.mixture.means, axis=1)
      np.testing.assert_allclose(decoded.reconstruction[:, t], expected, rtol=1e-9)
      error = np.mean(np.square(expected - clip[:, t]), axis=(1, 2, 3))
      np.testing.assert_allclose(decoded.mse[:, t], error, rtol=1e-9)


def test_a_frame_can_be_looked_at_longer(clip):
  model = Iodine(CONFIG)
  model.create_variables()
  found = tracking.Tracker(model, pace=Pace(3, 2))(clip, seed=5)
  longer = tracking.Tracker(model)(clip[:, [0, 0, 0, 1, 1, 2, 2]], seed=5)
  for ours, theirs, shown in ((found[0], longer[0], [2, 3, 5]), (found[1], longer[1], [2, 4, 6])):
    for name, value in ours._asdict().items():
      np.testing.assert_allclose(value, getattr(theirs, name)[:, shown], err_msg=name)


def test_a_clip_of_one_frame(clip):
  model = Iodine(CONFIG)
  model.create_variables()
  tracked = tracking.Tracker(model)(clip[:, :1])
  assert tracked.predicted.masks.shape == tracked.updated.masks.shape == (2, 1, 2, 6, 6, 1)


def test_what_cannot_be_tracked(clip):
  model = Iodine(CONFIG)
  model.create_variables()
  with pytest.raises(UserError, match=r"expected clips \[B, T, H, W, C\], got \(2, 6, 6, 1\)"):
    tracking.Tracker(model)(clip[:, 0])
  with pytest.raises(UserError, match="a clip is followed from one start: expected num_starts 1"):
    tracking.Tracker(Iodine(CONFIG.replace(num_starts=2)))
  with pytest.raises(UserError, match=r"expected images .*, got \(2, 3, 4, 6, 1\)"):
    tracking.Tracker(model)(clip[:, :, :4])
  with pytest.raises(UserError, match="num_slots must be at least 2, got 1"):
    tracking.Tracker(model, num_slots=1)
  monet = build_model(make_config({"model": "monet", "image_size": (64, 64, 3)}))
  with pytest.raises(UserError, match=r"clips need a model that iterates.*monet"):
    tracking.Tracker(monet)
  nem = build_model(make_config({"model": "nem", "image_size": (8, 8, 1)}))
  with pytest.raises(UserError, match=r"predicts the next frame before it reads it: nem reads"):
    tracking.Tracker(nem)
