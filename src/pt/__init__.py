"""The PyTorch twin. `src.tf` has the same files, public names and arguments."""

import os

from src.common.allocator import keep_freed_memory

# Read when PyTorch is first imported, so it stands before any such import. Threads that wait for
# each other by spinning make a step five times slower as soon as anything else uses the CPU.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
keep_freed_memory()
