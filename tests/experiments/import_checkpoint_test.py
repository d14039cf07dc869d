"""The original's own checkpoint through the command, against what the original computed with it."""

import numpy as np
import pytest
import tensorflow as tf

import iodine
from experiments import import_checkpoint
from experiments.support import runs


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
  params, state = model.initial(2, 4)
  for t in range(len(eps)):
    decode = model.decode(images, params, eps[t])
    for name, actual in (
      ("zp", params),
      ("z", decode.z),
      ("re", decode.nll),
      ("kl", decode.kl),
      ("masks", decode.mixture.masks),
      ("components", decode.mixture.means),
    ):
      expected = arrays[f"out/{name}"][t]
      error = np.abs(actual - expected).max() / np.abs(expected).max()
      assert error < 2e-4, (t, name, error)
    params, state = model.refine(images, params, decode, state)


def test_the_saved_model_is_the_run(imported):
  _, model, step = runs.load_run(imported)
  saved = iodine.load(imported)
  assert saved.metadata["step"] == step
  for ours, theirs in zip(saved.restore().variables, model.variables, strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_another_preset_is_refused_with_the_difference(reference, tmp_path, capsys):
  arguments = ["--checkpoint", str(reference / "tf1_checkpoint"), "--out", str(tmp_path / "run")]
  with pytest.raises(SystemExit, match="is no multi_dsprites checkpoint"):
    import_checkpoint.main([*arguments, "--config", "multi_dsprites"])
  with pytest.raises(SystemExit):
    import_checkpoint.main([*arguments, "--config", "tetris6"])
  assert "tetrominoes" in capsys.readouterr().err
  assert not (tmp_path / "run").exists()


def test_no_checkpoint(tmp_path):
  (tmp_path / "model.ckpt-1.index").write_bytes(b"nothing")
  for name in ("model.ckpt-1", "absent"):
    with pytest.raises(SystemExit, match="no checkpoint that can be read"):
      import_checkpoint.main(
        ["--checkpoint", str(tmp_path / name), "--config", "clevr6", "--out", str(tmp_path / "out")]
      )
