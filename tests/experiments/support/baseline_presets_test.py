"""The modifiers are settings that exist, and settle every key that IODINE's preset may share."""

import pytest

from experiments.support import baseline_presets as presets
from experiments.support.settings import RunSettings
from iodine import IodineConfig, build_model, make_config
from iodine.training import TrainingConfig

COLOUR, BINARY = (35, 35, 3), (28, 28, 1)
CASES = {
  "monet": (presets.MONET, presets.MONET_OF_PRESET, presets.MONET_QUICK, COLOUR),
  "rnn_nem": (presets.RNN_NEM, {}, presets.RNN_NEM_QUICK, BINARY),
  "r_nem": (presets.R_NEM, presets.R_NEM_OF_PRESET, presets.R_NEM_QUICK, BINARY),
  "vae": (presets.VAE, presets.VAE_OF_PRESET, presets.VAE_QUICK, COLOUR),
}
FREE = {"image_size", "num_slots", "num_starts", "dtype", "precision", "recompute"}  # anyone's


@pytest.mark.parametrize("name", CASES)
def test_a_modifier_is_made_of_settings_and_leaves_none_of_iodine_s(name):
  modifier, of_preset, quick, size = CASES[name]
  config = make_config({**modifier, "image_size": size})
  training, run = TrainingConfig.from_flat(modifier), RunSettings.from_flat(modifier)
  known = set(config.flat()) | set(training.flat()) | set(run.flat())
  for values in (modifier, quick, *of_preset.values()):
    assert set(values) <= known
    merged = {**modifier, **values, "image_size": size}
    assert make_config(merged).flat().items() >= {
      (k, v) for k, v in values.items() if k in config.flat() and not isinstance(v, list)
    }
  shared = set(config.flat()) & set(IodineConfig().flat())
  assert shared - FREE <= set(modifier)


def test_full_sizes_are_the_published_ones():
  def parameters(config):
    return sum(v.shape.num_elements() for v in build_model(config).create_variables())

  assert parameters(make_config({**presets.RNN_NEM, "image_size": BINARY})) == 455_534
  assert parameters(make_config({**presets.R_NEM, "image_size": (64, 64, 1)})) == 4_951_978
  flying = presets.R_NEM_OF_PRESET["shapes"]
  network = {**presets.R_NEM, **flying, "cell": "recurrent", "hidden_size": 100}
  assert parameters(make_config({**network, "image_size": BINARY})) == 3_403_389
