"""Export and load: the same numbers as the live model, with and without our code."""

import gc
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

import iodine
import iodine.errors
from iodine import Iodine, IodineConfig, serving

CONFIGS = {
  "paper": {"lstm_size": 5, "encoder_stride": 1},
  "released": {
    "lstm_size": 0,
    "likelihood": "logistic",
    "latent_scale": "variance",
    "final_decode": True,
    "log_space_inputs": True,
    "batch_mean_gradients": True,
    "capacity_channels": True,
    "coordinate_type": "cosine",
  },
}


def make_model(**options):
  tf.random.set_seed(0)
  model = Iodine(
    IodineConfig(
      image_size=(8, 10, 3),
      num_slots=3,
      num_iterations=2,
      latent_size=4,
      decoder_channels=(8, 8),
      encoder_channels=(8,),
      mlp_sizes=(8,),
      **options,
    )
  )
  model.create_variables()
  rng = np.random.default_rng(1)
  for variable in model.trainable_variables:  # also what starts at zero or one
    variable.assign_add(rng.normal(scale=0.1, size=variable.shape))
  return model


def make_images(num=5):
  return np.random.default_rng(0).integers(256, size=[num, 8, 10, 3], dtype=np.uint8)


class Case(NamedTuple):
  model: Iodine
  path: pathlib.Path  # of its SavedModel
  loaded: serving.Model


def make_case(folder, name):
  model = make_model(**CONFIGS[name])
  serving.export(model, folder / name, {"data_set": "noise", "step": 7})
  return Case(model, folder / name, iodine.load(folder / name))


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
  folder = tmp_path_factory.mktemp("exports")
  return {name: make_case(folder, name) for name in CONFIGS}


@pytest.fixture(params=CONFIGS)
def case(request, cases):
  """Tests that ask for it run with both models."""
  return cases[request.param]


@pytest.fixture
def paper(cases):
  return cases["paper"]


FIELDS = ("means", "mask_logits", "masks")
LATENTS = {"z": "z", "posterior_mean": "mean", "posterior_stddev": "stddev"}


def last(output, name):
  """The last decode's value of a field of Inferred."""
  record, name = (output.latents, LATENTS[name]) if name in LATENTS else (output, name)
  return getattr(record, name)[-1]


