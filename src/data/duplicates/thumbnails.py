"""Two 64x64 thumbnails of every image, a hash of the pixels, and a few plain facts.

All that compares images (audit, patients, groups) reads these and never the files again. 8 KiB per
image, kept in the cache.
"""

import contextlib
import hashlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image, ImageOps

from src.common.cache import cache_folder
from src.common.errors import InputError
from src.common.files import atomic_write
from src.common.lock import one_writer
from src.data.catalog import FORMATS, Catalog, try_each
from src.data.pixels import to_gray

SIDE = 64  # px
BINS = 32  # of the gray histogram
VERSION = 2  # of what is measured: raised whenever a rule below changes, so no cache is stale
# Pixels whose channels differ by more than JPEG's chroma rounding can make them differ.
COLOURED = 40  # levels


class Columns:
    """Arrays of N rows each, the fields of a dataclass."""

    def __len__(self) -> int:
        return len(next(iter(vars(self).values())))

    def where(self, rows: np.ndarray) -> Self:
        """Return those of some rows: a mask (N,) bool, or their numbers."""
        return replace(self, **{name: column[rows] for name, column in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Thumbnails(Columns):
    """What is known of the pixels of N images.

    Attributes:
        whole: (N, 64, 64) uint8, the image squeezed to a square with Lanczos.
        head: (N, 64, 64) uint8, likewise of the part that is not background.
        pixels: (N, 16) uint8, the start of the SHA-256 over size and 8-bit gray pixels.
        histogram: (N, 32) float32, shares of the pixels, of the image at its full size.
        colour: (N,) float32, share of the pixels that are not gray.
        banner: (N,) bool, an edge carries a strip of one flat, bright tone with writing on it.
    """

    whole: np.ndarray
    head: np.ndarray
    pixels: np.ndarray
    histogram: np.ndarray
    colour: np.ndarray
    banner: np.ndarray


def catalog_thumbnails(catalog: Catalog) -> tuple[Catalog, Thumbnails]:
    """Return the catalogue without what cannot be decoded, and the thumbnails of the rest.

    Raises:
        InputError: the cache cannot be written, or a class is left without an image.
    """
    files = [catalog.root / path for path in catalog.paths]
    thumbnails, bad = make_thumbnails(files, open_upright, "\n".join(catalog.sha256), "Thumbnails")
    return catalog.without({catalog.paths[row]: why for row, why in bad.items()}), thumbnails


def thumbnails_of(catalog: Catalog) -> Thumbnails:
    """Return the thumbnails of images that were decoded before.

    Raises:
        InputError: one can be decoded no longer, or the cache not be written.
    """
    usable, thumbnails = catalog_thumbnails(catalog)
    if len(usable) < len(catalog):
        lost = min(set(catalog.paths) - set(usable.paths))
        raise InputError(f"{catalog.root / lost} can be decoded only at times. Is the disk sound?")
    return thumbnails


def make_thumbnails(
    items: Sequence, open_image: Callable[[object], Image.Image], key: str, what: str
) -> tuple[Thumbnails, dict[int, str]]:
    """Return the thumbnails of those `items` that can be opened, made once for each `key`.

    Args:
        items: N of what `open_image` takes.
        open_image: gives a Pillow image of any mode; called from several threads.
        key: names the content of all items.
        what: is done, for the progress bar.
    Returns:
        the thumbnails, and item number -> reason of those that cannot be opened.
    Raises:
        InputError: the cache cannot be written, the disk failed, or no item can be opened.
    """

    def describe_all() -> list[np.ndarray]:
        rows = list(try_each(lambda item: describe_image(open_image(item)), items, what))
        reasons = [row if isinstance(row, str) else "" for row in rows]
        if all(reasons):
            raise InputError(f"None of {len(items)} images can be read: {reasons[0]}.")
        good = (row for row in rows if not isinstance(row, str))
        return [np.array(reasons), *map(np.stack, zip(*good))]

    key = f"{VERSION} {SIDE} {len(items)} {key}".encode(errors="surrogateescape")
    reasons, *columns = cached_arrays("thumbnails", key, describe_all)
    bad = {number: reason for number, reason in enumerate(reasons.tolist()) if reason}
    return Thumbnails(*columns), bad


def cached_arrays(
    folder: str, key: bytes, make: Callable[[], list[np.ndarray]]
) -> list[np.ndarray]:
    """Return the arrays that `make` gives, kept in the cache under a hash of `key`.

    Of several processes at once, one makes them and the others wait.

    Raises:
        InputError: the cache cannot be written.
    """
    store = cache_folder(folder) / f"{hashlib.sha256(key).hexdigest()[:24]}.npz"
    if (kept := _read_arrays(store)) is not None:
        return kept
    with one_writer(store):
        if (kept := _read_arrays(store)) is not None:
            return kept
        made = make()
        free = f"Free {sum(array.nbytes for array in made) / 1e6:.0f} MB there"
        with atomic_write(store, f"{free}, or set BRAIN_TUMOR_CACHE") as temporary:
            np.savez(temporary, *made)
    return made


def _read_arrays(store: Path) -> list[np.ndarray] | None:
    """Return the arrays in a file; None where it is missing or damaged."""
    missing_or_damaged = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
    with contextlib.suppress(*missing_or_damaged), np.load(store) as arrays:
        return list(arrays.values())
    return None


def describe_image(image: Image.Image) -> tuple:
    """Return one image's row of `Thumbnails`."""
    gray = to_gray(image)
    values = np.asarray(gray)
    content = hashlib.sha256(f"{gray.size}".encode() + values.tobytes()).digest()[:16]
    counts = np.reshape(gray.histogram(), (BINS, -1)).sum(axis=1)
    lanczos = Image.Resampling.LANCZOS
    return (
        np.asarray(gray.resize((SIDE, SIDE), lanczos)),
        np.asarray(gray.resize((SIDE, SIDE), lanczos, box=head_box(values))),
        np.frombuffer(content, np.uint8),
        (counts / values.size).astype(np.float32),
        np.float32(_coloured(image)),
        np.bool_(has_banner(values)),
    )


def head_box(values: np.ndarray) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) in pixels of what is not background in (H, W) uint8.

    A row or column counts when more than 3 % of it is no background; an image without a head keeps
    its whole frame.
    """
    height, width = values.shape
    step = max(1, min(values.shape) // 224)
    small = values[::step, ::step]
    bright = small > background(small)
    rows = np.flatnonzero(bright.mean(axis=1) > 0.03)
    columns = np.flatnonzero(bright.mean(axis=0) > 0.03)
    if len(rows) < 8 or len(columns) < 8:
        return 0.0, 0.0, float(width), float(height)
    left, top, right, bottom = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) * step
    return float(left), float(top), float(min(right, width)), float(min(bottom, height))


def background(values: np.ndarray) -> float:
    """Return the tone up to which (H, W) uint8 is background: 12 % of the bright tissue's."""
    return max(10.0, 0.12 * float(np.percentile(values, 99)))


def has_banner(values: np.ndarray) -> bool:
    """Tell whether the top or bottom edge is a frame, a page or a caption, not a dark background.

    In a strip of 3 % of the height, most pixels share one tone above 96.
    """
    depth = max(2, values.shape[0] * 3 // 100)
    for strip in (values[:depth], values[-depth:]):
        tone = int(np.median(strip))
        if tone > 96 and (np.abs(strip.astype(np.int16) - tone) < 12).mean() > 0.6:
            return True
    return False


def _coloured(image: Image.Image) -> float:
    if image.mode in ("L", "LA", "1", "F") or image.mode.startswith("I"):
        return 0.0
    red, green, blue = (np.asarray(channel) for channel in image.convert("RGB").split())
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return float((spread > COLOURED).mean())


def open_upright(path: Path) -> Image.Image:
    """Return the image in a file, turned as its EXIF says."""
    with Image.open(path, formats=FORMATS) as image:
        return ImageOps.exif_transpose(image).copy()
