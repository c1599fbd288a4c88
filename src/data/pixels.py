"""Decode -> 8-bit gray -> resize -> one uint8 memory-mapped cache. Done once for both twins.

Frameworks decode and resize differently (by up to 5 levels, see `src.differences`), so Pillow does
it for both. Gray always: colour overlays and gray-or-RGB file modes give classes away.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from src.common.cache import cache_folder
from src.common.errors import InputError
from src.common.files import atomic_write, file_sha256, read_json, write_json
from src.common.lock import one_writer
from src.data.catalog import FORMATS, Catalog, try_each

# Names everything that decides the bytes; a change of the rules below changes it.
PILLOW_DECODER = "pillow-gray-bilinear-1"

Decode = Callable[[Path, int], np.ndarray]  # (file, S) -> (S, S) uint8 gray, or raises


@dataclass(frozen=True)
class Pixels:
    """A file of N gray images, opened on first use; pickles as its path.

    Attributes:
        path: of the file.
        count: N.
        image_size: S, px.
        sha256: of all pixels, in order.
    """

    path: Path
    count: int
    image_size: int
    sha256: str

    @cached_property
    def array(self) -> np.memmap:
        """(N, S, S) uint8, read-only."""
        shape = (self.count, self.image_size, self.image_size)
        return np.memmap(self.path, np.uint8, "r", shape=shape)

    def __getstate__(self) -> dict:  # a memmap would pickle as its whole content
        return {name: value for name, value in self.__dict__.items() if name != "array"}


def decode_gray(path: Path, image_size: int) -> np.ndarray:
    """Return the (S, S) uint8 gray image in a file: its first frame, as `gray_square` makes it.

    Raises:
        Exception: whatever Pillow raises on a damaged file; `why_unreadable` explains it.
    """
    with Image.open(path, formats=FORMATS) as image:
        return gray_square(image, image_size)


def gray_square(image: Image.Image, image_size: int) -> np.ndarray:
    """Return an image as the network sees it: (S, S) uint8, gray.

    Turned as its EXIF says (so people saw it when they named its class), over black where it is
    transparent, squeezed to a square without cropping, as the merge itself was.
    More than 8 bits are scaled linearly: the smallest of 8, 12 and 16 bits that holds the
    brightest pixel becomes 0..255 (scanners write 12 bits into 16-bit files); floats up to 1 scale
    from 1; values outside of all that are stretched from their minimum to their maximum.
    """
    gray = to_gray(ImageOps.exif_transpose(image))
    # A triangle filter that widens when shrinking. It does not ring, as Lanczos at the skull.
    return np.asarray(gray.resize((image_size, image_size), Image.Resampling.BILINEAR))


def to_gray(image: Image.Image) -> Image.Image:
    """Return any Pillow image as mode "L"; see `gray_square` for the rules."""
    if image.mode == "L" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(scale_to_8_bits(np.asarray(image)))
    if image.mode == "LAB":
        return image.getchannel(0)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    # Palette, CMYK and the rest pass through RGB; L = 0.299 R + 0.587 G + 0.114 B.
    return image.convert("RGB").convert("L")


def scale_to_8_bits(values: np.ndarray) -> np.ndarray:
    """Return numbers of any type as gray levels, uint8; see `gray_square` for the rules."""
    depths = [255.0, 4095.0, 65535.0]
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        depths.insert(0, 1.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > depths[-1]:
        full = (high - low) or 1.0
    else:
        low, full = 0.0, min(depth for depth in depths if depth >= high)
    gray = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), 512):  # in strips, to bound the memory
        strip = slice(start, start + 512)
        gray[strip] = np.rint((values[strip].astype(np.float64) - low) * (255.0 / full))
    return gray


def load_pixels(
    catalog: Catalog,
    image_size: int,
    decode: Decode = decode_gray,
    decoder_name: str = PILLOW_DECODER,
) -> tuple[Catalog, Pixels]:
    """Return the catalogue without what cannot be decoded, and the pixels of the rest, row by row.

    The cache file is named by every image's content, the size and `decoder_name`, so a second run
    decodes nothing and a changed image is never served stale. It appears under its name only when
    complete; one process builds it, others wait for it. It is built again where it or its index was
    damaged: the index holds the SHA-256 of the pixels.

    Args:
        catalog: N images.
        image_size: S, pixels.
        decode: called from several threads.
        decoder_name: names the bytes that `decode` makes.

    Raises:
        InputError: the cache cannot be written, or a class is left without an image.
    """
    name = f"{catalog.fingerprint[:24]}-{image_size}-{decoder_name}.bin"
    store = cache_folder("pixels") / name
    index = store.with_suffix(".json")
    opened = _open(catalog, image_size, store, index)
    if not opened:
        with one_writer(store):
            opened = _open(catalog, image_size, store, index)  # built while this process waited
            if not opened:
                _build(catalog, image_size, decode, store, index)
                opened = _open(catalog, image_size, store, index)
    if not opened:
        raise InputError(f"The pixel cache {store} was changed meanwhile. Run it again.")
    return opened


def _open(
    catalog: Catalog, image_size: int, store: Path, index: Path
) -> tuple[Catalog, Pixels] | None:
    """Return what `load_pixels` does; None where the file or its index is missing or damaged."""
    try:
        kept, sha256 = read_json(index), file_sha256(store)
        skipped = {path: kept["skipped"][path] for path in kept["skipped"]}
        count = len(catalog) - len(skipped)
        if kept["sha256"] != sha256 or store.stat().st_size != count * image_size**2:
            return None
    except (InputError, OSError, LookupError, TypeError, AttributeError):
        return None
    return catalog.without(skipped), Pixels(store, count, image_size, sha256)


def _build(catalog: Catalog, image_size: int, decode: Decode, store: Path, index: Path) -> None:
    skipped = {}
    images = try_each(
        lambda path: decode(catalog.root / path, image_size),
        catalog.paths,
        f"Decoding to {image_size} px",
    )
    room = f"Free {len(catalog) * image_size**2 / 1e6:.0f} MB there, or set BRAIN_TUMOR_CACHE"
    # Plain writes, not a writable map: on a full disk those raise, a map kills the process.
    with atomic_write(store, room) as temporary, temporary.open("wb") as file:
        content = hashlib.sha256()
        for path, image in zip(catalog.paths, images):
            if isinstance(image, str):
                skipped[path] = image
                continue
            if image.shape != (image_size, image_size) or image.dtype != np.uint8:
                raise TypeError(f"decode gave {image.dtype} {image.shape} for {path}")
            file.write(image.tobytes())
            content.update(image.tobytes())
        file.close()
        # First: the pixels' name says "complete".
        write_json(index, {"skipped": skipped, "sha256": content.hexdigest()})
