"""Does the recovered table hold for copies of the merge, re-encoded or resized?

`notebooks/results/provenance.json` holds what `compare_copies` counted of every file.
"""

import io
from functools import partial
from pathlib import Path

from PIL import Image

from src.data.catalog import Catalog
from src.data.duplicates.thumbnails import Thumbnails, make_thumbnails, open_upright
from src.data.patients.recover import (
    Origin,
    image_fingerprints,
    recover,
    shipped_origins,
)
from src.data.sources.readers import SourceImage

# Name -> JPEG quality, and the longer side in px (None: as it is).
VARIANTS = {"JPEG quality 60": (60, None), "180 px": (90, 180), "512 px": (90, 512)}


def copy_thumbnails(catalog: Catalog, variant: str) -> Thumbnails:
    """Return the thumbnails of copies of a catalogue's images, made in memory."""
    quality, side = VARIANTS[variant]
    files = [catalog.root / path for path in catalog.paths]
    open_one = partial(open_copy, quality=quality, side=side)
    key = "\n".join((variant, *catalog.sha256))
    thumbnails, bad = make_thumbnails(files, open_one, key, variant)
    assert not bad
    return thumbnails


def compare_copies(
    catalog: Catalog, thumbnails: Thumbnails, slices: list[SourceImage], table: dict[str, Origin]
) -> dict[str, int]:
    """Return how many rows of a table are recovered from copies, and recovered alike.

    `rows` are those of the table whose image is there; `not_in_table` what was recovered beyond
    them; `confirmed` the rows that the shipped table itself knows by path and fingerprint, without
    figshare.
    """
    origins = recover(catalog, thumbnails, slices)
    rows = [path for path in catalog.paths if path in table]
    pairs = [(origins[path], table[path]) for path in rows if path in origins]
    same = {
        field: [getattr(one, field) == getattr(other, field) for one, other in pairs]
        for field in ("slice", "patient", "mirrored")
    }
    fingerprints = image_fingerprints(thumbnails.whole)
    return {
        "files": len(catalog),
        "rows": len(rows),
        "found": len(pairs),
        **{f"same_{field}": sum(alike) for field, alike in same.items()},
        "same_row": sum(map(all, zip(*same.values()))),
        "not_in_table": len(origins) - len(pairs),
        "confirmed": len(shipped_origins(catalog.paths, fingerprints)),
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
