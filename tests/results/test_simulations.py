"""The simulations: made-up answers are what they should be, and pages say what came out."""

import numpy as np
import pytest

from notebooks.results.simulations import Place, answers, describe, places
from src.common.files import read_json
from src.evaluation.intervals import mean_interval
from src.records import Predictions, read_predictions
from src.results.grid import RESULTS
from src.results.statistics import TUNED
from src.xception.weight_files import PRETRAINED

ROWS = read_json(RESULTS / "simulations.json")["rows"]
FOLDS, TEST = "five folds", "shipped model's test part"


def found(what, where):
    (row,) = (row for row in ROWS if what in row["what"] and row["where"].startswith(where))
    return row["found"], row["wanted"]


@pytest.mark.parametrize("worse", [0.0, 0.03])
def test_networks_are_as_accurate_as_they_are_meant_to_be(worse):
    sizes = np.tile([1, 2, 9], 3000)
    groups, one, two = answers(np.random.default_rng(0), Place(sizes, 0.95, 0.1), worse)
    assert len(groups) == sizes.sum() and set(one) == {0, 1}
    assert one.mean() == pytest.approx(0.95, abs=0.005)  # 3 errors
    assert (one - two).mean() == pytest.approx(worse, abs=0.005)
    # Images of a group fare alike: an interval over groups is wider than one over images.
    kept = slice(4000)
    wide, narrow = (
        mean_interval(one[kept] * 1.0, over[kept]) for over in (groups, np.arange(len(groups)))
    )
    assert wide["high"] - wide["low"] > 1.2 * (narrow["high"] - narrow["low"])


def test_groups_are_those_of_the_real_images():
    found = {name: (len(place.sizes), place.sizes.sum()) for name, place in places().items()}
    assert found == {FOLDS: (541, 6358), TEST: (54, 632)}


def test_the_spread_of_groups_is_found_again():
    """In many groups, as they were drawn; 0 where images of a group have nothing in common."""
    for spread in (0.0, 0.1, 0.2):
        rng = np.random.default_rng(0)
        sizes = np.tile([1, 2, 9], 3000)
        drawn = Place(sizes, 0.9, max(spread, 1e-6))
        groups, one, _ = answers(rng, drawn)
        probs = np.stack([one, 1 - one], axis=1)
        again = describe(Predictions(groups, np.zeros_like(one), probs, groups))
        assert again.accuracy == pytest.approx(0.9, abs=0.01)  # 3 errors
        assert again.spread**2 == pytest.approx(spread**2, abs=0.003)


def test_simulated_accuracies_are_those_of_the_networks():
    rows = read_json(RESULTS / "table.json")["rows"]
    tuned = next(r for r in rows if (r["title"], r["framework"]) == (TUNED, "pt"))
    shipped = read_predictions(PRETRAINED / "predictions.npz")
    right = (shipped.probs.argmax(axis=1) == shipped.labels).mean()
    simulated = {name: place.accuracy for name, place in places().items()}
    assert simulated == pytest.approx({FOLDS: tuned["accuracy"]["value"], TEST: right})


def test_intervals_and_equivalence_do_what_they_promise():
    for what in ("an accuracy", "a difference"):
        assert abs(np.subtract(*found(f"interval of {what}", FOLDS))) < 0.02
        assert found(f"interval of {what}", TEST)[0] >= 0.95
    for where in (FOLDS, TEST):
        assert found("3 points of difference", where)[0] == 0
    for what in ("over folds", "equal networks are called", "1 point of", "3 points of"):
        assert abs(np.subtract(*found(what, "5 folds"))) < 0.02
