"""Which images of Testing are in Training too: the file, the slice, or the patient."""

import csv
from functools import lru_cache
from pathlib import PurePath

import numpy as np

from src.data.audit.findings import copies_in_train
from src.data.splits.groups import Grouping
from src.data.splits.judged import FOLDER

LEAKS = ("same file", "same slice", "same patient", "none known")
SHIPPED = FOLDER / "official_test.csv"  # of the published merge, version 1
COLUMNS = ("path", "group", "leak")


def find_leaks(grouping: Grouping) -> list[dict]:
    """Return for each image of Testing its path, its group, and one of LEAKS.

    "same file": Training holds the same bytes. "same slice": a copy of it. "same patient": another
    image of its group, which is a patient where known, and elsewhere images too alike to be of two
    people. The first that is true counts.
    """
    official, groups = np.array(grouping.catalog.official), grouping.groups
    pairs = grouping.pairs
    same_file, same_slice, same_patient, neither = LEAKS
    sha256 = np.array(grouping.catalog.sha256)
    leaks = np.where(np.isin(groups, groups[official == "Training"]), same_patient, neither)
    leaks[copies_in_train(official, pairs.where(pairs.same))] = same_slice
    leaks[np.isin(sha256, sha256[official == "Training"])] = same_file
    return [
        dict(zip(COLUMNS, (grouping.catalog.paths[row], int(groups[row]), str(leaks[row]))))
        for row in np.flatnonzero(official == "Testing")
    ]


@lru_cache(maxsize=1)
def shipped_leaks() -> dict[str, dict]:
    """Return the shipped table: path -> its row, as text."""
    with SHIPPED.open(newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def leaks_by_name() -> dict[str, dict]:
    """Return the shipped table: file name, which is unique in the merge's Testing -> its row."""
    return {PurePath(path).name: row for path, row in shipped_leaks().items()}
