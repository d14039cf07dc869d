"""What goes wrong through no fault of the program, told in one sentence."""


class UserError(ValueError):
  """An input that cannot be served; its text is one sentence for whoever gave it.

  The commands print it and exit with code 2; every other exception is a bug and keeps its
  traceback.
  """


class ConfigError(UserError):
  """A setting that does not exist, or a value that it cannot have."""
