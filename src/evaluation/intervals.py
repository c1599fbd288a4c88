"""95 % intervals by bootstrap over groups: images of one patient are not independent.

Whole groups are drawn with replacement, as many as there are, and the score computed anew of all
their images; the interval holds the middle 95 % of such scores (the percentile bootstrap; Davison
and Hinkley 1997, section 3.8, on clusters). The networks are held as they are: other seeds and
other training images would move a score too.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from src.config import CLASS_NAMES
from src.evaluation.metrics import check_groups, check_predictions, group_votes

OVERALL = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "group_accuracy")
PER_CLASS = ("sensitivity", "specificity", "auroc")
# How often each group is drawn, (R, G), to scores: OVERALL's are (R,), PER_CLASS's (4, R).
Scores = Callable[[np.ndarray], dict[str, np.ndarray]]


def scores_of(labels: np.ndarray, probs: np.ndarray, places: np.ndarray) -> Scores:
    """Return the function from draws of groups to every score of the images in them.

    What a resample cannot decide is NaN, and averages run over the classes that it decides.

    Args:
        labels: (N,) integers, the true classes.
        probs: (N, 4) float64.
        places: (N,) group numbers 0 to G - 1, without gaps.
    """
    of_images = _matrices(labels, probs, places)
    of_votes = _matrices(*group_votes(labels, probs, places))
    areas = [_area(labels == k, probs[:, k], places) for k in range(len(CLASS_NAMES))]

    def scores(draws: np.ndarray) -> dict[str, np.ndarray]:
        matrix = _drawn(draws, of_images)
        sensitivity, specificity, f1 = _of_classes(matrix)
        auroc = np.stack([area(draws) for area in areas])
        return {
            "accuracy": _accuracy(matrix),
            "balanced_accuracy": _mean(sensitivity),
            "macro_f1": _mean(f1),
            "macro_auroc": _mean(auroc),
            "group_accuracy": _accuracy(_drawn(draws, of_votes)),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "auroc": auroc,
        }

    return scores


def _matrices(labels: np.ndarray, probs: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return each group's confusion matrix: (G, 4, 4) counts by truth and prediction."""
    matrices = np.zeros((places.max() + 1, len(CLASS_NAMES), len(CLASS_NAMES)))
    np.add.at(matrices, (places, labels, probs.argmax(axis=1)), 1)
    return matrices


