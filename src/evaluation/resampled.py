"""Every score as a function of how often each group of images is drawn, many resamples at once.

What the scores are is said in `src.evaluation.metrics` and `src.evaluation.groups`; here they are
computed of 100 resamples in one go, and a test holds the two together.
"""

from collections.abc import Callable

import numpy as np

from src.config import CLASS_NAMES
from src.evaluation.groups import group_votes

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
