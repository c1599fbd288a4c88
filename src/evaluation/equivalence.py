"""Are two models equally accurate? Equivalence is shown, not taken from a difference not found.

Two one-sided tests at the level LEVEL call two models equivalent within a margin if the 90 %
interval of their difference lies between minus and plus the margin. So the smallest margin within
which they are equivalent is the interval's farther end.
Source: Schuirmann 1987, doi:10.1007/BF01068419.
"""

import numpy as np
from scipy.stats import nct, t

from src.evaluation.metrics import check_finite

LEVEL = 0.05
CONFIDENCE = 1 - 2 * LEVEL  # of the interval that stands for both tests
POWER = 0.8  # that `repetitions_needed` asks for
MOST = 10_000  # repetitions that `repetitions_needed` looks at


def smallest_margin(interval: dict) -> float | None:
    """Return the smallest margin within which equivalence is shown; None without an interval."""
    if interval["low"] is None:
        return None
    check_finite((interval["low"], interval["high"]))
    return max(abs(interval["low"]), abs(interval["high"]))


def power(deviation: float, count: int, margin: float, overlap: float = 0.0) -> float:
    """Return how likely equivalence is shown where two models are equal.

    Args:
        deviation: of one paired difference, in the unit of `margin`.
        count: of differences, 2 or more.
        margin: within which equivalence is to be shown.
        overlap: `test_per_train` of `src.evaluation.intervals.fold_interval`.
    """
    check_finite((deviation, margin, overlap))
    error = deviation * np.sqrt(1 / count + overlap)
    if not error:
        return 1.0
    limit, shift = t.ppf(1 - LEVEL, count - 1), margin / error
    upper, lower = nct.cdf(-limit, count - 1, -shift), nct.cdf(limit, count - 1, shift)
    return float(np.clip(np.nan_to_num(upper - lower), 0, 1))


def repetitions_needed(deviation: float, margin: float) -> int | None:
    """Return how many paired differences show equivalence with the power POWER, if MOST do."""
    return next((n for n in range(2, MOST) if power(deviation, n, margin) >= POWER), None)


def variance_shares(values: np.ndarray) -> dict[str, float]:
    """Return which share of the variance of `values` images, seeds and frameworks account for.

    Args:
        values: (F, S, N), of F frameworks, S seeds and N images, such as the true class's
            probability.
    Returns:
        image, seed, framework and both: shares that sum to 1. `seed` and `framework` hold their
        own effect and what they change from image to image; `both`, what is left.
    """
    check_finite(values)
    values = np.asarray(values, np.float64) - np.mean(values)
    by_image = values.mean(axis=(0, 1), keepdims=True)
    by_seed = values.mean(axis=0, keepdims=True) - by_image
    by_framework = values.mean(axis=1, keepdims=True) - by_image
    both = values - by_image - by_seed - by_framework
    parts = {"image": by_image, "seed": by_seed, "framework": by_framework, "both": both}
    total = np.square(values).mean()
    return {name: float(np.square(part).mean() / total) for name, part in parts.items()}
