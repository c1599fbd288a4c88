"""Does the recovered table hold for copies of the merge, re-encoded or resized?

Kaggle's own files have another resolution and JPEG quality than the copies the table was made on.
"""

import io
from functools import partial
from pathlib import Path

from PIL import Image

from src.data.catalog import Catalog
from src.data.duplicates.thumbnails import catalog_thumbnails, open_upright
from src.data.patients.recover import Origin, confirmed, fingerprints, read_table, recover
from src.data.sources import SourceImage

# Name -> JPEG quality, and the longer side in px (None: as it is).
VARIANTS = {"JPEG quality 60": (60, None), "180 px": (90, 180), "512 px": (90, 512)}


def check_copies(catalog: Catalog, slices: list[SourceImage]) -> dict[str, dict[str, int]]:
    """Recover each of VARIANTS and compare it with the shipped table, row by row.

    Args:
        catalog: the merge.
        slices: figshare's.
    Returns:
        variant -> counts, see `compare_with_table`.
    Raises:
        InputError: a figshare image is damaged, or there is no shipped table.
    """
    counts = {}
    for name, (quality, side) in VARIANTS.items():
        opened = partial(open_copy, quality=quality, side=side)
        copies, thumbnails = catalog_thumbnails(catalog, opened, name)
        origins = recover(copies, thumbnails, slices)
        counts[name] = compare_with_table(copies, origins, fingerprints(thumbnails.whole))
    return counts


def compare_with_table(
    catalog: Catalog, origins: dict[str, Origin], prints: list[str]
) -> dict[str, int]:
    """Return how many rows of the shipped table were found again, and found alike.

    `rows` are those of the table whose image is there; `not_in_table` what was found beyond them;
    `confirmed` the rows that the table itself knows by path and fingerprint, without figshare.

    Args:
        catalog: N images.
        origins: what `recover` found.
        prints: their N fingerprints.
    Raises:
        InputError: there is no shipped table.
    """
    table, known = read_table()
    rows = [path for path in catalog.paths if path in table]
    pairs = [(origins[path], table[path]) for path in rows if path in origins]
    return {
        "files": len(catalog),
        "rows": len(rows),
        "found": len(pairs),
        "same_slice": sum(one.slice == other.slice for one, other in pairs),
        "same_patient": sum(one.patient == other.patient for one, other in pairs),
        "same_mirrored": sum(one.mirrored == other.mirrored for one, other in pairs),
        "same_row": sum(
            (one.slice, one.patient, one.mirrored) == (other.slice, other.patient, other.mirrored)
            for one, other in pairs
        ),
        "not_in_table": len(origins) - len(pairs),
        "confirmed": len(confirmed(catalog, prints, table, known)),
    }


def open_copy(path: Path, quality: int, side: int | None) -> Image.Image:
    """Return the image as a copy of it would show it: resized, and written as a JPEG.

    Args:
        path: the file.
        quality: of the JPEG, 1 to 95.
        side: the longer side in px; None leaves the size alone.
    """
    image = open_upright(path).convert("L")
    if side:
        scale = side / max(image.size)
        shape = tuple(max(1, round(length * scale)) for length in image.size)
        image = image.resize(shape, Image.Resampling.BICUBIC)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content)
