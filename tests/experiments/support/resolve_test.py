"""The door: any words give a validated configuration or one sentence."""

import json
import pathlib

import hypothesis
import hypothesis.strategies as st
import pytest

from experiments import (
  ablation,
  benchmark,
  decompositions,
  evaluate,
  export,
  factors,
  fig5,
  fig6,
  generalization,
  infer,
  iterations,
  multistability,
  projections,
  report,
  segmentation,
  slots,
  sweep,
  table1,
  train,
  traversals,
)
from experiments.support import config_files, resolve
from experiments.support.errors import sentence
from iodine.errors import UserError

MODULES = (
  ablation, benchmark, decompositions, evaluate, export, factors, fig5, fig6, generalization, infer,
  iterations, multistability, projections, report, segmentation, slots, sweep, table1, train,
  traversals,
)  # fmt: skip
COMMANDS = {module.__name__.rpartition(".")[2]: module.command for module in MODULES}
KEYS = [(name, key) for name, command in COMMANDS.items() for key in command.schema.fields()]

# What people write, wrong in many ways, and what nobody would.
TEXTS = st.one_of(
  st.sampled_from([
    "4.0", "8.5", "-1", "0", "1e3", "1e400", "nan", "inf", "True", "false", "no", "None", "abc", "",
    " 3 ", "[3,4]", "[]", "[[3,6]]", "{'a': 1}", "3,4", "()", "[3", "'", "runs/3", "a=b", "~", "1j",
    "b'x'", "...", "{1}", "9" * 5000, "[" * 300, "[" * 3000, "x" * 3000, "ü\udcff", "a\nb", "\\d",
  ]),
  st.text(max_size=30),
  st.integers().map(str),
  st.floats().map(str),
  st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70) | st.floats(-2, 70) | st.text(max_size=5),
    lambda inner: (
      st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=6,
  ).map(repr),
)  # fmt: skip


def configured(command, words):
  """The configuration, or None where it is refused in a sentence; anything else is a failure."""
  try:
    return command.configure(words)
  except Exception as error:
    told = sentence(error)
    if not told or "\n" in told:
      raise
    return None


@hypothesis.settings(max_examples=1500)
@hypothesis.given(key=st.sampled_from(KEYS), text=TEXTS)
def test_any_value_of_any_key_of_any_command(key, text):
  name, key = key
  command = COMMANDS[name]
  hypothesis.assume(key != "resume_from")  # reads a folder: below
  config = configured(command, [f"{key}={text}"])
  if config is None:
    return
  json.dumps(config)  # as Sacred stores it
  again = config_files.nested(command.schema.resolve(updates=config_files.flat(config)).values)
  assert again == config  # what is valid stays as it is


@hypothesis.settings(max_examples=300)
@hypothesis.given(
  name=st.sampled_from(sorted(COMMANDS)),
  words=st.lists(
    st.text(max_size=12) | st.sampled_from(["clevr6", "quick", "a=b=c", "=", "data."])
  ),
)
def test_any_words(name, words):
  configured(COMMANDS[name], words)


@pytest.mark.parametrize(
  ("word", "key", "value"),
  [
    ("batch_size=4.0", "batch_size", 4),
    ("jit=False", "jit", False),
    ("jit=FALSE", "jit", False),
    ("jit=no", "jit", False),
    ("jit=yes", "jit", True),
    ("learning_rate=3e-4", "learning_rate", 3e-4),
    ("clip_norm=None", "clip_norm", None),
    ("inputs=[image,mask]", "inputs", ["image", "mask"]),
    ("decoder_channels=8,16", "decoder_channels", [8, 16]),
  ],
)
def test_values_are_what_they_mean(word, key, value):
  found = COMMANDS["train"].configure([word])[key]
  assert found == value
  assert type(found) is type(value)


