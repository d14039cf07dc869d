"""Speed and memory: python -m experiments.benchmark with tetrominoes batch_size=32

Presets, modifiers and keys are those of experiments.train. Measured are the training step,
inference, and the input pipeline where its file is there: seconds (median, quartiles), CPU seconds
of all cores, the system's part of them and page faults, images/s, floating-point operations,
GFLOP/s, the ceiling (the same convolutions, each alone, in the same process), the share of it that
is reached, peak memory, and the first call.
`compare='[{"recompute": True}, {"jit": True}]'` measures variants beside it, alternating, each in
a process of its own. Memory is of the whole process, TensorFlow included; on a GPU the device's.
"""

import copy
import dataclasses
import multiprocessing
import platform
import resource
import statistics
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from experiments.support import config_files, runs
from experiments.support.cli import Command, Refusal
from experiments.support.recording import run_directory
from experiments.support.settings import Names
from iodine.config import Count
from iodine.files import write_json
from iodine.settings import Settings


class BenchmarkSettings(Settings):
  """What is measured.

  Attributes:
    parts: "train", "inference", "input".
    repeats: calls that are timed, in each round.
    rounds: processes for each variant, alternating; medians are over all their calls.
    compare: variants, mappings of the keys that differ.
    ceiling: measure the convolutions alone too.
  """

  parts: Annotated[Names, Field(min_length=1)] = ("train", "inference", "input")
  repeats: Count = 7
  rounds: Count = 1
  compare: tuple[dict[str, Any], ...] = ()
  ceiling: bool = True


command = Command("benchmark", BenchmarkSettings, storage="runs/benchmark", trains=True)


@command.main
def benchmark(_run, _config):
  """Measures every variant and writes the table as text and benchmark.json."""
  config = copy.deepcopy(dict(_config))
  variants = _variants(config)
  results = {label: [] for label, _ in variants}
  for _ in range(config["rounds"]):
    for label, variant in variants:
      results[label].append(_in_own_process(variant))
  rows = [
    {"variant": label, **_merged([parts[part] for parts in rounds])}
    for label, rounds in results.items()
    for part in rounds[0]
  ]
  path = run_directory(_run) / "benchmark.json"
  write_json(path, {"machine": machine(), "config": config, "rows": rows})
  print(table(rows))
  print(f"numbers: {path}")


def _variants(config):
  """[(label, config)], the plain one first."""
  variants = [("", config)]
  for changes in map(config_files.flat, config["compare"]):
    own = sorted(set(changes) & set(BenchmarkSettings.flat_fields()))
    if own:
      raise Refusal(f"compare: {own[0]} cannot vary")
    label = " ".join(f"{key}={value}" for key, value in changes.items())
    resolved = command.schema.resolve(updates=changes, base=config_files.flat(config))
    variants.append((label, config_files.nested(resolved.values)))
  for part in config["parts"]:
    if part not in PARTS:
      raise Refusal(f"there is no part {part!r}; there are: {', '.join(PARTS)}")
  return variants


def _in_own_process(config):
  """Measures each part of a variant in a fresh process, for memory's high-water mark is one's."""
  results = {}
  context = multiprocessing.get_context("spawn")
  for part in config["parts"]:
    with context.Pool(1) as pool:
      results[part] = pool.apply(_measure, (part, config))
  return results


def _measure(part, config):
  base = _memory()
  result = PARTS[part](config)
  return {"part": part, "base_memory": base, "peak_memory": _memory(), **result}


def _measure_train(config):
  from iodine.training import Trainer, TrainingConfig

  model_config = runs.model_config(config)
  training = TrainingConfig.from_flat({**config, "curriculum": []})  # the model's own K and T
  spec = runs.dataset_spec(config["data"])
  trainer = Trainer(
    model_config,
    training,
    strategy=runs.strategy(config),
    num_background=spec.num_background,
  )
  scenes = _random_scenes(
    model_config, training.batch_size, spec.max_entities or 4, _num_frames(config)
  )
  batch = next(trainer.distribute(lambda *_: scenes))
  function = lambda: trainer.train_step(batch)
  traced = lambda: trainer.traced_step(batch)
  return _measure_calls(function, traced, config, trainer.strategy.num_replicas_in_sync)


def _measure_inference(config):
  import tensorflow as tf

  from iodine.build import build_model

  model_config = runs.model_config(config)
  model = build_model(model_config)
  model.create_variables()
  scenes = _random_scenes(model_config, config["batch_size"], 2, _num_frames(config))
  image = next(iter(scenes))["image"]

  @tf.function(autograph=False, jit_compile=True if config["jit"] else None)
  def infer(image):
    last = model(image, seed=[0, 0]).at(-1)
    return last.masks, last.means, last.nll

  return _measure_calls(
    lambda: infer(image), lambda: infer.get_concrete_function(image), config, replicas=1
  )


def _measure_calls(function, traced, config, replicas):
  from iodine import profiling

  first = profiling.timings(function, 1, warm_up=0)
  calls = profiling.timings(function, config["repeats"])
  result = {
    "images": config["batch_size"],
    "first_call": first.wall[0],
    **dataclasses.asdict(calls),
  }
  rows = config["batch_size"] // replicas * config["num_slots"]  # B*K
  convolutions, products = profiling.operations(traced(), rows)
  result["flops"] = sum(c.flops * count for c, count in convolutions.items()) + products
  # the high-water mark must not be that of the convolutions measured below
  result["peak_memory"] = _memory()
  if config["ceiling"] and convolutions:  # an RNN-NEM has none
    seconds, _ = profiling.ceiling(convolutions)  # of all replicas, on one device
    result["ceiling"] = seconds / replicas
  return result


