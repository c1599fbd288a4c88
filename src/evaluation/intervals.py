"""95 % intervals by bootstrap over groups: images of one patient are not independent.

Whole groups are drawn with replacement, as many as there are, and the score computed anew of all
their images; the interval holds the middle 95 % of such scores (the percentile bootstrap; Davison
and Hinkley 1997, section 3.8, on clusters).
"""

from collections.abc import Callable

import numpy as np
from scipy import stats

from src.config import CLASS_NAMES
from src.evaluation.groups import check_groups
from src.evaluation.metrics import check_predictions

CONFIDENCE = 0.95
RESAMPLES = 2000
_BATCH = 100  # resamples held in memory at a time


def group_intervals(
    labels: np.ndarray,
    probs: np.ndarray,
    groups: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, float | None]]:
    """Return {"accuracy", "balanced_accuracy", "macro_f1"} -> {"value", "low", "high"}.

    Averages over classes run over the classes that a resample holds. `low` and `high` are None when
    there is but one group: nothing then tells how another would have fared.

    Args:
        labels: (N,) integers, the true classes.
        probs: (N, 4), each row sums to 1.
        groups: (N,) integers.
        seed: the same seed gives the same interval.
        resamples: how many.

    Raises:
        ValueError, InputError: as `src.evaluation.groups.score_groups`.
    """
    labels, probs = check_predictions(labels, probs)
    places = _places(groups, len(labels))
    classes = len(CLASS_NAMES)
    matrices = np.zeros((places.max() + 1, classes, classes))  # of each group: truth, prediction
    np.add.at(matrices, (places, labels, probs.argmax(axis=1)), 1)
    scores = {"accuracy": _accuracy, "balanced_accuracy": _balanced, "macro_f1": _macro_f1}
    return {name: _interval(matrices, rate, seed, resamples) for name, rate in scores.items()}


def paired_difference(
    labels: np.ndarray,
    predicted_a: np.ndarray,
    predicted_b: np.ndarray,
    groups: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, float | int | None]:
    """Return how much more accurate `a` is than `b` on the same images, with its interval.

    Args:
        labels: (N,) integers, the true classes.
        predicted_a, predicted_b: (N,) integers, the classes two predictors gave.
        groups: (N,) integers.
        seed, resamples: as `group_intervals`.
    Returns:
        value (accuracy of a less that of b), low, high, only_a and only_b (images that one alone
        got right).

    Raises:
        ValueError: the four are not (N,) integers.
    """
    labels = check_groups(labels, len(labels))
    right = [check_groups(found, len(labels)) == labels for found in (predicted_a, predicted_b)]
    gain = right[0].astype(float) - right[1]
    places = _places(groups, len(labels))
    sums = np.stack([np.bincount(places, gain), np.bincount(places)], axis=1)  # (G, 2)
    found = _interval(sums, lambda total: total[..., 0] / total[..., 1], seed, resamples)
    only = {"only_a": int((gain > 0).sum()), "only_b": int((gain < 0).sum())}
    return found | only


def _places(groups: np.ndarray, count: int) -> np.ndarray:
    """Return (N,) int64 group numbers without gaps."""
    groups = check_groups(groups, count)
    return np.unique(groups, return_inverse=True)[1].reshape(-1)


def _interval(
    counts: np.ndarray, rate: Callable[[np.ndarray], np.ndarray], seed: int, resamples: int
) -> dict[str, float | None]:
    """Bootstrap `rate` of the sum over groups of `counts`, (G, ...)."""
    value = float(rate(counts.sum(axis=0)))
    if len(counts) < 2:
        return {"value": value, "low": None, "high": None}
    shape = counts.shape[1:]
    flat = counts.reshape(len(counts), -1)

    def of_resample(rows: np.ndarray, axis: int) -> np.ndarray:  # rows (resamples, G)
        drawn = np.moveaxis(rows, axis, -1)
        total = flat[drawn].sum(axis=-2)
        return rate(total.reshape(*total.shape[:-1], *shape))

    found = stats.bootstrap(
        (np.arange(len(counts)),),
        of_resample,
        n_resamples=resamples,
        batch=_BATCH,
        vectorized=True,
        axis=0,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    interval = found.confidence_interval
    return {"value": value, "low": float(interval.low), "high": float(interval.high)}


def _accuracy(matrix: np.ndarray) -> np.ndarray:  # (..., 4, 4) -> (...)
    return np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1))


def _balanced(matrix: np.ndarray) -> np.ndarray:
    return _mean_over_classes(_hits(matrix), matrix.sum(axis=-1), matrix)


def _macro_f1(matrix: np.ndarray) -> np.ndarray:
    claims = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    return _mean_over_classes(2 * _hits(matrix), claims, matrix)


def _hits(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _mean_over_classes(part: np.ndarray, whole: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the mean of part / whole over the classes that have images, as `score` averages."""
    present = matrix.sum(axis=-1) > 0
    ratio = np.divide(part, whole, out=np.zeros_like(whole, dtype=float), where=present)
    return ratio.sum(axis=-1) / present.sum(axis=-1)
