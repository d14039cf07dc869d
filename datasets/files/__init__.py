"""Finding, reading and writing records of scenes; damage told by record. No TensorFlow here."""

from datasets.errors import DataError
from datasets.files.codec import (
  COMPACT,
  NO_ENTITY,
  RELEASED,
  decode,
  encode,
  fingerprint,
  first_holder,
  label_map,
  layout_of,
  mask_from_labels,
  seen_in,
  stored_factors,
  stored_features,
  stored_sizes,
)
from datasets.files.finding import find_files, how_to_get, sized_name
from datasets.files.framing import compression_of
from datasets.files.record_file import RecordFile, tell_skipped
from datasets.files.writing import replacing, seal, write_records

__all__ = [
  "COMPACT",
  "NO_ENTITY",
  "RELEASED",
  "DataError",
  "RecordFile",
  "compression_of",
  "decode",
  "encode",
  "find_files",
  "fingerprint",
  "first_holder",
  "how_to_get",
  "label_map",
  "layout_of",
  "mask_from_labels",
  "replacing",
  "seal",
  "seen_in",
  "sized_name",
  "stored_factors",
  "stored_features",
  "stored_sizes",
  "tell_skipped",
  "write_records",
]
