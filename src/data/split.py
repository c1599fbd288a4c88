"""Which images train, which choose the best epoch, which test."""

import hashlib
import re
from dataclasses import dataclass, field

import numpy as np

from src.config import CLASS_NAMES, ExperimentConfig
from src.data.catalog import Catalog
from src.errors import InputError

TEST_FRACTION = 0.2  # of a folder that has no Testing part; the merge has 0.19
PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """A cut of a catalogue.

    Attributes:
        parts: {"train", "val", "test"} -> sorted int64 rows; no row in two parts.
        groups: (N,) int64; images of one group never sit in two parts that were cut apart here.
        note: what a reader of the scores must know about the cut, or "".
    """

    parts: dict[str, np.ndarray]
    groups: np.ndarray = field(repr=False)
    note: str = ""


def split_catalog(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Cut a catalogue as `config.split` says. The same catalogue and seed give the same cut.

    Raises:
        InputError: a class has too few images to be in every part.
    """
    split = _KINDS[config.split](catalog, config)
    for part, rows in split.parts.items():
        present = np.bincount(catalog.labels[rows], minlength=len(CLASS_NAMES))
        for name, count in zip(CLASS_NAMES, present):
            if not count:
                raise InputError(
                    f"Class {name} has too few different images to be in each of "
                    f"{', '.join(PARTS)}: none is left for {part}. Add images to {catalog.root}."
                )
    return split


def _official(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Testing as its makers cut it; validation carved from Training, stratified by class."""
    if not catalog.has_split:
        return _on_the_spot(catalog, config)
    groups = group_copies(catalog)
    official = np.array(catalog.official)
    training = np.flatnonzero(official == "Training")
    val = _take(training, groups, catalog, config.val_fraction, config.seed, "val")
    parts = {
        "train": np.setdiff1d(training, val),
        "val": val,
        "test": np.flatnonzero(official == "Testing"),
    }
    return Split(parts, groups)


def _on_the_spot(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Make groups and parts for a folder that has none."""
    groups = group_copies(catalog, by_name=True)
    everything = np.arange(len(catalog))
    test = _take(everything, groups, catalog, TEST_FRACTION, config.seed, "test")
    rest = np.setdiff1d(everything, test)
    val = _take(rest, groups, catalog, config.val_fraction, config.seed, "val")
    count = len(np.unique(groups))
    note = (
        f"The folder has no Training and Testing parts, so they were made on the spot: "
        f"{TEST_FRACTION:.0%} for testing, stratified by class, {len(catalog)} images in {count} "
        "groups kept whole (byte-identical files, and files whose names share a patient's number). "
        "Other copies of a slice, or other slices of a patient, may still sit in two parts."
    )
    return Split({"train": np.setdiff1d(rest, val), "val": val, "test": test}, groups, note)


_KINDS = {"official": _official}


def group_copies(catalog: Catalog, by_name: bool = False) -> np.ndarray:
    """Return (N,) group numbers: byte-identical images share one; by name, so do patients'.

    Args:
        catalog: N images.
        by_name: also join images of one class whose names share `patient_in_name`.
    """
    parent = list(range(len(catalog)))

    def top(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[object, int] = {}
    for row, (path, sha) in enumerate(zip(catalog.paths, catalog.sha256)):
        names = [sha]
        patient = patient_in_name(path) if by_name else None
        if patient:
            names.append((int(catalog.labels[row]), patient))
        for name in names:
            parent[top(row)] = top(first.setdefault(name, row))
    return np.unique([top(row) for row in range(len(catalog))], return_inverse=True)[1]


def patient_in_name(path: str) -> str | None:
    """Return what of a file's name may name a patient: all before its last number, if that has one.

    `patient012_slice03.png` -> `patient012_slice`; `Tr-gl_0010.jpg` -> None.
    """
    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    numbers = list(re.finditer(r"\d+", stem))
    return stem[: numbers[-1].start()] if len(numbers) > 1 else None


def _take(
    rows: np.ndarray, groups: np.ndarray, catalog: Catalog, share: float, seed: int, what: str
) -> np.ndarray:
    """Return about `share` of `rows` in whole groups, class by class; sorted.

    Groups come in the order of a hash of the seed and their content, so that a file added
    elsewhere moves few of them. A group belongs to the class of its first image.
    """
    members: dict[int, list[int]] = {}
    for row in rows:
        members.setdefault(int(groups[row]), []).append(int(row))

    def order(group: list[int]) -> bytes:
        sha = min(catalog.sha256[row] for row in group)
        return hashlib.sha256(f"{seed} {what} {sha}".encode()).digest()

    taken = []
    for label in range(len(CLASS_NAMES)):
        of_class = [group for group in members.values() if catalog.labels[group[0]] == label]
        of_class.sort(key=order)
        target = max(1, round(share * sum(len(group) for group in of_class)))
        got: list[int] = []
        left = []
        for group in of_class:
            if len(got) + len(group) <= target:
                got += group
            else:
                left.append(group)
        nearest = min(left, key=len, default=[])  # large groups: one more may come closer
        taken += got + (nearest if not got or len(nearest) < 2 * (target - len(got)) else [])
    return np.array(sorted(taken), np.int64)
