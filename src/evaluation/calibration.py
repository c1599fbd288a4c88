"""Are probabilities as good as their word, and what may be made of them?"""

from collections.abc import Callable

import numpy as np

from src.evaluation.metrics import check_predictions, plain

BINS = 15


def calibration_error(labels: np.ndarray, probs: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error of the predicted class, 0 to 1.

    Bins hold equally many images, sorted by the probability of the predicted class. The error is
    the mean over images of their bin's |accuracy - mean probability|.

    Args:
        labels: (N,) integers, the true classes.
        probs: (N, K), each row sums to 1.
        bins: how many.
    Raises:
        ValueError, InputError: as `src.evaluation.metrics.score`.
    Source: Nixon et al. 2019, arXiv:1904.01685 (adaptive bins).
    """
    labels, probs = check_predictions(labels, probs)
    sure = probs.max(axis=1)
    gaps = (probs.argmax(axis=1) == labels) - sure
    order = np.argsort(sure, kind="stable")
    return float(sum(abs(some.sum()) for some in np.array_split(gaps[order], bins)) / len(labels))


def resampled_interval(
    score: Callable[[np.ndarray], float | None],
    groups: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = 500,
) -> dict[str, float | None]:
    """Return a score of N images with its 95 % interval by bootstrap over groups.

    For scores that need the images themselves; `src.evaluation.intervals` is faster for the rest.

    Args:
        score: indices of images, some of them several times -> their score, or None.
        groups: (N,) integers.
        seed, resamples: as in `group_intervals`.
    """
    rng, numbers = np.random.default_rng(seed), np.unique(groups)
    members = [np.flatnonzero(groups == number) for number in numbers]
    drawn = (rng.integers(len(members), size=len(members)) for _ in range(resamples))
    scores = [score(np.concatenate([members[k] for k in some])) for some in drawn]
    scores = np.array(scores, float)  # None, where a resample has no score, is NaN
    low, high = np.quantile(scores, [0.025, 0.975])
    value = score(np.arange(len(groups)))
    return {"value": value, "low": plain(low), "high": plain(high)}


def operating_point(positive: np.ndarray, scores: np.ndarray, sensitivity: float) -> dict:
    """Return the highest threshold on `scores` that finds at least this share of the positives.

    Args:
        positive: (N,) booleans.
        scores: (N,) floats, higher for positives.
        sensitivity: above 0, at most 1.
    Returns:
        threshold (positive from it on), sensitivity, specificity; see `rates_at`.
    Raises:
        ValueError: there is no positive.
    """
    found = np.sort(scores[positive])[::-1]
    if not len(found):
        raise ValueError("Expected at least one positive. Received: none.")
    # Rounded first: in floats 0.56 * 100 is a little more than 56.
    threshold = found[int(np.ceil(round(sensitivity * len(found), 9))) - 1]
    return {"threshold": float(threshold)} | rates_at(positive, scores, threshold)


def rates_at(positive: np.ndarray, scores: np.ndarray, threshold: float) -> dict:
    """Return sensitivity and specificity of "positive where the score is `threshold` or more"."""
    called = scores >= threshold
    rates = {"sensitivity": called[positive], "specificity": ~called[~positive]}
    return {name: plain(right.mean()) if len(right) else None for name, right in rates.items()}


def coverage_and_risk(labels: np.ndarray, probs: np.ndarray, sure_from: float) -> dict:
    """Return how many images get an answer, and how many of these answers are wrong.

    Args:
        labels, probs: as in `calibration_error`.
        sure_from: an image gets an answer where its highest probability is this or more.
    Returns:
        coverage (share of the images), risk (share of the answers; None without answers).
    Source: Geifman and El-Yaniv 2017, arXiv:1705.08500.
    """
    labels, probs = check_predictions(labels, probs)
    answered = probs.max(axis=1) >= sure_from
    wrong = (probs.argmax(axis=1) != labels)[answered]
    risk = plain(wrong.mean()) if len(wrong) else None
    return {"coverage": float(answered.mean()), "risk": risk}
