"""For tests: a split of the phantom set in place of the one that ships."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.config import preset
from src.data.dataset import Dataset, open_dataset
from src.data.patients.recover import catalog_fingerprints
from src.data.splits import frozen
from src.data.splits.folds import SELECTION, SELECTION_FOLD
from src.data.splits.frozen import Assignment, FrozenSplit, write_frozen


@contextlib.contextmanager
def phantom_split_ships(folder: Path) -> Iterator[Dataset]:
    """Let `folder` hold a split of the phantom set, and be where shipped splits are looked for."""
    dataset = open_dataset(preset("smoke"))
    fingerprints, assignments = catalog_fingerprints(dataset.catalog), {}
    for part, rows in dataset.parts.items():
        for row in rows:
            group, fold, named = dataset.groups[row], 0, part
            if part == "train":
                named = SELECTION if group % 8 == 0 else part
                fold = SELECTION_FOLD if group % 8 == 0 else 1 + group % 4
            path, fingerprint = dataset.catalog.paths[row], fingerprints[row]
            assignments[path] = Assignment(fingerprint, f"g{group}", fold, named)
    write_frozen(folder / "clean_split.csv", FrozenSplit("made by a test", assignments))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "FOLDER", folder)
        yield dataset
