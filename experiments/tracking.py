"""Do slots follow their objects through clips? python -m experiments.tracking with run=runs/3

A table of 320 held-out clips (paper, A.1): ARI-FG over all frames of a clip at once, as SAVi has
it, and frame by frame; stability, the share of objects in view that keep their slot from one frame
to the next; MOTA; MSE and NLL. Its rows: each frame as predicted from those before it; after the
update that has seen it; and two yardsticks: `single frames`, the same model on each frame by itself
with slots linked by the overlap of their masks, and `chance`, the masks of another clip. `frames`
has the scores by frame, `clip_1` and so on what a clip looks like (Fig. 12), as PNG, PDF and GIF.

Objects that leave the view count in the frames in which they are seen; the table `counts` says how
often one was out of view.
"""

import itertools
from collections.abc import Mapping

import numpy as np

from experiments.support import clips
from experiments.support.cli import Command, Refusal
from experiments.support.results import Results
from experiments.support.settings import OtherData, StudySettings, Whole
from experiments.support.subjects import Config, Subject, beside, open_run, scenes
from iodine import plotting, tracking
from iodine.config import Count
from iodine.plotting.animation import write_clip
from iodine.slot_model import SlotModel
from iodine.unroll import Pace


class TrackingSettings(StudySettings):
  """See `StudySettings`; `num_iterations` is T of the single frames.

  Attributes:
    first_iterations: how often the first frame of a clip is looked at, until its objects are found.
      As in training by default.
    frame_iterations: how often each of the others is.
    num_shown: clips that are drawn.
    yardsticks: score single frames and chance as well.
  """

  first_iterations: Count | None = None
  frame_iterations: Count | None = None
  num_shown: Whole = 3
  yardsticks: bool = True


command = Command("tracking", TrackingSettings, OtherData, storage=beside("tracking"))


@command.main
def track(_run, _config):
  """Scores and draws; returns the folder of the results."""
  subject = open_run(_config)
  if not clips.is_video(subject.data):
    raise Refusal(f"{subject.data['name']} holds images: tracking is about clips")
  results = Results(_run)
  found = clips.score(
    subject.model,
    scenes(subject, _config),
    subject.spec.num_background,
    _config["num_slots"],
    _config["seed"],
    _config["yardsticks"],
    _config["num_iterations"],
    pace_of(subject.model, _config),
  )
  write(results, found, subject.step)
  draw(results, subject, _config)
  return results.done()


def pace_of(model: SlotModel, config: Config) -> Pace:
  """The model's, but for what is asked for."""
  own = model.pace
  return Pace(config["first_iterations"] or own.first, config["frame_iterations"] or own.each)


def write(results: Results, found: Mapping[str, clips.Scores], step: int) -> None:
  """The tables, the numbers as JSON, and the curves by frame."""
  summaries = {name: scores.summary() for name, scores in found.items()}
  rows = [[name, *(_known(s[k]) for k in clips.COLUMNS)] for name, s in summaries.items()]
  results.table("tracking", ["masks", *clips.COLUMNS.values()], rows, latex=True)
  counts = ("pairs_kept", "pairs_switched", "pairs_lost", "pairs_out_of_view", "switches")
  counts = [*counts, "misses", "false_positives", "objects", "num_clips", "num_foreground"]
  names = [name.replace("pairs_", "").replace("_", " ") for name in counts]
  print()
  results.table(
    "counts", ["masks", *names], [[n, *(s[k] for k in counts)] for n, s in summaries.items()]
  )
  by_frame = {"ARI-FG": "frame_ari", "MSE": "mse", "NLL (nats)": "nll"}
  panels, table = {}, []
  for title, name in by_frame.items():
    curves = {label: getattr(scores, name) for label, scores in found.items()}
    curves = {label: values for label, values in curves.items() if np.isfinite(values).any()}
    if curves:
      panels[title] = curves
    for label, values in curves.items():
      for t, column in enumerate(values.T):
        column = column[np.isfinite(column)]
        if len(column):
          table.append([label, name, t + 1, float(np.mean(column)), len(column)])
  results.csv("frames", ["masks", "score", "frame", "mean", "clips"], table)
  results.figure("frames", plotting.frame_curves(panels))
  results.json("tracking", {"step": step, **summaries})


def _known(value):
  return value if np.isfinite(value) else None


def draw(results: Results, subject: Subject, config: Config) -> None:
  """Figures and GIFs of the first clips."""
  if not config["num_shown"]:
    return
  pace = pace_of(subject.model, config)
  tracker = tracking.Tracker(subject.model, config["num_slots"], pace)
  batches = scenes(subject, config, num_images=config["num_shown"])
  shown = itertools.islice(clips.clips_of(batches), config["num_shown"])
  for number, (frames, true_masks) in enumerate(shown):
    tracked = tracker(frames[None], config["seed"], number)
    figure, animation = clips.draw(frames, true_masks, tracked, subject.spec.num_background)
    results.figure(f"clip_{number + 1}", figure)
    path = write_clip(results.folder / f"clip_{number + 1}.gif", animation, 6.0)
    results.files.append(str(path))


if __name__ == "__main__":
  command.run_commandline()
