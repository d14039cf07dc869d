"""A trained model as a SavedModel that any TensorFlow 2 program loads, and the way back.

What is saved are functions of tensors and the variables they read, not the model:

  infer(images, num_iterations, num_slots, seed)   slots, and the state to go on from
  start(num_images, num_slots, seed)               the state before the first image
  refine(state, images)                            one iteration more, on the same or the next image
  decode(z)                                        slots of given latents
  sample(num_images, num_slots, seed)              slots of latents drawn from the prior
  metadata()                                       JSON: data set, image size, K, T, scores, ...

Batch first in every output; numbers of images, slots and iterations are free at call time. Noise is
drawn as `Iodine.noise` draws it, so a seed gives what it gives the live model.
"""

import dataclasses
import functools
import json
import pathlib
import tempfile
from typing import NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

import iodine
from iodine import distributions, plotting

SEED = (0, 1)  # as the first image of an evaluation has it
METADATA = "metadata.json"


def export(model, path, metadata=None):
  """Writes a SavedModel, with signatures for TensorFlow Serving.

  Args:
    model: Iodine, its variables created.
    path: folder to write; what it holds of an older SavedModel is replaced.
    metadata: JSON-serialisable dict to store beside what is known of the model (`describe`).

  Returns:
    the metadata as stored: dict.
  """
  metadata = {**describe(model), **(metadata or {})}
  with tempfile.TemporaryDirectory() as folder:
    asset = pathlib.Path(folder) / METADATA
    asset.write_text(json.dumps(metadata, indent=2) + "\n")
    module = Exported(model, asset)
    tf.saved_model.save(module, str(path), signatures=module.signatures())
  return metadata


def describe(model):
  """What the model itself knows about its export: dict of JSON values."""
  values = dataclasses.asdict(model.config)
  return {
    "program": "iodine",
    "version": iodine.__version__,
    "image_size": list(model.config.image_size),
    "num_slots": model.config.num_slots,
    "num_iterations": model.config.num_iterations,
    "latent_size": model.config.latent_size,
    "model": {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()},
    "variables": [v.name for v in model.variables],
  }


class Exported(snt.Module):
  """Functions of tensors that close over a model's variables and keep nothing else of it.

  Args:
    model: Iodine, its variables created.
    asset: path of the metadata, JSON.
  """

  def __init__(self, model, asset):
    super().__init__(name="iodine")
    self.all_variables = list(model.variables)
    self.asset = tf.saved_model.Asset(str(asset))
    text = pathlib.Path(asset).read_text()
    cfg = model.config
    default_slots, default_iterations = cfg.num_slots, cfg.num_iterations
    # Traced once for all that call it, which keeps the file small.
    iterate = tf.function(functools.partial(_iterate, model))
    # Defaults stand in the saved functions too: a plain TensorFlow program may leave them out.

    def infer(images, num_iterations=default_iterations, num_slots=default_slots, seed=SEED):
      return _infer(model, iterate, images, num_iterations, num_slots, seed)

    def start(num_images=1, num_slots=default_slots, seed=SEED):
      return _start(model, num_images, num_slots, seed)

    def refine(state, images):
      outputs, state = iterate(_prepare(images, model.dtype), state)
      scores = {name: outputs[name][:, None] for name in ("nll", "kl")}  # D = 1
      return {**outputs, **scores, "state": state}

    def decode(z):
      return _decode(model, z)

    def sample(num_images=1, num_slots=default_slots, seed=SEED):
      return _sample(model, num_images, num_slots, seed)

    def serving_default(images):
      how = default_iterations, default_slots, SEED
      outputs = _infer(model, iterate, images, *how, keep_state=False)
      return {name: outputs[name] for name in SERVED}

    self.infer, self.start, self.refine = map(tf.function, (infer, start, refine))
    self.decode, self.sample = map(tf.function, (decode, sample))
    self.metadata = tf.function(lambda: {"json": tf.constant(text)}, input_signature=[])
    self._serving_default = tf.function(serving_default)
    self._specs = _specs(model)

  def signatures(self):
    """Concrete functions by name; the tracing also settles what the plain functions accept."""
    specs = self._specs
    images, pixels = specs["images"], tf.TensorSpec(specs["images"].shape, tf.uint8, "images")
    how = {name: specs[name] for name in ("num_iterations", "num_slots", "seed")}
    blank = [specs[name] for name in ("num_images", "num_slots", "seed")]
    state = {name: specs[name] for name in specs["state_names"]}
    for kind in (images, pixels):
      self.infer.get_concrete_function(kind, **how)
      self.refine.get_concrete_function(state, kind)
    # A signature's inputs and outputs are flat: the state's entries stand among the others.
    infer = tf.function(lambda **inputs: _flat(self.infer(**inputs)))
    refine = tf.function(lambda images, **state: _flat(self.refine(state, images)))
    return {
      "serving_default": self._serving_default.get_concrete_function(images),
      "infer": infer.get_concrete_function(images=images, **how),
      "infer_uint8": infer.get_concrete_function(images=pixels, **how),
      "start": self.start.get_concrete_function(*blank),
      "refine": refine.get_concrete_function(images=images, **state),
      "decode": self.decode.get_concrete_function(specs["z"]),
      "sample": self.sample.get_concrete_function(*blank),
      "metadata": self.metadata.get_concrete_function(),
    }