def _drawn(draws: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Return each resample's confusion matrix, (R, 4, 4)."""
    return np.einsum("rg,gtp->rtp", draws, matrices, optimize=True)


def _accuracy(matrix: np.ndarray) -> np.ndarray:
    return np.trace(matrix, axis1=1, axis2=2) / matrix.sum(axis=(1, 2))


def _of_classes(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sensitivity, specificity and F1, each (4, R), from (R, 4, 4)."""
    hits = np.diagonal(matrix, axis1=1, axis2=2).T
    support, claims = matrix.sum(axis=2).T, matrix.sum(axis=1).T
    others = matrix.sum(axis=(1, 2)) - support
    f1 = np.where(support > 0, _ratio(2 * hits, support + claims), np.nan)
    return _ratio(hits, support), _ratio(others - (claims - hits), others), f1


def _area(
    truth: np.ndarray, scores: np.ndarray, places: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from draws to the area under the ROC curve of a class against the rest.

    It is the share of pairs, an image of the class and one of the rest, in which the first scores
    higher; equal scores count half.
    """
    order = np.argsort(scores, kind="stable")
    truth, places = truth[order], places[order]
    starts = np.unique(scores[order], return_index=True)[1]  # of each run of equal scores

    def area(draws: np.ndarray) -> np.ndarray:
        counts = draws[:, places]
        of_class = np.add.reduceat(counts * truth, starts, axis=1)
        of_rest = np.add.reduceat(counts, starts, axis=1) - of_class
        below = of_rest.cumsum(axis=1) - of_rest / 2
        return _ratio((of_class * below).sum(axis=1), of_class.sum(axis=1) * of_rest.sum(axis=1))

    return area


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(of_classes: np.ndarray) -> np.ndarray:
    """Return (R,), the mean over the classes of (4, R) that are decided."""
    decided = np.isfinite(of_classes)
    return _ratio(np.where(decided, of_classes, 0).sum(axis=0), decided.sum(axis=0))


CONFIDENCE = 0.95
RESAMPLES = 2000
_BATCH = 100  # resamples held in memory at a time


def group_intervals(
    labels: np.ndarray,
    probs: np.ndarray | Sequence[np.ndarray],
    groups: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict:
    """Return every score of the images with its interval.

    Averages over classes run over the classes that a resample holds. `value` is None where the
    images cannot decide it; `low` and `high` are None where a resample cannot, and when there is
    but one group: nothing then tells how another would have fared.

    Args:
        labels: (N,) integers, the true classes.
        probs: (N, 4), each row sums to 1; or S of them, of as many seeds: scores are then means
            over the seeds, and a resample draws a group with all that any seed said of it.
        groups: (N,) integers.
        seed: the same seed gives the same interval.
        resamples: how many.
    Returns:
        {"accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "group_accuracy" (one vote a
        group)} -> {"value", "low", "high"}, and per_class: name -> {"sensitivity", "specificity",
        "auroc"} -> the same.

    Raises:
        ValueError, InputError: as `src.evaluation.metrics.score_groups`.
    """
    seeds = [probs] if np.ndim(probs) == 2 else list(probs)
    if not seeds:
        raise ValueError("Expected the probs of at least one seed. Received: none.")
    places = _places(groups, len(labels))
    of_seeds = [scores_of(*check_predictions(labels, each), places) for each in seeds]
    found = _bootstrap(_mean_of(of_seeds), places.max() + 1, seed, resamples)
    per_class = {
        name: {kind: _plain(found[kind][:, k]) for kind in PER_CLASS}
        for k, name in enumerate(CLASS_NAMES)
    }
    return {name: _plain(found[name]) for name in OVERALL} | {"per_class": per_class}


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
    gains, sizes = np.bincount(places, gain), np.bincount(places)

    def difference(draws: np.ndarray) -> dict[str, np.ndarray]:
        return {"difference": draws @ gains / (draws @ sizes)}

    found = _bootstrap(difference, len(sizes), seed, resamples)
    only = {"only_a": int((gain > 0).sum()), "only_b": int((gain < 0).sum())}
    return _plain(found["difference"]) | only


def _places(groups: np.ndarray, count: int) -> np.ndarray:
    """Return (N,) int64 group numbers without gaps."""
    groups = check_groups(groups, count)
    return np.unique(groups, return_inverse=True)[1].reshape(-1)


def _mean_of(of_seeds: Sequence[Scores]) -> Scores:
    def mean(draws: np.ndarray) -> dict[str, np.ndarray]:
        found = [scores(draws) for scores in of_seeds]
        return {name: np.mean([each[name] for each in found], axis=0) for name in found[0]}

    return mean


def _bootstrap(scores: Scores, count: int, seed: int, resamples: int) -> dict[str, np.ndarray]:
    """Return value, low and high of each score of `count` groups, (3,) or of the classes (3, 4)."""
    whole = {name: score[..., 0] for name, score in scores(np.ones((1, count))).items()}
    if count < 2:
        return {name: np.stack([v, v * np.nan, v * np.nan]) for name, v in whole.items()}
    found = [scores(draws) for draws in _draws(count, seed, resamples)]
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    return {
        name: np.stack(
            [value, *np.quantile(np.concatenate([f[name] for f in found], -1), ends, axis=-1)]
        )
        for name, value in whole.items()
    }


def _draws(count: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Yield (R, G): how often each group is in each of the next R resamples."""
    rng = np.random.default_rng(seed)
    for first in range(0, resamples, _BATCH):
        rows = rng.integers(count, size=(min(_BATCH, resamples - first), count))
        yield np.stack([np.bincount(row, minlength=count) for row in rows]).astype(float)


def _plain(three: np.ndarray) -> dict[str, float | None]:
    """Return value, low and high as plain JSON values, None for NaN."""
    value, low, high = (float(each) if np.isfinite(each) else None for each in three)
    return {"value": value, "low": low, "high": high}
