"""How glibc keeps memory; each twin's package sets it before its framework loads."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # M_... in malloc.h


def keep_freed_memory() -> None:
    """Let the process keep the memory of freed tensors, in one pool for all threads.

    By default glibc gives a large tensor's memory back to the system when it is freed, and every
    step fetches it again, page by page; in Keras under `fit`, whose threads have pools of their
    own. Other C libraries lack the call: nothing is done there. (PyTorch's tuning guide loads
    another allocator for the same end.)
    """
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_ARENA_MAX, 1)
