"""The version, that of the installed package and of what it exports."""

__version__ = "0.2.0"  # pyproject.toml's
