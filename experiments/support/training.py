"""The command that trains: its keys and presets, which grids of runs check theirs with."""

from experiments.support.cli import Command

command = Command("iodine", trains=True)
