"""A small model, images to train it on, and trainers that tests share."""

import numpy as np
import tensorflow as tf

from iodine import IodineConfig
from iodine.training import Checkpoints, Trainer, TrainingConfig

MODEL = IodineConfig(
  image_size=(8, 8, 3),
  num_slots=3,
  num_iterations=2,
  latent_size=4,
  sigma=0.3,
  decoder_channels=(8,),
  encoder_channels=(8,),
  encoder_kernel=3,
  mlp_sizes=(8,),
  lstm_size=0,
)
EXACT = MODEL.replace(dtype="float64")  # Adam's first steps magnify float32 rounding
TRAINING = TrainingConfig(batch_size=4, num_steps=20, learning_rate=1e-3, seed=1)


def scenes(batch_size=4, pipeline=0, num_pipelines=1, start=0, num=40):
  """Batches of random images with masks of two objects on a background."""
  rng = np.random.default_rng(0)
  images = rng.uniform(size=[num, 8, 8, 3]).astype(np.float32)
  labels = rng.integers(3, size=[num, 8, 8])
  masks = np.moveaxis(np.eye(3, dtype=np.float32)[labels], -1, 1)[..., None]
  data = tf.data.Dataset.from_tensor_slices({"image": images, "mask": masks}).repeat()
  return data.batch(batch_size, drop_remainder=True).skip(start)


def cast(dataset, dtype):
  return dataset.map(lambda scene: {**scene, "image": tf.cast(scene["image"], dtype)})


def untuned(dataset):
  """Without a tuner, for which the end of an iterator may wait: see datasets/pipeline/load.py."""
  options = tf.data.Options()
  options.autotune.enabled = False
  return dataset.with_options(options)


def logical_devices(number):
  """Collectives, the default, take one group size only in a process."""
  return tf.distribute.MirroredStrategy(
    [f"CPU:{i}" for i in range(number)],
    cross_device_ops=tf.distribute.ReductionToOneDevice(),
  )


def run(trainer, num_steps, make=scenes):
  dataset = lambda *args: untuned(cast(make(*args), trainer.model.dtype))
  batches = trainer.distribute(dataset)
  return [trainer.train_step(next(batches)) for _ in range(num_steps)]


def values(trainer):
  return [v.numpy() for v in trainer.variables]


class Trainers:
  """Trainers as new, of which none is built and traced twice for the same settings.

  What a test has asked for is its own until the test ends or calls `release`.
  """

  def __init__(self):
    self._idle, self._busy = [], []

  def __call__(self, model, training, directory=None, strategy=None, keep=3):
    if strategy is not None:
      return Trainer(model, training, directory, strategy, keep)
    for entry in self._idle:
      if entry[0] == (model, training):
        self._idle.remove(entry)
        break
    else:
      trainer = Trainer(model, training)
      entry = (model, training), trainer, [v.numpy() for v in _state_of(trainer)]
    self._busy.append(entry)
    _, trainer, initial = entry
    for variable, value in zip(_state_of(trainer), initial, strict=True):
      variable.assign(value)
    trainer.forget_step()
    trainer.checkpoints = directory and Checkpoints(directory, trainer.state(), model, keep)
    return trainer

  def release(self):
    """The test that took them has done with them: it may get the same ones again, as new."""
    self._idle += self._busy
    self._busy = []


def _state_of(trainer):
  parts = [trainer.state()[name] for name in sorted(trainer.state())]
  variables = []
  for part in parts:
    if isinstance(part, tf.Variable):
      variables.append(part)
    else:
      variables += part.variables if not callable(part.variables) else part.variables()
  return variables
