"""What was judged by eye and ships in `dataset/`: images to join beyond any threshold, and CT.

`joined_images.csv` holds pairs of one slice that `find_shifted` found, and of one person in a row
of files; `modality.csv` the images that are not MRI. No radiologist looked at either.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.data.patients.recover import is_close

FOLDER = Path(__file__).resolve().parents[3] / "dataset"


def judged_joins(paths: Sequence[str], fingerprints: Sequence[str]) -> list[tuple[int, int]]:
    """Return the pairs of rows to join of those images, by path and fingerprint."""
    pairs = []
    row_of = {path: row for row, path in enumerate(paths)}
    for each in _read("joined_images.csv"):
        rows = row_of.get(each["first"]), row_of.get(each["second"])
        expected = each["first_fingerprint"], each["second_fingerprint"]
        if None not in rows and all(map(is_close, expected, (fingerprints[row] for row in rows))):
            pairs.append(rows)
    return pairs


def judged_ct(paths: Sequence[str], fingerprints: Sequence[str]) -> np.ndarray:
    """Return (N,) bool: which images are CT, by path and fingerprint."""
    known = {each["path"]: each["fingerprint"] for each in _read("modality.csv")}
    return np.array(
        [
            path in known and is_close(fingerprint, known[path])
            for path, fingerprint in zip(paths, fingerprints)
        ]
    )


def _read(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
