"""The original programs' numbers, small enough to go with the repository.

The full files stand beside the checkout (`../shared/reference`, not in the repository). Their
weights and noise were drawn with NumPy and are drawn again here; of their results, what is large is
kept as a `Digest`, eight weighted sums over all entries. After new reference files:

  python -m tests.golden
"""

import json
import pathlib
from typing import NamedTuple

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent
SMALL = 64  # arrays of so many entries are kept whole
FILES = {
  "tetris_f64": "iodine/golden",
  "tetris_lstm_f64": "iodine/golden",
  "rnn_nem": "iodine/baselines/golden",
  "nem": "iodine/baselines/golden",
  "rnn_nem_conv": "iodine/baselines/golden",
  "r_nem": "iodine/baselines/golden",
  "monet": "iodine/baselines/golden",
  "monet_genesis": "iodine/baselines/golden",
}
# factors of the weights: name of a file, part of a variable's name, factor
GAINS = (
  ("rnn_nem", "", 4.0),
  ("nem", "", 30.0),
  ("rnn_nem_conv", "OutputWrapper4", 3.0),
  ("r_nem", "OutputWrapper5", 4.0),
  ("monet", "attention_net/conv_out/w", 4.0),
  ("monet_genesis", "final_conv.weight", 6.0),
  ("monet_genesis", "decoder_module.seq.9.weight", 3.0),
)
CENTRED = ("attention_net/conv_out/w", "final_conv.weight")
NOISE = {"gamma_noise": 3, "eps": None}  # seeds; that of eps differs between the files


class Digest(NamedTuple):
  """What is kept of a large array."""

  shape: tuple[int, ...]
  sums: np.ndarray  # float64 [8]
  norm: float


def digest(x) -> Digest:
  """Any entry that differs shows: each has other weights in the sums."""
  flat = np.asarray(x, np.float64).ravel()
  angles = np.arange(1, 9)[:, None] * np.arange(1, flat.size + 1) * 0.7
  return Digest(np.shape(x), np.cos(angles) @ flat, float(np.sqrt(flat @ flat)))


def relative_error(actual, expected) -> float:
  """The largest error relative to the largest entry, or of a digest's sums to the norm."""
  if isinstance(expected, Digest):
    found = digest(actual)
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return np.abs(found.sums - expected.sums).max() / max(expected.norm, 1e-300)
  actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
  assert actual.shape == expected.shape, (actual.shape, expected.shape)
  return np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-300)


def sources(names) -> list[tuple[str, str]]:
  """Parameters of a fixture that calls `load`: each file, as it is here and whole."""
  return [(name, size) for name in names for size in ("small", "full")]


def load(request) -> dict:
  """The arrays of a fixture's (name, "small" or "full"); skips where the full file is not there."""
  name, size = request.param
  if size == "small":
    return small(name)
  return full(name, request.getfixturevalue("reference"))


def full(name: str, folder: pathlib.Path) -> dict:
  """The arrays of a full reference file."""
  return dict(np.load(folder / f"{name}.npz"))


def small(name: str) -> dict:
  """The same from the repository: some arrays as a Digest, weights and noise drawn again."""
  stored = np.load(ROOT / FILES[name] / f"{name}.npz")
  meta = json.loads(str(stored["recipe"]))
  arrays = {f"var/{key}": value for key, value in _weights(name, meta["variables"]).items()}
  for key, (shape, seed) in meta["noise"].items():
    arrays[key] = _normal(shape, seed)
  for key in stored.files:
    if key.startswith("digest/"):
      value = stored[key]
      shape = tuple(meta["shapes"][key.removeprefix("digest/")])
      arrays[key.removeprefix("digest/")] = Digest(shape, value[:-1], value[-1])
    elif key != "recipe":
      arrays[key] = stored[key]
  return arrays


def _normal(shape, seed):
  return np.random.RandomState(seed).randn(*shape).astype(np.float32)


def _weights(name, shapes):
  """The reference's recipe: one stream over the sorted names."""
  rng, values = np.random.RandomState(0), {}
  for key in sorted(shapes):
    x = rng.randn(*shapes[key])
    leaf = key.rsplit("/", 1)[-1]
    if leaf in ("gamma", "scalar") or (leaf.endswith(".1.weight") and x.ndim == 1):
      x = 1 + 0.1 * x
    elif leaf == "initial_sample_distribution":
      x = 0.5 * x
    elif x.ndim == 1:
      x = 0.1 * x
    else:
      gains = [f for file, part, f in GAINS if file == name and part in key]
      x /= np.sqrt(np.prod(x.shape[:-1]))
      if key.endswith(CENTRED):  # in float32, and in this order
        x = x.astype(np.float32)
        x = (x - x.mean()) * np.float32(np.prod(gains))
      else:
        x *= np.prod(gains)
    values[key] = x.astype(np.float32)
  return values


def _write(name, folder):
  arrays = full(name, folder)
  recipe = {"variables": {}, "noise": {}, "shapes": {}}
  stored = {}
  for key, value in arrays.items():
    if key.startswith("var/"):
      recipe["variables"][key.removeprefix("var/")] = value.shape
    elif key in NOISE:
      seeds = (s for s in range(10) if np.array_equal(_normal(value.shape, s), value))
      recipe["noise"][key] = value.shape, next(seeds)
    elif value.dtype != np.float64 or value.size <= SMALL:
      stored[key] = value
    else:
      recipe["shapes"][key] = value.shape
      stored[f"digest/{key}"] = np.append(digest(value).sums, digest(value).norm)
  for key in ("segments", "collisions", "order/variables_creation"):
    stored.pop(key, None)  # nothing reads them
  path = ROOT / FILES[name] / f"{name}.npz"
  path.parent.mkdir(parents=True, exist_ok=True)
  np.savez_compressed(path, recipe=json.dumps(recipe), **stored)
  again = small(name)
  for key, value in arrays.items():
    if key in again and not isinstance(again[key], Digest):
      np.testing.assert_array_equal(again[key], value, err_msg=f"{name}: {key}")
  print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
  for _name in FILES:
    _write(_name, ROOT.parent.parent / "shared" / "reference")
