"""95 % intervals by bootstrap over groups: images of one patient are not independent.

Whole groups are drawn with replacement, as many as there are, and the score computed anew of all
their images; the interval holds the middle 95 % of such scores (the percentile bootstrap; Davison
and Hinkley 1997, section 3.8, on clusters). The networks are held as they are: other seeds and
other training images would move a score too.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from src.config import CLASS_NAMES
from src.evaluation.groups import check_groups
from src.evaluation.metrics import check_predictions
from src.evaluation.resampled import OVERALL, PER_CLASS, Scores, scores_of

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
        ValueError, InputError: as `src.evaluation.groups.score_groups`.
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