@pytest.mark.parametrize(
  ("command", "word", "told"),
  [
    ("train", "learning_rate=abc", "learning_rate must be a number, got 'abc'"),
    ("train", "learning_rate=nan", "learning_rate must be"),
    ("train", "data.image_size=14", "data.image_size must be a list, got 14"),
    ("train", "data.num_train=-1", "data.num_train must be at least 0, got -1"),
    ("train", "seed=-1", "seed must be at least 0, got -1"),
    ("train", "num_slots=[3,4]", r"num_slots must be a whole number, got \[3, 4\]"),
    ("train", "num_steps=True", "num_steps must be a number, got True"),
    ("train", "model=iodin", "model must be one of iodine, .*got 'iodin'"),
    ("train", "data.name=clever", 'did you mean "clevr"'),
    ("train", "batchsize=4", "no config key 'batchsize': did you mean 'batch_size'"),
    ("train", "data.max_object=4", "did you mean 'data.max_objects'"),
    ("train", "num_train=4", "did you mean 'data.num_train'"),
    ("train", "num_trian=4", "did you mean 'data.num_train'"),
    ("train", "data.num_slots=4", "did you mean 'num_slots'"),
    ("train", "dir=data", "did you mean 'data.dir'"),
    ("train", "zebra=1", "no config key 'zebra'$"),
    ("train", "resume=runs/3", "no config key 'resume': did you mean 'resume_from'"),
    ("train", "dir=some/where", "did you mean 'data.dir'"),
    ("train", "tetrominos", "did you mean 'tetrominoes'"),
    ("evaluate", "num_images=8.5", "num_images must be a whole number, got 8.5"),
    ("evaluate", "num_images=0", "num_images must be at least 1, got 0"),
    ("evaluate", "split=all", "split must be one of 'test' or 'validation', got 'all'"),
    ("evaluate", "tetrominoes", "this command has none"),
    ("infer", "num_overview=-1", "num_overview must be at least 0, got -1"),
    ("slots", "objects=[[6,3]]", r"\[least, most\], got \[6, 3\]"),
    ("sweep", "seeds=[]", "seeds must be a list of at least 1"),
    ("benchmark", "repeats=none", "repeats must be a whole number, got 'none'"),
  ],
)
def test_one_sentence_for_what_is_wrong(command, word, told):
  with pytest.raises(UserError, match=told):
    COMMANDS[command].configure([word])


@pytest.mark.parametrize(
  ("command", "key"),
  [("evaluate", "run"), ("infer", "out"), ("export", "bundle"), ("sweep", "folder")],
)
@pytest.mark.parametrize("name", ["1", "007", "1e5", "True", "[1]", "{a}", "a,b", " x", "a=b", "~"])
def test_a_folder_s_name_is_taken_as_it_is_written(command, key, name):
  assert COMMANDS[command].configure([f"{key}={name}"])[key] == name


def write(path, text):
  path.write_bytes(text.encode())
  return str(path)


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("a.json", '{"num_steps": 3, "data": {"num_train": 64}}'),
    ("bom.json", '\ufeff{"num_steps": 3, "data.num_train": 64}'),
    ("crlf.yaml", "num_steps: 3\r\ndata:\r\n  num_train: 64\r\n"),
    ("my config.yml", "num_steps: 3.0\ndata: {num_train: '64'}\n"),
  ],
)
def test_files(tmp_path, name, text):
  path = write(tmp_path / name, text)
  config = COMMANDS["train"].configure(["tetrominoes", path])
  assert (config["num_steps"], config["data"]["num_train"]) == (3, 64)
  config = COMMANDS["train"].configure([path, "quick", "num_steps=5"])  # words win over files
  assert (config["num_steps"], config["data"]["num_train"]) == (5, 64)
  rate = write(tmp_path / "rate.yaml", "learning_rate: 3e-4\n")
  config = COMMANDS["train"].configure(["quick", rate])  # YAML takes this for a text
  assert config["learning_rate"] == 3e-4


