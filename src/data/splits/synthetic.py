"""Synthetic files: rotated, brightened or plain copies of a scan, with `-aug-` in their names.

Version 2 of the merge has 203. They never validate or test, and train only where their original
does, so that none of them shows what another part scores.
"""

from collections import defaultdict
from functools import lru_cache

from src.data.catalog import Catalog
from src.data.duplicates.similarity import find_same
from src.data.duplicates.thumbnails import make_thumbnails, open_upright, thumbnails_of
from src.data.sources.origin import is_augmented, original_stem


@lru_cache(maxsize=4)
def scans_of(catalog: Catalog) -> Catalog:
    """Return the catalogue without its synthetic files; itself, if it has none.

    Raises:
        InputError: that leaves a class without an image.
    """
    synthetic = {path: "synthetic" for path in catalog.paths if is_augmented(path)}
    return catalog.without(synthetic) if synthetic else catalog


@lru_cache(maxsize=4)
def find_originals(catalog: Catalog, scans: Catalog) -> dict[int, list[int]]:
    """Return synthetic row of `catalog` -> rows of `scans` that it may be made from.

    These are the scans of its class whose name is what stands before `-aug-`, and those that show
    the same slice by their pixels. A rotated copy whose name does not say of what has none.
    """
    stems = defaultdict(list)
    for row, path in enumerate(scans.paths):
        stems[scans.labels[row], original_stem(path)].append(row)
    found = {
        row: list(stems.get((catalog.labels[row], original_stem(path)), ()))
        for row, path in enumerate(catalog.paths)
        if is_augmented(path)
    }
    rows = list(found)
    files = [catalog.root / catalog.paths[row] for row in rows]
    key = "\n".join(catalog.sha256[row] for row in rows)
    thumbnails, bad = make_thumbnails(files, open_upright, key, "Synthetic files")
    rows = [row for number, row in enumerate(rows) if number not in bad]
    for number, original in zip(*find_same(thumbnails, thumbnails_of(scans))):
        found[rows[number]].append(original)
    return found
