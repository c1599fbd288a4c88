"""What is wrong with a set of images: copies, conflicts, leaks, shortcuts. Numbers only."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from src.config import CLASS_NAMES
from src.data.audit.shortcuts import score_shortcuts
from src.data.catalog import Catalog
from src.data.duplicates.similarity import (
    FLIPS,
    NEAR_DETAIL,
    NEAR_WHOLE,
    SAME_DETAIL,
    SAME_WHOLE,
    Pairs,
)
from src.data.duplicates.thumbnails import Thumbnails
from src.data.sources.origin import is_augmented, merge_variant
from src.data.splits.groups import Grouping

COLOURED = 0.001  # share of a scan's pixels; above it, somebody drew on it
ODD_SIZE = 0.5  # a size that differs from the usual one by this factor is named


def audit(grouping: Grouping, splits: dict[str, dict[str, np.ndarray]]) -> dict:
    """Return every finding as plain JSON values.

    Args:
        grouping: of the catalogue.
        splits: name -> parts, whose shortcuts are scored: classifiers learn "train" and are
            scored on "test".
    Returns:
        counts, exact_duplicates, same_slice, adjacent, label_conflicts, groups, leak,
        shortcuts, files (colour, banners, sizes, modes, augmented, skipped) and thresholds.
    """
    catalog, pairs, groups = grouping.catalog, grouping.pairs, grouping.groups
    same, origins = pairs.where(pairs.same), grouping.origins
    augmented = [path for path in catalog.paths if is_augmented(path)]
    hashes = [bytes(row).hex() for row in grouping.thumbnails.pixels]
    official, part_of = np.array(catalog.official), dict(zip(catalog.paths, catalog.official))
    patients = [origins[path].patient if path in origins else path for path in catalog.paths]
    return {
        "counts": catalog.counts(),
        "images": len(catalog),
        "variant": merge_variant(catalog.counts(), len(augmented)),
        "thresholds": {
            "same_slice": {"whole": SAME_WHOLE, "detail": SAME_DETAIL},
            "adjacent": {"whole": NEAR_WHOLE, "detail": NEAR_DETAIL},
            "flips": list(FLIPS),
        },
        "exact_duplicates": {
            "test_in_train": len(_test_in_train(official, catalog.sha256)),
            "test_in_train_by_pixels": len(_test_in_train(official, hashes)),
            "images": len(catalog) - len(set(catalog.sha256)),
            "images_by_pixels": len(catalog) - len(set(hashes)),
        },
        "same_slice": {
            "test_in_train": _by_class(catalog, _copies_in_train(official, same)),
            "count": len(same),
            "pairs": [
                [catalog.paths[a], catalog.paths[b]] for a, b in zip(same.first, same.second)
            ],
        },
        "adjacent": {"count": int((~pairs.same).sum())},
        "label_conflicts": [conflict["paths"] for conflict in grouping.conflicts],
        "label_conflicts_judged": grouping.conflicts,
        "groups": dict(zip(catalog.paths, groups.tolist())),
        "groups_count": {
            "total": len(np.unique(groups)),
            "largest": int(np.bincount(groups).max()),
            **{
                name: len(np.unique(groups[catalog.labels == label]))
                for label, name in enumerate(CLASS_NAMES)
            },
        },
        "grouping_note": grouping.note,
        "patients": {
            "known_images": len(origins),
            "known_test_images": sum(part_of[path] == "Testing" for path in origins),
            "test_in_train": _by_class(catalog, _test_in_train(official, patients)),
        },
        "shortcuts": score_shortcuts(grouping.thumbnails, catalog.labels, splits),
        "files": _files(catalog, grouping.thumbnails, augmented),
    }


def _test_in_train(official: np.ndarray, values: Sequence[str]) -> np.ndarray:
    """Return the rows of Testing whose value an image of Training has too."""
    values, test = np.array(values), np.flatnonzero(official == "Testing")
    return test[np.isin(values[test], values[official == "Training"])]


def _copies_in_train(official: np.ndarray, same: Pairs) -> np.ndarray:
    """Return the rows of Testing that show the slice of an image of Training."""
    rows, others = np.r_[same.first, same.second], np.r_[same.second, same.first]
    return np.unique(rows[(official[rows] == "Testing") & (official[others] == "Training")])


def _by_class(catalog: Catalog, rows: np.ndarray) -> dict[str, int]:
    counts = np.bincount(catalog.labels[rows], minlength=len(CLASS_NAMES)).tolist()
    return {"total": len(rows), **dict(zip(CLASS_NAMES, counts))}


def _files(catalog: Catalog, thumbnails: Thumbnails, augmented: list[str]) -> dict:
    """Name what the files themselves give away."""
    modes: dict[str, dict[str, int]] = {}
    for mode, label in zip(catalog.modes, catalog.labels):
        of_mode = modes.setdefault(mode, dict.fromkeys(CLASS_NAMES, 0))
        of_mode[CLASS_NAMES[label]] += 1
    sizes = Counter(f"{width}x{height}" for width, height in catalog.sizes)
    areas = np.prod(catalog.sizes, axis=1, dtype=float)
    odd = np.abs(np.log(areas / np.median(areas))) > -2 * np.log(ODD_SIZE)

    def paths(rows: np.ndarray) -> list[str]:
        return [catalog.paths[row] for row in np.flatnonzero(rows)]

    return {
        "coloured": paths(thumbnails.colour > COLOURED),
        "banners": paths(thumbnails.banner),
        "modes": modes,
        "sizes": {"usual": max(sorted(sizes), key=sizes.get), "different": len(sizes)},
        "odd_sizes": paths(odd),
        "augmented": augmented,
        "skipped": [list(row) for row in catalog.skipped],
    }
