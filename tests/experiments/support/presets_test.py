"""Presets against the paper's tables, and how modifiers combine."""

import re

import numpy as np
import pytest

import datasets
from datasets import files
from experiments.support import presets, quick_presets, runs
from experiments.support.training import command
from iodine.build import make_config
from iodine.training import TrainingConfig


def resolved(*names, **updates):
  """The configuration of presets, modifiers and updates."""
  return command.configure(names, updates)


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
  assert config["data"]["name"] == presets.SCENES[name]["data.name"]


def test_released_rate_follows_the_batch():
  assert resolved("clevr6", "released", batch_size=8)["learning_rate"] == pytest.approx(0.5e-3)
  assert resolved("clevr6", "released", learning_rate=0.1)["learning_rate"] == 0.1


def test_modifiers_combine_and_updates_win():
  config = resolved("tetrominoes", "quick", "released", num_slots=5)
  assert config["data"]["name"] == "tetrominoes"
  assert config["decoder_upsampling"] == 3
  assert config["num_slots"] == 5
  assert config["likelihood"] == "logistic"
  assert config["latent_size"] == quick_presets.IODINE["latent_size"]
  assert resolved("tetrominoes", "quick", num_steps=9)["num_slots"] == 4
  assert resolved("tetrominoes", "quick", num_steps=9)["optimizer"] == "muon"
  assert resolved("shapes", "quick")["num_slots"] == presets.SCENES["shapes"]["num_slots"]


@pytest.mark.parametrize(
  ("asked", "stages"), [({"num_slots": 4}, [(3600, None, 5)]), ({"num_iterations": 5}, [])]
)
def test_who_writes_a_number_gets_it_though_it_is_the_paper_s(asked, stages):
  config = resolved("tetrominoes", "quick", **asked)
  assert stages_of("tetrominoes", "quick", **asked) == stages
  assert all(stage["num_slots"] is None for stage in config["curriculum"])
  assert {key: config[key] for key in asked} == asked


def test_a_preset_is_the_default():
  assert resolved() == resolved("tetrominoes")
  assert resolved("quick") == resolved("quick", "tetrominoes")


def test_every_configuration_makes_a_model_and_a_training():
  modifiers = ((), ("quick",), ("overnight",), ("released",), ("modulated",))
  modifiers += (("modulated", "quick"), ("modulated", "overnight"), ("modulated", "released"))
  for names in [(n, *m) for n in presets.SCENES for m in modifiers]:
    config = resolved(*names)
    make_config({**config, "image_size": (8, 8, 3)})
    TrainingConfig.from_flat(config)


def test_every_key_of_a_preset_is_one_of_the_command_s():
  known = set(command.schema.fields())
  for name in presets.SCENES:
    assert set(presets.preset(name)) <= known
  flat = [quick_presets.IODINE, presets.DECONV, presets.MODULATED, presets.RELEASED]
  of_presets = (
    quick_presets.OF_PRESET,
    quick_presets.OVERNIGHT_OF_PRESET,
    quick_presets.DECODERS,
    quick_presets.OF_DECODER,
    quick_presets.OVERNIGHT_OF_DECODER,
  )
  for preset in [*flat, *(own for table in of_presets for own in table.values())]:
    assert set(preset) <= known


@pytest.mark.parametrize("name", presets.SCENES)
def test_the_deconvolutional_decoder_comes_before_all_other_modifiers(name):
  def decoder(*names, **updates):
    return make_config({**resolved(*names, **updates), "image_size": (48, 48, 3)}).decoder

  paper = decoder(name, "deconv")
  assert (paper.kind, paper.channels, paper.kernel) == ("deconv", (64, 64, 64, 64), 5)  # App. C
  small = decoder(name, "deconv", "quick")
  assert small == decoder("quick", name, "deconv") == decoder(name, "quick", decoder="deconv")
  assert small.kind == "deconv"
  assert max(small.channels) < 64
  assert decoder(name, "quick", "deconv", decoder_channels=[8]).channels == (8,)


