"""Scores of predicted probabilities: per image, and with one vote per group."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix, log_loss

from src.common.errors import InputError
from src.config import CLASS_NAMES

# A float32 softmax misses 1 by a few 1e-7 and a bfloat16 one by up to 4e-3, its spacing near 1.
# Logits or per-class sigmoids given by mistake miss it by far more.
ROW_SUM_TOLERANCE = 5e-3
AVERAGES = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc")


def score(labels: np.ndarray, probs: np.ndarray, classes: Sequence[str] = CLASS_NAMES) -> dict:
    """Return every metric of one part of the data, as plain JSON values.

    An undefined value is None, never NaN: the sensitivity, F1 and AUROC of a class without images,
    the precision of a class never predicted, the specificity and AUROC of a class that all images
    belong to. Averages are over the classes for which the value is defined.

    Args:
        labels: (N,) integers, the true classes, as indices into `classes`.
        probs: (N, K), each row sums to 1. The predicted class is the most probable one, the first
            of equals.
        classes: the names of the K.
    Returns:
        count, accuracy, balanced_accuracy, macro_f1, log_loss (nats per image, a probability of
        exactly 0 counts as 2.2e-16), macro_auroc (one class against the rest), per_class
        {name: {precision, sensitivity, specificity, auroc, f1, support}} and confusion_matrix
        (row = truth, column = prediction, counts).
    Raises:
        ValueError: wrong shapes or types, no rows, no such class, rows that are not probabilities.
        InputError: NaN or infinity among the probabilities: training diverged.
    """
    labels, probs = check_predictions(labels, probs, len(classes))
    indices = range(len(classes))
    matrix = confusion_matrix(labels, probs.argmax(axis=1), labels=indices)  # (K, K)
    rates = matrix_scores(matrix, auroc(labels, probs, np.ones((1, len(labels))))[0])
    exact_rows = probs / probs.sum(axis=1, keepdims=True)  # not for AUROC: it breaks ties
    return {
        "count": len(labels),
        **{name: plain(rates[name]) for name in AVERAGES},
        "log_loss": float(log_loss(labels, exact_rows, labels=indices)),
        "per_class": {
            name: {kind: plain(rates[kind][k]) for kind in rates if kind not in AVERAGES}
            | {"support": int(matrix[k].sum())}
            for k, name in enumerate(classes)
        },
        "confusion_matrix": matrix.tolist(),
    }


def matrix_scores(matrices: np.ndarray, areas: np.ndarray) -> dict[str, np.ndarray]:
    """Return what follows from confusion matrices: AVERAGES (...) and rates per class (..., K).

    Args:
        matrices: (..., K, K) counts, row = truth, column = prediction.
        areas: (..., K), from `auroc`; they are among the results.
    """
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    support, claims = matrices.sum(axis=-1), matrices.sum(axis=-2)
    others = support.sum(axis=-1, keepdims=True) - support
    sensitivity = ratio(hits, support)
    # 2 TP / (2 TP + FP + FN): defined even where precision is not.
    f1 = np.where(support > 0, ratio(2 * hits, support + claims), np.nan)
    return {
        "accuracy": hits.sum(axis=-1) / support.sum(axis=-1),
        "balanced_accuracy": _mean_defined(sensitivity),
        "macro_f1": _mean_defined(f1),
        "macro_auroc": _mean_defined(areas),
        "precision": ratio(hits, claims),
        "sensitivity": sensitivity,
        "specificity": ratio(others - (claims - hits), others),
        "f1": f1,
        "auroc": areas,
    }


def check_finite(values: Sequence[float]) -> None:
    """Raise ValueError where there is NaN or infinity."""
    if not np.isfinite(values).all():
        raise ValueError("Expected numbers. Received: NaN or infinity.")


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, NaN where both are 0."""
    with np.errstate(invalid="ignore"):
        return part / whole


def plain(value: float) -> float | None:
    """Return a number as JSON can hold it: None for NaN."""
    return float(value) if np.isfinite(value) else None


def _mean_defined(rates: np.ndarray) -> np.ndarray:
    return ratio(np.nansum(rates, axis=-1), np.isfinite(rates).sum(axis=-1))