def _measure_input(config):
  import datasets

  data = config["data"]
  try:
    runs.check_data(data)
  except datasets.DataError:
    return {"images": 0, "wall": [], "missing": True}
  from iodine import profiling

  batches = iter(
    runs.load_data(data, "train", config["batch_size"], shuffle=True, drop_remainder=True, seed=0)
  )
  many = 50  # single batches lie ready in the prefetch buffer
  take = lambda: [next(batches)["image"] for _ in range(many)][-1]
  first = profiling.timings(take, 1, warm_up=0)
  calls = profiling.timings(take, config["repeats"])
  return {
    "images": config["batch_size"] * many,
    "first_call": first.wall[0],
    **dataclasses.asdict(calls),
  }


PARTS = {"train": _measure_train, "inference": _measure_inference, "input": _measure_input}


def _num_frames(config):
  """Of the preset's clips; None of images."""
  return config["data"]["num_frames"] or runs.dataset_spec(config["data"]).num_frames


def _random_scenes(model_config, batch_size, num_entities, num_frames=None):
  """Dataset of one batch of noise, over and over: images, or clips."""
  import tensorflow as tf

  rng = np.random.default_rng(0)
  image_size = tuple(model_config.image_size)
  lead = (batch_size,) if num_frames is None else (batch_size, num_frames)
  labels = rng.integers(num_entities, size=(*lead, 1, *image_size[:2], 1))
  entities = np.arange(num_entities)[:, None, None, None]
  scenes = {
    "image": rng.uniform(size=(*lead, *image_size)).astype(np.float32),
    "mask": (labels == entities).astype(np.float32),
  }
  return tf.data.Dataset.from_tensors(scenes).repeat()


def _memory():
  """Peak memory so far in bytes: of the GPU where there is one, else of this process."""
  import tensorflow as tf

  if tf.config.list_physical_devices("GPU"):
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _merged(rounds):
  """One row of the table from the rounds of one part and variant."""
  wall = [seconds for r in rounds for seconds in r["wall"]]
  row = {"part": rounds[0]["part"]}
  if not wall:
    return row
  low, middle, high = np.quantile(wall, [0.25, 0.5, 0.75]).tolist()
  row |= {
    "seconds": middle,
    "quartiles": [low, high],
    "cpu_seconds": statistics.median(seconds for r in rounds for seconds in r["cpu"]),
    "system_seconds": statistics.median(seconds for r in rounds for seconds in r["system"]),
    "page_faults": statistics.median(count for r in rounds for count in r["faults"]),
    "images_per_second": rounds[0]["images"] / middle,
    "first_call": statistics.median(r["first_call"] for r in rounds),
    "peak_memory": max(r["peak_memory"] for r in rounds),
    "base_memory": max(r["base_memory"] for r in rounds),
  }
  if "flops" in rounds[0]:
    row["flops"] = rounds[0]["flops"]
    row["gflops_per_second"] = row["flops"] / middle / 1e9
  if "ceiling" in rounds[0]:
    alone = statistics.median(r["ceiling"] for r in rounds)
    row["ceiling_seconds"] = alone
    row["ceiling_gflops_per_second"] = row["flops"] / alone / 1e9
    row["share_of_ceiling"] = alone / middle
  return row


COLUMNS = (  # heading, width, how
  ("seconds", 9, lambda r: f"{r['seconds']:.3f}"),
  ("quartiles", 15, lambda r: "-".join(f"{q:.3f}" for q in r["quartiles"])),
  ("CPU s", 8, lambda r: f"{r['cpu_seconds']:.2f}"),
  ("system s", 10, lambda r: f"{r['system_seconds']:.2f}"),
  ("faults", 9, lambda r: f"{r['page_faults']:,.0f}"),
  ("images/s", 10, lambda r: f"{r['images_per_second']:,.1f}"),
  ("GFLOP", 9, lambda r: f"{r['flops'] / 1e9:,.1f}"),
  ("GFLOP/s", 9, lambda r: f"{r['gflops_per_second']:.1f}"),
  ("ceiling", 9, lambda r: f"{r['ceiling_gflops_per_second']:.1f}"),
  ("share", 7, lambda r: f"{r['share_of_ceiling']:.0%}"),
  ("first s", 9, lambda r: f"{r['first_call']:.1f}"),
  ("peak MiB", 10, lambda r: f"{r['peak_memory'] / 2**20:,.0f}"),
)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows as text."""
  labels = [" ".join([row["part"], row["variant"]]).strip() for row in rows]
  first = max(map(len, labels)) + 2
  lines = [" " * first + "".join(f"{name:>{width}}" for name, width, _ in COLUMNS)]
  for label, row in zip(labels, rows, strict=True):
    cells = []
    for _, width, show in COLUMNS:
      try:
        cells.append(f"{show(row):>{width}}")
      except KeyError:
        cells.append(f"{'-':>{width}}")
    lines.append(f"{label:{first}}" + "".join(cells))
  return "\n".join(lines)


def machine() -> dict[str, Any]:
  """What the numbers were measured on: dict."""
  import tensorflow as tf

  from iodine import precision

  return {
    "processor": precision.processor("model name") or platform.processor(),
    "cores": len(tf.config.list_logical_devices("CPU")) and multiprocessing.cpu_count(),
    "gpus": [d.name for d in tf.config.list_physical_devices("GPU")],
    "python": platform.python_version(),
    "tensorflow": tf.__version__,
  }


if __name__ == "__main__":
  command.run_commandline()