@pytest.mark.parametrize("name", presets.SCENES)
def test_the_modulated_decoder_is_one_word(name):
  def config(*names, **updates):
    return resolved(name, *names, **updates)

  paper, ours = config(), config("modulated")
  changed = {key for key in paper if paper[key] != ours[key]}
  assert changed == {"decoder", "decoder_kernel"}  # the preset's channels, at the preset's size
  assert (ours["decoder"], ours["decoder_kernel"]) == ("modulated", 1)
  small = config("modulated", "quick")
  assert small == config("quick", "modulated") == config("quick", decoder="modulated")
  assert small["decoder_channels"] == [32, 32, 32, 32]
  assert (small["decoder_kernel"], small["decoder_upsampling"]) == (1, 2)
  assert config("quick", "modulated", decoder_channels=[8])["decoder_channels"] == [8]


def test_what_sprites_need_with_the_modulated_decoder():
  keys = ("kl_weight_start", "kl_weight", "anneal_steps", "num_steps")

  def values(*names):
    config = resolved("multi_dsprites", *names)
    return [config[key] for key in keys]

  assert values("quick") == [0.03, 0.4, 3000, 3500]
  assert values("quick", "modulated") == [0.1, 0.4, 1500, 2500]
  assert values("overnight", "modulated") == [0.33, 1.34, 1500, 3600]
  assert resolved("clevr6", "quick", "modulated")["num_steps"] == 3000  # as with its own decoder


FIRST_ITERATIONS = {  # of those that iterate eight times in the last tenth
  "tetrominoes": 5,
  "shapes": 6,
  "multi_dsprites": 5,
  "multi_dsprites_binarized": 6,
  "clevr6": 5,
}


@pytest.mark.parametrize("model", [[], ["modulated"], ["monet"], ["r_nem"], ["vae"]], ids=str)
def test_overnight_is_quick_with_more_steps_and_larger_images(model):
  iodine = model in ([], ["modulated"])
  binary = ("shapes", "multi_dsprites_binarized")
  for name in binary if "r_nem" in model else presets.SCENES:
    quick, overnight = (resolved(name, *model, budget) for budget in ("quick", "overnight"))
    fewer = {"multi_dsprites_binarized": 2800} if iodine else {}  # with more, slots fall out of use
    fewer |= {"multi_dsprites": 3600} if "modulated" in model else {}  # ... or share sprites out
    assert overnight["num_steps"] == fewer.get(name, 5 * quick["num_steps"])
    assert resolved(name, *model, "overnight", num_steps=7)["num_steps"] == 7
    if quick["learning_rate_schedule"] == "exponential":  # falls as far
      steps = [c["num_steps"] / c["learning_rate_decay_steps"] for c in (quick, overnight)]
      assert steps[0] == steps[1]
    longer = {"num_steps", "learning_rate_decay_steps", "checkpoint_every", "validate_every"}
    sizes = [c["data"].pop("image_size") for c in (quick, overnight)]
    if sizes[0] != sizes[1]:
      assert sizes[1] == [64, 64]
      growth = np.prod(sizes[1]) / np.prod(sizes[0])
      for key in ("kl_weight", "kl_weight_start"):
        if iodine and quick[key] is not None:  # the KL stands against a sum over pixels
          assert overnight[key] == pytest.approx(growth * quick[key], rel=0.02)
          longer.add(key)
    if iodine and name in FIRST_ITERATIONS:  # see the tests below
      longer.add("curriculum")
    assert {k: v for k, v in overnight.items() if k not in longer} == {
      k: v for k, v in quick.items() if k not in longer
    }


def stages_of(*names, **updates):
  return [
    (s["until"], s.get("image_size"), s.get("num_iterations"))
    for s in resolved(*names, **updates)["curriculum"]
  ]


@pytest.mark.parametrize("decoder", [[], ["deconv"], ["modulated"]], ids=str)
@pytest.mark.parametrize("name", presets.SCENES)
def test_images_are_small_first_and_iterations_are_more_at_the_end(name, decoder):
  quick, overnight = (resolved(name, *decoder, budget) for budget in ("quick", "overnight"))
  few = FIRST_ITERATIONS.get(name)
  if few:
    assert quick["num_iterations"] == overnight["num_iterations"] == 8
  at_the_end = [(0.9, None, few)] if few else []
  sizes = [config["data"]["image_size"] for config in (quick, overnight)]
  larger = sizes[0] != sizes[1] and decoder != ["deconv"]  # whose variables depend on the size
  for config, budget, parts in (
    (quick, "quick", at_the_end),
    (overnight, "overnight", [(0.75, sizes[0], few), *at_the_end] if larger else at_the_end),
  ):
    expected = [(part * config["num_steps"], size, few) for part, size, few in parts]
    assert stages_of(name, *decoder, budget) == expected


