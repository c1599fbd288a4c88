"""Which images the shipped classifier has seen: they must not test what starts from it.

It is trained on the 80/10/10 cut of the shipped clean split, and its best epoch chosen there.
"""

import numpy as np

from src.data.catalog import Catalog
from src.data.patients.recover import catalog_fingerprints
from src.data.splits.folds import SELECTION
from src.data.splits.frozen import read_frozen, shipped_file

SEEN = ("train", "val", SELECTION)  # the selection part trains there
# What mirroring left-right changes in a fingerprint: the signs of the odd horizontal frequencies.
_MIRROR = 0x5555555555555555
# Bits of 63, of an image that the shipped split does not name: 146 of 150 copies at JPEG quality 60
# come this close to their own row, and none of the 715 images that were not seen to any.
_COPY = 2


def seen_images(catalog: Catalog, groups: np.ndarray) -> np.ndarray:
    """Return which images the shipped classifier was trained or validated on, with their groups.

    An image of the merge counts as seen with its group in the shipped split; any other if its
    fingerprint, or its mirror image's, is as close to one of these as a copy's. All of a group
    count as seen if one of them does.

    Args:
        catalog: N images.
        groups: (N,) int64.
    Returns:
        (N,) bool.
    Raises:
        InputError: the shipped split is damaged, or an image can be decoded no longer.
    """
    frozen = read_frozen(shipped_file("clean"))
    assignments = frozen.assignments.values()
    trained = {each.group for each in assignments if each.part in SEEN}
    prints = [int(each.fingerprint, 16) for each in assignments if each.group in trained]
    codes, known = np.array(prints, np.uint64), frozen.known(catalog)
    seen = np.zeros(len(catalog), bool)
    for row, (path, fingerprint) in enumerate(zip(catalog.paths, catalog_fingerprints(catalog))):
        if path in known:
            seen[row] = known[path].group in trained
            continue
        both = np.array([int(fingerprint, 16), int(fingerprint, 16) ^ _MIRROR], np.uint64)
        seen[row] = np.bitwise_count(codes ^ both[:, None]).min(initial=64) <= _COPY
    return np.isin(groups, groups[seen])