# What TensorFlow Serving gives unless asked for more: each with the batch first.
SERVED = (
  "masks",
  "means",
  "reconstruction",
  "posterior_mean",
  "posterior_stddev",
  "z",
  "nll",
  "kl",
)


def _specs(model):
  cfg = model.config
  specs = {
    "images": tf.TensorSpec([None, *cfg.image_size], tf.float32, "images"),
    "z": tf.TensorSpec([None, None, cfg.latent_size], model.dtype, "z"),
    "params": tf.TensorSpec([None, None, 2 * cfg.latent_size], model.dtype, "params"),
    "iteration": tf.TensorSpec([], tf.int32, "iteration"),
    "seed": tf.TensorSpec([2], tf.int32, "seed"),
  }
  for name in ("num_images", "num_iterations", "num_slots"):
    specs[name] = tf.TensorSpec([], tf.int32, name)
  specs["state_names"] = ["params", "iteration", "seed"]
  if cfg.lstm_size:
    for name in ("hidden", "cell"):
      specs[name] = tf.TensorSpec([None, None, cfg.lstm_size], model.dtype, name)
      specs["state_names"].append(name)
  return specs


def _infer(model, iterate, images, num_iterations, num_slots, seed, keep_state=True):
  """Outputs of the last decode, nll [B, D] and kl [B, D, K] of all, and the next state."""
  num_iterations = _at_least(num_iterations, 1, "num_iterations")
  images = _prepare(images, model.dtype)
  last = num_iterations - (0 if model.config.final_decode else 1)  # of the decodes, from 0
  size = tf.shape(images)[0]
  state = _start(model, size, num_slots, seed)
  nll, kl = (tf.TensorArray(model.dtype, size=last + 1) for _ in range(2))

  # The loop carries the state and two numbers a slot and iteration: memory is that of one
  # iteration. The last decode stands behind it, so that its images are kept and no others.
  def body(state, nll, kl):
    at = state["iteration"]
    outputs, state = iterate(images, state)
    return state, nll.write(at, outputs["nll"]), kl.write(at, outputs["kl"])

  shapes = tf.nest.map_structure(lambda tensor: tensor.shape, state)
  state, nll, kl = tf.while_loop(
    lambda state, *_: state["iteration"] < last,
    body,
    [state, nll, kl],
    shape_invariants=[shapes, tf.TensorShape([]), tf.TensorShape([])],
    parallel_iterations=1,
  )
  outputs, state = iterate(images, state, update=keep_state)
  outputs["nll"] = tf.transpose(nll.write(last, outputs["nll"]).stack())  # [B, D]
  outputs["kl"] = tf.transpose(kl.write(last, outputs["kl"]).stack(), [1, 0, 2])  # [B, D, K]
  return {**outputs, "state": state}


def _flat(outputs):
  return {**{k: v for k, v in outputs.items() if k != "state"}, **outputs["state"]}


