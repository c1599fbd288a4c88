"""What is wrong with a set of images: copies, conflicts, leaks, shortcuts. Numbers only."""

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
from src.data.patients.recover import Origin
from src.data.sources.folders import is_augmented, merge_variant
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
    catalog, pairs = grouping.catalog, grouping.pairs
    same = pairs.where(pairs.same)
    augmented = [path for path in catalog.paths if is_augmented(path)]
    return {
        "counts": catalog.counts(),
        "images": len(catalog),
        "variant": merge_variant(catalog.counts(), len(augmented)),
        "thresholds": {
            "same_slice": {"whole": SAME_WHOLE, "detail": SAME_DETAIL},
            "adjacent": {"whole": NEAR_WHOLE, "detail": NEAR_DETAIL},
            "flips": list(FLIPS),
        },
        "exact_duplicates": _exact(catalog, grouping.thumbnails.pixels),
        "same_slice": {
            "test_in_train": _leaking(catalog, same),
            "count": len(same),
            "pairs": [
                [catalog.paths[a], catalog.paths[b]] for a, b in zip(same.first, same.second)
            ],
        },
        "adjacent": {"count": int((~pairs.same).sum())},
        "label_conflicts": [conflict["paths"] for conflict in grouping.conflicts],
        "label_conflicts_judged": grouping.conflicts,
        "groups": dict(zip(catalog.paths, grouping.groups.tolist())),
        "groups_count": _group_counts(catalog, grouping.groups),
        "grouping_note": grouping.note,
        "patients": _patients(catalog, grouping.origins),
        "shortcuts": score_shortcuts(grouping.thumbnails, catalog.labels, splits),
        "files": _files(catalog, grouping, augmented),
    }


def _exact(catalog: Catalog, pixels: np.ndarray) -> dict:
    """Count byte-identical images, and images whose gray pixels are identical."""
    sha = np.array(catalog.sha256)
    gray = np.array([bytes(row).hex() for row in pixels])
    official = np.array(catalog.official)
    test, train = official == "Testing", official == "Training"
    return {
        "test_in_train": int(np.isin(sha[test], sha[train]).sum()),
        "test_in_train_by_pixels": int(np.isin(gray[test], gray[train]).sum()),
        "images": int(len(sha) - len(np.unique(sha))),
        "images_by_pixels": int(len(gray) - len(np.unique(gray))),
    }


def _leaking(catalog: Catalog, same: Pairs) -> dict[str, int]:
    """Count the test images that show a training image's slice."""
    test = np.array(catalog.official) == "Testing"
    train = np.array(catalog.official) == "Training"
    leaks = np.zeros(len(catalog), bool)
    for one, other in ((same.first, same.second), (same.second, same.first)):
        leaks[one[test[one] & train[other]]] = True
    return _by_class(catalog.labels[leaks])


def _by_class(labels: np.ndarray) -> dict[str, int]:
    counts = np.bincount(labels, minlength=len(CLASS_NAMES)).tolist()
    return {"total": len(labels), **dict(zip(CLASS_NAMES, counts))}


def _group_counts(catalog: Catalog, groups: np.ndarray) -> dict[str, int]:
    counts = {"total": len(np.unique(groups)), "largest": int(np.bincount(groups).max())}
    return counts | {
        name: len(np.unique(groups[catalog.labels == label]))
        for label, name in enumerate(CLASS_NAMES)
    }


def _patients(catalog: Catalog, origins: dict[str, Origin]) -> dict:
    """Count the test images whose patient is in Training, of those whose patient is known."""
    known = [row for row, path in enumerate(catalog.paths) if path in origins]
    patient = {row: origins[catalog.paths[row]].patient for row in known}
    train = {patient[row] for row in known if catalog.official[row] == "Training"}
    test = [row for row in known if catalog.official[row] == "Testing"]
    leaks = [row for row in test if patient[row] in train]
    return {
        "known_images": len(known),
        "known_test_images": len(test),
        "test_in_train": _by_class(catalog.labels[leaks]),
    }


def _files(catalog: Catalog, grouping: Grouping, augmented: list[str]) -> dict:
    """Name what the files themselves give away."""
    thumbnails = grouping.thumbnails
    coloured = [catalog.paths[row] for row in np.flatnonzero(thumbnails.colour > COLOURED)]
    banners = [catalog.paths[row] for row in np.flatnonzero(thumbnails.banner)]
    modes: dict[str, dict[str, int]] = {}
    for mode, label in zip(catalog.modes, catalog.labels):
        of_mode = modes.setdefault(mode, dict.fromkeys(CLASS_NAMES, 0))
        of_mode[CLASS_NAMES[label]] += 1
    sizes = [f"{width}x{height}" for width, height in catalog.sizes]
    names, counts = np.unique(sizes, return_counts=True)
    usual = names[counts.argmax()]
    areas = np.array([width * height for width, height in catalog.sizes], float)
    off = np.abs(np.log(areas / np.median(areas))) > -2 * np.log(ODD_SIZE)
    return {
        "coloured": coloured,
        "banners": banners,
        "modes": modes,
        "sizes": {"usual": str(usual), "different": len(names)},
        "odd_sizes": [catalog.paths[row] for row in np.flatnonzero(off)],
        "augmented": augmented,
        "skipped": [list(row) for row in catalog.skipped],
    }
