"""What the commands of this package share."""

import argparse
import contextlib
from collections.abc import Iterator

from datasets.errors import DataError, nearest


class Parser(argparse.ArgumentParser):
  """An argument parser whose complaints are one sentence and name the nearest right option."""

  def __init__(self, **kwargs):
    super().__init__(
      allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
    )

  def error(self, message):
    self.exit(2, f"{self.prog}: {message}\n")

  @contextlib.contextmanager
  def sentences(self, interrupted: str = "interrupted") -> Iterator[None]:
    """Ends the command with a sentence where its files or what it was told are wrong."""
    try:
      yield
    except (DataError, OSError) as error:
      self.error(str(error))
    except KeyboardInterrupt:
      self.exit(130, f"\n{self.prog}: {interrupted}\n")

  def parse_args(self, args=None, namespace=None):
    values, unknown = self.parse_known_args(args, namespace)
    options = {option for action in self._actions for option in action.option_strings}
    for word in unknown:
      if word.startswith("-"):
        word = word.split("=")[0]
        self.error(f'no option "{word}": {nearest(word, options)}')
      self.error(f'unexpected argument "{word}"')
    return values
