"""Devices: those of one machine, of several, and the CPU as several."""

import json
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from iodine.errors import UserError

STRATEGIES = ("auto", "mirrored", "multi_worker", "cpu")


def num_cores() -> int:
  """How many cores this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def split_cpu(num_devices):
  """Makes several devices of the CPU, each with its share of the cores, for "mirrored".

  The small convolutions of small images keep one core busy but not many: replicas that have a core
  each are faster. It must come before TensorFlow's first operation.

  Args:
    num_devices: at most; never more than cores.

  Returns:
    how many there are now: 1 if TensorFlow has begun already.
  """
  cores = num_cores()
  num_devices = min(num_devices, cores)
  try:
    tf.config.set_logical_device_configuration(
      tf.config.list_physical_devices("CPU")[0],
      [tf.config.LogicalDeviceConfiguration()] * num_devices,
    )
    tf.config.threading.set_intra_op_parallelism_threads(cores // num_devices)
    tf.config.threading.set_inter_op_parallelism_threads(num_devices)
  except RuntimeError:
    return 1
  return num_devices


def make_strategy(name="auto", num_devices=None):
  """A distribution strategy by its name.

  Args:
    name: "auto": all GPUs of this machine, one CPU without any; "mirrored": the same, but all
      logical CPU devices without a GPU; "cpu": one CPU, whatever there is; "multi_worker": all
      GPUs, else the CPU, of every machine in TF_CONFIG. It waits until all of them are there, and
      must come before TensorFlow's first operation.
    num_devices: only the first so many devices of this machine.

  Returns:
    tf.distribute.MirroredStrategy or tf.distribute.MultiWorkerMirroredStrategy.

  Raises:
    ValueError: another name, or a TF_CONFIG that is missing or wrong.
  """
  if name not in STRATEGIES:
    raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, got {name!r}")
  if name == "multi_worker":
    cluster_task()
    if num_devices is not None:
      gpus = tf.config.list_physical_devices("GPU")
      tf.config.set_visible_devices(gpus[:num_devices], "GPU")
    return tf.distribute.MultiWorkerMirroredStrategy()
  devices = tf.config.list_logical_devices("CPU")
  if name != "mirrored":
    devices = devices[:1]
  if name != "cpu":
    devices = tf.config.list_logical_devices("GPU") or devices
  return tf.distribute.MirroredStrategy([d.name for d in devices[:num_devices]])


def cluster_task():
  """This process's place in the cluster that TF_CONFIG describes.

  Returns:
    (number of this process, 0 being the chief; list of all addresses, in this order).

  Raises:
    ValueError: TF_CONFIG is missing or wrong; the message shows a right one.
  """
  example = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
  )
  try:
    values = json.loads(os.environ["TF_CONFIG"])
    cluster, task = values["cluster"], values["task"]
    addresses = [*cluster.get("chief", []), *cluster["worker"]]
    offset = len(cluster.get("chief", [])) if task["type"] == "worker" else 0
    number = offset + int(task["index"])
    if set(cluster) - {"chief", "worker"} or task["type"] not in cluster:
      raise ValueError("only chief and worker take part")
    if not 0 <= int(task["index"]) < len(cluster[task["type"]]):
      raise ValueError(f"there is no {task['type']} {task['index']}")
  except KeyError as error:
    missing = "TF_CONFIG" if error.args == ("TF_CONFIG",) else f"{error} in TF_CONFIG"
    raise UserError(
      f"strategy=multi_worker needs {missing}, for instance TF_CONFIG='{example}'"
    ) from None
  except (TypeError, AttributeError, ValueError) as error:
    raise UserError(f"TF_CONFIG is wrong ({error}); a right one is '{example}'") from None
  return number, addresses


def replica_batches(strategy: tf.distribute.Strategy, pipeline: tf.data.Dataset) -> Iterator[Any]:
  """The batches of `pipeline`, one after the other to each replica of this process.

  For replicas on the CPU, in place of TensorFlow's distributed iterator: that one reads each
  replica's batches through a further pipeline, with a tuner whose options are nobody's, and when
  it is let go it waits for the tuner's next round, for up to a minute.

  Args:
    strategy: of this process alone.
    pipeline: of a replica's batches.

  Yields:
    what `strategy.run` takes as every replica's own; incomplete rounds are left out.
  """
  batches = iter(pipeline)
  for parts in zip(*[batches] * strategy.num_replicas_in_sync, strict=False):
    yield strategy.experimental_distribute_values_from_function(
      lambda context, parts=parts: parts[context.replica_id_in_sync_group]
    )
