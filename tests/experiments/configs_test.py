"""Presets against the paper's tables, and how modifiers combine."""

import pytest

from experiments import configs
from experiments.experiment import Refusal, check_keys, check_names, ex
from iodine import ModelConfig
from iodine.training import TrainingConfig


def resolved(*names, **updates):
  """The configuration Sacred makes of named configs and updates."""
  run = ex._create_run(named_configs=list(names), config_updates=updates)
  return run.config


@pytest.mark.parametrize(
  ("name", "slots", "latent", "decoder", "encoder", "mlp", "lstm"),
  [
    ("clevr6", 7, 64, (64, 4, 3), (64, 4, 3, 2), 256, 256),
    ("clevr", 11, 64, (64, 4, 3), (64, 4, 3, 2), 256, 256),
    ("multi_dsprites", 6, 16, (32, 4, 5), (32, 3, 5, 1), 128, 128),
    ("multi_dsprites_binarized", 4, 16, (32, 4, 5), (32, 3, 5, 1), 128, 128),
    ("shapes", 4, 16, (32, 4, 5), (32, 3, 5, 1), 128, 128),
    ("tetrominoes", 4, 32, (32, 4, 5), (32, 3, 5, 1), 128, 0),
  ],
)
def test_presets_are_appendix_c(name, slots, latent, decoder, encoder, mlp, lstm):
  config = resolved(name)
  assert config["num_slots"] == slots
  assert config["num_iterations"] == 5
  assert config["latent_size"] == latent
  assert config["decoder_channels"] == [decoder[0]] * decoder[1]
  assert config["decoder_kernel"] == decoder[2]
  assert config["encoder_channels"] == [encoder[0]] * encoder[1]
  assert (config["encoder_kernel"], config["encoder_stride"]) == encoder[2:]
  assert config["mlp_sizes"] == [mlp]
  assert config["lstm_size"] == lstm
  assert config["sigma"] == 0.1
  assert (config["learning_rate"], config["beta1"], config["clip_norm"]) == (3e-4, 0.9, 5.0)
  assert (config["batch_size"], config["num_steps"]) == (32, 1_000_000)


def test_clevr6_keeps_three_to_six_objects():
  assert (resolved("clevr6")["data"]["min_objects"], resolved("clevr6")["data"]["max_objects"]) == (
    3,
    6,
  )
  assert resolved("clevr")["data"]["max_objects"] == 10


@pytest.mark.parametrize(
  ("name", "coordinates", "rate", "mlp"),
  [
    ("clevr6", "linear", 1e-3, [256, 256]),
    ("multi_dsprites", "cosine", 3e-4 * (32 / 128) ** 0.5, [128]),
    ("tetrominoes", "cosine", 3e-4 * (32 / 256) ** 0.5, [128]),
  ],
)
def test_released_differs_by_data_set(name, coordinates, rate, mlp):
  config = resolved(name, "released")
  assert config["coordinate_type"] == coordinates
  assert config["learning_rate"] == pytest.approx(rate)
  assert config["mlp_sizes"] == mlp
  assert config["likelihood"] == "logistic"
  assert config["final_decode"]
  assert config["encoder_stride"] == 2
  assert config["data"]["name"] == configs.PRESETS[name]["data"]["name"]


def test_released_rate_follows_the_batch():
  assert resolved("clevr6", "released", batch_size=8)["learning_rate"] == pytest.approx(0.5e-3)
  assert resolved("clevr6", "released", learning_rate=0.1)["learning_rate"] == 0.1


def test_modifiers_combine_and_updates_win():
  config = resolved("tetrominoes", "quick", "released", num_slots=5)
  assert config["data"]["name"] == "tetrominoes"
  assert config["decoder_upsampling"] == 3
  assert config["num_slots"] == 5
  assert config["likelihood"] == "logistic"
  assert config["latent_size"] == configs.QUICK["latent_size"]
  assert config["curriculum"] == []  # who asks for a number of slots gets it throughout
  assert resolved("tetrominoes", "quick")["num_slots"] == 3
  assert resolved("tetrominoes", "quick", num_steps=9)["curriculum"][0]["num_slots"] == 4
  assert resolved("shapes", "quick")["num_slots"] == configs.PRESETS["shapes"]["num_slots"]


def test_every_configuration_makes_a_model_and_a_training():
  for names in [(n, *m) for n in configs.PRESETS for m in ((), ("quick",), ("released",))]:
    config = resolved(*names)
    ModelConfig.from_dict({**config, "image_size": (8, 8, 3)})
    TrainingConfig.from_dict(config)


def test_every_key_of_a_preset_is_declared():
  for preset in [*configs.PRESETS.values(), configs.QUICK, configs.RELEASED]:
    assert set(preset) - {"data"} <= set(configs.BASE)
    assert set(preset.get("data", {})) <= set(configs.DATA)


@pytest.mark.parametrize(
  ("updates", "hint"),
  [
    ({"batchsize": 4}, "did you mean 'batch_size'"),
    ({"data": {"max_object": 4}}, "did you mean 'data.max_objects'"),
    ({"zzz": 1}, "no config key 'zzz'"),
  ],
)
def test_a_misspelt_key_is_refused(updates, hint):
  with pytest.raises(Refusal, match=hint):
    check_keys(ex, updates)


def test_known_keys_pass():
  check_keys(ex, {"seed": 1, "num_slots": 4, "data": {"dir": "x", "seed": 2}})
  check_keys(ex, {"decoder_channels": {"0": 3}})
  check_names(ex, ["tetrominoes", "released"])
  with pytest.raises(Refusal, match="did you mean 'tetrominoes'"):
    check_names(ex, ["tetrominos"])
