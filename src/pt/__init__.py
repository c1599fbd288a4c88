"""The PyTorch twin. `src.tf` has the same files, public names and arguments."""

import ctypes
import os

# Read when PyTorch is first imported, so it stands before any such import. Threads that wait for
# each other by spinning make a step five times slower as soon as anything else uses the CPU.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# glibc gives a large tensor's memory back to the system when it is freed, and every step fetches it
# again, page by page. So it is told to keep it; other C libraries lack the call. (PyTorch's tuning
# guide loads another allocator for the same end. TensorFlow has one of its own, which keeps it.)
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_... in malloc.h
_libc = ctypes.CDLL(None) if os.name == "posix" else None
if hasattr(_libc, "mallopt"):
    _libc.mallopt(_MMAP_MAX, 0)
    _libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
