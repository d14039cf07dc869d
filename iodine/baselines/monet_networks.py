"""MONet's networks: the attention's U-Net and the component VAE's decoder."""

from collections.abc import Callable, Sequence

import numpy as np
import sonnet as snt
import tensorflow as tf

from iodine import coordinates, precision
from iodine.baselines import layers
from iodine.decoders import Decoded
from iodine.reshaping import crop, fold_slots, unfold_slots


class Block(snt.Module):
  """A 3 x 3 convolution without bias, instance norm with an offset, ReLU.

  Args:
    channels: out.
    norm_scale: learn a scale in the instance norm too.
    compute_dtype: of the convolution and of what is returned, or None; see `iodine.precision`.
  """

  def __init__(
    self,
    channels: int,
    norm_scale: bool = False,
    compute_dtype: tf.DType | None = None,
    name: str | None = None,
  ):
    super().__init__(name=name)
    self._compute_dtype = compute_dtype
    self.conv = precision.Conv2D(
      channels, 3, compute_dtype=compute_dtype, with_bias=False, name="conv"
    )
    self.norm = snt.InstanceNorm(norm_scale, create_offset=True, eps=1e-5, name="norm")

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    """[N, H, W, c] -> [N, H, W, channels]."""
    net = tf.cast(self.conv(x), self.conv.w.dtype)
    return precision.lower(tf.nn.relu(self.norm(net)), self._compute_dtype)


class AttentionNetwork(snt.Module):
  """U-Net from an image and its log scope to the logit of how much of the scope is taken.

  Args:
    channels: of the blocks of the way down, from the image's resolution on.
    sizes: of the ReLU layers between the two ways; one more leads back to the map.
    up_channels: of the blocks of the way up, in the same order; `channels` by default.
    norm_scale: see `Block`.
    compute_dtype: of all but the last convolution, or None; see `iodine.precision`.
  """

  def __init__(
    self,
    channels: Sequence[int],
    sizes: Sequence[int],
    up_channels: Sequence[int] | None = None,
    norm_scale: bool = False,
    compute_dtype: tf.DType | None = None,
    name: str = "attention",
  ):
    super().__init__(name=name)
    self._compute_dtype = compute_dtype
    block = lambda c, name: Block(c, norm_scale, compute_dtype, name)
    self.down = [block(c, f"down_{i}") for i, c in enumerate(channels)]
    self.up = [block(c, f"up_{i}") for i, c in enumerate(up_channels or channels)]
    self.mlp = [self._linear(size, i) for i, size in enumerate(sizes)]
    self.output = snt.Conv2D(1, 1, name="output")

  @snt.once
  def _initialize(self, net):
    self.mlp.append(self._linear(net.shape[1:].num_elements(), len(self.mlp)))

  def _linear(self, size, i):
    return precision.Linear(size, compute_dtype=self._compute_dtype, name=f"linear_{i}")

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    """[N, H, W, c] -> [N, H, W, 1]."""
    skips, net = [], x
    for i, block in enumerate(self.down):
      net = block(layers.halve(net) if i else net)
      skips.append(net)
    self._initialize(net)
    smallest = net.shape[1:]
    net = layers.flatten(net)
    for linear in self.mlp:
      net = tf.nn.relu(linear(net))
    net = tf.reshape(net, [-1, *smallest])
    for i, (block, skip) in enumerate(zip(self.up[::-1], skips[::-1], strict=True)):
      if i:
        net = crop(layers.double(net), *skip.shape[1:3])
      net = block(tf.concat([net, skip], axis=-1))
    return self.output(tf.cast(net, x.dtype))


class ComponentDecoder(snt.Module):
  """Broadcast decoder of unpadded convolutions: z [B, K, Z] -> Decoded (Watters et al. 2019).

  An unpadded convolution of a constant is a constant: the first layer is a linear one of z plus the
  convolution of the coordinates, the same for all slots and images.

  Args:
    image_size: (H, W, C).
    channels: of the 3 x 3 ReLU convolutions; a 1 x 1 one of C + 1 channels follows.
    squash: of the means; by default the last layer writes them from -1 to 1, without bounds.
    compute_dtype: of the convolutions between the first and the last, or None; see
      `iodine.precision`.
  """

  def __init__(
    self,
    image_size: tuple[int, int, int],
    channels: Sequence[int],
    squash: Callable[[tf.Tensor], tf.Tensor] = lambda means: (means + 1) / 2,
    compute_dtype: tf.DType | None = None,
    name: str = "decoder",
  ):
    super().__init__(name=name)
    self._image_size, self._first_channels, self.squash = tuple(image_size), channels[0], squash
    height, width, image_channels = self._image_size
    margin = 2 * len(channels)  # each convolution takes a pixel on either side
    self._coordinates = coordinates.linear(height + margin, width + margin, order="yx")
    self.convs = [
      precision.Conv2D(c, 3, compute_dtype=compute_dtype, padding="VALID", name=f"conv_{i + 1}")
      for i, c in enumerate(channels[1:])
    ]
    self.output = snt.Conv2D(image_channels + 1, 1, name="output")

  @snt.once
  def _initialize(self, z):
    shape = [3, 3, z.shape[-1] + 2, self._first_channels]
    stddev = 1 / np.sqrt(np.prod(shape[:-1]))
    self.w = tf.Variable(snt.initializers.TruncatedNormal(stddev=stddev)(shape, z.dtype), name="w")
    self.b = tf.Variable(tf.zeros([self._first_channels], z.dtype), name="b")

  def __call__(self, z: tf.Tensor) -> Decoded:
    """z [B, K, Z] -> Decoded: means [B, K, H, W, C], mask logits [B, K, H, W, 1]."""
    self._initialize(z)
    latent_size = z.shape[-1]
    of_z = fold_slots(z) @ tf.reduce_sum(self.w[:, :, :latent_size], axis=[0, 1])  # [B*K, c]
    grid = tf.constant(self._coordinates[None], z.dtype)  # [1, H + 8, W + 8, 2]
    of_grid = tf.nn.conv2d(grid, self.w[:, :, latent_size:], strides=1, padding="VALID") + self.b
    net = of_z[:, None, None] + of_grid  # [B*K, H + 6, W + 6, c]
    for conv in self.convs:
      net = conv(tf.nn.relu(net))
    net = self.output(tf.cast(tf.nn.relu(net), z.dtype))
    net = unfold_slots(net, like=z)  # [B, K, H, W, C + 1]
    means, mask_logits = tf.split(net, [self._image_size[-1], 1], axis=-1)
    return Decoded(self.squash(means), mask_logits)
