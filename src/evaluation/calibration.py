"""Are probabilities as good as their word, and what may be made of them?"""

from collections.abc import Sequence

import numpy as np

from src.config import NO_TUMOUR
from src.evaluation.metrics import check_finite, check_predictions, plain
from src.evaluation.temperature import fit_temperature, tempered

BINS = 15
COVERAGE = 0.95  # share of the validation images whose answer is not "unsure"
SENSITIVITIES = (0.95, 0.99)  # of the operating points: any tumour against none


def choose_thresholds(labels: np.ndarray, probs: np.ndarray, classes: Sequence[str]) -> dict:
    """Return what validation images teach about a model's probabilities.

    Args:
        labels: (N,) integers, the true classes.
        probs: (N, K), each row sums to 1.
        classes: K names.
    Returns:
        temperature, sure_from (COVERAGE of the images have a class with this probability or more)
        and operating_points, sensitivity as text -> `operating_point` of any tumour; none where no
        class means "no tumour", or none of the images shows one. The thresholds are of
        probabilities after division by the temperature.
    Raises:
        ValueError, InputError: as `src.evaluation.metrics.score`.
    """
    temperature = fit_temperature(labels, probs)
    probs = tempered(probs, temperature)
    sure_from = float(np.quantile(probs.max(axis=1), 1 - COVERAGE))
    points, healthy = {}, classes.index(NO_TUMOUR) if NO_TUMOUR in classes else None
    if healthy is not None and (labels != healthy).any():
        tumour, scores = labels != healthy, 1 - probs[:, healthy]
        points = {str(each): operating_point(tumour, scores, each) for each in SENSITIVITIES}
    return {"temperature": temperature, "sure_from": sure_from, "operating_points": points}


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
    gaps = sorted_means(sure, gaps)
    return float(sum(abs(some.sum()) for some in np.array_split(gaps, bins)) / len(labels))


def sorted_means(scores: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return `values` in the order of their scores; those of equal scores become their mean.

    So no bin depends on the order in which equal images were given.

    Args:
        scores, values: (N,) each.
    """
    _, number, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(number, values) / counts
    return np.repeat(means, counts)


def operating_point(positive: np.ndarray, scores: np.ndarray, sensitivity: float) -> dict:
    """Return the highest threshold on `scores` that finds at least this share of the positives.

    Args:
        positive: (N,) booleans.
        scores: (N,) floats, higher for positives.
        sensitivity: above 0, at most 1.
    Returns:
        threshold (positive from it on), sensitivity, specificity; see `rates_at`.
    Raises:
        ValueError: there is no positive, or NaN among the scores.
    """
    check_finite(scores)
    found = np.sort(scores[positive])[::-1]
    if not len(found):
        raise ValueError("Expected at least one positive. Received: none.")
    # Rounded first: in floats 0.56 * 100 is a little more than 56.
    threshold = found[int(np.ceil(round(sensitivity * len(found), 9))) - 1]
    return {"threshold": float(threshold)} | rates_at(positive, scores, threshold)


def rates_at(positive: np.ndarray, scores: np.ndarray, threshold: float | np.ndarray) -> dict:
    """Return sensitivity and specificity of "positive where the score is `threshold` or more".

    The threshold is one number, or (N,) floats: one for each image. NaN among the scores raises
    ValueError.
    """
    check_finite(scores)
    called = scores >= threshold
    rates = {"sensitivity": called[positive], "specificity": ~called[~positive]}
    return {name: plain(right.mean()) if len(right) else None for name, right in rates.items()}


def coverage_and_risk(labels: np.ndarray, probs: np.ndarray, sure_from: float | np.ndarray) -> dict:
    """Return how many images get an answer, and how many of these answers are wrong.

    Args:
        labels, probs: as in `calibration_error`.
        sure_from: an image gets an answer where its highest probability is this or more; one
            number, or (N,) floats.
    Returns:
        coverage (share of the images), risk (share of the answers; None without answers).
    Source: Geifman and El-Yaniv 2017, arXiv:1705.08500.
    """
    labels, probs = check_predictions(labels, probs)
    answered = probs.max(axis=1) >= sure_from
    wrong = (probs.argmax(axis=1) != labels)[answered]
    risk = plain(wrong.mean()) if len(wrong) else None
    return {"coverage": float(answered.mean()), "risk": risk}


def brier_parts(positive: np.ndarray, chances: np.ndarray, bins: int = BINS) -> dict[str, float]:
    """Return the Brier score of an event and what it is made of.

    Bins hold equally many images, sorted by the chance that the model gives.

    Args:
        positive: (N,) booleans: did it happen?
        chances: (N,) floats, 0 to 1.
        bins: how many.
    Returns:
        brier (mean squared error of the chances), reliability (of the bins' mean chances; 0 is
        best), resolution (more is better), uncertainty (of the event itself). With one chance in
        each bin, brier = reliability - resolution + uncertainty.
    Raises:
        ValueError: NaN among the chances.
    Source: Murphy 1973, J. Appl. Meteor. 12, 595-600.
    """
    check_finite(chances)
    rate, parts = positive.mean(), {"reliability": 0.0, "resolution": 0.0}
    happened, said = sorted_means(chances, positive), np.sort(chances)
    for some in np.array_split(np.arange(len(positive)), bins):
        if len(some):
            share, seen = len(some) / len(positive), happened[some].mean()
            parts["reliability"] += share * (said[some].mean() - seen) ** 2
            parts["resolution"] += share * (seen - rate) ** 2
    brier = {"brier": np.mean((chances - positive) ** 2)}
    parts = brier | parts | {"uncertainty": rate * (1 - rate)}
    return {name: float(part) for name, part in parts.items()}


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> dict:
    """Return ppv and npv, where this share of the people tested has the disease; Bayes' rule.

    Raises:
        ValueError: one of the three is NaN.
    """
    check_finite((sensitivity, specificity, prevalence))
    found, missed = prevalence * sensitivity, prevalence * (1 - sensitivity)
    cleared, alarmed = (1 - prevalence) * specificity, (1 - prevalence) * (1 - specificity)
    return {
        "ppv": found / (found + alarmed) if found + alarmed else None,
        "npv": cleared / (cleared + missed) if cleared + missed else None,
    }
