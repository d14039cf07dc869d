"""Found in place of the package by who runs a command as a file: `python experiments/train.py`.

Python then searches modules in this folder and not in the one above, so that `import experiments`
arrives here, in every command alike.
"""

import pathlib
import sys

_command = pathlib.Path(sys.argv[0]).stem
sys.exit(f"run it as a module, from the folder above: python -m experiments.{_command}")
