"""The TensorFlow twin. `src.pt` has the same files, public names and arguments."""

import os

from src.common.allocator import keep_freed_memory

# Read by the libraries when they are first imported, so they stand before any such import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow takes GPU memory as it needs it: by default it takes all, and PyTorch finds none left.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ["KERAS_BACKEND"] = "tensorflow"
keep_freed_memory()