def _iterate(model, images, state, update=True):
  """Decodes and scores the state's posterior, then updates it: outputs, next state."""
  params, iteration, seed = state["params"], state["iteration"], state["seed"]
  shape = tf.shape(params)  # [B, K, 2 Z]
  noise = model.noise(seed, iteration, shape[0], shape[1])
  decode = model.decode(images, params, noise)
  mixture = decode.mixture
  outputs = {
    **_slots(mixture.means, mixture.mask_logits, mixture.masks),
    "z": decode.z,
    "posterior_mean": decode.posterior.loc,
    "posterior_stddev": decode.posterior.scale,
    "nll": decode.nll,
    "kl": decode.kl,
  }
  if not update:
    return outputs, {}
  memory = ()
  if "hidden" in state:
    memory = snt.LSTMState(*(_fold(state[name]) for name in ("hidden", "cell")))
  params, memory = model.refine(images, params, decode, memory)
  return outputs, _state(params, iteration + 1, seed, memory)


def _start(model, num_images, num_slots, seed):
  num_slots = _at_least(num_slots, 2, "num_slots")
  params, memory = model.initial(num_images, num_slots)
  return _state(params, tf.constant(0), tf.convert_to_tensor(seed, tf.int32), memory)


def _state(params, iteration, seed, memory):
  """The core's memory goes batch first, [B, K, U], beside the parameters [B, K, 2 Z]."""
  params = tf.ensure_shape(params, [None, None, params.shape[-1]])
  state = {"params": params, "iteration": iteration, "seed": seed}
  if memory:
    lead = tf.shape(params)[:2]
    for name, value in (("hidden", memory.hidden), ("cell", memory.cell)):
      units = value.shape[-1]
      value = tf.reshape(value, tf.concat([lead, [units]], axis=0))
      state[name] = tf.ensure_shape(value, [None, None, units])
  return state


def _decode(model, z):
  means, mask_logits = model.decoder(z)
  return {**_slots(means, mask_logits, tf.nn.softmax(mask_logits, axis=1)), "z": z}


def _sample(model, num_images, num_slots, seed):
  num_slots = _at_least(num_slots, 2, "num_slots")
  seed = tf.convert_to_tensor(seed, tf.int32)
  cfg = model.config
  prior = distributions.LatentGaussian(cfg.latent_scale).prior(cfg.latent_size, model.dtype)
  noise = model.noise(seed, 0, num_images, num_slots)
  return _decode(model, prior.loc + prior.scale * noise)


def _slots(means, mask_logits, masks):
  return {
    "means": means,
    "mask_logits": mask_logits,
    "masks": masks,
    "reconstruction": tf.reduce_sum(masks * means, axis=1),
  }


def _prepare(images, dtype):
  """Images in [0, 1], checked; a byte's value is looked up, since a compiled division may round."""
  if images.dtype == tf.uint8:
    levels = (np.arange(256, dtype=np.float32) / np.float32(255)).astype(np.float32)
    return tf.cast(tf.gather(levels, tf.cast(images, tf.int32)), dtype)
  inside = tf.reduce_all((images >= 0) & (images <= 1))
  message = [
    "expected images in [0, 1] (or uint8), got values from",
    tf.reduce_min(images),
    "to",
    tf.reduce_max(images),
  ]
  with tf.control_dependencies([tf.debugging.Assert(inside, message)]):
    return tf.cast(tf.identity(images), dtype)


def _at_least(value, least, name):
  value = tf.convert_to_tensor(value, tf.int32)
  assertion = tf.debugging.Assert(value >= least, [f"{name} must be at least {least}, got", value])
  with tf.control_dependencies([assertion]):
    return tf.identity(value)


def _fold(x):
  """[B, K, ...] -> [B*K, ...]"""
  return tf.reshape(x, [-1, *x.shape[2:]])


class Slots(NamedTuple):
  """Slots that were decoded from latents; without B for a single scene."""

  z: np.ndarray  # [B, K, Z]
  means: np.ndarray  # [B, K, H, W, C]
  mask_logits: np.ndarray  # [B, K, H, W, 1]
  masks: np.ndarray  # [B, K, H, W, 1], probabilities over slots
  reconstruction: np.ndarray  # [B, H, W, C], mean of the mixture

  @property
  def segmentation(self):
    """The most probable slot of every pixel: uint8 [B, H, W]."""
    return _segmentation(self.masks)


