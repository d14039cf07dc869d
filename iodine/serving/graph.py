"""A model's functions as a SavedModel that any TensorFlow 2 program loads.

What is saved are functions of tensors and the variables they read, not the model:

  infer(images, num_iterations, num_slots, seed)   slots, and the state to go on from
  start(num_images, num_slots, seed)               the state before the first image
  refine(state, images)                            one iteration more, on the same or the next image
  decode(z)                                        slots of given latents
  sample(num_images, num_slots, seed)              slots of latents drawn from the prior
  metadata()                                       JSON: data set, image size, K, T, scores, ...

`start` and `refine` are there for models that iterate, `decode` and `sample` for those with
latents. Batch first in every output; numbers of images, slots and iterations are free at call time.
Every image of a batch gets the same noise, so that it has the same slots alone and among others.
"""

import functools
import json
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine import unroll
from iodine.noise import Noise
from iodine.outputs import SlotOutput, reconstruct
from iodine.slot_model import SlotModel
from iodine.tf_paths import literal
from iodine.version import __version__

SEED = (0, 1)  # as the first image of an evaluation has it
METADATA = "metadata.json"
PLACE = ("iteration", "seed")  # what the saved state holds beside the model's own


def export(
  model: SlotModel, path: str | os.PathLike, metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """Writes a SavedModel, with signatures for TensorFlow Serving.

  Args:
    model: its variables created.
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
    tf.saved_model.save(module, literal(path, create=True), signatures=module.signatures())
  return metadata


def describe(model: SlotModel) -> dict[str, Any]:
  """What the model itself knows about its export: dict of JSON values."""
  return {
    "program": "iodine",
    "version": __version__,
    "image_size": list(model.config.image_size),
    "num_slots": model.config.num_slots,
    "min_slots": model.MIN_SLOTS,
    "max_slots": model.MAX_SLOTS,
    "num_iterations": model.config.num_iterations,
    "latent_size": model.latent_size,
    "model": model.config.flat(),
    "variables": [v.name for v in model.variables],
  }


class Exported(snt.Module):
  """Functions of tensors that close over a model's variables and keep nothing else of it.

  Args:
    model: its variables created.
    asset: path of the metadata, JSON.
  """

  def __init__(self, model: SlotModel, asset: str | os.PathLike):
    super().__init__(name="iodine")
    self.all_variables = list(model.variables)
    self.asset = tf.saved_model.Asset(str(asset))
    text = pathlib.Path(asset).read_text()
    default_slots, default_iterations = model.config.num_slots, model.config.num_iterations
    self._specs = _specs(model)
    # Traced once for all that call them, which keeps the file small.
    unrolled = tf.function(functools.partial(_infer, model), autograph=False)
    iterate = tf.function(functools.partial(_refine, model), autograph=False)
    # Defaults stand in the saved functions too: a plain TensorFlow program may leave them out.

    def infer(images, num_iterations=default_iterations, num_slots=default_slots, seed=SEED):
      return unrolled(
        _prepare(images, model.dtype),
        _at_least(num_iterations, 1, "num_iterations"),
        _slots_of(model, num_slots),
        tf.convert_to_tensor(seed, tf.int32),
      )

    def start(num_images=1, num_slots=default_slots, seed=SEED):
      num_slots = _slots_of(model, num_slots)
      return _start(model, num_images, num_slots, tf.convert_to_tensor(seed, tf.int32))

    def refine(state, images):
      return iterate(_prepare(images, model.dtype), state)

    def decode(z):
      return _decode(model, z)

    def sample(num_images=1, num_slots=default_slots, seed=SEED):
      num_slots = _slots_of(model, num_slots)
      noise = _noise(tf.convert_to_tensor(seed, tf.int32))._replace(shared=False)
      return _decode(model, model.sample_prior(num_images, num_slots, noise))

    def serving_default(images):
      return {name: value for name, value in infer(images).items() if name not in ("state", "loss")}

    self.infer = tf.function(infer, autograph=False)
    self._serving_default = tf.function(serving_default, autograph=False)
    self.metadata = tf.function(
      lambda: {"json": tf.constant(text)}, input_signature=[], autograph=False
    )
    if self._specs["state"]:
      self.start = tf.function(start, autograph=False)
      self.refine = tf.function(refine, autograph=False)
    if model.latent_size is not None:
      self.decode = tf.function(decode, autograph=False)
      self.sample = tf.function(sample, autograph=False)

  def signatures(self) -> dict[str, Any]:
    """Concrete functions by name; the tracing also settles what the plain functions accept."""
    specs = self._specs
    images, pixels = specs["images"], tf.TensorSpec(specs["images"].shape, tf.uint8, "images")
    how = {name: specs[name] for name in ("num_iterations", "num_slots", "seed")}
    blank = [specs[name] for name in ("num_images", "num_slots", "seed")]
    state = dict(specs["state"])  # snt.Module wraps what it holds
    for kind in (images, pixels):
      self.infer.get_concrete_function(kind, **how)
    # A signature's inputs and outputs are flat: the state's entries stand among the others.
    infer = tf.function(lambda **inputs: _flat(self.infer(**inputs)), autograph=False)
    signatures = {
      "serving_default": self._serving_default.get_concrete_function(images),
      "infer": infer.get_concrete_function(images=images, **how),
      "infer_uint8": infer.get_concrete_function(images=pixels, **how),
      "metadata": self.metadata.get_concrete_function(),
    }
    if state:
      for kind in (images, pixels):
        self.refine.get_concrete_function(state, kind)
      refine = tf.function(
        lambda images, **state: _flat(self.refine(state, images)), autograph=False
      )
      signatures["start"] = self.start.get_concrete_function(*blank)
      signatures["refine"] = refine.get_concrete_function(images=images, **state)
    if "z" in specs:
      signatures["decode"] = self.decode.get_concrete_function(specs["z"])
      signatures["sample"] = self.sample.get_concrete_function(*blank)
    return signatures


def _specs(model):
  specs = {
    "images": tf.TensorSpec([None, *model.config.image_size], tf.float32, "images"),
    "seed": tf.TensorSpec([2], tf.int32, "seed"),
  }
  for name in ("num_images", "num_iterations", "num_slots"):
    specs[name] = tf.TensorSpec([], tf.int32, name)
  if model.latent_size is not None:
    specs["z"] = tf.TensorSpec([None, None, model.latent_size], model.dtype, "z")
  start = tf.function(functools.partial(_start, model), autograph=False)
  state = start.get_concrete_function(*(specs[n] for n in ("num_images", "num_slots", "seed")))
  specs["state"] = {
    name: tf.TensorSpec(spec.shape, spec.dtype, name)
    for name, spec in state.structured_outputs.items()
    if model.ITERATES
  }
  return specs


def _noise(seed, iteration=0):
  return Noise(seed, tf.convert_to_tensor(iteration), tf.constant(0), shared=True)


def _infer(model, images, num_iterations, num_slots, seed):
  """Outputs of the last decode, the terms [B, D] of all, and the next state."""
  found = unroll.fold(
    model,
    images,
    keep=lambda output, frame, d: _scores(output),
    num_iterations=num_iterations,
    num_slots=num_slots,
    noise=_noise(seed),
    final_state=model.ITERATES,
  )
  kept = {name: _batch_first(value) for name, value in found.kept.items()}
  outputs = {**_outputs(found.last), **kept}
  if not found.state:
    return outputs
  done = tf.shape(found.kept["nll"])[0]
  return {**outputs, "state": _known(found.state, done, seed)}


def _refine(model, images, state):
  """One iteration: outputs of its decode, with D = 1, and the next state."""
  own = {name: value for name, value in state.items() if name not in PLACE}
  noise = _noise(state["seed"], state["iteration"])
  output, own, _ = model.step(unroll.Frame(images, images), own, noise)
  scores = {name: value[:, None] for name, value in _scores(output).items()}
  next_state = _known(own, state["iteration"] + 1, state["seed"])
  return {**_outputs(output), **scores, "state": next_state}


def _start(model, num_images, num_slots, seed):
  own = model.start(num_images, num_slots, _noise(seed))
  return _known(own, tf.constant(0), seed) if own else {}


def _known(own, iteration, seed):
  """The saved state; what a loop no longer knows, the numbers of images and slots, is free."""
  own = {
    name: tf.ensure_shape(value, [None, None, *value.shape[2:]]) for name, value in own.items()
  }
  return {**own, "iteration": iteration, "seed": seed}


def _scores(output: SlotOutput):
  """What is kept of every decode: nll [B], kl [B, K] where there is one, other terms [B]."""
  scores = {"nll": output.nll, **output.terms}
  if output.latents is not None:
    scores["kl"] = tf.reduce_sum(output.latents.kl, axis=-1)
  return scores


def _batch_first(value):
  """[D, B, ...] -> [B, D, ...]"""
  return tf.transpose(value, [1, 0, *range(2, value.shape.rank)])


def _outputs(output: SlotOutput):
  outputs = _slots(output.means, output.mask_logits, output.masks)
  if output.latents is not None:
    outputs |= {
      "z": output.latents.z,
      "posterior_mean": output.latents.mean,
      "posterior_stddev": output.latents.stddev,
    }
  return outputs


def _decode(model, z):
  means, mask_logits = model.decoder(z)
  return {**_slots(means, mask_logits, tf.nn.softmax(mask_logits, axis=1)), "z": z}


def _slots(means, mask_logits, masks):
  return {
    "means": means,
    "mask_logits": mask_logits,
    "masks": masks,
    "reconstruction": reconstruct(masks, means),
  }


def _flat(outputs):
  return {**{k: v for k, v in outputs.items() if k != "state"}, **outputs.get("state", {})}


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


def _slots_of(model, num_slots):
  num_slots = _at_least(num_slots, model.MIN_SLOTS, "num_slots")
  if model.MAX_SLOTS is None:
    return num_slots
  message = [f"num_slots must be at most {model.MAX_SLOTS}, got", num_slots]
  with tf.control_dependencies([tf.debugging.Assert(num_slots <= model.MAX_SLOTS, message)]):
    return tf.identity(num_slots)


def _at_least(value, least, name):
  value = tf.convert_to_tensor(value, tf.int32)
  assertion = tf.debugging.Assert(value >= least, [f"{name} must be at least {least}, got", value])
  with tf.control_dependencies([assertion]):
    return tf.identity(value)
