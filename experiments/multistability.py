"""One stimulus seen in several ways: python -m experiments.multistability with run=runs/3

Infers the same image with several seeds (paper, Fig. 10): the decompositions that come out, and the
paths of all slots through the latent space (PCA). The image is the one, of the first `num_images`,
about which the seeds agree least; or say which: image=17, or stimulus=picture.png.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import tensorflow as tf
from pydantic import Field
from sklearn import decomposition

from datasets import pictures
from experiments.support import paths
from experiments.support.cli import Command, Refusal
from experiments.support.results import Results
from experiments.support.settings import Name, OtherData, StudySettings, Whole
from experiments.support.shown import at_least_2d, pick
from experiments.support.subjects import Config, Subject, beside, open_run, scenes
from iodine import factors, inference, metrics, plotting
from iodine.config import Count
from iodine.slot_model import SlotModel


class MultistabilitySettings(StudySettings):
  """See `StudySettings`.

  Attributes:
    num_seeds: seed, seed + 1, ...
    num_images: to choose from.
    image: position in the split.
    stimulus: a picture of the model's size instead.
  """

  num_seeds: Annotated[int, Field(ge=2)] = 5
  num_images: Count = 64
  image: Whole | None = None
  stimulus: Name | None = None


command = Command(
  "multistability", MultistabilitySettings, OtherData, storage=beside("multistability")
)


@command.main
def multistability(_run, _config):
  """Chooses the stimulus, infers and draws; returns the folder."""
  stimulus, position = _config["stimulus"], _config["image"]
  if stimulus is not None and position is not None:
    raise Refusal("stimulus is a picture of yours, image one of the data set: give one of them")
  subject, results = open_run(_config, with_data=stimulus is None), Results(_run)
  subject.need("latents", "iterations", "images")
  seeds = range(_config["seed"], _config["seed"] + _config["num_seeds"])
  if _config["num_starts"] not in (None, 1):
    raise Refusal(
      "this study is about single starts: leave num_starts out, num_seeds says how many"
    )
  infer = inference.Inference(
    subject.model, _config["num_iterations"], _config["num_slots"], num_starts=1
  )
  if stimulus is not None:
    stimulus = paths.name(stimulus, "stimulus")
    scene, position = {"image": read_picture(stimulus, subject.model, subject.data["grayscale"])}, 0
  else:
    if position is None:
      agreements = agreement(subject, _config, infer, seeds)
      position = int(np.argmin(agreements))
      results.csv("agreement", ["image", "ARI between seeds"], list(enumerate(agreements.tolist())))
    [(_, scene)] = pick(subject, _config, [position])
  decoded = [infer.iterations(scene["image"], seed, position) for seed in seeds]
  masks = align(np.stack([d.masks[-1, 0] for d in decoded]))  # [S, K, H, W, 1]
  means = np.stack([d.latents.mean[:, 0] for d in decoded])  # [S, T, K, Z]
  plane = decomposition.PCA(2).fit_transform(at_least_2d(means.reshape(-1, means.shape[-1])))
  rows = []
  for seed, d in zip(seeds, decoded, strict=True):
    last = d.masks[-1]
    mask = scene.get("mask")
    ari = metrics.ari_fg(mask, last, subject.spec.num_background) if mask is not None else [None]
    same = metrics.ari(_hard(decoded[0].masks[-1]), last)
    kl, nll = d.latents.kl[-1].sum(), d.nll[-1, 0]
    ari = None if ari[0] is None else float(ari[0])
    rows.append([seed, ari, float(same[0]), float(nll), float(kl), float(nll + kl)])
  columns = ["seed", "ARI-FG", "ARI to the first", "NLL", "KL", "negative ELBO"]
  print(f"image {position if stimulus is None else paths.shown(stimulus)}")
  results.table("seeds", columns, rows)
  figure = plotting.paths(
    plane.reshape(*means.shape[:3], 2),
    masks,
    np.asarray(scene["image"])[0],
    labels=[f"seed {seed}" for seed in seeds],
  )
  results.figure("multistability", figure)
  return results.done()


def agreement(
  subject: Subject, config: Config, infer: Callable, seeds: Sequence[int]
) -> np.ndarray:
  """How alike the segmentations of several seeds are, for each image.

  Returns:
    float64 [N]: mean adjusted Rand index of all pairs of seeds, over foreground pixels where there
    are true masks; 1 where there is no foreground.
  """
  found, first = [], 0
  for batch in scenes(subject, config):
    hard = [_hard(infer(batch["image"], seed, first).masks) for seed in seeds]
    first += len(batch["image"])
    counted = 1.0
    if "mask" in batch:
      counted = tf.reduce_sum(
        batch["mask"][:, subject.spec.num_background :], axis=1, keepdims=True
      ).numpy()  # [B, 1, H, W, 1]
    pairs = [metrics.ari(one * counted, other) for one, other in itertools.combinations(hard, 2)]
    found.append(np.nan_to_num(np.mean(pairs, axis=0), nan=1.0))
  return np.concatenate(found).astype(np.float64)


def align(masks: np.ndarray) -> np.ndarray:
  """Orders the slots of each seed like those of the first: [S, K, H, W, 1], likewise.

  So that a segment has one colour whichever slot it came in.
  """
  aligned = [masks[0]]
  for own in masks[1:]:
    order = factors.match_slots(masks[:1], own[None], num_background=0, min_iou=0.0)[0]
    spare = iter(k for k in range(len(own)) if k not in order)
    aligned.append(own[[k if k >= 0 else next(spare) for k in order]])
  return np.stack(aligned)


def read_picture(path: str, model: SlotModel, grayscale: bool = False) -> tf.Tensor:
  """A picture file as a batch of one: float32 [1, H, W, C].

  Args:
    path: its file.
    model: whose size it has.
    grayscale: whether the model's one channel is the mean of three.

  Raises:
    datasets.DataError: it cannot be read.
    Refusal: it has not the model's size.
  """
  height, width, channels = model.config.image_size
  pixels = pictures.read(path, 3 if grayscale else channels)
  if pixels.shape[:2] != (height, width):
    raise Refusal(
      f"expected a picture of {height} x {width}, got {' x '.join(map(str, pixels.shape[:2]))} "
      f"in {paths.shown(path)}"
    )
  image = tf.constant(pixels[None].astype(np.float32) / np.float32(255))
  return tf.reduce_mean(image, axis=-1, keepdims=True) if grayscale else image


def _hard(masks):
  """One-hot of the argmax: [B, K, H, W, 1]."""
  return np.moveaxis(np.eye(masks.shape[1], dtype=np.float32)[masks[..., 0].argmax(1)], -1, 1)[
    ..., None
  ]


if __name__ == "__main__":
  command.run_commandline()
