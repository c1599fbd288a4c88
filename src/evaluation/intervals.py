"""95 % intervals over groups, because images of one patient are not independent.

A score's standard error is the jackknife's that leaves out one group at a time (Efron and Stein
1981, doi:10.1214/aos/1176345462). Its interval is Student's t; a share's is computed on the logit
scale, so that it stays between 0 and 1. Where few groups hold most images there are fewer degrees
of freedom: the effective number of groups, (sum n^2)^2 / sum n^4 of their sizes n, minus 1. That is
the number of Carter, Schnepel and Steigerwald 2017 (doi:10.1162/REST_a_00639) for the worst case,
in which images of a group are all alike. A share of exactly 0 or 1 gets the exact binomial bound of
as many draws (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404). What rests on fewer than two
effective groups has no interval. The networks stay fixed: the intervals leave out what other seeds
and other training images would change. How often they cover the truth:
`notebooks/results/simulations.py`.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t

from src.config import CLASS_NAMES
from src.evaluation import metrics
from src.evaluation.metrics import AVERAGES, check_finite, check_groups

PER_CLASS = ("sensitivity", "specificity", "auroc")
CONFIDENCE = 0.95
FEWEST = 2  # effective groups that an interval needs
_BATCH = 100  # weightings of the images held in memory at a time


def group_intervals(
    labels: np.ndarray,
    probs: np.ndarray | Sequence[np.ndarray],
    groups: np.ndarray,
    *,
    classes: Sequence[str] = CLASS_NAMES,
) -> dict:
    """Return every score of the images with its interval.

    `value` is None where it is undefined; `low` and `high` are None where it is undefined without
    one of the groups, and below FEWEST effective groups.

    Args:
        labels: (N,) integers, the true classes.
        probs: (N, K), each row sums to 1; or S of them, one per seed: scores are then means over
            the seeds, and a group is left out together with all its predictions.
        groups: (N,) integers.
        classes: the names of the K.
    Returns:
        each of AVERAGES -> {"value", "low", "high"}, and per_class: name -> each of PER_CLASS ->
        the same.
    Raises:
        ValueError, InputError: as `src.evaluation.metrics.score_groups`.
    """
    seeds = [probs] if np.ndim(probs) == 2 else list(probs)
    if not seeds:
        raise ValueError("Expected the probs of at least one seed. Received: none.")
    checked = [metrics.check_predictions(labels, each, len(classes)) for each in seeds]
    index = _number(groups, len(labels))

    def mean_scores(weights: np.ndarray) -> dict[str, np.ndarray]:
        each_seed = [weighted_scores(*each, index, weights) for each in checked]
        return {name: np.mean([each[name] for each in each_seed], axis=0) for name in each_seed[0]}

    everything, without = _leave_one_out(mean_scores, index.max() + 1)
    of_class = np.eye(len(classes))[checked[0][0]]  # (N, K)
    counted = {"sensitivity": of_class, "specificity": 1 - of_class, "auroc": of_class}
    per_class = {name: {} for name in classes}
    for kind in PER_CLASS:
        for k, name in enumerate(classes):
            sizes = np.bincount(index, counted[kind][:, k])
            per_class[name][kind] = _share(everything[kind][k], without[kind][:, k], sizes)
    sizes = np.bincount(index)
    averages = {name: _share(everything[name], without[name], sizes) for name in AVERAGES}
    return averages | {"per_class": per_class}


def mean_interval(
    values: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    confidence: float = CONFIDENCE,
) -> dict[str, float | None]:
    """Return the mean of `values` with its interval, as {"value", "low", "high"}.

    Args:
        values: (N,) floats from 0 to 1, such as 1 for what is right and 0 for what is wrong.
        groups: (N,) integers.
        weights: (N,) floats, how much each counts; all the same by default.
        confidence: of the interval.
    Raises:
        ValueError: the groups are not (N,) integers, or NaN is among the values.
    """
    check_finite(values)
    return _share(*_means(values, groups, weights), confidence)


def mean_difference(
    gains: np.ndarray, groups: np.ndarray, *, confidence: float = CONFIDENCE
) -> dict[str, float | None]:
    """Return the mean of `gains`, (N,) floats of either sign, as `mean_interval` returns it."""
    check_finite(gains)
    return _difference(*_means(gains, groups), confidence)


def score_interval(
    score: Callable[[np.ndarray], float | None], groups: np.ndarray, *, difference: bool = False
) -> dict[str, float | None]:
    """Return a score that needs the images themselves, with its interval, as `mean_interval`.

    Args:
        score: indices of images -> their score, from 0 to 1, or None where it is undefined.
        groups: (N,) integers.
        difference: whether the score is a difference, of either sign.
    """
    index = _number(groups, len(groups))
    rows = [np.arange(len(index))]
    if count := index.max():  # of a single group nothing would be left
        rows += [np.flatnonzero(index != group) for group in range(count + 1)]
    value, *without = np.array([score(some) for some in rows], float)  # None becomes NaN
    interval = _difference if difference else _share
    return interval(value, np.array(without), np.bincount(index))


def paired_difference(
    labels: np.ndarray,
    predicted_a: np.ndarray,
    predicted_b: np.ndarray,
    groups: np.ndarray,
    *,
    confidence: float = CONFIDENCE,
) -> dict[str, float | int | None]:
    """Return how much more accurate `a` is than `b` on the same images, with its interval.

    Args:
        labels, predicted_a, predicted_b: (N,) integers, the true classes and two models' answers.
        groups: (N,) integers.
        confidence: of the interval.
    Returns:
        value (accuracy of a minus that of b), low, high, only_a and only_b (how many images only
        one of them gets right).
    Raises:
        ValueError: the four are not (N,) integers.
    """
    labels, a, b = (check_groups(p, len(labels)) for p in (labels, predicted_a, predicted_b))
    gain = (a == labels).astype(float) - (b == labels)
    only = {"only_a": int((gain > 0).sum()), "only_b": int((gain < 0).sum())}
    return mean_difference(gain, groups, confidence=confidence) | only


def fold_interval(
    differences: Sequence[float], test_per_train: float, confidence: float = CONFIDENCE
) -> dict[str, float]:
    """Return the mean difference over folds, with the interval that retraining allows for.

    Student's t over the folds, whose variance is raised because their training parts overlap.

    Args:
        differences: (K,), one for each fold, K 2 or more.
        test_per_train: images that a fold tests divided by images that it trains on; 0 for runs
            that share no fold, such as seeds.
        confidence: of the interval.
    Returns:
        value, low, high.
    Raises:
        ValueError: NaN among the differences.
    Source: Nadeau & Bengio 2003, doi:10.1023/A:1024068626366.
    """
    check_finite(differences)
    count, mean = len(differences), float(np.mean(differences))
    deviation = np.sqrt((1 / count + test_per_train) * np.var(differences, ddof=1))
    half = float(t.ppf((1 + confidence) / 2, count - 1) * deviation)
    return {"value": mean, "low": mean - half, "high": mean + half}


def weighted_scores(
    labels: np.ndarray, probs: np.ndarray, index: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return every score under R weightings, NaN where undefined: AVERAGES (R,), PER_CLASS (R, K).

    Args:
        labels, probs: of N images, as `check_predictions` returns them.
        index: (N,) each image's group, numbered 0 to G - 1 without gaps.
        weights: (R, G) float64, how often each group counts.
    """
    classes = probs.shape[1]
    matrices = np.zeros((weights.shape[1], classes, classes))  # of each group
    np.add.at(matrices, (index, labels, probs.argmax(axis=1)), 1)
    areas = metrics.auroc(labels, probs, weights[:, index])
    scores = metrics.matrix_scores(np.tensordot(weights, matrices, 1), areas)
    return {name: scores[name] for name in (*AVERAGES, *PER_CLASS)}