class Inferred(NamedTuple):
  """What inference found in images, after its last decode; without B for a single image."""

  z: np.ndarray  # [B, K, Z], the sample that was decoded
  means: np.ndarray  # [B, K, H, W, C]
  mask_logits: np.ndarray  # [B, K, H, W, 1]
  masks: np.ndarray  # [B, K, H, W, 1], probabilities over slots
  reconstruction: np.ndarray  # [B, H, W, C], mean of the mixture
  posterior_mean: np.ndarray  # [B, K, Z]
  posterior_stddev: np.ndarray  # [B, K, Z]
  nll: np.ndarray  # [B, D], nats an image at each of D decodes
  kl: np.ndarray  # [B, D, K], nats a slot
  state: dict  # for `Model.refine`; of the whole batch

  @property
  def segmentation(self):
    """The most probable slot of every pixel: uint8 [B, H, W]."""
    return _segmentation(self.masks)


def _segmentation(masks):
  return np.argmax(masks[..., 0], axis=-3).astype(np.uint8)


def load(path):
  """Loads a SavedModel that `export` wrote.

  Args:
    path: its folder, or one that holds it as `saved_model` (a run, a model that is shipped).

  Returns:
    Model.

  Raises:
    ValueError: there is none, it is damaged, or it is none of ours.
  """
  path = pathlib.Path(path)
  if not (path / "saved_model.pb").is_file() and (path / "saved_model").is_dir():
    path = path / "saved_model"
  if not (path / "saved_model.pb").is_file():
    raise ValueError(f"there is no SavedModel in {path}: {path / 'saved_model.pb'} does not exist")
  try:
    loaded = tf.saved_model.load(str(path))
  except (OSError, tf.errors.OpError) as error:
    reason = str(error).splitlines()[0]
    raise ValueError(f"{path} is no SavedModel that can be read: {reason}") from error
  try:
    metadata = json.loads(loaded.metadata()["json"].numpy())
  except (AttributeError, KeyError, TypeError, ValueError):
    metadata = {}
  if metadata.get("program") != "iodine":
    raise ValueError(f"{path} is a SavedModel, but none that this program exported")
  return Model(loaded, metadata)