def auroc(labels: np.ndarray, probs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return (R, K) areas under the ROC curve, one class against the rest; NaN where undefined.

    The area is the share of pairs, an image of the class and one of the rest, in which the first
    has the higher score; equal scores count half.

    Args:
        labels, probs: of N images, as `check_predictions` returns them.
        counts: (R, N) float64, how often each image is there.
    """
    areas = []
    for k, scores in enumerate(probs.T):
        order = np.argsort(scores, kind="stable")
        starts = np.unique(scores[order], return_index=True)[1]  # of each run of equal scores
        drawn = counts[:, order]
        positive = np.add.reduceat(drawn * (labels == k)[order], starts, axis=1)
        negative = np.add.reduceat(drawn, starts, axis=1) - positive
        below = negative.cumsum(axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        areas.append(ratio((positive * below).sum(axis=1), pairs))
    return np.stack(areas, axis=1)


def check_predictions(
    labels: np.ndarray, probs: np.ndarray, class_count: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) int64 labels and (N, K) float64 probs, checked; K is `class_count`, if given.

    Raises:
        ValueError, InputError: as in `score`.
    """
    labels, probs = np.asarray(labels), np.asarray(probs)
    shaped = labels.ndim == 1 and probs.ndim == 2 and 0 < len(labels) == len(probs)
    if not shaped or probs.shape[1] < 2 or class_count not in (None, probs.shape[1]):
        raise ValueError(
            f"Expected labels (N,) and probs (N, {class_count or 'K'}), at least one. "
            f"Received: {labels.shape} and {probs.shape}."
        )
    if labels.dtype.kind not in "iu" or probs.dtype.kind != "f":
        raise ValueError(
            "Expected labels as integers and probs as floating point. "
            f"Received: {labels.dtype} and {probs.dtype}."
        )
    low, high = labels.min(), labels.max()
    if low < 0 or high >= probs.shape[1]:
        raise ValueError(f"Expected labels 0 to {probs.shape[1] - 1}. Received: {low} to {high}.")
    probs = probs.astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(probs).all(axis=1))
    if len(broken):
        raise InputError(
            f"{len(broken)} of {len(probs)} predictions are NaN or infinite, the first in row "
            f"{broken[0]}. Training has diverged: try a lower learning rate or clip_norm=1."
        )
    sums = probs.sum(axis=1)
    wrong = np.flatnonzero((np.abs(sums - 1) > ROW_SUM_TOLERANCE) | (probs < 0).any(axis=1))
    if len(wrong):
        row = wrong[0]
        raise ValueError(
            "Expected each row of probs to be probabilities that sum to 1. Received: row "
            f"{row} {probs[row].tolist()}, sum {sums[row]:.6g}. Are they logits?"
        )
    return labels.astype(np.int64), probs


def score_groups(
    labels: np.ndarray,
    probs: np.ndarray,
    groups: np.ndarray,
    classes: Sequence[str] = CLASS_NAMES,
) -> dict:
    """Score one vote per group, the mean of its images' probabilities.

    Args:
        groups: (N,) integers; equal for images of one patient, or for copies and neighbours of a
            slice.
        labels, probs, classes: with the result and the errors, as in `score`.
    """
    return score(*group_votes(labels, probs, groups)[:2], classes)


def group_votes(
    labels: np.ndarray, probs: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels (M,), mean probabilities (M, K) and groups (M,) of the votes, one per group.

    A group with images of two true classes, which is rare, has one vote for each class.
    """
    labels, probs = check_predictions(labels, probs)
    groups = check_groups(groups, len(labels))
    votes, vote_of = np.unique(np.stack([groups, labels]), axis=1, return_inverse=True)
    vote_of = vote_of.reshape(-1)
    sums = np.zeros((votes.shape[1], probs.shape[1]))
    np.add.at(sums, vote_of, probs)
    return votes[1], sums / np.bincount(vote_of)[:, None], votes[0]


def check_groups(groups: np.ndarray, count: int) -> np.ndarray:
    """Return (N,) int64 groups; anything but (N,) integers is a ValueError."""
    groups = np.asarray(groups)
    if groups.shape != (count,) or groups.dtype.kind not in "iu":
        raise ValueError(
            f"Expected groups as ({count},) integers. Received: {groups.dtype} {groups.shape}."
        )
    return groups.astype(np.int64)
