"""Equivalence: right both ways by simulation, and against SciPy's one-sided tests."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from src.evaluation.equivalence import (
    CONFIDENCE,
    power,
    repetitions_needed,
    smallest_margin,
    variance_shares,
)
from src.evaluation.intervals import fold_interval


@pytest.mark.parametrize("count", [2, 3, 5, 30])
def test_the_smallest_margin_is_where_both_one_sided_tests_stand_at_5_percent(count):
    differences = np.random.default_rng(count).normal(0.002, 0.004, count)
    margin = smallest_margin(fold_interval(differences, 0, CONFIDENCE))
    p = [
        ttest_1samp(differences, -margin, alternative="greater").pvalue,
        ttest_1samp(differences, margin, alternative="less").pvalue,
    ]
    assert max(p) == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize(
    "shift, count, margin", [(0, 3, 0.01), (0, 5, 0.005), (0, 5, 0.003), (0.03, 5, 0.01)]
)
def test_equal_models_are_called_equivalent_as_often_as_the_power_says_and_others_are_not(
    shift, count, margin
):
    deviation, rng = 0.002, np.random.default_rng(0)
    calls = [
        smallest_margin(fold_interval(rng.normal(shift, deviation, count), 0, CONFIDENCE)) <= margin
        for _ in range(2000)
    ]
    expected = 0 if shift else power(deviation, count, margin)
    assert np.mean(calls) == pytest.approx(expected, abs=0.03)  # 3 errors of 2,000 draws
    assert shift or expected > 0.2


def test_a_difference_at_the_margin_is_called_equivalent_in_one_of_twenty():
    rng = np.random.default_rng(1)
    calls = [
        smallest_margin(fold_interval(rng.normal(0.01, 0.002, 5), 0, CONFIDENCE)) <= 0.01
        for _ in range(4000)
    ]
    assert np.mean(calls) == pytest.approx(0.05, abs=0.012)  # 3 errors


def test_more_repetitions_are_needed_for_smaller_margins():
    few, many = (repetitions_needed(0.004, margin) for margin in (0.01, 0.002))
    assert few < many
    assert power(0.004, many, 0.002) >= 0.8 > power(0.004, many - 1, 0.002)
    assert repetitions_needed(1.0, 0.001) is None
    assert power(0.0, 3, 0.01) == 1


def test_without_an_interval_there_is_no_margin():
    assert smallest_margin({"value": 0.1, "low": None, "high": None}) is None


def test_variance_is_found_where_it_was_put():
    rng = np.random.default_rng(0)
    image, seed, both = (
        rng.normal(size=5000),
        rng.normal(size=(3, 5000)),
        rng.normal(size=(2, 3, 5000)),
    )
    framework = np.array([-1.0, 1.0])[:, None, None] * np.ones((2, 3, 5000))
    for name, part in {"image": image, "framework": framework}.items():
        shares = variance_shares(np.broadcast_to(part, (2, 3, 5000)))
        assert shares[name] == pytest.approx(1)
    shares = variance_shares(10 * image + seed[None] + 0.1 * both)
    assert shares["image"] > shares["seed"] > shares["both"] > shares["framework"]
    assert sum(shares.values()) == pytest.approx(1)
