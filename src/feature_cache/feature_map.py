"""One file of the feature cache: a block's output for every image of a dataset."""

import contextlib
import os
import shutil
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np

from src.common.errors import InputError

LIMIT = "BRAIN_TUMOR_CACHE_GB"
_DEFAULT_GB = 16.0  # block12 and block13 of 7,000 images at 299 px take 7.4 and 2.9
_SPARE = 1e9  # bytes of the disk that are left to others


class FeatureMap:
    """One file with an output for each of N images, its maker and its checksum.

    The file begins as zeros, and an output's maker and checksum are written after it. Where they
    do not fit, after a kill or in a damaged file, the output counts as missing. So several
    processes may fill one map together without a lock. Pickles as its path.
    """

    MAKERS = ("", "tf", "pt")  # the file holds the index

    def __init__(self, path: Path, count: int, shape: tuple[int, ...], dtype: str):
        """Open the file, created or brought to its length, for `count` outputs of `shape`.

        Raises:
            OSError: it cannot be written.
        """
        self.path, self._count = path, count
        self._entry = np.dtype([("maker", "<u4"), ("crc32", "<u4"), ("output", dtype, shape)])
        self.output_bytes = self._entry.itemsize
        with path.open("ab") as file:
            if file.tell() != count * self.output_bytes:
                file.truncate(count * self.output_bytes)

    @cached_property
    def _entries(self) -> np.memmap:
        return np.memmap(self.path, self._entry, "r", shape=self._count)

    def __getstate__(self) -> dict:  # a memmap would pickle as its whole content
        return {name: value for name, value in self.__dict__.items() if name != "_entries"}

    def output(self, row: int) -> np.ndarray:
        """Return the output of image `row`, unchecked."""
        return self._entries[row]["output"]

    def makers(self, rows: np.ndarray) -> np.ndarray:
        """Return which framework computed each output of `rows` (n,): "" where one is missing."""
        return np.array([self._maker(row) for row in rows])

    def write(self, rows: np.ndarray, outputs: np.ndarray, framework: str) -> None:
        """Keep `outputs` (n, *shape) of `rows` (n,), except where another process was faster.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        entries = np.zeros(len(rows), self._entry)
        entries["output"] = outputs
        # Plain writes, not a writable map: on a full disk those raise, a map kills the process.
        with self.path.open("r+b") as file:
            for row, entry in zip(rows.tolist(), entries):
                if self._maker(row):
                    continue
                entry["maker"] = self.MAKERS.index(framework)
                entry["crc32"] = zlib.crc32(entry["output"])
                content = entry.tobytes()
                file.seek(row * self.output_bytes + 8)
                file.write(content[8:])
                file.seek(row * self.output_bytes)  # which also writes out the output
                file.write(content[:8])

    def _maker(self, row: int) -> str:
        maker, crc32, output = self._entries[row]
        whole = 0 < maker < len(self.MAKERS) and zlib.crc32(output) == crc32
        return self.MAKERS[maker] if whole else ""


def check_room(feature_map: FeatureMap, count: int) -> None:
    """Make sure that the folder and the disk have room for `count` more outputs.

    Raises:
        InputError: they have not.
    """
    folder, used = feature_map.path.parent, 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another process took it away
            status = path.stat()
            used += getattr(status, "st_blocks", status.st_size // 512) * 512
    # Without sparse files, as on Windows, a map holds its room from the start.
    need = count * feature_map.output_bytes if hasattr(os.stat_result, "st_blocks") else 0
    free = shutil.disk_usage(folder).free - _SPARE
    if need > min(_bound() - used, free):
        raise InputError(
            f"The feature cache needs {need / 1e9:.1f} GB for {count} images in {folder}, which "
            f"holds {used / 1e9:.1f} GB and may hold {_bound() / 1e9:.1f} GB; the disk has "
            f"{max(free, 0) / 1e9:.1f} GB to spare. Delete files there that no run needs, set "
            f"{LIMIT} to more gigabytes, set BRAIN_TUMOR_CACHE to another disk, or train with "
            "--no-feature-cache."
        )


def _bound() -> float:
    """Return how many bytes the cache may take."""
    given = os.environ.get(LIMIT) or _DEFAULT_GB
    with contextlib.suppress(ValueError):
        if 0 <= float(given) < 1e9:
            return float(given) * 1e9
    raise InputError(f"{LIMIT} must be a number of gigabytes. Received: {given!r}.")
