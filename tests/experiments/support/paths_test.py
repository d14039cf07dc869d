"""experiments.paths: a path is a path, then a list, then a pattern."""

import os
import pathlib

import hypothesis
import matplotlib.pyplot as plt
import pytest
from hypothesis import strategies as st

from experiments.support import paths
from experiments.support.errors import Refusal

ODD = [
  "a[1].png", "[a].png", "[a]", "{a,b}.png", "a b.png", " a.png", "~a.png", "~", "a,b.png", "a'b",
  '"a".png', "ü.png", "*.png", "a?.png", "a\\b.png", "$a$.png", "a\nb.png", "(a,b)", "3", "-",
  os.fsdecode(b"\xff\xfe.png"),
]  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)

  def make(*names):
    for name in names:
      pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
      pathlib.Path(name).write_bytes(b"")

  return make


def found(value):
  return [str(p) for p in paths.find(value, "images", "picture")]


@pytest.mark.parametrize("name", ODD)
def test_what_exists_is_taken_whatever_it_is_called(name, here):
  here(name, "a.png", "b.png", "a1.png", "1.png", "aa.png")
  assert found(name) == [name]
  assert found([name]) == [name]
  assert found(f"[a.png,{name},b.png]") == list(dict.fromkeys(["a.png", name, "b.png"]))
  assert found(pathlib.Path(name)) == [name]
  assert paths.name(name, "out") == name


@pytest.mark.parametrize("name", ODD)
def test_in_an_odd_folder(name, here):
  here(f"{name}/a.png", f"{name}/b.png", f"{name}/10.png")
  both = [f"{name}/10.png", f"{name}/a.png", f"{name}/b.png"]
  for value in (both, f"[{','.join(both)}]", ",".join(both), tuple(both)):
    assert found(value) == both


def test_patterns(here):
  here("p/10.png", "p/9.png", "p/x.jpg", "p/q/1.png", "a1", "a2", "[x]/1.png")
  assert found("p/*.png") == ["p/9.png", "p/10.png"]
  assert found("p/**/*.png") == ["p/9.png", "p/10.png", "p/q/1.png"]
  assert found("a[12]") == ["a1", "a2"]
  assert found("[p/*.jpg, p/*.png]") == ["p/x.jpg", "p/9.png", "p/10.png"]
  assert found("p/*.jpg,a1") == ["p/x.jpg", "a1"]
  assert found("['p/x.jpg', \"a1\",]") == ["p/x.jpg", "a1"]
  assert found(["a1", "a*"]) == ["a1", "a2"]  # each once
  assert found("[[]x]/*") == ["[x]/1.png"]
  here("x", ",")  # of which [x,y] is a pattern too
  here("y")
  assert found("[x,y]") == ["x", "y"]


def test_home(here, tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  here("home/p/1.png", "home/p/2.png")
  assert found("~/p/*.png") == [str(tmp_path / "home" / "p" / f"{i}.png") for i in (1, 2)]
  assert found("[~/p/1.png]") == [str(tmp_path / "home" / "p" / "1.png")]
  assert paths.name("~/new", "out") == str(tmp_path / "home" / "new")
  assert paths.name("~nobody-of-this-name/new", "out") == "~nobody-of-this-name/new"


def test_numbers_are_names(here):
  here("3", "True", "1.5")
  assert found(3) == ["3"]
  assert found([3, 1.5]) == ["3", "1.5"]
  assert found(True) == ["True"]
  assert paths.name(7, "out") == "7"


@pytest.mark.parametrize(
  ("value", "sentence"),
  [
    (None, "images names no picture: say which, as images=path or images="),
    ([], "images names no picture"),
    ("", "images names no picture"),
    ("none.png", r"there is no picture none\.png$"),
    ("*.jpg", r"there is no picture \*\.jpg$"),
    ("[a.png, none.png]", r"there is no picture none\.png$"),
    ("[]", r"there is no picture \[\]$"),
    ("a.png,none.png", r"there is no picture a\.png,none\.png$"),
    (["a.png", ""], "images is a path, as images=folder/3, got ''"),
    ({"a": 1}, "images is a path, .*got {'a': 1}"),
    ([["a.png"]], "images is a path, .*got"),
    ("a\0b", r"there is no picture a\\x00b"),
    (os.fsdecode(b"\xff\n"), r"there is no picture \\xff\\n$"),
  ],
)
def test_what_is_missing_is_one_sentence(value, sentence, here):
  here("a.png")
  with pytest.raises(Refusal, match=sentence) as caught:
    found(value)
  assert str(caught.value).isprintable()


names = st.binary(min_size=1, max_size=30).map(
  lambda b: os.fsdecode(b.replace(b"\0", b"[").replace(b"/", b","))
)


@hypothesis.settings(max_examples=150, derandomize=True)
@hypothesis.given(name=names, others=st.lists(names, max_size=3))
def test_any_name_that_the_file_system_takes(tmp_path_factory, name, others):
  base = tmp_path_factory.mktemp("any")
  kept = [n for n in dict.fromkeys([name, *others]) if n not in (".", "..")]
  hypothesis.assume(kept)
  for n in kept:
    (base / n).write_bytes(b"")
  for n in kept:
    assert paths.find(str(base / n), "model") == [base / n]
  assert paths.find([str(base / n) for n in kept], "model") == [base / n for n in kept]


scalars = st.none() | st.text() | st.integers() | st.floats() | st.booleans()


@hypothesis.settings(max_examples=150, derandomize=True)
@hypothesis.given(value=st.recursive(scalars, st.lists, max_leaves=4))
def test_any_value_is_found_or_refused_in_one_sentence(value):
  try:
    found, said = paths.find(value, "images"), ""
  except Refusal as refusal:
    found, said = [], str(refusal)
  assert bool(found) != bool(said)
  assert said.isprintable()


@hypothesis.settings(max_examples=40, derandomize=True)
@hypothesis.given(name=st.one_of(st.text(max_size=50), names, st.sampled_from(ODD)))
def test_any_name_can_stand_in_a_figure(name):
  label = paths.label(name)
  assert len(label.replace("\\$", "$")) <= 24
  figure = plt.figure(figsize=(1, 1), dpi=20)
  text = figure.text(0, 0, label)
  figure.canvas.draw()  # raises for a formula that is none
  assert text._preprocess_math(label) == (label.replace(r"\$", "$"), False)
  plt.close(figure)
