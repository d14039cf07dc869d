"""Mixed precision: layers that compute in a low precision and keep their variables in full.

What a likelihood or a posterior is made of stays in full precision: the last layer of the decoder,
the first (it costs next to nothing, and its gradient sums over all pixels; the deconvolutional
one's MLP), the core's LSTM and head, the auxiliary inputs, all norms, the mixture and the KL; of
the baselines the last layers of encoders and of the attention, and an NEM's memory.
"""

import sonnet as snt
import tensorflow as tf

POLICIES = {"float32": None, "mixed_bfloat16": tf.bfloat16, "mixed_float16": tf.float16}


# What Linux calls the features of a processor on which TensorFlow's convolutions know the type.
_UNITS = {
  "mixed_bfloat16": {"avx512bw", "avx_ne_convert", "bf16"},
  "mixed_float16": {"avx512_fp16", "amx_fp16", "fphp"},
}


def is_emulated(policy: str, gpus: bool, cpuinfo: str = "/proc/cpuinfo") -> bool:
  """Whether a policy's type is one that the machine does not have, which is slower than float32.

  Args:
    policy: see `ModelConfig.precision`.
    gpus: whether it computes on GPUs: they have either type.
    cpuinfo: where Linux tells of the processor; on other systems nothing is known, and False.
  """
  if policy == "float32" or gpus:
    return False
  features = processor("flags", cpuinfo) or processor("Features", cpuinfo)
  return features is not None and not _UNITS[policy] & set(features.split())


def processor(key: str, cpuinfo: str = "/proc/cpuinfo") -> str | None:
  """What Linux tells of the first processor under a key, such as "model name"; else None."""
  try:
    with open(cpuinfo) as lines:
      return next(line for line in lines if line.startswith(key)).partition(":")[2].strip()
  except (OSError, StopIteration):
    return None


def compute_dtype(policy):
  """tf.DType in which the layers of a policy compute; None: in that of their inputs."""
  return POLICIES[policy]


def lower(x, dtype):
  """`x` in `dtype`; as it is where that is None."""
  return x if dtype is None else tf.cast(x, dtype)


class Conv2D(snt.Conv2D):
  """Sonnet's, with its other `options`; with a `compute_dtype` it takes and gives that one."""

  def __init__(
    self, output_channels, kernel_size, stride=1, compute_dtype=None, name=None, **options
  ):
    super().__init__(output_channels, kernel_size, stride=stride, name=name, **options)
    self._compute_dtype = compute_dtype

  def __call__(self, x):
    """x [N, H, W, c] -> [N, H', W', output_channels]."""
    if self._compute_dtype is None:
      return super().__call__(x)
    self._initialize(tf.cast(x, tf.float32))
    x, w = tf.cast(x, self._compute_dtype), tf.cast(self.w, self._compute_dtype)
    net = tf.nn.conv2d(x, w, self.stride, self.conv_padding)
    return tf.nn.bias_add(net, tf.cast(self.b, self._compute_dtype)) if self.with_bias else net


class Conv2DTranspose(snt.Conv2DTranspose):
  """Sonnet's with SAME padding; with a `compute_dtype` it takes and gives that one."""

  def __init__(self, output_channels, kernel_size, stride=1, compute_dtype=None, name=None):
    super().__init__(output_channels, kernel_size, stride=stride, name=name)
    self._factor = stride
    self._channels = output_channels
    self._compute_dtype = compute_dtype

  def __call__(self, x):
    """x [N, H, W, c] -> [N, stride H, stride W, output_channels]."""
    if self._compute_dtype is None:
      return super().__call__(x)
    self._initialize(tf.cast(x, tf.float32))
    w, b = tf.cast(self.w, self._compute_dtype), tf.cast(self.b, self._compute_dtype)
    x = tf.cast(x, self._compute_dtype)
    height, width = (n * self._factor for n in x.shape[1:3])
    shape = tf.stack([tf.shape(x)[0], height, width, self._channels])
    return tf.nn.bias_add(tf.nn.conv2d_transpose(x, w, shape, self._factor, "SAME"), b)


class Linear(snt.Linear):
  """Sonnet's, with its other `options`; with a `compute_dtype` it takes and gives that one."""

  def __init__(self, output_size, compute_dtype=None, name=None, **options):
    super().__init__(output_size, name=name, **options)
    self._compute_dtype = compute_dtype

  def __call__(self, x):
    """x [N, n] -> [N, output_size]."""
    if self._compute_dtype is None:
      return super().__call__(x)
    self._initialize(tf.cast(x, tf.float32))
    w, b = tf.cast(self.w, self._compute_dtype), tf.cast(self.b, self._compute_dtype)
    return tf.matmul(tf.cast(x, self._compute_dtype), w) + b
