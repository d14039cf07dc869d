"""README.md and docs/: tables are whole, links lead somewhere, commands are understood."""

import importlib
import pathlib
import re
import shlex

import pytest

from datasets import generate

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = {
  path.relative_to(ROOT).as_posix(): path.read_text()
  for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
}
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
pages = pytest.mark.parametrize("page", PAGES)


def prose(page):
  """The page's lines, those of its blocks of code empty."""
  return BLOCK.sub(lambda block: "\n" * block[0].count("\n"), PAGES[page]).split("\n")


@pages
def test_tables_are_whole(page):
  lines = prose(page)
  for number, line in enumerate(lines):
    if not line.startswith("|"):
      continue
    where = f"{page}:{number + 1}: {line}"
    if not lines[number - 1].startswith("|"):
      assert re.fullmatch(r"[|: -]*---[|: -]*", lines[number + 1]), f"no row of names at {where}"
    else:
      assert cells(line) == cells(lines[number - 1]), where


def cells(row):
  return len(re.findall(r"(?<!\\)\|", row))


@pages
def test_links_lead_somewhere(page):
  for target in re.findall(r"\]\(([^)\s]+)\)", "\n".join(prose(page))):
    if "://" in target:
      continue
    path, _, heading = target.partition("#")
    found = (ROOT / page).parent / path if path else ROOT / page
    assert found.exists(), f"{page}: {target}"
    if heading:
      assert heading in anchors(found.read_text()), f"{page}: {target}"


def anchors(text):
  """What a heading is called in a link, as on GitHub, and names of its own."""
  headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
  slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
  return {*slugs, *re.findall(r'<a (?:id|name)="([^"]+)"', text)}


def commands(page, package):
  """The words behind `python -m` of each command in the page's blocks of shell."""
  for language, block in BLOCK.findall(PAGES[page]):
    if language in ("", "bash", "sh"):
      block = re.sub(r"\\\n", " ", block)
      for found in re.finditer(rf'("?)\bpython -m (?={package}\.)', block):
        rest = block[found.end() :]
        yield words_of(rest[: rest.index('"')] if found[1] else rest)


def words_of(text):
  """Those of the command at the beginning, which goes on while a quotation is open."""
  lines = text.split("\n")
  for end in range(1, len(lines) + 1):
    lexer = shlex.shlex("\n".join(lines[:end]), posix=True, punctuation_chars=True)
    lexer.wordchars += "[]{}:,@%!"
    try:
      words = list(lexer)
    except ValueError:  # no closing quotation
      continue
    ends = [i for i, word in enumerate(words) if set(word) <= set("|&;<>()")]
    return words[: min(ends, default=None)]
  raise ValueError(f"no closing quotation in {text!r}")


def of_a_file(word):
  """Whether it is read before a command begins: which files there are is another matter."""
  return word.startswith("resume_from=") or word.endswith((".yaml", ".json"))


@pages
def test_commands_of_experiments_are_understood(page):
  for module, *words in commands(page, "experiments"):
    command = importlib.import_module(module).command
    words = words[words.index("with") + 1 :] if "with" in words else []
    command.configure([word for word in words if not of_a_file(word)])


@pages
def test_commands_that_generate_are_understood(page, monkeypatch):
  monkeypatch.setattr(generate, "generate", lambda *args, **kwargs: __file__)
  for _, *words in commands(page, r"datasets\.generate"):
    generate.main(words)
