"""The original's own checkpoint through the command, against what the original computed with it."""

import numpy as np
import pytest
import tensorflow as tf

import iodine
from experiments import import_checkpoint
from experiments.support import runs
from iodine.build import build_model, make_config
from iodine.noise import Noise
from iodine.training import CheckpointError, Checkpoints
from iodine.training.adam import Adam
from iodine.training.checkpoints import restore
from iodine.unroll import Frame


@pytest.fixture(scope="module")
def imported(reference, tmp_path_factory):
  out = tmp_path_factory.mktemp("imported") / "run"
  prefix = reference / "tf1_checkpoint" / "model.ckpt-3"
  import_checkpoint.main(
    ["--checkpoint", str(prefix), "--config", "tetrominoes", "--out", str(out)]
  )
  return out


def test_the_imported_run_computes_what_the_original_computed(imported, reference):
  _, model, step = runs.load_run(imported)
  assert step == 3
  arrays = np.load(reference / "tf1_checkpoint_outputs.npz")
  images, eps = tf.constant(arrays["image"][:, 0]), tf.constant(arrays["eps"])
  state = model.start(2, 4, None)
  for t in range(len(eps)):
    model.noise = lambda *_, t=t: eps[t]  # the original's numbers
    output, state, _ = model.step(Frame(images, images), state, Noise([0, 0], t))
    latents = output.latents
    for name, actual in (
      ("zp", latents.params),
      ("z", latents.z),
      ("re", output.nll),
      ("kl", tf.reduce_sum(latents.kl, axis=-1)),
      ("masks", output.masks),
      ("components", output.means),
    ):
      expected = arrays[f"out/{name}"][t]
      error = np.abs(actual - expected).max() / np.abs(expected).max()
      assert error < 2e-4, (t, name, error)


def test_the_saved_model_is_the_run(imported):
  _, model, step = runs.load_run(imported)
  saved = iodine.load(imported)
  assert saved.metadata["step"] == step
  for ours, theirs in zip(saved.restore().variables, model.variables, strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_another_preset_is_refused_with_the_difference(reference, tmp_path, capsys):
  arguments = ["--checkpoint", str(reference / "tf1_checkpoint"), "--out", str(tmp_path / "run")]
  with pytest.raises(SystemExit, match="2"):
    import_checkpoint.main([*arguments, "--config", "multi_dsprites"])
  assert "is no multi_dsprites checkpoint" in capsys.readouterr().err
  with pytest.raises(SystemExit):
    import_checkpoint.main([*arguments, "--config", "tetris6"])
  assert "tetrominoes" in capsys.readouterr().err
  assert not (tmp_path / "run").exists()


def test_no_checkpoint(tmp_path, capsys):
  (tmp_path / "model.ckpt-1.index").write_bytes(b"nothing")
  for name in ("model.ckpt-1", "absent"):
    with pytest.raises(SystemExit, match="2"):
      import_checkpoint.main(
        ["--checkpoint", str(tmp_path / name), "--config", "clevr6", "--out", str(tmp_path / "out")]
      )
    assert "no checkpoint that can be read" in capsys.readouterr().err


def test_a_run_is_not_imported_over(imported, reference, capsys):
  before = (imported / "config.json").read_bytes()
  prefix = reference / "tf1_checkpoint" / "model.ckpt-3"
  with pytest.raises(SystemExit, match="2"):
    import_checkpoint.main(
      ["--checkpoint", str(prefix), "--config", "tetrominoes", "--out", str(imported)]
    )
  assert f"{imported} holds a run already" in capsys.readouterr().err
  assert (imported / "config.json").read_bytes() == before


def test_without_the_optimizer_s_state_no_training_goes_on(tmp_path):
  model = build_model(make_config({"image_size": [8, 8, 1], "latent_size": 2, "num_slots": 2}))
  model.create_variables()
  numbers = {"step": tf.Variable(3, dtype=tf.int64), "best_score": tf.Variable(0.5)}
  state = {"model": model, **numbers}
  Checkpoints(tmp_path, state, model.config).save()
  with pytest.raises(CheckpointError, match="has no optimizer's state"):
    restore({**state, "optimizer": Adam(0.1)}, model, tmp_path)
  assert restore(state, model, tmp_path)[1] == []
