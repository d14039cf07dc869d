"""What a traced step consists of, and how fast the machine can do that: operations and ceilings."""

import dataclasses
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")


@dataclasses.dataclass(frozen=True)
class Convolution:
  """One convolution, or one of its two backward passes, by the shapes of the forward pass.

  Attributes:
    kind: one of CONVOLUTIONS.
    inputs: (N, H, W, c).
    kernel: (h, w, c, c').
    outputs: (N, H', W', c').
    stride: of both axes.
    padding: "SAME" or "VALID".
    dtype: by name.
  """

  kind: str
  inputs: tuple[int, ...]
  kernel: tuple[int, ...]
  outputs: tuple[int, ...]
  stride: int
  padding: str
  dtype: str

  @property
  def flops(self):
    """A multiplication and an addition for each weight at each output; padding counts as pixels."""
    return 2 * int(np.prod(self.outputs[:3])) * int(np.prod(self.kernel))


def operations(function, batch_size):
  """Counts what a traced function computes.

  Args:
    function: tf.ConcreteFunction; shapes must be known but for the leading ones.
    batch_size: what stands for an unknown leading dimension: B*K.

  Returns:
    (dict Convolution -> how often, floating-point operations of matrix products). Products in a
    function for matrices of any shape, as Muon's, which are few, are not counted.

  Raises:
    ValueError: a convolution whose shapes the graph does not tell.
  """
  convolutions, products = {}, 0
  for op in _all_operations(function.graph):
    if op.type in CONVOLUTIONS:
      convolution = _convolution(op, batch_size)
      convolutions[convolution] = convolutions.get(convolution, 0) + 1
    elif op.type in ("MatMul", "BatchMatMulV2") and _is_known(op):
      products += _product_flops(op, batch_size)
  return convolutions, products


def _all_operations(graph):
  """What runs of a graph, and of the functions it calls each time: the rest TensorFlow prunes."""
  waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
  done = set()
  while waiting:
    op = waiting.pop()
    if op in done:
      continue
    done.add(op)
    yield op
    waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    for name in _called(op):
      inner = graph._get_function(name)  # there is no public way to it
      if hasattr(inner, "graph"):
        yield from _all_operations(inner.graph)


def _called(op):
  """Names of the functions in an operation's attributes: set."""
  return {value.func.name for value in op.node_def.attr.values() if value.HasField("func")}


def _is_known(op):
  shapes = [tensor.shape for tensor in op.inputs]
  return all(shape.rank is not None and None not in shape.as_list()[1:] for shape in shapes)


def _shape(tensor, batch_size):
  dims = tensor.shape.as_list() if tensor.shape.rank is not None else None
  if dims is None or None in dims[1:]:
    raise ValueError(f"the graph does not tell the shape of {tensor.name}: {tensor.shape}")
  return (batch_size if dims[0] is None else dims[0], *dims[1:])


def _convolution(op, batch_size):
  strides = op.get_attr("strides")
  result = op.outputs[0]
  tensors = {
    "Conv2D": (*op.inputs, result),
    "Conv2DBackpropInput": (result, *op.inputs[1:]),
    "Conv2DBackpropFilter": (op.inputs[0], result, op.inputs[-1]),
  }[op.type]  # inputs, kernel, outputs
  shapes = [_shape(tensor, batch_size) for tensor in tensors]
  return Convolution(
    op.type, *shapes, strides[1], op.get_attr("padding").decode(), result.dtype.name
  )


def _product_flops(op, batch_size):
  left, right = (_shape(t, batch_size) for t in op.inputs)
  turned = ("adj_x", "adj_y") if op.type.startswith("Batch") else ("transpose_a", "transpose_b")
  rows, contracted = left[-2:][::-1] if op.get_attr(turned[0]) else left[-2:]
  columns = right[-2] if op.get_attr(turned[1]) else right[-1]
  lead = np.broadcast_shapes(left[:-2], right[:-2])
  return 2 * int(np.prod(lead)) * rows * contracted * columns


def seconds_alone(convolution, repeats=5):
  """Median seconds of a convolution run by itself, on random numbers."""
  dtype = tf.as_dtype(convolution.dtype)
  inputs, kernel, outputs = (
    tf.Variable(tf.cast(tf.random.stateless_normal(shape, [0, i]), dtype))
    for i, shape in enumerate((convolution.inputs, convolution.kernel, convolution.outputs))
  )
  options = {"strides": [1, convolution.stride, convolution.stride, 1]}
  options["padding"] = convolution.padding

  @tf.function(autograph=False)
  def run():
    if convolution.kind == "Conv2D":
      return tf.raw_ops.Conv2D(input=inputs, filter=kernel, **options)
    if convolution.kind == "Conv2DBackpropInput":
      return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=convolution.inputs, filter=kernel, out_backprop=outputs, **options
      )
    return tf.raw_ops.Conv2DBackpropFilter(
      input=inputs, filter_sizes=convolution.kernel, out_backprop=outputs, **options
    )

  return statistics.median(timings(run, repeats).wall)


@dataclasses.dataclass(frozen=True)
class Timings:
  """What repeated calls took.

  Attributes:
    wall: seconds by the clock.
    cpu: seconds of this process on all cores, the system's work for it included.
    system: that share of it, in seconds: page faults for the most part.
    faults: pages that the system had to map (`iodine.allocator`).
  """

  wall: list[float]
  cpu: list[float]
  system: list[float]
  faults: list[int]


def timings(function: Callable[[], Any], repeats: int, warm_up: int = 1) -> Timings:
  """Times calls of a function that returns tensors; waits for their values."""
  rows = []
  for _ in range(warm_up + repeats):
    before = _spent()
    for tensor in tf.nest.flatten(function()):
      getattr(tensor, "numpy", tuple)()
    rows.append([after - start for after, start in zip(_spent(), before, strict=True)])
  return Timings(*map(list, zip(*rows[warm_up:], strict=True)))


def _spent():
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return time.perf_counter(), time.process_time(), usage.ru_stime, usage.ru_minflt


def ceiling(convolutions, repeats=5):
  """Seconds that the convolutions of a step take if each is run by itself.

  Args:
    convolutions: dict Convolution -> how often, of `operations`.
    repeats: of each.

  Returns:
    (seconds, list of (Convolution, how often, seconds of one)), the costliest first.
  """
  rows = [(c, count, seconds_alone(c, repeats)) for c, count in convolutions.items()]
  rows.sort(key=lambda row: -row[1] * row[2])
  return sum(count * seconds for _, count, seconds in rows), rows