def _number(groups: np.ndarray, count: int) -> np.ndarray:
    """Return (N,) int64, the groups numbered without gaps."""
    return np.unique(check_groups(groups, count), return_inverse=True)[1].reshape(-1)


def _leave_one_out(scores: Callable, count: int) -> tuple[dict, dict]:
    """Return each score of all groups, () or (K,), and without each one, (G,) or (G, K)."""
    everything = scores(np.ones((1, count)))
    without = [{name: value[:0] for name, value in everything.items()}]  # of a single group
    for first in range(0, count if count > 1 else 0, _BATCH):
        weights = np.ones((min(_BATCH, count - first), count))
        weights[np.arange(len(weights)), first + np.arange(len(weights))] = 0
        without.append(scores(weights))
    return (
        {name: value[0] for name, value in everything.items()},
        {name: np.concatenate([each[name] for each in without]) for name in everything},
    )


def _means(values: np.ndarray, groups: np.ndarray, weights: np.ndarray | None = None) -> tuple:
    """Return the mean, the (G,) means without each group, and the (G,) weights of the groups."""
    index = _number(groups, len(values))
    weights = np.ones(len(values)) if weights is None else weights
    sums, sizes = np.bincount(index, weights * values), np.bincount(index, weights)
    without = (sums.sum() - sums) / (sizes.sum() - sizes) if len(sizes) > 1 else sums[:0]
    return sums.sum() / sizes.sum(), without, sizes


def _share(
    value: float, without: np.ndarray, sizes: np.ndarray, confidence: float = CONFIDENCE
) -> dict[str, float | None]:
    """Return the interval of a score from 0 to 1, given the score without each group."""
    if _effective(sizes) < FEWEST or not np.isfinite([value, *without]).all():
        return _as_dict(value, np.nan, np.nan)
    if 0 < value < 1:
        half = _half_width(without, sizes, confidence) / (value * (1 - value))
        return _as_dict(value, *expit(logit(value) + np.array([-half, half])))
    bound = ((1 - confidence) / 2) ** (1 / _effective(sizes))
    return _as_dict(value, *((bound, 1.0) if value else (0.0, 1 - bound)))


def _difference(
    value: float, without: np.ndarray, sizes: np.ndarray, confidence: float = CONFIDENCE
) -> dict[str, float | None]:
    """Return the interval of a score of either sign, given the score without each group."""
    if _effective(sizes) < FEWEST:
        return _as_dict(value, np.nan, np.nan)
    half = _half_width(without, sizes, confidence)
    return _as_dict(value, value - half, value + half)


def _half_width(without: np.ndarray, sizes: np.ndarray, confidence: float) -> float:
    count = len(without)
    error = np.sqrt((count - 1) * np.var(without))
    return t.ppf((1 + confidence) / 2, _effective(sizes) - 1) * error if error else 0.0


def _effective(sizes: np.ndarray) -> float:
    """Return how many groups of one size would estimate the standard error as well as these."""
    squares = np.square(sizes, dtype=float)  # integers would overflow
    return metrics.ratio(squares.sum() ** 2, np.square(squares).sum())


def _as_dict(*three: float) -> dict[str, float | None]:
    return dict(zip(("value", "low", "high"), map(metrics.plain, three)))
