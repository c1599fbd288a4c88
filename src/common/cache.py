"""What is derived from images is kept in one cache folder, each thing built once."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from src.common.files import cache_dir, make_folder, sweep

ADVICE = "Set BRAIN_TUMOR_CACHE to a cache folder that can be written"
_STALE = 3600.0  # seconds after which nobody still writes a file


def cache_folder(name: str) -> Path:
    """Return the cache's sub-folder `name`, created when missing.

    Raises:
        InputError: it cannot be written.
    """
    folder = make_folder(cache_dir() / name, ADVICE)
    sweep(folder, _STALE)
    return folder


def in_threads(function: Callable, items: Sequence) -> Iterator:
    """Yield `function` of each item, in order; Pillow and NumPy leave the threads free to run.

    Only a few are begun ahead, so that memory is bounded and an interrupt takes effect at once.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(items), 64):
            yield from pool.map(function, items[start : start + 64])


def progress(items: Iterable, total: int, what: str, unit: str = "image") -> Iterable:
    """Wrap `items` in the data half's progress bar; what is done at once shows none.

    It vanishes when done.
    """
    from tqdm import tqdm

    from src.common.progress import interval, progress_stream

    options = {"unit": unit, "leave": False, "delay": 0.5, "file": progress_stream()}
    return tqdm(items, total=total, desc=what, mininterval=interval(0.3, 5), **options)
