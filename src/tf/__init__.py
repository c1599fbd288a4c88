"""The TensorFlow twin. `src.pt` has the same files, public names and arguments."""

import os

# Read by the libraries when they are first imported, so they stand before any such import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"
