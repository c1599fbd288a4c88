"""What is wrong with a set of images: copies, conflicts, leaks, shortcuts. Numbers only."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from src.data.audit.shortcuts import score_shortcuts
from src.data.catalog import Catalog
from src.data.duplicates.similarity import Pairs
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
    """
    catalog, pairs, thumbnails = grouping.catalog, grouping.pairs, grouping.thumbnails
    same, origins, groups = pairs.where(pairs.same), grouping.origins, grouping.groups
    paths, official = catalog.paths, np.array(catalog.official)
    augmented = [path for path in paths if is_augmented(path)]
    patients = [origins[path].patient if path in origins else path for path in paths]
    known = np.array([path in origins for path in paths])
    # The first image of each group and class: a group with two classes counts for both.
    first_of_class = np.unique(np.stack([groups, catalog.labels]), axis=1, return_index=True)[1]

    def by_class(rows: np.ndarray) -> dict[str, int]:
        return {"total": len(rows), **catalog.class_counts(rows)}

    return {
        "counts": catalog.counts(),
        "images": len(catalog),
        "variant": merge_variant(catalog.counts(), len(augmented)),
        "exact_duplicates": {
            "test_in_train": len(_test_in_train(official, catalog.sha256)),
            "images": len(catalog) - len(set(catalog.sha256)),
        },
        "same_slice": {
            "test_in_train": by_class(copies_in_train(official, same)),
            "count": len(same),
            "pairs": [[paths[a], paths[b]] for a, b in zip(same.first, same.second)],
        },
        "adjacent": {"count": int((~pairs.same).sum())},
        "label_conflicts": [conflict["paths"] for conflict in grouping.conflicts],
        "label_conflicts_judged": grouping.conflicts,
        "groups": dict(zip(paths, groups.tolist())),
        "groups_count": {
            "total": len(np.unique(groups)),
            "largest": int(np.bincount(groups).max()),
            **catalog.class_counts(first_of_class),
        },
        "patients": {
            "known_images": len(origins),
            "known_test_images": int((known & (official == "Testing")).sum()),
            "test_in_train": by_class(_test_in_train(official, patients)),
        },
        "shortcuts": score_shortcuts(thumbnails, catalog, splits),
        "files": _files(catalog, thumbnails) | {"augmented": augmented},
    }


def _test_in_train(official: np.ndarray, values: Sequence[str]) -> np.ndarray:
    """Return the rows of Testing whose value an image of Training has too."""
    values, test = np.array(values), np.flatnonzero(official == "Testing")
    return test[np.isin(values[test], values[official == "Training"])]


def copies_in_train(official: np.ndarray, same: Pairs) -> np.ndarray:
    """Return the rows of Testing that show the slice of an image of Training."""
    rows, others = np.r_[same.first, same.second], np.r_[same.second, same.first]
    return np.unique(rows[(official[rows] == "Testing") & (official[others] == "Training")])


def _files(catalog: Catalog, thumbnails: Thumbnails) -> dict:
    """Name what the files themselves give away."""
    modes, areas = np.array(catalog.modes), np.prod(catalog.sizes, axis=1, dtype=float)
    sizes = Counter(f"{width}x{height}" for width, height in catalog.sizes)
    odd = np.abs(np.log(areas / np.median(areas))) > -2 * np.log(ODD_SIZE)

    def paths(rows: np.ndarray) -> list[str]:
        return [catalog.paths[row] for row in np.flatnonzero(rows)]

    return {
        "coloured": paths(thumbnails.colour > COLOURED),
        "banners": paths(thumbnails.banner),
        "modes": {
            mode: catalog.class_counts(modes == mode) for mode in dict.fromkeys(catalog.modes)
        },
        "sizes": {"usual": max(sorted(sizes), key=sizes.get), "different": len(sizes)},
        "odd_sizes": paths(odd),
        "skipped": [list(row) for row in catalog.skipped],
    }