class Model:
  """A loaded SavedModel: NumPy in, named NumPy out.

  Images are uint8, or float in [0, 1]: [H, W, C] or [B, H, W, C]; a single one gives results
  without B. Equal seeds give equal results; an int n stands for [n, 1], as in an evaluation.

  Attributes:
    metadata: dict; data set, image size, crop, K, T, version, training step, scores.
  """

  def __init__(self, loaded, metadata):
    self._loaded = loaded
    self.metadata = metadata

  def __repr__(self):
    size = " x ".join(map(str, self.metadata["image_size"]))
    data = self.metadata.get("data_set") or "unknown data"
    return f"<IODINE for {data}, {size}, {self.metadata['num_slots']} slots>"

  def infer(self, images, num_iterations=None, num_slots=None, seed=0):
    """Decomposes images into slots.

    Args:
      images: see the class.
      num_iterations: T, that of training by default.
      num_slots: K, that of training by default.
      seed: int, or int32 [2].

    Returns:
      Inferred.

    Raises:
      ValueError: size, dtype or range of the images is wrong; K < 2 or T < 1.
    """
    images, single = self._images(images)
    outputs = self._loaded.infer(
      images,
      _count("num_iterations", num_iterations, self.metadata["num_iterations"], 1),
      self._num_slots(num_slots),
      _seed(seed),
    )
    return _named(Inferred, outputs, single)

  def start(self, num_images=1, num_slots=None, seed=0):
    """The state before anything was seen, for `refine`: dict of arrays."""
    num_images = _count("num_images", num_images, 1, 1)
    return _numpy(self._loaded.start(num_images, self._num_slots(num_slots), _seed(seed)))

  def refine(self, state, images):
    """One more iteration: decodes and scores the state's posterior, then updates it.

    From `start`, T calls on the same images are `infer` with T iterations; on the frames of a
    video they are inference on the sequence, one frame an iteration.

    Args:
      state: of `start`, or of a result.
      images: as many as the state is for.

    Returns:
      Inferred with D = 1; `.state` goes on.

    Raises:
      ValueError: as `infer`, or the number of images is another.
    """
    images, single = self._images(images)
    expected = len(state["params"])
    if len(images) != expected:
      raise ValueError(f"the state is of {expected} image(s), got {len(images)}")
    return _named(Inferred, self._loaded.refine(state, images), single)

  def decode(self, z):
    """Slots of latents: z float [B, K, Z], or [K, Z] for one scene -> Slots.

    Raises:
      ValueError: the shape is another.
    """
    dtype, size = self.metadata["model"]["dtype"], self.metadata["latent_size"]
    z = np.asarray(z)
    if z.ndim not in (2, 3) or z.shape[-1] != size or z.dtype.kind not in "fiu":
      raise ValueError(
        f"expected latents float [K, {size}] or [B, K, {size}], got {z.dtype} {list(z.shape)}"
      )
    single = z.ndim == 2
    z = z.astype(dtype)
    return _named(Slots, self._loaded.decode(z[None] if single else z), single)

  def sample(self, num_images=1, num_slots=None, seed=0):
    """Scenes whose latents are drawn from the prior, slot by slot -> Slots [num_images, ...]."""
    num_images = _count("num_images", num_images, 1, 1)
    outputs = self._loaded.sample(num_images, self._num_slots(num_slots), _seed(seed))
    return _named(Slots, outputs, single=False)

  def plot(self, images, num_iterations=None, num_slots=None, seed=0, **options):
    """Draws the decomposition, a row an image; `options` as `iodine.plotting.decomposition`'s.

    Returns:
      matplotlib Figure: image, reconstruction, masks and each slot.
    """
    images, _ = self._images(images)
    found = self.infer(images, num_iterations, num_slots, seed)
    shown = images / np.float32(255) if images.dtype == np.uint8 else images
    return plotting.decomposition(
      shown, None, found.reconstruction, found.masks, found.means, found.mask_logits, **options
    )

  def restore(self):
    """The live model with the saved variables, to look inside or to train on: Iodine."""
    model = iodine.Iodine(iodine.ModelConfig.from_dict(self.metadata["model"]))
    model.create_variables()
    for variable, saved in zip(model.variables, self._loaded.all_variables, strict=True):
      variable.assign(saved)
    return model

  def _num_slots(self, num_slots):
    return _count("num_slots", num_slots, self.metadata["num_slots"], 2)

  def _images(self, images):
    """Checked: (uint8 or float32 [B, H, W, C], whether it was a single one)."""
    images = np.asarray(images)
    height, width, channels = self.metadata["image_size"]
    wanted = f"[{height}, {width}, {channels}] or [B, {height}, {width}, {channels}]"
    if images.ndim not in (3, 4) or images.shape[-3:] != (height, width, channels):
      raise ValueError(f"expected images {wanted}, got {list(images.shape)}")
    if images.dtype != np.uint8:
      if images.dtype.kind != "f":
        raise ValueError(f"expected images uint8, or float in [0, 1], got {images.dtype}")
      images = images.astype(np.float32)
      if images.size and not (images.min() >= 0 and images.max() <= 1):  # NaN: neither
        raise ValueError(
          f"expected float images in [0, 1], got values from {images.min():g} to "
          f"{images.max():g}: divide by the largest possible value, or pass uint8"
        )
    single = images.ndim == 3
    return images[None] if single else images, single


def _count(name, value, default, least):
  value = default if value is None else value
  if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
    raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
  return np.int32(value)


def _seed(seed):
  seed = np.asarray([seed, SEED[1]] if np.ndim(seed) == 0 else seed)
  if seed.shape != (2,) or seed.dtype.kind not in "iu":
    raise ValueError(f"seed must be an int or two of them, got {seed.tolist()}")
  return seed.astype(np.int32)


def _numpy(tensors):
  return {name: value.numpy() for name, value in tensors.items()}


def _named(kind, outputs, single):
  outputs = dict(outputs)
  state = {"state": _numpy(outputs.pop("state"))} if "state" in outputs else {}
  arrays = _numpy(outputs)
  if single:
    arrays = {name: value[0] for name, value in arrays.items()}
  return kind(**arrays, **state)
