"""What a process must settle before it imports TensorFlow; importing this module settles it."""

import os

from iodine import allocator, startup

# Off by default on processors without VNNI, where it makes the convolutions several times faster.
# A value of the user's own stands.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
allocator.keep_freed_memory()
with startup.at_log_level():
  import tensorflow

  # Here, for what is said of a GPU that is not there; else CUDA is left to begin when it is used.
  if not startup.has_gpu_driver():
    tensorflow.config.list_physical_devices()
