"""Scores of random and degenerate predictions: scikit-learn's, statsmodels', or a law they obey."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import t
from sklearn import metrics as sk
from statsmodels.stats.weightstats import ttost_paired

from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.evaluation.calibration import (
    brier_parts,
    calibration_error,
    coverage_and_risk,
    operating_point,
    predictive_values,
    rates_at,
)
from src.evaluation.equivalence import CONFIDENCE, power, smallest_margin, variance_shares
from src.evaluation.intervals import FEWEST, fold_interval, mean_interval, paired_difference
from src.evaluation.metrics import score

K = len(CLASS_NAMES)
FEW = settings(deadline=None, max_examples=60, derandomize=True)  # the same cases in every run


@st.composite
def predictions(draw):
    """Return labels (N,) and probs (N, K): from one image on, classes absent, ties, certainty."""
    count = draw(st.integers(1, 12))
    labels = draw(arrays(np.int64, count, elements=st.integers(0, K - 1)))
    counts = draw(arrays(np.int64, (count, K), elements=st.integers(0, 3)))
    counts[counts.sum(axis=1) == 0] = 1
    return labels, counts / counts.sum(axis=1, keepdims=True)


@st.composite
def events(draw):
    """Return which of N images are positive, and their scores, in tenths."""
    count = draw(st.integers(1, 20))
    positive = draw(arrays(np.bool_, count))
    return positive, draw(arrays(np.int64, count, elements=st.integers(0, 10))) / 10


@FEW
@given(predictions())
def test_scores_are_scikit_learns(given):
    labels, probs = given
    found, said = score(labels, probs), probs.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, said))
    assert found["log_loss"] == pytest.approx(sk.log_loss(labels, probs, labels=range(K)))
    present = np.unique(labels)
    f1 = sk.f1_score(labels, said, labels=present, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(f1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class that is predicted and absent
        assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, said))
    for k, name in enumerate(CLASS_NAMES):
        rates, truth = found["per_class"][name], labels == k
        if 0 < truth.sum() < len(truth):
            assert rates["auroc"] == pytest.approx(sk.roc_auc_score(truth, probs[:, k]))
            recall = sk.recall_score(truth, said == k)
            assert rates["sensitivity"] == pytest.approx(recall)
        else:
            assert rates["auroc"] is None


@FEW
@given(predictions(), st.integers(1, 20))
def test_the_calibration_error_is_between_that_of_one_bin_and_of_one_image_a_bin(given, bins):
    labels, probs = given
    sure = probs.max(axis=1)
    gaps = (probs.argmax(axis=1) == labels) - sure
    error = calibration_error(labels, probs, bins)
    assert abs(gaps.mean()) - 1e-12 <= error <= np.abs(gaps).mean() + 1e-12


@FEW
@given(predictions(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(given, random):
    labels, probs = given
    mixed = random.sample(range(len(labels)), len(labels))
    error = calibration_error(labels, probs, 4)
    assert calibration_error(labels[mixed], probs[mixed], 4) == pytest.approx(error)
    one, two = (brier_parts(labels[some] == 0, probs[some, 0], 4) for some in (slice(None), mixed))
    assert one == pytest.approx(two)


@FEW
@given(predictions(), st.floats(0, 1))
def test_coverage_and_risk_are_shares(given, sure_from):
    labels, probs = given
    found = coverage_and_risk(labels, probs, sure_from)
    some = probs.max(axis=1) >= sure_from
    assert found["coverage"] == pytest.approx(some.mean())
    right = sk.accuracy_score(labels[some], probs[some].argmax(axis=1)) if some.any() else None
    assert found["risk"] == (None if right is None else pytest.approx(1 - right))


@FEW
@given(events(), st.floats(0.01, 1))
def test_the_operating_point_is_the_best_of_scikit_learns_curve(given, wanted):
    positive, scores = given
    if not positive.any():
        with pytest.raises(ValueError, match="at least one positive"):
            operating_point(positive, scores, wanted)
        return
    point = operating_point(positive, scores, wanted)
    assert point["sensitivity"] >= wanted - 1e-9
    if positive.all():
        assert point["specificity"] is None
        return
    false, true, _ = sk.roc_curve(positive, scores, drop_intermediate=False)
    best = 1 - false[true >= wanted - 1e-9].min()
    assert point["specificity"] == pytest.approx(best)


@FEW
@given(events())
def test_the_brier_score_is_scikit_learns(given):
    positive, chances = given
    found = brier_parts(positive, chances)
    assert found["brier"] == pytest.approx(np.mean((chances - positive) ** 2))
    if 0 < positive.sum() < len(positive):
        assert found["brier"] == pytest.approx(sk.brier_score_loss(positive, chances))
    assert found["reliability"] >= 0 and 0 <= found["resolution"] <= found["uncertainty"] + 1e-12


@FEW
@given(events(), st.integers(1, 9))
def test_predictive_values_are_precision_where_the_prevalence_is_that_of_the_images(given, tenths):
    positive, scores = given
    if not 0 < positive.sum() < len(positive):
        return
    called, rates = scores >= tenths / 10, rates_at(positive, scores, tenths / 10)
    found = predictive_values(*rates.values(), positive.mean())
    if called.any():
        assert found["ppv"] == pytest.approx(sk.precision_score(positive, called))
    else:
        assert found["ppv"] is None


@FEW
@given(arrays(np.int64, st.integers(2, 10), elements=st.integers(-50, 50)))
def test_over_folds_it_is_students_interval_and_statsmodels_two_tests(thousandths):
    differences = thousandths / 1000
    found = fold_interval(differences, 0)
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    if len(set(thousandths)) == 1:
        assert found["low"] == pytest.approx(found["value"]) == pytest.approx(found["high"])
        return
    ends = t.interval(0.95, len(differences) - 1, differences.mean(), error)
    assert (found["low"], found["high"]) == pytest.approx(ends)
    margin = smallest_margin(fold_interval(differences, 0, CONFIDENCE))
    p, *_ = ttost_paired(differences, np.zeros(len(differences)), -margin, margin)
    assert p == pytest.approx(0.05, abs=1e-6)


@FEW
@given(predictions(), st.data())
def test_an_interval_holds_its_value_and_a_network_equals_itself(given, data):
    labels, probs = given
    groups = data.draw(arrays(np.int64, len(labels), elements=st.integers(0, 3)))
    said = probs.argmax(axis=1)
    found = mean_interval((said == labels) * 1.0, groups)
    assert found["value"] == pytest.approx(np.mean(said == labels))
    sizes = np.unique(groups, return_counts=True)[1]
    if np.square(sizes).sum() ** 2 / (sizes**4).sum() < FEWEST:
        assert found["low"] is found["high"] is None
    else:
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    same = paired_difference(labels, said, said, groups)
    assert same["value"] == 0 and same["low"] in (0, None) and same["only_a"] == 0


NAN = np.array([0.1, np.nan, 0.9])


@pytest.mark.parametrize(
    "ask",
    [
        lambda: score(np.zeros(3, int), np.stack([NAN, *[1 - NAN] * 3], axis=1)),
        lambda: operating_point(np.array([True, True, False]), NAN, 0.9),
        lambda: rates_at(np.array([True, True, False]), NAN, 0.5),
        lambda: brier_parts(np.array([True, True, False]), NAN),
        lambda: mean_interval(NAN, np.arange(3)),
        lambda: fold_interval(NAN, 0.25),
        lambda: predictive_values(0.9, np.nan, 0.1),
        lambda: power(np.nan, 5, 0.01),
        lambda: smallest_margin({"low": np.nan, "high": 0.1}),
        lambda: variance_shares(NAN[None, None]),
    ],
)
def test_nan_is_refused(ask):
    with pytest.raises((ValueError, InputError), match="NaN"):
        ask()