def test_stages_are_what_the_documentation_says():
  assert stages_of("tetrominoes", "quick") == [(3600, None, 5)]
  assert stages_of("clevr6", "overnight") == [(11250, [48, 48], 5), (13500, None, 5)]
  assert stages_of("tetrominoes", "monet", "quick") == stages_of("cater", "overnight") == []


def test_a_stage_has_smaller_images_of_the_same_proportions():
  small = (13125, [35, 35], 5)
  for size, stages in (
    ([64, 64], [small]), ([70, 70], [small]), (None, [small]), ([35, 35], []), ([28, 28], []),
    ([48, 64], []),
  ):  # fmt: skip
    found = stages_of("multi_dsprites", "overnight", **{"data.image_size": size})
    assert found == [*stages, (15750, None, 5)], size


@pytest.mark.parametrize("budget", ["quick", "overnight"])
def test_stages_are_parts_of_the_steps_that_are_wanted(budget):
  assert stages_of("tetrominoes", budget, num_steps=100) == [(90, None, 5)]
  assert stages_of("tetrominoes", budget, num_steps=1) == []
  assert stages_of("tetrominoes", budget, num_iterations=8) == []  # throughout, as asked
  assert resolved("tetrominoes", budget, num_iterations=3)["num_iterations"] == 3
  assert stages_of("clevr6", "overnight", num_steps=100)[0][:2] == (75, [48, 48])
  assert stages_of("clevr6", "overnight", num_iterations=3)[0][2] is None
  for num_steps in range(1, 12):
    for name in presets.SCENES:
      config = resolved(name, budget, num_steps=num_steps)
      stages = TrainingConfig.from_flat(config).curriculum
      assert all(stage.until < num_steps for stage in stages)


@pytest.mark.parametrize("name", ["objects_room_flights", "cater"])
def test_videos_are_an_iteration_a_frame(name):
  config = resolved(name)
  assert config["data"]["num_frames"] == config["num_iterations"] == 16  # paper, A.2
  assert (config["objective"], config["lstm_size"], config["recompute"]) == ("next_step", 256, True)
  spec = datasets.get_spec(config["data"]["name"])
  assert config["num_slots"] == spec.max_entities
  assert config["data"]["num_frames"] <= spec.num_frames
  quick = resolved(name, "quick", num_slots=5)
  length = quick["data"]["num_frames"] + quick["first_iterations"] - 1
  assert length == quick["num_iterations"] < 16
  assert quick["data"]["image_size"] == [32, 32]
  assert quick["num_slots"] == 5


def test_hard_cases():
  gray = resolved("clevr6_grayscale")
  assert make_config({**gray, "image_size": (128, 128, 1)}) == make_config(
    {**resolved("clevr6"), "image_size": (128, 128, 1)}
  )
  assert gray["data"] == {**resolved("clevr6")["data"], "grayscale": True}
  for name, slots in (("textured_mnist", 3), ("textured_mnist_single", 2)):
    config = resolved(name)
    assert config["num_slots"] == datasets.get_spec(name).max_entities == slots
    assert [config["data"][f"num_{s}"] for s in ("train", "validation", "test")] == [
      50_000,
      10_000,
      10_000,
    ]
    assert resolved(name, "quick")["num_steps"] < 10_000


@pytest.mark.parametrize("name", presets.SCENES)
def test_as_many_scenes_are_advised_as_a_preset_takes(name, tmp_path):
  data = resolved(name)["data"]
  spec = runs.dataset_spec(data)
  known = spec.generator is not None and spec.num_train is not None
  if not known or runs.num_scenes(data) > 200_000:
    pytest.skip("not generated, or not in full")
  advice = files.how_to_get(spec)
  assert int(re.search(r"--num (\d+)", advice)[1]) >= runs.num_scenes(data)
