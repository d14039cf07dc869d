"""Writing records, whole files or none."""

import contextlib
import os
import zlib

from datasets.files import codec, framing


@contextlib.contextmanager
def replacing(path):
  """Gives a temporary name beside `path`; renames it to `path` if the body ends well.

  Whatever goes wrong in the body, nothing is left under that name, and what was there as `path`
  stays.
  """
  temporary = f"{path}.partial"
  try:
    yield temporary
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.remove(temporary)
    raise


def write_records(path, records, spec, layout: str = codec.COMPACT) -> int:
  """Writes stored features as one TFRecord file, atomically; the released layout is gzipped.

  Args:
    path: the file's name.
    records: iterable of dicts as `encode` takes them.
    spec: the dataset.
    layout: COMPACT or RELEASED.

  Returns:
    The number of records written.
  """
  number, block = 0, []
  with replacing(path) as temporary, open(temporary, "wb") as file:
    for record in records:
      block.append(codec.encode(record, spec, layout))
      number += 1
      if len(block) == 256 or sum(map(len, block[-1:])) > 1 << 20:
        file.write(seal(block, layout))
        block = []
    if block:
      file.write(seal(block, layout))
  return number


def seal(payloads, layout: str) -> bytes:
  """Framed records; in the released layout as one gzip member, which may be concatenated."""
  framed = b"".join(map(framing.frame, payloads))
  if layout == codec.COMPACT:
    return framed
  deflate = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)  # no name, no time
  return deflate.compress(framed) + deflate.flush()
