"""95 % intervals by bootstrap over groups, because images of one patient are not independent.

Each resample draws whole groups with replacement, as many as there are, and scores their images;
the interval holds the middle 95 % of these scores (percentile bootstrap; Davison and Hinkley 1997,
section 3.8, on clusters). The networks stay fixed: the intervals leave out what other seeds and
other training images would change.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from src.config import CLASS_NAMES
from src.evaluation.metrics import check_groups, check_predictions, group_votes

OVERALL = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "group_accuracy")
PER_CLASS = ("sensitivity", "specificity", "auroc")
CONFIDENCE = 0.95
RESAMPLES = 2000
_BATCH = 100  # resamples held in memory at a time
# How often each group is drawn, (R, G), to scores: OVERALL's are (R,), PER_CLASS's (4, R).
Scores = Callable[[np.ndarray], dict[str, np.ndarray]]


def group_intervals(
    labels: np.ndarray,
    probs: np.ndarray | Sequence[np.ndarray],
    groups: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict:
    """Return every score of the images with its interval.

    Averages over classes are over the classes in a resample. `value` is None where it is undefined;
    `low` and `high` are None where a resample's is, and with a single group.

    Args:
        labels: (N,) integers, the true classes.
        probs: (N, 4), each row sums to 1; or S of them, one per seed: scores are then means over
            the seeds, and a resample draws a group together with all its predictions.
        groups: (N,) integers.
        seed: the same seed gives the same interval.
        resamples: how many.
    Returns:
        {"accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "group_accuracy" (one vote per
        group)} -> {"value", "low", "high"}, and per_class: name -> {"sensitivity", "specificity",
        "auroc"} -> the same.
    Raises:
        ValueError, InputError: as `src.evaluation.metrics.score_groups`.
    """
    seeds = [probs] if np.ndim(probs) == 2 else list(probs)
    if not seeds:
        raise ValueError("Expected the probs of at least one seed. Received: none.")
    index = _group_index(groups, len(labels))
    per_seed = [resampled_scores(*check_predictions(labels, each), index) for each in seeds]
    scores = _bootstrap(_mean_over_seeds(per_seed), index.max() + 1, seed, resamples)
    per_class = {
        name: {kind: _plain(scores[kind][:, k]) for kind in PER_CLASS}
        for k, name in enumerate(CLASS_NAMES)
    }
    return {name: _plain(scores[name]) for name in OVERALL} | {"per_class": per_class}


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
        predicted_a, predicted_b: (N,) integers, the classes that two models predict.
        groups: (N,) integers.
        seed, resamples: as in `group_intervals`.
    Returns:
        value (accuracy of a minus that of b), low, high, only_a and only_b (how many images only
        one of them gets right).
    Raises:
        ValueError: the four are not (N,) integers.
    """
    labels = check_groups(labels, len(labels))
    right_a, right_b = (check_groups(p, len(labels)) == labels for p in (predicted_a, predicted_b))
    gain = right_a.astype(float) - right_b
    index = _group_index(groups, len(labels))
    gains, sizes = np.bincount(index, gain), np.bincount(index)

    def difference(draws: np.ndarray) -> dict[str, np.ndarray]:
        return {"difference": draws @ gains / (draws @ sizes)}

    scores = _bootstrap(difference, len(sizes), seed, resamples)
    only = {"only_a": int((gain > 0).sum()), "only_b": int((gain < 0).sum())}
    return _plain(scores["difference"]) | only


def resampled_scores(labels: np.ndarray, probs: np.ndarray, index: np.ndarray) -> Scores:
    """Return the function from draws of groups to every score of their images.

    A score that is undefined in a resample is NaN; averages are over the classes where it is not.

    Args:
        labels: (N,) integers, the true classes.
        probs: (N, 4) float64.
        index: (N,) each image's group, numbered 0 to G - 1 without gaps.
    """
    image_matrices = _matrices(labels, probs, index)
    vote_matrices = _matrices(*group_votes(labels, probs, index))
    areas = [_area(labels == k, probs[:, k], index) for k in range(len(CLASS_NAMES))]

    def scores(draws: np.ndarray) -> dict[str, np.ndarray]:
        matrix = _drawn(draws, image_matrices)
        sensitivity, specificity, f1 = _class_rates(matrix)
        auroc = np.stack([area(draws) for area in areas])
        return {
            "accuracy": _accuracy(matrix),
            "balanced_accuracy": _mean(sensitivity),
            "macro_f1": _mean(f1),
            "macro_auroc": _mean(auroc),
            "group_accuracy": _accuracy(_drawn(draws, vote_matrices)),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "auroc": auroc,
        }

    return scores


