"""One writer at a time: of a run's folder, of a file in the cache, of a download."""

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from src.common.errors import InputError
from src.common.files import sweep

_PATIENCE = 10.0  # seconds before a refusal: whoever was killed may still be ending


@contextlib.contextmanager
def one_writer(path: Path, instead: str = "") -> Iterator[None]:
    """Let no other process write `path` until the block ends.

    The system takes the lock back from a process that was killed; what that one left half written
    is removed, where `path` is a file or not there yet. An empty file `.lock` stays.
    Where the file system cannot lock, a warning is all.

    Args:
        path: a folder, or a file, which need not exist yet.
        instead: what to do where another process writes it; without, this one waits for its turn.
    Raises:
        InputError: another process writes it; names that process and says what to do `instead`.
    """
    from filelock import FileLock, Timeout  # imported here: who only predicts does not need it

    path = Path(path)
    file = path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    note = file.with_name(f"{file.name}.by")  # who holds it; the lock itself is the system's
    lock = FileLock(file)
    try:
        lock.acquire(timeout=_PATIENCE if instead else 0.0)
    except Timeout:
        if instead:
            raise InputError(f"{_writer(note)} writes to {path}. {instead}.") from None
        print(f"{_writer(note)} writes {path}. Waiting until it has ended.", file=sys.stderr)
        lock.acquire()
    except OSError as error:
        print(f"{file} cannot be locked ({error.strerror or error}): let no other process write "
              f"to {path}.", file=sys.stderr)  # fmt: skip
    try:
        with contextlib.suppress(OSError):
            note.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        if lock.is_locked and not path.is_dir():  # whoever held it before may have been killed
            sweep(path.parent, of=path.stem)
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink()
        lock.release()


def _writer(note: Path) -> str:
    """Return who holds a lock, as the start of a sentence."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if who := note.read_text(encoding="utf-8")[:200].strip():
            return who[0].upper() + who[1:]
    return "Another process"
