"""Files that are written whole or not at all."""

import json
import os
import pathlib
from typing import Any


def write_json(path: str | os.PathLike, values: Any) -> None:
  """Writes JSON under a temporary name and moves it into place."""
  path = pathlib.Path(path)
  temporary = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    temporary.write_text(json.dumps(values, indent=2) + "\n")
    temporary.replace(path)
  except OSError:
    temporary.unlink(missing_ok=True)
    raise
