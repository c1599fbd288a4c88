"""Temperature, calibration error, thresholds: against other ways to compute them."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_curve

from src.config import CLASS_NAMES
from src.evaluation.calibration import (
    brier_parts,
    calibration_error,
    choose_thresholds,
    coverage_and_risk,
    operating_point,
    predictive_values,
    rates_at,
)
from src.evaluation.temperature import fit_temperature, tempered


def drawn(temperature: float, classes: int = 4, count: int = 4000):
    """Return labels drawn from probabilities, and these as a model `temperature` times too sure."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(count, classes)) * 2
    labels = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return labels, softmax(logits * temperature, axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature):
    labels, probs = drawn(temperature)
    found = fit_temperature(labels, probs)
    assert found == pytest.approx(temperature, rel=0.06)  # 4,000 draws tell it no better
    losses = [
        log_loss(labels, tempered(probs, each)) for each in (found, found / 1.01, found * 1.01)
    ]
    assert min(losses) == losses[0]


def test_two_classes_as_a_logistic_regression_without_intercept():
    labels, probs = drawn(2.5, classes=2)
    logit = np.log(probs[:, 1:] / probs[:, :1])
    oracle = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(logit, labels)
    # Brent's search stops at 1e-5 of the temperature's logarithm.
    assert fit_temperature(labels, probs) == pytest.approx(1 / oracle.coef_.item(), rel=1e-4)


def test_tempering_keeps_the_order_and_survives_zeros():
    probs = np.array([[0.0, 1.0, 0.0], [0.2, 0.3, 0.5]], np.float32)
    cooler = tempered(probs, 2.0)
    assert np.isfinite(cooler).all() and (cooler.argmax(axis=1) == [1, 2]).all()
    np.testing.assert_allclose(cooler.sum(axis=1), 1)
    np.testing.assert_allclose(cooler[1], np.sqrt(probs[1]) / np.sqrt(probs[1]).sum(), rtol=1e-6)


def test_calibration_error_by_hand():
    sure = np.array([0.6, 0.9, 0.7, 0.8])
    probs = np.stack([sure, 1 - sure], axis=1)
    labels = np.array([1, 0, 0, 0])
    # Halves: accuracy 0.5 at a mean of 0.65, and 1 at 0.85.
    assert calibration_error(labels, probs, bins=2) == pytest.approx((0.15 + 0.15) / 2)
    assert calibration_error(labels, probs, bins=1) == pytest.approx(0.0)
    assert calibration_error(labels, probs, bins=9) == pytest.approx(
        (0.6 + 0.3 + 0.2 + 0.1) / 4
    )  # an image a bin, and bins without one


def test_a_fitted_temperature_calibrates_images_that_it_did_not_see():
    labels, probs = drawn(3.0)
    found = fit_temperature(labels[:2000], probs[:2000])
    before, after = (
        calibration_error(labels[2000:], each[2000:]) for each in (probs, tempered(probs, found))
    )
    assert before > 0.15 and after < 0.04


@pytest.mark.parametrize("wanted", [0.5, 0.95, 0.99, 1.0])
def test_operating_point_as_in_scikit_learns_curve(wanted):
    rng = np.random.default_rng(1)
    positive = rng.random(300) < 0.4
    scores = np.round(rng.normal(positive * 1.0), 1)  # with ties
    point = operating_point(positive, scores, wanted)
    false_rates, true_rates, thresholds = roc_curve(positive, scores, drop_intermediate=False)
    at = np.flatnonzero(true_rates >= wanted)[0]
    assert point["threshold"] == thresholds[at]
    assert point["sensitivity"] == pytest.approx(true_rates[at])
    assert point["specificity"] == pytest.approx(1 - false_rates[at])


def test_56_of_100_are_56_percent():
    scores = np.arange(100.0)
    point = operating_point(np.ones(100, bool), scores, 0.56)  # 0.56 * 100 > 56 in floats
    assert point == {"threshold": 44.0, "sensitivity": 0.56, "specificity": None}
    with pytest.raises(ValueError, match="at least one positive"):
        operating_point(np.zeros(3, bool), np.arange(3.0), 0.95)


def test_coverage_and_risk_by_hand():
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.45, 0.55]])
    labels = np.array([0, 1, 0, 0])
    assert coverage_and_risk(labels, probs, 0.6) == {"coverage": 0.75, "risk": pytest.approx(1 / 3)}
    assert coverage_and_risk(labels, probs, 0.95) == {"coverage": 0.0, "risk": None}


def test_thresholds_do_on_their_own_images_what_they_promise():
    labels, probs = drawn(2.0)
    found = choose_thresholds(labels, probs, CLASS_NAMES)
    probs = tempered(probs, found["temperature"])
    assert coverage_and_risk(labels, probs, found["sure_from"])["coverage"] == pytest.approx(0.95)
    healthy = CLASS_NAMES.index("notumor")
    assert [*found["operating_points"]] == ["0.95", "0.99"]
    for wanted, point in found["operating_points"].items():
        rates = rates_at(labels != healthy, 1 - probs[:, healthy], point["threshold"])
        # The smallest number of tumours that reaches the sensitivity: one of 3,000 is 0.0004.
        assert float(wanted) <= rates["sensitivity"] < float(wanted) + 4e-4
    assert not choose_thresholds(labels, probs, ["a", "b", "c", "d"])["operating_points"]


def test_each_image_may_have_its_own_threshold():
    labels, probs = drawn(1.0, count=400)
    halves = np.repeat([0.4, 0.7], 200)
    both = coverage_and_risk(labels, probs, halves)["coverage"]
    each = [coverage_and_risk(labels[h], probs[h], t)["coverage"] for h, t in
            ((slice(200), 0.4), (slice(200, 400), 0.7))]  # fmt: skip
    assert both == pytest.approx(np.mean(each))


@pytest.mark.parametrize("bins", [1, 7, 15, 400])
def test_the_brier_score_and_its_parts(bins):
    rng = np.random.default_rng(0)
    chances = rng.random(400)
    happened = rng.random(400) < chances
    parts = brier_parts(happened, chances, bins)
    assert parts["brier"] == pytest.approx(brier_score_loss(happened, chances), abs=1e-12)
    # The identity holds for what is constant in each bin.
    order = np.argsort(chances, kind="stable")
    flat = np.empty(400)
    for some in np.array_split(order, bins):
        flat[some] = chances[some].mean()
    same = brier_parts(happened, flat, bins)
    whole = same["reliability"] - same["resolution"] + same["uncertainty"]
    assert same["brier"] == pytest.approx(whole, abs=1e-12)


def test_predictive_values_by_counting():
    # 1,000 people, 100 ill; 90 found; 45 of the 900 healthy alarmed.
    values = predictive_values(0.9, 0.95, 0.1)
    assert values == pytest.approx({"ppv": 90 / 135, "npv": 855 / 865})
    assert predictive_values(0.0, 1.0, 0.1)["ppv"] is None
