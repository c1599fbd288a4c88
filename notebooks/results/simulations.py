"""Do the intervals hold what they promise, and is equivalence called where it should be?

    python -m notebooks.results.simulations

Made-up predictions, whose true values are known, in groups as large as those of the five clean
folds (the fine-tuned network's test images) and of the shipped classifier's test part. A group has
its own chance of being right; these chances vary as in the real predictions. It writes
`simulations.json` beside this file.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from src.common.cache import progress
from src.common.files import write_json
from src.evaluation.equivalence import CONFIDENCE, power, smallest_margin
from src.evaluation.intervals import fold_interval, mean_interval, paired_difference
from src.records import Predictions, measurement, read_predictions
from src.results.grid import RESULTS
from src.training.checkpoint import read_model_card
from src.xception.weight_files import PRETRAINED

DRAWS = 2000
FOLDS, OVERLAP = 5, 0.25  # test images per training image of a fold, about
DEVIATION = 0.004  # of a fold's difference
MARGIN = 0.01  # within which equivalence is asked for
EQUAL = "equal networks are called equivalent within 1 point"


class Place(NamedTuple):
    """Real predictions, as far as a simulation imitates them."""

    sizes: np.ndarray  # (G,) how many images each group has
    accuracy: float
    spread: float  # standard deviation of the groups' chances of being right


def places() -> dict[str, Place]:
    """Return name -> what the predictions of the fine-tuned network are like there."""
    folds = [*map(read_predictions, sorted((RESULTS / "grid").glob("tuned-pt-fold*.npz")))]
    return {
        "five folds": describe(*folds),
        "shipped model's test part": describe(read_predictions(PRETRAINED / "predictions.npz")),
    }


def describe(*parts: Predictions) -> Place:
    """Return sizes, accuracy and spread of predictions.

    Over pairs of images of one group, both are right with a chance of mean² + spread².
    """
    groups = np.concatenate([each.groups for each in parts])
    right = np.concatenate([each.probs.argmax(axis=1) == each.labels for each in parts])
    _, where, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    hits = np.bincount(where, right)
    pairs = (sizes * (sizes - 1)).sum()
    mean, both = (hits * (sizes - 1)).sum() / pairs, (hits * (hits - 1)).sum() / pairs
    return Place(sizes, right.mean(), np.sqrt(max(both - mean**2, 0.0)))


def answers(rng: np.random.Generator, place: Place, worse: float = 0.0) -> tuple:
    """Return groups (N,), and for two networks (N,) each: 1 where an image is right, else 0.

    They share each group's chance, of a beta distribution; the second one's is lower by `worse`.
    """
    sizes, mean, spread = place
    groups = np.repeat(np.arange(len(sizes)), sizes)
    strength = mean * (1 - mean) / spread**2 - 1
    chance = rng.beta(mean * strength, (1 - mean) * strength, len(sizes))[groups]
    draws = rng.random((2, len(groups)))
    draws[1] = np.where(rng.random(len(groups)) < 0.9, draws[0], draws[1])  # mostly the same ones
    return groups, *(np.int64(draws < [chance, chance * (1 - worse / mean)]))


def covers(interval: dict, truth: float) -> bool:
    return interval["low"] <= truth <= interval["high"]


def simulate() -> Iterator[dict]:
    """Yield a row for each question: what, where, wanted (None: no promise), found (a share)."""
    rng = np.random.default_rng(0)
    for where, place in places().items():
        accuracy = place.accuracy
        found = {"accuracy": [], "difference": [], "equal": [], "worse": []}
        for _ in progress(range(DRAWS), DRAWS, where, "draw"):
            groups, one, two = answers(rng, place)
            label = np.ones(len(one), int)
            worse = answers(rng, place, 0.03)
            found["accuracy"].append(covers(mean_interval(one * 1.0, groups), accuracy))
            found["difference"].append(covers(paired_difference(label, one, two, groups), 0.0))
            for name, pair in {"equal": (groups, one, two), "worse": worse}.items():
                interval = paired_difference(label, *pair[1:], pair[0], confidence=CONFIDENCE)
                found[name].append(smallest_margin(interval) <= MARGIN)
        about = (
            f"{where}, {len(place.sizes)} groups, {100 * accuracy:.0f} % right, "
            f"{100 * place.spread:.0f} points apart"
        )
        yield row("95 % interval of an accuracy covers it", about, 0.95, found["accuracy"])
        yield row("95 % interval of a difference covers it", about, 0.95, found["difference"])
        yield row(EQUAL, about, None, found["equal"])
        yield row("3 points of difference are called equivalent", about, 0.0, found["worse"])
    # Folds share training images, so their differences share a part.
    shared = OVERLAP / (1 + OVERLAP)  # Nadeau and Bengio's correlation of two folds
    cases = {"equal": 0.0, "at the margin": MARGIN, "3 points": 0.03}
    called, covered = {name: [] for name in cases}, []
    for _ in range(10 * DRAWS):
        for name, shift in cases.items():
            common = np.sqrt(shared) * rng.normal()
            each = shift + DEVIATION * (common + np.sqrt(1 - shared) * rng.normal(size=FOLDS))
            margin = smallest_margin(fold_interval(each, OVERLAP, CONFIDENCE))
            called[name].append(margin <= MARGIN)
            if name == "equal":
                covered.append(covers(fold_interval(each, OVERLAP), 0.0))
    promised = power(DEVIATION * np.sqrt(1 - shared), FOLDS, MARGIN, OVERLAP)
    where = f"{FOLDS} folds that vary by {100 * DEVIATION:.1f} points"
    yield row("95 % interval over folds covers the difference", where, 0.95, covered)
    yield row(EQUAL, where, promised, called["equal"])
    yield row("1 point of difference is called equivalent", where, 0.05, called["at the margin"])
    yield row("3 points of difference are called equivalent", where, 0.0, called["3 points"])


def row(what: str, where: str, wanted: float | None, calls: list[bool]) -> dict:
    """Return one row of the record."""
    return {
        "what": what,
        "where": where,
        "wanted": wanted,
        "found": float(np.mean(calls)),
        "draws": len(calls),
    }


if __name__ == "__main__":
    _, config = read_model_card(PRETRAINED)
    write_json(RESULTS / "simulations.json", measurement(config, {}, rows=[*simulate()]))
