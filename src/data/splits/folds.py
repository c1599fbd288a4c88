"""Cutting images by whole groups: folds, a validation part, a share; class by class alike."""

import hashlib
import warnings
from collections import defaultdict

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from src.common.errors import InputError
from src.config import ExperimentConfig
from src.data.catalog import Catalog

FOLDS = 5
SINGLE = -1  # `config.fold`: the one cut 80/10/10 instead of a fold
PARTS = ("train", "val", "test")
SELECTION = "selection"  # tests as fold 5, to choose recipes by; trains in every other fold
SELECTION_FOLD = FOLDS
DROPPED, CT = "dropped", "ct"  # in no part
MAX_CLASS_SHARE_ERROR = 0.01  # a class's share of a part may miss its share of the whole by this
_SEEDS = 400  # seeds to try for such a cut


class TooFewImagesError(InputError):
    """The images, or the groups that they are in, are too few for this cut; others may do."""


def make_folds(
    labels: np.ndarray, groups: np.ndarray, seed: int, split_first_fold: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Cut N images into five folds, and the first fold into halves if asked, by whole groups.

    Groups are large and few, so a cut can be lopsided: of the cuts by `seed` and later seeds, the
    first is taken whose parts all have the whole's class shares to one point, else the closest.
    Folds alone, which every run makes again, need not be closer than one group can bring them.

    Args:
        labels, groups: (N,) int64.
        seed: the first to try.
        split_first_fold: also cut fold 0 into a half that tests and one that validates.
    Returns:
        folds (N,) int64, 0 to 4; and (N,) bool, the half of fold 0 that tests, or None.
    Raises:
        TooFewImagesError: as `_assign`.
    """
    mean_group = FOLDS / max(1, len(np.unique(groups)))  # as a share of a fold
    enough = MAX_CLASS_SHARE_ERROR if split_first_fold else max(MAX_CLASS_SHARE_ERROR, mean_group)
    smallest_error, closest = np.inf, None
    for trial in range(seed, seed + _SEEDS):
        folds, tests = _assign(labels, groups, FOLDS, trial), None
        parts = [folds == fold for fold in range(FOLDS)]
        if split_first_fold:
            first, tests = parts[0], np.zeros(len(labels), bool)
            tests[first] = _assign(labels[first], groups[first], 2, trial) == 0
            parts += [tests, first & ~tests]
        error = max(_class_share_error(labels, part) for part in parts)
        if error < smallest_error:
            smallest_error, closest = error, (folds, tests)
        if error <= enough:
            break
    return closest


def take_selection(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Return (N,) bool: a twelfth of N images, in whole groups.

    Of twenty cuts by `seed` and the next ones, that whose class shares are nearest to the whole's.
    """
    cuts = (_assign(labels, groups, 12, trial) == 0 for trial in range(seed, seed + 20))
    return min(cuts, key=lambda cut: _class_share_error(labels, cut))


def cut_fold(
    labels: np.ndarray, groups: np.ndarray, folds: np.ndarray, config: ExperimentConfig
) -> dict[str, np.ndarray]:
    """Let fold `config.fold` test, a share of the rest validate, and the rest train.

    The share is one in round(1 / `config.val_fraction`), at most a half.

    Args:
        labels, groups, folds: (N,) int64; an image of a negative fold is in no part.
        config: its `fold`, `val_fraction` and `seed` decide.
    Returns:
        {"train", "val", "test"} -> sorted int64 rows.
    """
    rest = np.flatnonzero((folds >= 0) & (folds != config.fold))
    count = max(2, round(1 / config.val_fraction))
    val = rest[_assign(labels[rest], groups[rest], count, config.seed) == 0]
    test = np.flatnonzero(folds == config.fold)
    return {"train": np.setdiff1d(rest, val), "val": val, "test": test}


def take_groups(
    rows: np.ndarray, groups: np.ndarray, catalog: Catalog, share: float, seed: int, part: str
) -> np.ndarray:
    """Return about `share` of `rows` in whole groups, class by class; sorted.

    Groups come in the order of a hash of the seed and their content, so that a file added
    elsewhere moves few of them. A group belongs to the class of its first image.
    """
    members = defaultdict(list)
    for row in rows.tolist():
        members[groups[row]].append(row)

    def order(group: list[int]) -> bytes:
        sha = min(catalog.sha256[row] for row in group)
        return hashlib.sha256(f"{seed} {part} {sha}".encode()).digest()

    taken: list[int] = []
    for label in range(len(catalog.classes)):
        of_class = [group for group in members.values() if catalog.labels[group[0]] == label]
        target = max(1, round(share * sum(map(len, of_class))))
        chosen, left_over = [], []
        for group in sorted(of_class, key=order):
            if len(chosen) + len(group) <= target:
                chosen += group
            else:
                left_over.append(group)
        smallest = min(left_over, key=len, default=[])  # one more large group may come closer
        if not chosen or len(smallest) < 2 * (target - len(chosen)):
            chosen += smallest
        taken += chosen
    return np.array(sorted(taken), np.int64)


def _assign(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return (N,) fold numbers by scikit-learn's StratifiedGroupKFold.

    Raises:
        TooFewImagesError: no class has `count` images, or there are fewer groups.
    """
    found, why = len(np.unique(groups)), ""
    if np.bincount(labels).max(initial=0) < count:
        why = "no class has as many"
    elif found < count:
        why = f"they are {found} groups (patients, or copies of a slice), which stay whole"
    if why:
        raise TooFewImagesError(
            f"Too few images to cut them into {count} parts: {why}. Add images of other patients; "
            "without --fold and --write, fewer may be enough."
        )
    cutter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    folds = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class with few groups: the caller checks every part
        for number, (_, inside) in enumerate(cutter.split(labels, labels, groups)):
            folds[inside] = number
    return folds


def _class_share_error(labels: np.ndarray, part: np.ndarray) -> float:
    """Return how far a class's share of a part is from its share of the whole, at most."""
    if not part.any():
        return 1.0
    counts = [np.bincount(some, minlength=labels.max() + 1) for some in (labels[part], labels)]
    return float(np.abs(counts[0] / part.sum() - counts[1] / len(labels)).max())
