"""From files to tf.data: where records come from, in which order, and what scenes look like."""

from datasets.pipeline.load import check, data_error, describe, load
from datasets.pipeline.source import Source

__all__ = ["Source", "check", "data_error", "describe", "load"]