def _matrices(labels: np.ndarray, probs: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return each group's confusion matrix: (G, 4, 4) counts by truth and prediction."""
    matrices = np.zeros((index.max() + 1, len(CLASS_NAMES), len(CLASS_NAMES)))
    np.add.at(matrices, (index, labels, probs.argmax(axis=1)), 1)
    return matrices


def _drawn(draws: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Return each resample's confusion matrix, (R, 4, 4)."""
    return np.einsum("rg,gtp->rtp", draws, matrices, optimize=True)


def _accuracy(matrix: np.ndarray) -> np.ndarray:
    return np.trace(matrix, axis1=1, axis2=2) / matrix.sum(axis=(1, 2))


def _class_rates(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sensitivity, specificity and F1, each (4, R), from (R, 4, 4)."""
    hits = np.diagonal(matrix, axis1=1, axis2=2).T
    support, predicted = matrix.sum(axis=2).T, matrix.sum(axis=1).T
    others = matrix.sum(axis=(1, 2)) - support
    f1 = np.where(support > 0, _ratio(2 * hits, support + predicted), np.nan)
    return _ratio(hits, support), _ratio(others - (predicted - hits), others), f1


def _area(
    truth: np.ndarray, scores: np.ndarray, index: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from draws to the area under the ROC curve of a class against the rest.

    The area is the share of pairs, an image of the class and one of the rest, in which the first
    has the higher score; equal scores count half.
    """
    order = np.argsort(scores, kind="stable")
    truth, index = truth[order], index[order]
    starts = np.unique(scores[order], return_index=True)[1]  # of each run of equal scores

    def area(draws: np.ndarray) -> np.ndarray:
        counts = draws[:, index]
        positive = np.add.reduceat(counts * truth, starts, axis=1)
        negative = np.add.reduceat(counts, starts, axis=1) - positive
        below = negative.cumsum(axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        return _ratio((positive * below).sum(axis=1), pairs)

    return area


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(rates: np.ndarray) -> np.ndarray:
    """Return (R,), the mean over the classes for which (4, R) is defined."""
    defined = np.isfinite(rates)
    return _ratio(np.where(defined, rates, 0).sum(axis=0), defined.sum(axis=0))


def _group_index(groups: np.ndarray, count: int) -> np.ndarray:
    """Return (N,) int64, the groups numbered without gaps."""
    return np.unique(check_groups(groups, count), return_inverse=True)[1].reshape(-1)


def _mean_over_seeds(per_seed: Sequence[Scores]) -> Scores:
    def mean(draws: np.ndarray) -> dict[str, np.ndarray]:
        each_seed = [scores(draws) for scores in per_seed]
        return {name: np.mean([each[name] for each in each_seed], axis=0) for name in each_seed[0]}

    return mean


def _bootstrap(scores: Scores, count: int, seed: int, resamples: int) -> dict[str, np.ndarray]:
    """Return value, low and high of each score, (3,) or for classes (3, 4), of `count` groups."""
    whole = {name: score[..., 0] for name, score in scores(np.ones((1, count))).items()}
    if count < 2:
        return {name: np.stack([v, v * np.nan, v * np.nan]) for name, v in whole.items()}
    batches = [scores(draws) for draws in _draws(count, seed, resamples)]
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    intervals = {}
    for name, value in whole.items():
        resampled = np.concatenate([batch[name] for batch in batches], axis=-1)
        intervals[name] = np.stack([value, *np.quantile(resampled, ends, axis=-1)])
    return intervals


def _draws(count: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Yield (R, G): how often each group is drawn in each of the next R resamples."""
    rng = np.random.default_rng(seed)
    for first in range(0, resamples, _BATCH):
        rows = rng.integers(count, size=(min(_BATCH, resamples - first), count))
        yield np.stack([np.bincount(row, minlength=count) for row in rows]).astype(float)


def _plain(three: np.ndarray) -> dict[str, float | None]:
    """Return value, low and high as plain JSON values, None for NaN."""
    value, low, high = (float(each) if np.isfinite(each) else None for each in three)
    return {"value": value, "low": low, "high": high}
