"""Parts made on the spot, for folders that no frozen split knows, by whole groups."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from src.config import CLASS_NAMES, ExperimentConfig
from src.data.catalog import Catalog
from src.data.splits.folds import make_folds, take_fold
from src.data.splits.groups import conflicts_note, group_catalog, patient_in_name

TEST_FRACTION = 0.2  # of a folder that has no Testing part; the merge has 0.19
SINGLE = -1  # `config.fold`: the one cut 80/10/10 instead of a fold
PARTS = ("train", "val", "test")
BY_NAME = (
    "groups kept whole (byte-identical files, and files whose names share a patient's number). "
    "Other copies of a slice, or other slices of a patient, may still sit in two parts."
)
BY_PIXELS = (
    "groups kept whole (copies and neighbouring slices, found by their pixels; patients, where "
    "file names or a table beside the images tell them)."
)


@dataclass(frozen=True, eq=False)
class Split:
    """A cut of a catalogue.

    Attributes:
        parts: {"train", "val", "test"} -> sorted int64 rows; no row in two parts.
        groups: (N,) int64; images of one group never sit in two parts that were cut apart here.
        note: what a reader of the scores must know about the cut, or "".
        made_at_runtime: no maker and no frozen file cut the parts.
    """

    parts: dict[str, np.ndarray]
    groups: np.ndarray = field(repr=False)
    note: str = ""
    made_at_runtime: bool = False


def keep_official_parts(
    catalog: Catalog, config: ExperimentConfig, groups: np.ndarray, note: str
) -> Split:
    """Keep Training and Testing; carve validation from Training by whole groups."""
    official = np.array(catalog.official)
    training = np.flatnonzero(official == "Training")
    val = take(training, groups, catalog, config.val_fraction, config.seed, "val")
    parts = {
        "train": np.setdiff1d(training, val),
        "val": val,
        "test": np.flatnonzero(official == "Testing"),
    }
    return Split(parts, groups, note)


def split_by_groups(
    catalog: Catalog, config: ExperimentConfig, groups: np.ndarray, why: str, rule: str
) -> Split:
    """Make parts from groups, and say so.

    Args:
        catalog: N images.
        config: its seed and `val_fraction`.
        groups: (N,) int64.
        why: the folder's own parts are not used.
        rule: what made the groups.
    """
    everything = np.arange(len(catalog))
    test = take(everything, groups, catalog, TEST_FRACTION, config.seed, "test")
    rest = np.setdiff1d(everything, test)
    val = take(rest, groups, catalog, config.val_fraction, config.seed, "val")
    count = len(np.unique(groups))
    note = (
        f"{why}, so they were made on the spot: {TEST_FRACTION:.0%} for testing, stratified by "
        f"class, {len(catalog)} images in {count} {rule}"
    )
    return Split({"train": np.setdiff1d(rest, val), "val": val, "test": test}, groups, note, True)


NO_PARTS = "The folder has no Training and Testing parts"


def grouped(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Group images that no frozen split knows by their pixels, and cut them by whole groups.

    The makers' Training and Testing are kept where no group lies in both.
    """
    grouping = group_catalog(catalog)
    groups, conflicts = grouping.groups, conflicts_note(grouping.conflicts)
    rule = BY_PIXELS.rstrip(".") + f"; {grouping.note}." if grouping.note else BY_PIXELS
    rule = f"{rule} {conflicts}".rstrip()
    if config.fold != SINGLE:
        return _fold(catalog, config, groups, rule)
    official = np.array(catalog.official)
    crossing = np.isin(groups[official == "Testing"], groups[official == "Training"])
    if catalog.has_split and not crossing.any():
        return keep_official_parts(catalog, config, groups, conflicts)
    why = NO_PARTS
    if catalog.has_split:
        why = (
            f"{crossing.sum()} of {len(crossing)} images of Testing show a slice or a patient of "
            "Training: the folder's parts are not used"
        )
    return split_by_groups(catalog, config, groups, why, rule)


def _fold(catalog: Catalog, config: ExperimentConfig, groups: np.ndarray, rule: str) -> Split:
    folds, _ = make_folds(catalog.labels, groups, config.seed)
    rest = np.flatnonzero(folds != config.fold)
    val = take_fold(catalog.labels, groups, rest, config.val_fraction, config.seed)
    parts = {
        "train": np.setdiff1d(rest, val),
        "val": val,
        "test": np.flatnonzero(folds == config.fold),
    }
    count = len(np.unique(groups))
    note = f"Fold {config.fold} of five made on the spot: {len(catalog)} images in {count} {rule}"
    return Split(parts, groups, note, True)


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


def take(
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