@pytest.mark.parametrize(
  ("name", "text", "told"),
  [
    ("broken.json", '{"num_steps": 3,}', r"broken\.json, line 1, column 17 is no JSON"),
    ("broken.yaml", "a: [1", r"broken\.yaml, line \d.* is no YAML"),
    ("list.yaml", "[1, 2]", "must be a mapping from keys to values, got list"),
    ("key.json", '{"num_stepz": 3}', "'num_stepz': did you mean 'num_steps'"),
    ("key2.json", '{"data": {"nam": "shapes"}}', "'data.nam': did you mean 'data.name'"),
    ("value.yaml", "num_steps: many", "num_steps must be a whole number, got 'many'"),
    (
      "text.txt",
      "num_steps: 3",
      r"a configuration is a file \.json, \.yaml, \.yml, got .*text\.txt",
    ),
  ],
)
def test_files_that_are_wrong(tmp_path, name, text, told):
  with pytest.raises(UserError, match=told):
    COMMANDS["train"].configure([write(tmp_path / name, text)])
  with pytest.raises(UserError, match="cannot read the configuration"):
    COMMANDS["train"].configure([str(tmp_path / "absent.json")])


@hypothesis.settings(
  max_examples=200,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(content=st.binary(max_size=60), suffix=st.sampled_from([".json", ".yaml"]))
def test_any_bytes_as_a_file(tmp_path, content, suffix):
  path = pathlib.Path(tmp_path / f"file{suffix}")
  path.write_bytes(content)
  configured(COMMANDS["evaluate"], [str(path)])


@pytest.mark.parametrize(
  ("words", "kind", "expected"),
  [
    (["clevr6", "monet"], "monet", {"num_slots": 7, "sigma_background": 0.06, "latent_size": 16}),
    (["quick", "monet", "tetrominoes"], "monet", {"num_slots": 4, "num_steps": 5000}),
    (["shapes", "rnn_nem"], "nem", {"cell": "recurrent", "num_iterations": 15}),
    (["multi_dsprites_binarized", "r_nem", "quick"], "nem", {"cell": "relational", "num_slots": 4}),
    (["clevr_single", "vae"], "vae", {"num_slots": 1, "latent_size": 10}),
    (["tetrominoes", "model=vae"], "vae", {"num_slots": 1, "latent_size": 128}),
    (["multi_dsprites", "vae", "latent_size=9"], "vae", {"latent_size": 9}),
  ],
)
def test_other_models(words, kind, expected):
  """Each has its own keys alone, none of IODINE's nets."""
  config = COMMANDS["train"].configure(words)
  assert config["model"] == kind
  assert {key: config[key] for key in expected} == expected
  assert "encoder_stride" not in config
  assert "lstm_size" not in config
  assert set(config_files.flat(config)) | {"seed"} == set(COMMANDS["train"].schema.fields(kind))


@pytest.mark.parametrize(
  ("words", "told"),
  [
    (
      ["clevr6", "monet", "lstm_size=3"],
      "'lstm_size' of model=monet: iodine has it; did you mean 'latent_size'",
    ),
    (["clevr6", "sigma_background=0.1"], "'sigma_background' of model=iodine: monet has it"),
    (["clevr6", "monet", "released"], "released is not for model=monet, which has no"),
    (["clevr6", "monet", "vae"], "a run has one model, got monet and vae"),
    (["clevr6", "deconv", "modulated"], "a run has one decoder, got deconv and modulated"),
    (["clevr6", "monet", "model=vae"], "monet is model=monet, got model=vae besides"),
    (["clevr6", "clevr"], "a run has one data set, got clevr6 and clevr"),
    (["clevr6", "r_nem"], "binary"),
    (["textured_mnist", "rnn_nem"], "binary images.*textured_mnist has gray ones"),
    (["clevr6_grayscale", "r_nem", "quick"], "clevr6 has gray ones"),
    (["shapes", "vae", "num_slots=3"], "num_slots must be"),
  ],
)
def test_what_is_not_for_a_model(words, told):
  with pytest.raises(UserError, match=told):
    COMMANDS["train"].configure(words)


def test_print_config_shows_the_model_s_keys_alone():
  schema = resolve.Schema(trains=True)
  fields = schema.fields("iodine")
  assert {"model", "latent_size", "sigma", "batch_size", "data.legacy_resize"} <= set(fields)
  assert not {"image_size", "dtype"} & set(fields)  # the data's, and no choice for users
