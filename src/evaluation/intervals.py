"""95 % intervals by bootstrap over groups, because images of one patient are not independent.

Each resample draws whole groups with replacement, as many as there are, and scores their images;
the interval holds the middle 95 % of these scores (percentile bootstrap; Davison and Hinkley 1997,
section 3.8, on clusters). The networks stay fixed: the intervals leave out what other seeds and
other training images would change.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import t

from src.config import CLASS_NAMES
from src.evaluation import metrics
from src.evaluation.metrics import AVERAGES, check_finite, check_groups

PER_CLASS = ("sensitivity", "specificity", "auroc")
CONFIDENCE = 0.95
RESAMPLES = 2000
_BATCH = 100  # resamples held in memory at a time


def group_intervals(
    labels: np.ndarray,
    probs: np.ndarray | Sequence[np.ndarray],
    groups: np.ndarray,
    *,
    classes: Sequence[str] = CLASS_NAMES,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict:
    """Return every score of the images with its interval.

    `value` is None where it is undefined; `low` and `high` are None where a resample's is, and with
    a single group.

    Args:
        labels: (N,) integers, the true classes.
        probs: (N, K), each row sums to 1; or S of them, one per seed: scores are then means over
            the seeds, and a resample draws a group together with all its predictions.
        groups: (N,) integers.
        classes: the names of the K.
        seed: the same seed gives the same interval.
        resamples: how many.
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

    def mean_scores(draws: np.ndarray) -> dict[str, np.ndarray]:
        each_seed = [resampled_scores(*each, index, draws) for each in checked]
        return {name: np.mean([each[name] for each in each_seed], axis=0) for name in each_seed[0]}

    intervals = _bootstrap(mean_scores, index.max() + 1, seed, resamples)
    per_class = {
        name: {kind: _as_dict(intervals[kind][:, k]) for kind in PER_CLASS}
        for k, name in enumerate(classes)
    }
    return {name: _as_dict(intervals[name]) for name in AVERAGES} | {"per_class": per_class}


def mean_interval(
    values: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> dict[str, float | None]:
    """Return the mean of `values` with its interval, as {"value", "low", "high"}.

    Args:
        values: (N,) floats, such as 1 for what is right and 0 for what is wrong.
        groups: (N,) integers.
        weights: (N,) floats, how much each counts; all the same by default.
        seed, resamples: as in `group_intervals`.
        confidence: of the interval.
    Raises:
        ValueError: the groups are not (N,) integers, or NaN is among the values.
    """
    check_finite(values)
    index = _number(groups, len(values))
    weights = np.ones(len(values)) if weights is None else weights
    sums, sizes = np.bincount(index, weights * values), np.bincount(index, weights)

    def means(draws: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": draws @ sums / (draws @ sizes)}

    return _as_dict(_bootstrap(means, len(sizes), seed, resamples, confidence)["mean"])


def paired_difference(
    labels: np.ndarray,
    predicted_a: np.ndarray,
    predicted_b: np.ndarray,
    groups: np.ndarray,
    **bootstrap,
) -> dict[str, float | int | None]:
    """Return how much more accurate `a` is than `b` on the same images, with its interval.

    Args:
        labels, predicted_a, predicted_b: (N,) integers, the true classes and two models' answers.
        groups: (N,) integers.
        bootstrap: seed, resamples and confidence, as in `mean_interval`.
    Returns:
        value (accuracy of a minus that of b), low, high, only_a and only_b (how many images only
        one of them gets right).
    Raises:
        ValueError: the four are not (N,) integers.
    """
    labels, a, b = (check_groups(p, len(labels)) for p in (labels, predicted_a, predicted_b))
    gain = (a == labels).astype(float) - (b == labels)
    only = {"only_a": int((gain > 0).sum()), "only_b": int((gain < 0).sum())}
    return mean_interval(gain, groups, **bootstrap) | only


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


def resampled_scores(
    labels: np.ndarray, probs: np.ndarray, index: np.ndarray, draws: np.ndarray
) -> dict[str, np.ndarray]:
    """Return every score of R resamples, NaN where undefined: AVERAGES (R,), PER_CLASS (R, K).

    Args:
        labels, probs: of N images, as `check_predictions` returns them.
        index: (N,) each image's group, numbered 0 to G - 1 without gaps.
        draws: (R, G) float64, how often each group is drawn.
    """
    classes = probs.shape[1]
    matrices = np.zeros((draws.shape[1], classes, classes))  # of each group
    np.add.at(matrices, (index, labels, probs.argmax(axis=1)), 1)
    areas = metrics.auroc(labels, probs, draws[:, index])
    scores = metrics.matrix_scores(np.tensordot(draws, matrices, 1), areas)
    return {name: scores[name] for name in (*AVERAGES, *PER_CLASS)}


def _number(groups: np.ndarray, count: int) -> np.ndarray:
    """Return (N,) int64, the groups numbered without gaps."""
    return np.unique(check_groups(groups, count), return_inverse=True)[1].reshape(-1)


def _bootstrap(
    scores: Callable, count: int, seed: int, resamples: int, confidence: float = CONFIDENCE
) -> dict[str, np.ndarray]:
    """Return value, low and high, (3,) or (3, K), of each score that `scores` gives of draws."""
    rng = np.random.default_rng(seed)
    batches = []
    for first in range(0, resamples, _BATCH):
        drawn = rng.integers(count, size=(min(_BATCH, resamples - first), count))
        draws = np.stack([np.bincount(groups, minlength=count) for groups in drawn])
        batches.append(scores(draws.astype(float)))
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    intervals = {}
    for name, value in scores(np.ones((1, count))).items():
        resampled = np.concatenate([batch[name] for batch in batches])
        bounds = np.quantile(resampled, ends, axis=0)
        if count == 1:  # every resample is the same
            bounds[:] = np.nan
        intervals[name] = np.concatenate([value, bounds])
    return intervals


def _as_dict(three: np.ndarray) -> dict[str, float | None]:
    return dict(zip(("value", "low", "high"), map(metrics.plain, three)))
