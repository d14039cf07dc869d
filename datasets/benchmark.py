"""How fast a dataset is read: the released layout against the compact one, in one run.

  python -m datasets.benchmark data/tetrominoes_train.tfrecords [...] [--num 2000] [--crop-resize]

Each file's first records are written in both layouts to a temporary folder. Then, alternating,
every way of reading gives whole batches (decode, crop, resize, one-hot masks), and the medians are
printed in scenes per second. On a machine that does other work besides, the processor time of a
scene, summed over threads, tells more than the clock:

  tf.io      the released layout through tf.io.parse_single_example, a string per byte
  released   the released layout through `datasets.load`
  compact    the compact layout through `datasets.load`, straight from the disk
  memory     the same, kept parsed in memory
"""

import dataclasses
import os
import statistics
import tempfile
import time
from typing import NamedTuple

from datasets import files
from datasets.cli import Parser
from datasets.recode import guess_spec, recode
from datasets.specs import get_spec


class Speed(NamedTuple):
  """How fast scenes are read.

  Attributes:
    rate: scenes per second, by the clock.
    cost: processor seconds of a scene, over all threads.
  """

  rate: float
  cost: float


def speed(spec, path, num: int, batch_size: int = 32, cache: bool = False) -> Speed:
  """The speed of `datasets.load`, over `num` scenes or a little more."""
  from datasets import pipeline

  return _rate(pipeline.load(spec, path, split="all", batch_size=batch_size, cache=cache), num)


def tf_io_speed(spec, path, num: int, batch_size: int = 32) -> Speed:
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
  """The clock starts after the first batch, when everything is set up."""
  batches, seen = iter(dataset), 0
  next(batches)
  start, cost = time.perf_counter(), time.process_time()
  while seen < num:
    seen += int(next(batches)["image"].shape[0])
  return Speed(rate=seen / (time.perf_counter() - start), cost=(time.process_time() - cost) / seen)


def measure(spec, path, num: int = 1000, crop_resize: bool = False, rounds: int = 3) -> dict:
  """Way of reading -> Speed, medians; "tf.io" is None for video.

  Args:
    spec: the dataset.
    path: its file, of either layout.
    num: how many records to take.
    crop_resize: whether the compact file is cropped and resized, as `recode` offers.
    rounds: how often each way is measured; the ways alternate.
  """
  spec = _as_stored(spec, path)
  with tempfile.TemporaryDirectory() as folder:
    released, compact = (os.path.join(folder, name) for name in ("released", "compact"))
    recode(spec, path, released, layout=files.RELEASED, num=num)
    crop = crop_resize and spec.crop is not None
    size = spec.training_size if crop_resize else None
    recode(spec, path, compact, crop=crop, size=size, num=num)
    num = files.RecordFile(compact).count()
    ways = {
      "released": lambda: speed(spec, released, num),
      # Many times more scenes, or what lies ready behind the first batch would count for much.
      "compact": lambda: speed(spec, compact, 10 * num),
      "memory": lambda: speed(spec, compact, 10 * num, cache=True),
    }
    if spec.num_frames is None:
      ways = {"tf.io": lambda: tf_io_speed(spec, released, num), **ways}
    for way in ways.values():  # warm up: imports, traces, the disk's cache
      way()
    figures = {name: [] for name in ways}
    for _ in range(rounds):
      for name, way in ways.items():
        figures[name].append(way())
  medians = {
    name: Speed(*map(statistics.median, zip(*speeds, strict=True)))
    for name, speeds in figures.items()
  }
  return {"tf.io": None, **medians}


def _as_stored(spec, path):
  """The spec of a file whose images were made at another size than the data set's own."""
  _, payload = next(files.RecordFile(path).iterate(), (0, b""))
  sizes = files.stored_sizes(payload)
  if not sizes or spec.image_size is None or sizes[0] == spec.image_size[:2]:
    return spec
  size = (*sizes[0], spec.image_size[2])
  return dataclasses.replace(spec, image_size=size, crop=None, training_size=None)


def main(argv=None):
  parser = Parser(prog="python -m datasets.benchmark", description=__doc__)
  parser.add_argument("files", nargs="+")
  parser.add_argument("--num", type=int, default=1000, help="records of each (default: 1000)")
  parser.add_argument("--dataset", help="name of the dataset, where the file does not tell")
  parser.add_argument("--crop-resize", action="store_true", help="crop and resize when recoding")
  args = parser.parse_args(argv)
  ways = ("tf.io", "released", "compact", "memory")
  print(f"{'':33}{''.join(f'{way:>10}' for way in ways)}{'compact / tf.io':>17}")
  with parser.sentences():
    for path in args.files:
      spec = get_spec(args.dataset) if args.dataset else guess_spec(path)
      speeds = measure(spec, path, args.num, args.crop_resize)
      yardstick = speeds["tf.io"] or speeds["released"]
      found = [speeds[way] for way in ways]
      for what, values, gain in (
        ("scenes/s", [s and s.rate for s in found], speeds["compact"].rate / yardstick.rate),
        ("CPU us", [s and s.cost * 1e6 for s in found], yardstick.cost / speeds["compact"].cost),
      ):
        cells = "".join(f"{v:>10,.0f}" if v else f"{'-':>10}" for v in values)
        print(f"{spec.name[:23]:24}{what:9}{cells}{gain:>16.1f}x")


if __name__ == "__main__":
  main()
