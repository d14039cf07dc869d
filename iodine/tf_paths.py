"""Paths that TensorFlow takes literally.

TensorFlow looks for checkpoints and for the variables of a SavedModel with a glob (`MatchingFiles`
on POSIX: fnmatch), so that a folder's own name is a pattern. In `a[1]` or `a\\b` what was saved is
not found again and old checkpoints are never deleted; in `a*b` those of `axb` are deleted too. And
its strings are UTF-8, which the name of a folder need not be. Escapes do not help, for the same
string is also used to write. A symbolic link does: a plain name for the same folder.
"""

import os
import tempfile

_WILD = frozenset("*?[\\")
_links: dict[str, tempfile.TemporaryDirectory] = {}  # folder -> where its link lies, until the end


def literal(path, create: bool = False) -> str:
  """A path of the same file or folder that TensorFlow does not take for a pattern.

  Most paths come back as they are. Otherwise it leads through a symbolic link in a temporary
  folder, which lives as long as this process. Hand it to TensorFlow and nobody else: it is not to
  be printed or stored (CheckpointManager and SavedModel store relative paths).

  Args:
    path: a file, a folder or a checkpoint's prefix; str or os.PathLike.
    create: whether to make the folder `path` where it is not there yet.

  Returns:
    the path, with neither * ? [ \\ nor anything but UTF-8 in it.

  Raises:
    OSError: a folder or the link cannot be made.
    ValueError: every folder for temporary files has such a name itself.
  """
  if create:
    os.makedirs(path, exist_ok=True)
  text = os.fspath(path)
  if _is_literal(text):
    return text
  # not abspath, which takes link/.. for the folder that holds the link
  parts = os.path.realpath(text).split(os.sep)
  last = max((i for i, part in enumerate(parts) if not _is_literal(part)), default=0)
  if not last:  # the names were in links on the way, or in a part that `..` took away
    return os.sep.join(parts)
  return os.path.join(_link(os.sep.join(parts[: last + 1])), *parts[last + 1 :])


def _is_literal(text):
  try:
    text.encode()
  except UnicodeEncodeError:
    return False
  return not _WILD & set(text)


def _link(folder):
  if folder not in _links:
    _links[folder] = tempfile.TemporaryDirectory(prefix="iodine-", dir=_temporary())
  link = os.path.join(_links[folder].name, "folder")
  if not os.path.islink(link):  # also where somebody tidied up during a long training
    os.makedirs(os.path.dirname(link), mode=0o700, exist_ok=True)
    os.symlink(folder, link)
  return link


def _temporary():
  candidates = [os.path.realpath(p) for p in (tempfile.gettempdir(), "/tmp", "/var/tmp")]
  for folder in candidates:
    if _is_literal(folder) and os.access(folder, os.W_OK):
      return folder
  raise ValueError(
    f"expected a folder for temporary files (TMPDIR) without any of {' '.join(sorted(_WILD))} in "
    f"its name, got {candidates[0]!r}"
  )
