"""Two 64x64 thumbnails of every image, a hash of the pixels, and a few plain facts.

Everything that compares images with one another (audit, provenance, groups) reads these and never
the files again. 8 KiB per image, kept in the cache.
"""

import contextlib
import hashlib
import json
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from src.common.cache import cache_folder, in_threads, progress
from src.common.errors import InputError
from src.common.files import atomic_write
from src.data.catalog import FORMATS, Catalog, why_unreadable
from src.data.pixels import to_gray

SIDE = 64  # px
BINS = 32  # of the gray histogram
VERSION = 1  # of what is measured: raised whenever a rule below changes, so no cache is stale
# Pixels whose channels differ by more than JPEG's chroma rounding can make them differ.
COLOURED = 40  # levels


@dataclass(frozen=True, eq=False)
class Thumbnails:
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

    def __len__(self) -> int:
        return len(self.whole)

    def of(self, rows: np.ndarray) -> "Thumbnails":
        """Return those of some rows."""
        return Thumbnails(**{name: column[rows] for name, column in vars(self).items()})

    @classmethod
    def concatenate(cls, several: Sequence["Thumbnails"]) -> "Thumbnails":
        """Return all of several, one after another."""
        columns = zip(*(vars(each).values() for each in several))
        return cls(*(np.concatenate(column) for column in columns))


def catalog_thumbnails(catalog: Catalog) -> tuple[Catalog, Thumbnails]:
    """Return the catalogue without what cannot be decoded, and the thumbnails of the rest.

    Raises:
        InputError: the cache cannot be written, or a class is left without an image.
    """
    files = [catalog.root / path for path in catalog.paths]
    key = "\n".join(catalog.sha256)
    thumbnails, bad = make_thumbnails(files, open_upright, key, "Thumbnails")
    return catalog.without({catalog.paths[row]: why for row, why in bad.items()}), thumbnails


def thumbnails_of(catalog: Catalog) -> Thumbnails:
    """Return the thumbnails of images that were decoded before.

    Raises:
        InputError: a file that could be read can be read no longer, or the cache not be written.
    """
    seen, thumbnails = catalog_thumbnails(catalog)
    if len(seen) != len(catalog):
        lost = min(set(catalog.paths) - set(seen.paths))
        raise InputError(f"{catalog.root / lost} can be decoded only at times. Is the disk sound?")
    return thumbnails


def make_thumbnails(
    items: Sequence, open_image: Callable[[object], Image.Image], key: str, what: str
) -> tuple[Thumbnails, dict[int, str]]:
    """Return the thumbnails of those `items` that can be opened, made once for each `key`.

    Args:
        items: N of what `open_image` takes, each once, in any order, from several threads.
        open_image: gives a Pillow image of any mode.
        key: names the content of all items.
        what: is done, for the progress bar.
    Returns:
        the thumbnails, and item number -> reason of those that cannot be opened.
    Raises:
        InputError: the cache cannot be written, or no item can be opened.
    """
    name = hashlib.sha256(f"{VERSION} {SIDE} {len(items)} {key}".encode(errors="surrogateescape"))
    store = cache_folder("thumbnails") / f"{name.hexdigest()[:24]}.npz"
    arrays = read_arrays(store)
    if arrays.keys() == {"bad", *(field.name for field in fields(Thumbnails))}:
        bad = json.loads(str(arrays.pop("bad")))
        return Thumbnails(**arrays), {int(number): why for number, why in bad.items()}

    def describe(item: object) -> tuple | str:
        try:
            return describe_image(open_image(item))
        except MemoryError:
            raise
        except Exception as error:  # one bad file never ends the run; it is named and counted
            return str(error) if isinstance(error, InputError) else why_unreadable(error)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's notes on odd metadata
        rows = list(progress(in_threads(describe, items), len(items), what))
    bad = {number: row for number, row in enumerate(rows) if isinstance(row, str)}
    if len(bad) == len(items):
        raise InputError(f"None of {len(items)} images can be read: {bad[0]}.")
    good = (row for row in rows if not isinstance(row, str))
    made = Thumbnails(*(np.stack(column) for column in zip(*good)))
    try:
        with atomic_write(store) as temporary:
            np.savez(temporary, bad=np.array(json.dumps(bad)), **vars(made))
    except OSError as error:
        raise InputError(
            f"Cannot write {store}: {error.strerror or error}. Free "
            f"{8192 * len(items) / 1e6:.0f} MB there, or set BRAIN_TUMOR_CACHE."
        ) from error
    return made, bad


def read_arrays(store: Path) -> dict[str, np.ndarray]:
    """Return the arrays in an .npz file by name; none where it is missing or damaged."""
    damaged = (OSError, ValueError, EOFError, zipfile.BadZipFile)
    with contextlib.suppress(*damaged), store.open("rb") as file, np.load(file) as arrays:
        return dict(arrays)
    return {}


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

    A row or column counts when more than 3 % of it is brighter than 12 % of the bright tissue; an
    image without a head keeps its whole frame.
    """
    step = max(1, min(values.shape) // 224)
    small = values[::step, ::step]
    bright = small > max(10.0, 0.12 * float(np.percentile(small, 99)))
    rows = np.flatnonzero(bright.mean(axis=1) > 0.03)
    columns = np.flatnonzero(bright.mean(axis=0) > 0.03)
    height, width = values.shape
    if len(rows) < 8 or len(columns) < 8:
        return (0.0, 0.0, float(width), float(height))
    right, bottom = (columns[-1] + 1) * step, (rows[-1] + 1) * step
    sides = (columns[0] * step, rows[0] * step, min(right, width), min(bottom, height))
    return tuple(map(float, sides))


def has_banner(values: np.ndarray) -> bool:
    """Tell whether a strip along the top or bottom edge is flat and bright, as pages are.

    A scan's background is dark there; a strip of at least 3 % of the height in which most pixels
    of every row share one tone above 96 is a frame, a page or a caption.
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
