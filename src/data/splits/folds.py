"""Five folds of whole groups, class by class alike, and the first of them cut 80/10/10."""

import warnings

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

FOLDS = 5
MAX_CLASS_SHARE_ERROR = 0.01  # a class's share of a part may miss its share of the whole by this
_SEEDS = 400  # draws to look through for such a cut


def make_folds(
    labels: np.ndarray, groups: np.ndarray, seed: int, halve: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Cut N images into five folds, and the first fold into halves if asked, by whole groups.

    Groups are large and few, so a draw can be lopsided: draws are looked through from `seed` on and
    the first whose folds (and halves) all have the whole's class shares to one point is taken; else
    the closest. Folds alone, which every run makes anew, need not be closer than one group can
    bring them. No model is asked.

    Args:
        labels: (N,) int64.
        groups: (N,) int64.
        seed: of the first draw.
        halve: also cut fold 0 into a half that tests and one that validates.
    Returns:
        folds (N,) int64, 0 to 4; and (N,) bool, the half of fold 0 that tests, or None.
    """
    one_group = FOLDS / len(np.unique(groups))  # what a mean one takes of a fold
    enough = MAX_CLASS_SHARE_ERROR if halve else max(MAX_CLASS_SHARE_ERROR, one_group)
    best, folds, half = np.inf, None, None
    for draw in range(seed, seed + _SEEDS):
        candidate, tests = _assign(labels, groups, FOLDS, draw), None
        worst = max(_uneven(labels, candidate == fold) for fold in range(FOLDS))
        if halve and worst < best:
            first = candidate == 0
            tests = np.zeros(len(labels), bool)
            tests[first] = _assign(labels[first], groups[first], 2, draw) == 0
            worst = max(worst, _uneven(labels, tests), _uneven(labels, first & ~tests))
        if worst < best:
            best, folds, half = worst, candidate, tests
        if best <= enough:
            break
    return folds, half


def take_fold(
    labels: np.ndarray, groups: np.ndarray, rows: np.ndarray, share: float, seed: int
) -> np.ndarray:
    """Return about `share` of `rows` in whole groups, class by class alike; sorted."""
    count = max(2, round(1 / share))
    return rows[_assign(labels[rows], groups[rows], count, seed) == 0]


def _assign(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return (N,) fold numbers by scikit-learn's StratifiedGroupKFold."""
    cutter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    folds = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class with few groups: the caller checks every part
        for number, (_, inside) in enumerate(cutter.split(labels, labels, groups)):
            folds[inside] = number
    return folds


def _uneven(labels: np.ndarray, part: np.ndarray) -> float:
    """Return how far a class's share of a part is from its share of the whole, at most."""
    if not part.any():
        return 1.0
    size = labels.max() + 1
    whole = np.bincount(labels, minlength=size) / len(labels)
    return float(np.abs(np.bincount(labels[part], minlength=size) / part.sum() - whole).max())
