"""Arrays by name in a folder, in files that are written once: a shard and its index.

A shard counts from the moment its index stands beside it, and only if its bytes have the checksum
that the index gives; so whatever a kill, a full disk or a person left behind is computed again.
One process adds at a time, and it alone deletes; any number read, while others add.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.common.files import atomic_write, make_folder, write_json

SHARD = 128  # arrays a file; a kill loses at most these
LIMIT = "BRAIN_TUMOR_PREFIX_GB"
_DEFAULT_GB = 16.0  # block12 and block13 of 7,000 images at 299 px take 7.4 and 2.9
_SPARE = 1e9  # bytes of the disk that are left to others
_MAPS = 128  # files mapped at a time; each holds a descriptor, of which macOS gives 256


@dataclass(frozen=True)
class _Shard:
    path: Path
    made_by: str
    names: tuple[str, ...]


class Store:
    """The arrays kept in one folder: all of one shape and type, each under a name.

    Pickles as its folder and its list of shards; each process maps the files itself.
    """

    def __init__(self, folder: Path, limited: Path):
        """Open `folder`; it and all else in `limited` together keep within the bound on disk.

        Raises:
            InputError: the folder or a file in it cannot be opened.
        """
        self.folder, self._limited = make_folder(folder), Path(limited)
        self._shards: list[_Shard] = []
        self._where: dict[str, tuple[int, int]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take note of shards that were added since; damaged ones are left where they are.

        Raises:
            InputError: a file cannot be opened, which says nothing of what is in it.
        """
        known = {shard.path for shard in self._shards}
        for index in self._indexes():
            if index.with_suffix(".npy") in known:
                continue
            shard = _checked(index)
            if shard is None:
                continue
            for row, name in enumerate(shard.names):
                self._where.setdefault(name, (len(self._shards), row))
            self._shards.append(shard)

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def places(self, names: Iterable[str]) -> np.ndarray:
        """Return (N, 2) int64 that `read` takes: where each of the N names is kept."""
        return np.array([self._where[name] for name in names], np.int64).reshape(-1, 2)

    def read(self, places: np.ndarray) -> np.ndarray:
        """Return the arrays at `places` (N, 2), stacked along a new first axis."""
        return np.stack([_mapped(self._shards[shard].path)[row] for shard, row in places])

    def made_by(self, names: Iterable[str]) -> dict[str, int]:
        """Return how many of the arrays named each maker made."""
        counts: dict[str, int] = {}
        for name in names:
            maker = self._shards[self._where[name][0]].made_by
            counts[maker] = counts.get(maker, 0) + 1
        return dict(sorted(counts.items()))

    @contextlib.contextmanager
    def adding(self) -> Iterator[None]:
        """Be the only process that adds; wait for another one, then see what it added."""
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Waiting for another process that fills the same cache.", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            self._clear()
            yield

    def reserve(self, count: int, nbytes: int) -> None:
        """Make sure that `count` more arrays of `nbytes` bytes each may be kept.

        Others may be filling other folders: ask again before each `add`.

        Raises:
            InputError: the bound or the disk leaves too little room.
        """
        need, bound = count * nbytes, _bound()
        used = sum(map(_size, self._limited.rglob("*")))
        free = shutil.disk_usage(self.folder).free - _SPARE
        if need > min(bound - used, free):
            raise InputError(
                f"The prefix cache needs {need / 1e9:.1f} GB for {count} images in "
                f"{self._limited}, which holds {used / 1e9:.1f} GB and may hold "
                f"{bound / 1e9:.1f} GB; the disk has {max(free, 0) / 1e9:.1f} GB to spare. Delete "
                f"folders there that no run needs, set {LIMIT} to more gigabytes, set "
                "BRAIN_TUMOR_CACHE to another disk, or train with --no-prefix-cache."
            )

    def add(self, names: list[str], arrays: np.ndarray, made_by: str) -> None:
        """Keep `arrays` (N, ...) under N `names`.

        Raises:
            InputError: the disk is full or cannot be written.
        """
        arrays = np.ascontiguousarray(arrays)
        path = self.folder / f"{hashlib.sha256(' '.join(names).encode()).hexdigest()[:24]}.npy"
        index = {"made_by": made_by, "names": names, "crc32": zlib.crc32(arrays.data)}
        try:
            # Plain writes, not a writable map: on a full disk those raise, a map kills the process.
            with atomic_write(path) as temporary:
                np.save(temporary, arrays)
            write_json(path.with_suffix(".json"), index)
        except OSError as error:
            raise InputError(
                f"Cannot write the prefix cache {path}: {error.strerror or error}. Free "
                f"{arrays.nbytes / 1e6:.0f} MB there, or train with --no-prefix-cache."
            ) from error
        self.refresh()

    def _indexes(self) -> list[Path]:
        return sorted(self.folder.glob("[!.]*.json"))  # a dot: still being written

    def _clear(self) -> None:
        """Delete what does not count; for the lock's holder, since only one writes."""
        kept = {shard.path for shard in self._shards}
        for index in self._indexes():
            if index.with_suffix(".npy") not in kept:
                index.unlink()
        for data in (*self.folder.glob("*.npy"), *self.folder.glob(".*.tmp.npy")):
            if data not in kept:
                data.unlink(missing_ok=True)


def _checked(index: Path) -> _Shard | None:
    """Return the shard that `index` describes if its bytes are those that were written."""
    path = index.with_suffix(".npy")
    try:
        about = json.loads(index.read_text(encoding="utf-8"))
        arrays = np.load(path, mmap_mode="r", allow_pickle=False)
        names = tuple(about["names"])
        whole = len(arrays) == len(names) and zlib.crc32(arrays.data) == about["crc32"]
        return _Shard(path, about["made_by"], names) if whole else None
    except (FileNotFoundError, EOFError, ValueError, KeyError, TypeError):
        return None
    except OSError as error:
        raise InputError(
            f"Cannot read the prefix cache {path}: {error.strerror or error}. Mend that, or train "
            "with --no-prefix-cache."
        ) from error


def _size(path: Path) -> int:
    """Return a file's bytes: none of a folder, or of a file that another process took away."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


@lru_cache(maxsize=_MAPS)
def _mapped(path: Path) -> np.memmap:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _bound() -> float:
    """Return how many bytes the cache may take.

    Raises:
        InputError: the environment does not name a number.
    """
    given = os.environ.get(LIMIT, "")
    try:
        gigabytes = float(given) if given else _DEFAULT_GB
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < 1e9:
        raise InputError(f"{LIMIT} must be a number of gigabytes. Received: {given!r}.")
    return gigabytes * 1e9
