"""The one loop through a model: which frame, which weight, how many decodes, when to stop.

A model makes one step; what is done with the steps of an inference is decided here, for training,
evaluation, latents, export and streaming alike, with T and K as numbers or as tensors.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from iodine.errors import UserError
from iodine.noise import Noise
from iodine.outputs import SlotOutput
from iodine.rematerialise import rematerialised


class Frame(NamedTuple):
  """What one step sees: one image twice, or two frames of a sequence."""

  input: tf.Tensor  # [B, H, W, C], read by the update
  target: tf.Tensor  # [B, H, W, C], what the decode is scored against


class Compiled:
  """A function compiled once for each shape of images, and once more for batches of any size.

  The second time is that of the first batch that is smaller than those before it.
  """

  def __init__(self, function: Callable):
    self._function, self._compiled = function, {}

  def __call__(self, images, *arguments):
    """function(*arguments), where `images` [B, ...] are those among them."""
    shape = tuple(images.shape[1:])
    if shape not in self._compiled:
      self._compiled[shape] = tf.function(self._function, reduce_retracing=True, autograph=False)
    return self._compiled[shape](*arguments)


class Pace(NamedTuple):
  """How long a sequence shows a frame: one iteration in the paper.

  Attributes:
    first: iterations of the first frame.
    each: of each of the others.
  """

  first: int = 1
  each: int = 1

  def frame(self, iteration):
    """Number of the frame that an iteration, a number or a tensor, sees; the first one before."""
    number = (iteration - self.first) // self.each + 1
    return max(number, 0) if isinstance(number, int) else tf.maximum(number, 0)

  def iterations(self, num_frames):
    """What so many frames take."""
    return self.first + (num_frames - 1) * self.each


class Timeline(NamedTuple):
  """The decodes of one inference.

  Attributes:
    num_decodes: D, a number or an int32 tensor.
    weights: of each decode in the loss (Eq. 4), float [D].
    target_lag: decode d, which reads the frame of iteration d of a sequence, is scored against that
      of iteration d - target_lag, or the first.
    pace: which frame that is.
  """

  num_decodes: Any
  weights: tf.Tensor
  target_lag: int = 0
  pace: Pace = Pace()

  def frame(self, images: tf.Tensor, decode) -> Frame:
    """Frame of decode d: of images [B, H, W, C] always these, of a sequence [B, T, H, W, C] two."""
    if images.shape.rank == 4:
      return Frame(images, images)
    target = self.target(images, decode)
    if self.target_lag == 0:
      return Frame(target, target)
    # Nothing follows the last decode, which may be of the last frame: there is none for it to read.
    last = self.pace.iterations(tf.shape(images)[1]) - 1
    return Frame(frame_at(images, self.pace, tf.minimum(decode, last)), target)

  def target(self, clip: tf.Tensor, decode) -> tf.Tensor:
    """What of a clip [B, T, ...] belongs to the target of decode d, true masks for instance."""
    return frame_at(clip, self.pace, decode - self.target_lag)

  @property
  def num_frames(self):
    """How many frames of a sequence it takes."""
    last = self.num_decodes - 1  # is scored; what it reads is for the next one
    scored, read = last - self.target_lag, last - 1
    return max(self.pace.frame(scored), self.pace.frame(read)) + 1


def frame_at(clip: tf.Tensor, pace: Pace, iteration) -> tf.Tensor:
  """The frame of a clip [B, T, ...] that an iteration sees."""
  return tf.gather(clip, pace.frame(iteration), axis=1)


def check_frames(timeline: Timeline, images: tf.Tensor) -> None:
  """Raises UserError where a sequence is too short for the decodes."""
  if images.shape.rank != 5 or isinstance(timeline.num_decodes, tf.Tensor):
    return
  if images.shape[1] is not None and images.shape[1] < timeline.num_frames:
    raise UserError(
      f"{timeline.num_decodes} decodes need {timeline.num_frames} frames, got {images.shape[1]}"
    )


def unroll(
  model,
  images: tf.Tensor,
  *,
  num_iterations=None,
  num_slots=None,
  seed,
  first_index=0,
  shared_noise: bool = False,
  step_options: Mapping[str, Any] | None = None,
  as_function: bool = False,
) -> SlotOutput:
  """Every decode of an inference, for a loss: SlotOutput with [D, B] and Eq. 4 as its `loss`.

  Args:
    model: a SlotModel.
    images: float [B, H, W, C] in [0, 1], or [B, T, H, W, C] for a sequence.
    num_iterations: T, a number; the model's by default (all frames of a sequence).
    num_slots: K, a number; the model's by default.
    seed: int32 [2].
    first_index: see `Noise`.
    shared_noise: see `Noise.shared`.
    step_options: further keywords of the model's `step`.
    as_function: trace an iteration once, as a function that is called T times; TensorFlow puts
      its operations in place of the calls when the graph is first run. Not for XLA, which, for
      the shapes that such a function hands to its gradient, takes all variables for constants
      and compiles at every step.

  Raises:
    UserError: the sequence is too short.
  """
  timeline = timeline_of(model, images, num_iterations)
  check_frames(timeline, images)
  num_slots = model.config.num_slots if num_slots is None else num_slots

  options = dict(step_options or {})

  def step(seen, state, seed, iteration, first_index, saved=None):
    noise = Noise(seed, iteration, first_index, shared_noise)
    frame = Frame(seen[0], seen[-1])
    output, state, grads = model.step(frame, state, noise, saved=saved, **options)
    return (output, state), grads

  iterate = step
  if model.config.recompute:
    iterate = rematerialised(step)
  elif as_function:
    iterate = tf.function(step, autograph=False)
  seed, first_index = tf.convert_to_tensor(seed, tf.int32), tf.convert_to_tensor(first_index)
  state = model.start(
    tf.shape(images)[0], num_slots, Noise(seed, tf.constant(0), first_index, shared_noise)
  )
  outputs = []
  for d in range(timeline.num_decodes):
    frame = timeline.frame(images, d)
    at = tf.constant(d)
    if d + 1 < timeline.num_decodes:
      # one image is one argument: of two a function would not know that they are the same
      seen = frame[:1] if frame.input is frame.target else tuple(frame)
      (output, state), _ = iterate(seen, state, seed, at, first_index)
    else:  # nothing reads the state behind the last decode
      noise = Noise(seed, at, first_index, shared_noise)
      output, _, _ = model.step(frame, state, noise, update=False, **options)
    outputs.append(output)
  losses = tf.stack([output.loss for output in outputs])  # [D, B]
  stacked = tf.nest.map_structure(
    lambda *values: None if values[0] is None else tf.stack(values), *outputs
  )
  weights = tf.cast(timeline.weights, losses.dtype)
  return stacked._replace(loss=tf.reduce_sum(weights[:, None] * losses, axis=0))


class Folded(NamedTuple):
  """What is left of an inference that keeps nothing of earlier decodes but what it was asked to."""

  kept: Any  # a nest of [D, ...]: `keep` of every decode
  last: SlotOutput  # [B]
  state: dict[str, tf.Tensor]  # of the model, to go on from; {} unless asked for


def fold(
  model,
  images: tf.Tensor,
  keep: Callable[[SlotOutput, Frame, Any], Any],
  *,
  num_iterations=None,
  num_slots=None,
  noise: Noise,
  final_state: bool = False,
  pace: Pace | None = None,
) -> Folded:
  """An inference in a loop of the graph: the memory is that of one iteration, T may be a tensor.

  Args:
    model: a SlotModel.
    images: as in `unroll`.
    keep: (SlotOutput of a decode, its Frame, its number d) -> a nest of tensors to keep.
    num_iterations: T, a number or a tensor.
    num_slots: K, a number or a tensor.
    noise: of iteration 0.
    final_state: apply the update behind the last decode too.
    pace: see `timeline_of`.

  Returns:
    Folded.
  """
  timeline = timeline_of(model, images, num_iterations, pace)
  check_frames(timeline, images)
  num_slots = model.config.num_slots if num_slots is None else num_slots
  last = tf.convert_to_tensor(timeline.num_decodes) - 1
  state = model.start(tf.shape(images)[0], num_slots, noise)

  # Traced once for the loop and once for the last decode; its outputs tell what there is to keep.
  @tf.function(autograph=False)
  def decode(images, d, state, update):
    frame = timeline.frame(images, d)
    output, state, _ = model.step(frame, state, noise._replace(iteration=d), update=update)
    return output, state, keep(output, frame, d)

  traced = decode.get_concrete_function(images, tf.constant(0), state, True)
  structure = traced.structured_outputs[2]
  kept = [
    tf.TensorArray(spec.dtype, size=last + 1, element_shape=spec.shape)
    for spec in _present(structure)
  ]

  def body(d, state, kept):
    _, state, values = decode(images, d, state, True)
    return d + 1, state, [a.write(d, v) for a, v in zip(kept, _present(values), strict=True)]

  loop = [tf.constant(0), state, kept]
  invariants = [
    tf.TensorShape([]),
    tf.nest.map_structure(lambda tensor: tensor.shape, state),
    [tf.TensorShape(None) for _ in kept],
  ]
  _, state, kept = tf.while_loop(
    lambda d, *_: d < last, body, loop, shape_invariants=invariants, parallel_iterations=1
  )
  # The last decode stands behind the loop, so that its images are kept and no others.
  output, state, values = decode(images, last, state, final_state)
  stacked = iter([a.write(last, v).stack() for a, v in zip(kept, _present(values), strict=True)])
  kept = tf.nest.map_structure(lambda v: None if v is None else next(stacked), structure)
  return Folded(kept, output, state if final_state else {})


def _present(nest):
  """The tensors of a nest, without the None of a model that has no latents: a loop takes none."""
  return [value for value in tf.nest.flatten(nest) if value is not None]


def timeline_of(
  model, images: tf.Tensor, num_iterations=None, pace: Pace | None = None
) -> Timeline:
  """The decodes of an inference.

  Args:
    model: a SlotModel.
    images: [B, H, W, C], or [B, T, H, W, C] for a sequence.
    num_iterations: T; by default the configuration's, or as many as a sequence has frames for.
    pace: of a sequence; the model's by default.
  """
  pace = pace or model.pace
  if num_iterations is None:
    num_iterations = model.config.num_iterations
    if images.shape.rank == 5:
      num_iterations = model.iterations_of(pace.iterations(images.shape[1]))
  return model.timeline(num_iterations)._replace(pace=pace)