@pytest.mark.parametrize(
  ("batch_size", "num_iterations", "num_slots"), [(5, 2, 3), (1, 1, 2), (3, 4, 4)]
)
def test_round_trip_gives_the_same_numbers(case, batch_size, num_iterations, num_slots):
  model, images = case.model, make_images(batch_size)
  found = case.loaded.infer(images, num_iterations, num_slots, seed=[3, 9])

  how = {"num_iterations": num_iterations, "num_slots": num_slots}
  how |= {"seed": [3, 9], "shared_noise": True}

  # Compiled for a known batch size, a division by it would become a rounded multiplication.
  @tf.function(input_signature=[tf.TensorSpec([None, 8, 10, 3])])
  def live(images):
    return model(images, **how)

  compiled = live(images / np.float32(255))
  eager = model(images / np.float32(255), **how)
  for name in (*FIELDS, *LATENTS):
    # Which activations are fused with their convolution depends on who else reads them: the export
    # goes on to the next state, the live model does not. That is rounding, no more.
    np.testing.assert_allclose(
      getattr(found, name), last(compiled, name), rtol=1e-5, atol=5e-6, err_msg=name
    )
    # Eagerly, convolution, bias and activation are rounded one by one instead of in one kernel.
    np.testing.assert_allclose(
      getattr(found, name), last(eager, name), rtol=1e-3, atol=1e-4, err_msg=name
    )
  np.testing.assert_allclose(found.nll.T, compiled.nll, rtol=1e-6)
  kl = tf.reduce_sum(compiled.latents.kl, axis=-1)
  np.testing.assert_allclose(np.moveaxis(found.kl, 1, 0), kl, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(found.reconstruction, compiled.reconstruction[-1], atol=1e-6)


def test_floats_and_bytes_and_single_images(paper):
  loaded, images = paper.loaded, make_images(2)
  expected = loaded.infer(images)
  for given in (images / 255, (images / 255).astype(np.float32)):
    np.testing.assert_array_equal(loaded.infer(given).masks, expected.masks)
  alone = loaded.infer(images[0])
  assert alone.masks.shape == (3, 8, 10, 1)
  assert alone.segmentation.shape == (8, 10)
  assert alone.nll.ndim == 1
  np.testing.assert_allclose(alone.masks, expected.masks[0], atol=1e-4)
  second = loaded.infer(images[1])  # the same slots alone and in a batch
  np.testing.assert_allclose(second.masks, expected.masks[1], atol=1e-4)


def test_refining_step_by_step_is_inference(case):
  model, loaded, images = case.model, case.loaded, make_images(3)
  whole = loaded.infer(images, num_iterations=4, seed=2)
  state = loaded.start(3, seed=2)
  steps = []
  for _ in range(4 + model.config.released.final_decode):
    steps.append(loaded.refine(state, images))
    state = steps[-1].state
  np.testing.assert_allclose(steps[-1].masks, whole.masks, atol=1e-5)
  nll = np.concatenate([s.nll for s in steps], axis=1)
  np.testing.assert_allclose(nll, whole.nll, rtol=1e-5)
  for name, value in whole.state.items():
    np.testing.assert_allclose(state[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
  # and going on from where an inference ended is a longer inference
  more = loaded.refine(loaded.infer(images, num_iterations=3, seed=2).state, images)
  np.testing.assert_allclose(more.masks, whole.masks, atol=1e-5)


def test_a_video_is_refined_frame_by_frame(paper):
  frames = make_images(4) / np.float32(255)
  expected = paper.model(frames[None], seed=[6, 1])
  state = paper.loaded.start(seed=6)
  for t, frame in enumerate(frames):
    found = paper.loaded.refine(state, frame)
    state = found.state
    np.testing.assert_allclose(found.masks, expected.masks[t, 0], atol=1e-5)


def test_following_shows_each_frame_as_the_posterior_that_has_seen_it(paper, monkeypatch):
  """The model's own decodes, one later: the first frame three times, the others twice each."""
  frames = make_images(3) / np.float32(255)
  steps = np.repeat(frames, [3, 2, 2], axis=0)
  steps = np.concatenate([steps, frames[-1:]])  # the last decode has seen all of them
  expected = paper.model(steps[None], seed=[6, 1]).masks[:, 0].numpy()
  given = iter(frames)  # frames come one by one, from anywhere
  found = list(paper.loaded.follow(given, first_iterations=3, num_iterations=2, seed=6))
  for (frame, one), ours, theirs in zip(found, frames, expected[[3, 5, 7]], strict=True):
    np.testing.assert_array_equal(frame, ours)
    np.testing.assert_allclose(one.masks, theirs, atol=1e-5)
  default = [f.masks for _, f in paper.loaded.follow(frames, seed=6)]  # T = 2, of single images
  same = [f.masks for _, f in paper.loaded.follow(frames, first_iterations=2, seed=6)]
  np.testing.assert_array_equal(default, same)
  pace = {**paper.loaded.metadata["model"], "first_iterations": 3, "frame_iterations": 2}
  monkeypatch.setattr(
    paper.loaded, "metadata", {**paper.loaded.metadata, "model": pace, "num_frames": 4}
  )
  as_trained = [f.masks for _, f in paper.loaded.follow(frames, seed=6)]
  np.testing.assert_array_equal(as_trained, [one.masks for _, one in found])


def test_there_is_nothing_to_follow(paper):
  with pytest.raises(iodine.errors.UserError, match="expected at least one frame, got none"):
    list(paper.loaded.follow([]))
  with pytest.raises(iodine.errors.UserError, match="first_iterations must be a whole number"):
    list(paper.loaded.follow(make_images(1), first_iterations=0))


def test_decode_and_sample(case):
  model, loaded = case.model, case.loaded
  z = np.random.default_rng(0).normal(size=[2, 5, 4]).astype(np.float32)
  decoded = loaded.decode(z)
  means, logits = model.decoder(z)
  np.testing.assert_allclose(decoded.means, means, atol=1e-5)
  np.testing.assert_allclose(decoded.masks, tf.nn.softmax(logits, axis=1), atol=1e-5)
  np.testing.assert_allclose(decoded.masks.sum(axis=1), 1, atol=1e-5)
  np.testing.assert_allclose(loaded.decode(z[0]).masks, decoded.masks[0], atol=1e-5)
  drawn = loaded.sample(400, num_slots=6, seed=4)
  prior_stddev = 1.0 if model.config.released.latent_scale == "stddev" else np.sqrt(np.log(2))
  assert drawn.z.shape == (400, 6, 4)
  assert abs(drawn.z.mean()) < 0.05
  assert abs(drawn.z.std() - prior_stddev) < 0.05
  np.testing.assert_array_equal(loaded.sample(3, num_slots=6, seed=4).z, drawn.z[:3])


def test_metadata(paper):
  model, path, loaded = paper
  metadata = loaded.metadata
  assert metadata == json.loads((path / "assets" / serving.METADATA).read_text())
  assert metadata["data_set"] == "noise"
  assert metadata["step"] == 7
  assert metadata["image_size"] == [8, 10, 3]
  assert (metadata["num_slots"], metadata["num_iterations"]) == (3, 2)
  assert iodine.make_config(metadata["model"]) == model.config
  version = (pathlib.Path(iodine.__file__).parent.parent / "pyproject.toml").read_text()
  assert f'version = "{metadata["version"]}"' in version


def test_the_live_model_comes_back(case):
  for ours, theirs in zip(case.loaded.restore().variables, case.model.variables, strict=True):
    assert ours.name == theirs.name
    np.testing.assert_array_equal(ours, theirs)


def test_a_picture(paper):
  figure = paper.loaded.plot(make_images(2))
  assert len([a for a in figure.axes if a.get_visible()]) == 2 * (3 + 3)


def test_a_model_that_is_let_go_leaves_nothing_in_memory(paper):
  def graphs():
    gc.collect()
    return sum(isinstance(found, FuncGraph) for found in gc.get_objects())

  before = graphs()
  loaded = iodine.load(paper.path)
  loaded.infer(make_images(1))
  assert graphs() > before
  del loaded
  assert graphs() == before


PLAIN = """
  import sys
  import numpy as np
  import tensorflow as tf

  model = tf.saved_model.load(sys.argv[1])
  images = np.load(sys.argv[2])
  found = model.infer(images)
  more = model.refine(found["state"], images)
  served = model.signatures["serving_default"](images=tf.constant(images / np.float32(255)))
  infer = model.signatures["infer_uint8"]
  named = infer(images=tf.constant(images), num_iterations=tf.constant(2),
                num_slots=tf.constant(3), seed=tf.constant([0, 1]))
  for name in ("masks", "nll", "kl"):
    np.testing.assert_array_equal(served[name], found[name])
    np.testing.assert_array_equal(named[name], found[name])
  for dtype, start in ((np.float32, 1.5), (np.float32, np.nan)):
    try:
      model.infer(np.full(images.shape, start, dtype))
    except tf.errors.InvalidArgumentError as error:
      assert "expected images in [0, 1] (or uint8), got values from" in error.message
    else:
      raise AssertionError("images out of range were taken")
  for how in ({"num_slots": 1}, {"num_iterations": 0}):
    try:
      model.infer(images, **how)
    except tf.errors.InvalidArgumentError as error:
      assert "must be at least" in error.message
    else:
      raise AssertionError(how)
  assert not {"iodine", "sonnet", "tensorflow_probability"} & set(sys.modules)
  np.savez(sys.argv[3], masks=found["masks"], more=more["masks"])
"""


@pytest.fixture
def optimized():
  """TensorFlow optimizes graphs as it does for users; in other tests not (tests/conftest.py)."""
  usual = tf.config.optimizer.get_experimental_options()
  tf.config.optimizer.set_experimental_options({**usual, "disable_meta_optimizer": False})
  yield
  tf.config.optimizer.set_experimental_options(usual)


def test_a_fresh_process_without_our_code(paper, optimized, tmp_path):
  _, path, _ = paper
  loaded = iodine.load(path)
  images = make_images(3)
  np.save(tmp_path / "images.npy", images)
  arguments = [str(path), str(tmp_path / "images.npy"), str(tmp_path / "out.npz")]
  environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
  command = [sys.executable, "-c", textwrap.dedent(PLAIN), *arguments]
  subprocess.run(command, check=True, cwd=tmp_path, env=environment)
  out = np.load(tmp_path / "out.npz")
  found = loaded.infer(images)
  np.testing.assert_array_equal(out["masks"], found.masks)
  np.testing.assert_array_equal(out["more"], loaded.refine(found.state, images).masks)


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux")
def test_memory_does_not_grow_with_iterations(tmp_path):
  model = Iodine(
    IodineConfig(
      image_size=(32, 32, 3),
      num_slots=4,
      latent_size=4,
      decoder_channels=(4,),
      encoder_channels=(4,),
      mlp_sizes=(4,),
      lstm_size=0,
    )
  )
  model.create_variables()
  serving.export(model, tmp_path / "model")
  loaded = iodine.load(tmp_path / "model")
  images = np.zeros([32, 32, 32, 3], np.uint8)

  def peak(num_iterations):
    """Megabytes resident at most."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    loaded.infer(images, num_iterations)
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

  peak(5)
  grown = peak(25) - peak(5)
  # means, masks and mask logits of 20 iterations more would take 32 x 4 x 1024 x 5 x 4 bytes each
  assert grown < 0.1 * 20 * 32 * 4 * 1024 * 5 * 4 / 2**20


IMAGE = np.zeros([8, 10, 3], np.float32)


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda m: m.infer(IMAGE[:7]), r"expected images \[8, 10, 3\] or .*, got \[7, 10, 3\]"),
    (lambda m: m.infer(IMAGE[..., :1]), r"got \[8, 10, 1\]"),
    (lambda m: m.infer(IMAGE[0]), r"got \[10, 3\]"),
    (lambda m: m.infer(IMAGE.astype(np.int64)), r"uint8, or float in \[0, 1\], got int64"),
    (lambda m: m.infer(IMAGE + 255), "values from 255 to 255: divide by"),
    (lambda m: m.infer(IMAGE * np.nan), r"float images in \[0, 1\], got values from nan"),
    (lambda m: m.infer(IMAGE, num_iterations=0), "num_iterations must be .* at least 1, got 0"),
    (lambda m: m.infer(IMAGE, num_slots=1), "num_slots must be .* at least 2, got 1"),
    (lambda m: m.infer(IMAGE, num_slots=2.5), "num_slots must be a whole number"),
    (lambda m: m.infer(IMAGE, num_slots=3_000_000_000), "num_slots must be at most 2147483647"),
    (lambda m: m.infer(IMAGE, seed=[1, 2, 3]), "seed must be an int or two"),
    (lambda m: m.infer(IMAGE, seed=2**32 + 5), r"seed must be from .*, got \[4294967301, 1\]"),
    (lambda m: m.infer(IMAGE, seed=2**63 + 5), "seed must be"),
    (lambda m: m.decode(np.zeros([3, 5])), r"latents float \[K, 4\].*got float64 \[3, 5\]"),
    (lambda m: m.refine(m.start(2), IMAGE), r"the state is of 2 image\(s\), got 1"),
    (lambda m: m.sample(0), "num_images must be"),
  ],
)
def test_errors_are_one_sentence(paper, call, message):
  with pytest.raises(ValueError, match=message) as error:
    call(paper.loaded)
  assert "\n" not in str(error.value)


def test_a_model_of_one_size_is_restored_at_no_other(tmp_path):
  config = {"image_size": [16, 16, 3], "decoder": "deconv", "decoder_channels": [4], "num_slots": 2}
  model = iodine.build_model(
    iodine.make_config({**config, "encoder_channels": [4], "latent_size": 3})
  )
  model.create_variables()
  serving.export(model, tmp_path)
  loaded = iodine.load(tmp_path)
  assert loaded.restore((16, 16)).config.image_size == (16, 16, 3)
  with pytest.raises(ValueError, match=r"image_size must be \[16, 16\], on which variables"):
    loaded.restore((32, 32))


def test_what_is_not_ours(tmp_path):
  with pytest.raises(ValueError, match="there is no SavedModel in"):
    iodine.load(tmp_path)
  tf.saved_model.save(tf.Module(), str(tmp_path))
  with pytest.raises(ValueError, match="none that this program exported"):
    iodine.load(tmp_path)


def test_a_folder_of_any_name(paper, tmp_path):
  name = "a[1] b*c d{e}, f g\\h " + b"\xff".decode(errors="surrogateescape")
  serving.export(paper.model, tmp_path / name)
  found = iodine.load(tmp_path / name).infer(make_images(1))
  np.testing.assert_array_equal(found.masks, paper.loaded.infer(make_images(1)).masks)
