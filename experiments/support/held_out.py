"""Which records a model has ever learned from, and scenes that are none of them.

A run keeps the list in `trained_records.json`, with those of the runs that it was resumed from;
bundles have it too. Runs that are older than the file are looked up in their configurations.
"""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

import datasets
from datasets import pipeline
from datasets.files.origins import Piece
from experiments.support import runs
from experiments.support.errors import Refusal
from experiments.support.runs import Data
from iodine.files import write_json

FILE = "trained_records.json"
_FILE_KEYS = ("name", "path", "dir")
_COUNT_KEYS = ("num_train", "num_validation", "num_test")


class Learned(NamedTuple):
  """Records that a model has seen: the first ones of a file.

  Attributes:
    data: name, path and dir of the file, and how it was split.
    stop: the number of the first record that was not used; None: as the split says.
    fingerprint: of the file's first scene, by which it is known in another place; None in old runs.
    run: the folder of the run, for messages.
    seed: of the file's scenes, where they were generated and it is known.
    pieces: where these records were first stored; None in old runs, the file itself.
  """

  data: dict[str, Any]
  stop: int | None
  fingerprint: str | None
  run: str
  seed: int | None = None
  pieces: list[Piece] | None = None


def learned(folder: str | os.PathLike) -> list[Learned]:
  """What the run in a folder, or the model of a bundle, has learned from.

  Raises:
    Refusal: there is no run, or its list is damaged.
  """
  path = pathlib.Path(folder) / FILE
  if not path.is_file():
    return _from_configurations(pathlib.Path(folder))
  try:
    return [_entry(**entry) for entry in json.loads(path.read_text())]
  except (ValueError, TypeError) as error:
    raise Refusal(f"{path} is damaged: {error}") from error


def _entry(pieces=None, **values):
  return Learned(**values, pieces=pieces and [Piece(*piece) for piece in pieces])


def _from_configurations(folder, seen=()):
  """Of a run that is older than the list, through its `resume_from`."""
  config = runs.training_config(folder)
  found = [Learned(_place(config["data"]), None, None, str(folder))]
  origin = config.get("resume_from")
  if origin and origin not in seen and (pathlib.Path(origin) / "config.json").is_file():
    if (pathlib.Path(origin) / FILE).is_file():
      return learned(origin) + found
    return _from_configurations(pathlib.Path(origin), (*seen, origin)) + found
  return found


def record(folder: str | os.PathLike, data: Data, before: Sequence[Learned] = ()) -> list[Learned]:
  """Writes into a run's folder what it is about to learn from.

  Args:
    folder: the run's.
    data: of its configuration.
    before: what the run that it goes on from had learned from.
  """
  source = open_source(data)
  stop = _split(source, data)["train"].stop
  own = Learned(
    _place(data),
    stop,
    source.fingerprint(),
    str(folder),
    seed_of(source),
    source.pieces(0, stop),
  )
  known = [entry for entry in before if entry[:3] != own[:3]]
  everything = [*known, own]
  write(folder, everything)
  return everything


def write(folder: str | os.PathLike, entries: Sequence[Learned]) -> None:
  """Writes the list of a run or a bundle."""
  write_json(pathlib.Path(folder) / FILE, [entry._asdict() for entry in entries])


def open_source(data: Data) -> pipeline.Source:
  """The records of a configuration; raises datasets.DataError without their file."""
  options = {"data_dir": data["dir"], "image_size": data["image_size"]}
  return pipeline.Source(
    runs.dataset_spec(data), data["path"], on_error=data.get("on_error", "raise"), **options
  )


def seed_of(source: pipeline.Source) -> int | None:
  """The seed of generated scenes; None where the file does not tell, or has chosen among them."""
  index = source.files[0].index() or {}
  parameters = index.get("parameters", {})
  chosen = parameters.get("without") or parameters.get("having")
  return None if chosen else index.get("seed")


def _split(source, data):
  """The numbers of the records of each split."""
  counts = [data[key] for key in _COUNT_KEYS]
  count = source.count(None if counts[0] is None else sum(counts))
  return datasets.split_ranges(count, *counts)


def _place(data):
  return {key: data.get(key) for key in (*_FILE_KEYS, "image_size", *_COUNT_KEYS)}


def check(entries: Sequence[Learned], data: Data, splits: Sequence[str]) -> None:
  """Checks that no record of some splits is one that was learned from.

  Args:
    entries: of `learned`.
    data: the configuration of what is to be scored.
    splits: of "validation" and "test".

  Raises:
    Refusal: there is one, or a split is no held-out one.
    datasets.DataError: a file is missing or damaged.
  """
  for split in splits:
    if split not in ("validation", "test"):
      raise Refusal(
        f"evaluation never looks at training records: split is validation or test, got {split!r}"
      )
  if not entries:
    return
  source = open_source(data)
  ranges = _split(source, data)  # the same counts split a file that has become shorter elsewhere
  seed, shown = seed_of(source), {s: source.pieces(ranges[s].start, ranges[s].stop) for s in splits}
  for entry in entries:
    for split in splits:
      numbers = ranges[split]
      if len(numbers) and _has_seen(entry, data, numbers.start, shown[split], seed):
        counts = ", ".join(f"data.{key}={data[key]}" for key in _COUNT_KEYS)
        raise Refusal(
          f"with {counts} the {split} split would hold records that the model was trained on: "
          f"run {entry.run} learned from the first {_stop(entry, data):,} of these scenes; take "
          "records behind them, or scenes that were generated with another --seed into another "
          "folder, data.dir=data/seed1 for instance"
        )


def _stop(entry, data):
  if entry.stop is not None:
    return entry.stop
  data = {**data, **entry.data}
  return _split(open_source(data), data)["train"].stop


def _has_seen(entry, data, start, shown, seed):
  """Whether an entry is of scenes of `data` from record `start` on, of these pieces and seed."""
  same_place = all(entry.data[key] == data[key] for key in _FILE_KEYS)
  if entry.fingerprint is None:
    return same_place and start < _stop(entry, data)
  spec = runs.dataset_spec(data)
  if datasets.get_spec(entry.data["name"]).stored_name == spec.stored_name:
    seen = entry.pieces or [Piece(entry.fingerprint, 0, _stop(entry, data))]
    if any(piece.overlaps(other) for piece in seen for other in shown):
      return True
  if not spec.rendered:
    return False
  # the same scenes may have been rendered at another size
  if None in (seed, entry.seed):
    same = same_place and entry.data["image_size"] != data["image_size"]
  else:
    same = entry.seed == seed and entry.data["name"] == data["name"]
  return same and start < _stop(entry, data)


def scenes(
  data: Data,
  split: str,
  num_images: int,
  batch_size: int,
  entries: Sequence[Learned],
) -> tf.data.Dataset:
  """The first scenes of a held-out split, in order, as batches.

  Args:
    data: of a configuration.
    split: "validation" or "test".
    num_images: at most.
    batch_size: scenes at a time.
    entries: what the model that is to be looked at has learned from.

  Raises:
    Refusal: it has learned from these, or the split is no held-out one.
  """
  check(entries, data, [split])
  return runs.load_data(
    data,
    split,
    batch_size,
    shuffle=False,
    num_epochs=1,
    drop_remainder=False,
    num_images=num_images,
  )
