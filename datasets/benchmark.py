"""How fast a dataset is read: the released layout against the compact one, in one run.

  python -m datasets.benchmark data/tetrominoes_train.tfrecords [...] [--num 2000] [--crop-resize]

Each file's first records are written in both layouts to a temporary folder. Then, alternating,
every way of reading gives whole batches (decode, crop, resize, one-hot masks), and the medians are
printed in scenes per second:

  tf.io      the released layout through tf.io.parse_single_example, a string per byte
  released   the released layout through `datasets.load`
  compact    the compact layout through `datasets.load`, straight from the disk
  memory     the same, kept parsed in memory
"""

import os
import statistics
import tempfile
import time

from datasets import files
from datasets.cli import Parser
from datasets.errors import DataError
from datasets.recode import guess_spec, recode
from datasets.specs import get_spec


def scenes_per_second(spec, path, num, batch_size=32, cache=False) -> float:
  """Scenes per second through `datasets.load`, of `num` scenes or a little more."""
  from datasets import pipeline

  return _rate(pipeline.load(spec, path, split="all", batch_size=batch_size, cache=cache), num)


def tf_io_scenes_per_second(spec, path, num, batch_size=32) -> float:
  """As above, the released layout through TensorFlow's own parser."""
  import tensorflow as tf

  features = {
    "image": tf.io.FixedLenFeature(spec.image_shape, tf.string),
    "mask": tf.io.FixedLenFeature(spec.mask_shape, tf.string),
  }

  def parse(serialized):
    parsed = tf.io.parse_single_example(serialized, features)
    image, mask = (tf.squeeze(tf.io.decode_raw(parsed[n], tf.uint8), -1) for n in features)
    mask = tf.experimental.numpy.moveaxis(mask, spec.mask_layout.index("L"), 0)
    if spec.crop:
      top, bottom, left, right = spec.crop
      image, mask = image[top:bottom, left:right], mask[:, top:bottom, left:right]
    if spec.training_size:
      image = tf.image.resize(image, spec.training_size)
      mask = tf.image.resize(mask, spec.training_size, "nearest")
    return {"image": tf.cast(image, tf.float32) / 255, "mask": tf.cast(mask, tf.float32) / 255}

  dataset = tf.data.TFRecordDataset(path, compression_type="GZIP").repeat()
  return _rate(dataset.map(parse, num_parallel_calls=2).batch(batch_size).prefetch(2), num)


def _rate(dataset, num):
  """Scenes per second; the clock starts after the first batch, when everything is set up."""
  batches, seen = iter(dataset), 0
  next(batches)
  start = time.perf_counter()
  while seen < num:
    seen += int(next(batches)["image"].shape[0])
  return seen / (time.perf_counter() - start)


def measure(spec, path, num=1000, crop_resize=False, rounds=3) -> dict:
  """Medians of scenes per second: by way of reading; "tf.io" is None for video.

  Args:
    spec: the dataset.
    path: its file, of either layout.
    num: how many records to take.
    crop_resize: whether the compact file is cropped and resized, as `recode` offers.
    rounds: how often each way is measured; the ways alternate.
  """
  with tempfile.TemporaryDirectory() as folder:
    released, compact = (os.path.join(folder, name) for name in ("released", "compact"))
    recode(spec, path, released, layout=files.RELEASED, num=num)
    crop = crop_resize and spec.crop is not None
    size = spec.training_size if crop_resize else None
    recode(spec, path, compact, crop=crop, size=size, num=num)
    num = files.RecordFile(compact).count()
    ways = {
      "released": lambda: scenes_per_second(spec, released, num),
      # Many times more scenes, or what lies ready behind the first batch would count for much.
      "compact": lambda: scenes_per_second(spec, compact, 10 * num),
      "memory": lambda: scenes_per_second(spec, compact, 10 * num, cache=True),
    }
    if spec.num_frames is None:
      ways = {"tf.io": lambda: tf_io_scenes_per_second(spec, released, num), **ways}
    for way in ways.values():  # warm up: imports, traces, the disk's cache
      way()
    figures = {name: [] for name in ways}
    for _ in range(rounds):
      for name, way in ways.items():
        figures[name].append(way())
  return {"tf.io": None, **{name: statistics.median(f) for name, f in figures.items()}}


def main(argv=None):
  parser = Parser(prog="python -m datasets.benchmark", description=__doc__)
  parser.add_argument("files", nargs="+")
  parser.add_argument("--num", type=int, default=1000, help="records of each (default: 1000)")
  parser.add_argument("--dataset", help="name of the dataset, where the file does not tell")
  parser.add_argument("--crop-resize", action="store_true", help="crop and resize when recoding")
  args = parser.parse_args(argv)
  ways = ("tf.io", "released", "compact", "memory")
  print(f"{'scenes/s':24}{''.join(f'{way:>10}' for way in ways)}{'compact / tf.io':>17}")
  try:
    for path in args.files:
      spec = get_spec(args.dataset) if args.dataset else guess_spec(path)
      figures = measure(spec, path, args.num, args.crop_resize)
      ratio = figures["compact"] / (figures["tf.io"] or figures["released"])
      cells = "".join(f"{f:>10,.0f}" if f else f"{'-':>10}" for f in map(figures.get, ways))
      print(f"{spec.name[:23]:24}{cells}{ratio:>16.1f}x")
  except (DataError, OSError) as error:
    parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
  main()
