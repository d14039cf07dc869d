"""Lines are the medians of what was given."""

import numpy as np
import pytest

from iodine import plotting


def test_curves_are_medians_over_images_and_leave_out_nan():
  rng = np.random.default_rng(1)
  ari, mse, kl = rng.uniform(size=[3, 9, 5])
  ari[0], ari[:, 4] = np.nan, np.nan
  figure = plotting.curves_per_iteration(
    {"a": ari, "b": ari[:, :3]}, {"a": mse, "b": mse}, {"a": kl}, trained_iterations={"a": 2}
  )
  assert [axis.get_ylabel() for axis in figure.axes] == ["ARI", "MSE", "KL (nats)"]
  line, mark, shorter = figure.axes[0].get_lines()
  np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
  np.testing.assert_allclose(line.get_ydata(), [*np.median(ari[1:, :4], axis=0), np.nan])
  assert mark.get_xdata() == [2, 2]
  assert len(shorter.get_xdata()) == 3


def test_learning_curves_take_one_run_or_several():
  steps = np.arange(4) * 10
  runs = np.arange(12.0).reshape(3, 4)
  figure = plotting.learning_curves(steps, {"Loss": {"x": runs, "y": runs[0]}, "ARI": runs[1]})
  several, one = figure.axes[0].get_lines()
  np.testing.assert_array_equal(several.get_ydata(), runs[1])
  np.testing.assert_array_equal(one.get_ydata(), runs[0])
  np.testing.assert_array_equal(figure.axes[1].get_lines()[0].get_xdata(), steps)
  own = {"Loss": steps, "ARI": steps[:2]}
  figure = plotting.learning_curves(own, {"Loss": runs[0], "ARI": runs[1, :2]})
  np.testing.assert_array_equal(figure.axes[1].get_lines()[0].get_xdata(), [0, 10])


def test_seeds_have_minutes_of_their_own():
  minutes = {"seed 1": [0, 10, 20], "seed 2": [0, 30]}
  curves = {"ARI-FG": {"seed 1": [0, 0.5, 0.9], "seed 2": [0, 0.8]}}
  figure = plotting.learning_curves({"ARI-FG": minutes}, curves, xlabel="Minutes")
  for line, label in zip(figure.axes[0].get_lines(), minutes, strict=True):
    np.testing.assert_array_equal(line.get_xdata(), minutes[label])
    np.testing.assert_array_equal(line.get_ydata(), curves["ARI-FG"][label])
  assert [t.get_text() for t in figure.legends[0].get_texts()] == ["seed 1", "seed 2"]
  assert figure.axes[0].get_xlabel() == "Minutes"
  with pytest.raises(ValueError, match="expected steps for 'MSE', got some for ARI-FG"):
    plotting.learning_curves({"ARI-FG": minutes}, {"MSE": [1, 2]})
  del minutes["seed 2"]
  with pytest.raises(ValueError, match="expected steps for 'seed 2', got some for seed 1"):
    plotting.learning_curves({"ARI-FG": minutes}, curves)


def test_frame_curves_count_frames_from_one_and_leave_out_empty_ones():
  ari = np.array([[0.2, 0.4, np.nan], [0.4, np.nan, np.nan]])
  figure = plotting.frame_curves({"ARI-FG": {"predictions": ari, "updated": ari[:, :2] + 0.5}})
  predictions, updated = figure.axes[0].get_lines()
  np.testing.assert_array_equal(predictions.get_xdata(), [1, 2, 3])
  np.testing.assert_allclose(predictions.get_ydata(), [0.3, 0.4, np.nan])
  np.testing.assert_allclose(updated.get_ydata(), [0.8, 0.9])
  assert figure.axes[0].get_xlabel() == "Frame"
  with pytest.raises(ValueError, match="at least one panel"):
    plotting.frame_curves({})
