"""Calibration over the folds: each fold judged by its own thresholds; scikit-learn's oracle."""

import dataclasses

import numpy as np
import pytest
from fake_grid import FakeGrid
from sklearn.metrics import brier_score_loss, recall_score

from src.config import CLASS_NAMES
from src.evaluation.calibration import predictive_values
from src.evaluation.temperature import tempered
from src.results.calibration import calibration, calibration_section
from src.results.grid import declared_grid
from src.results.pool import read_grid, select
from src.results.tables import decimals, with_interval

HEALTHY = CLASS_NAMES.index("notumor")


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    cells = [cell for cell in declared_grid() if cell.arm == "tuned"]
    FakeGrid().write(results, cells)
    return select(read_grid(cells, results), arm="tuned", framework="pt", split="clean")


def with_thresholds(run, **changed):
    record = run.record | {"thresholds": run.record["thresholds"] | changed}
    return dataclasses.replace(run, record=record)


def test_each_fold_is_judged_by_its_own_thresholds(folds):
    found = calibration(folds)
    called, tumour, sure, chances = [], [], [], []
    for run in folds:
        of = run.record["thresholds"]
        probs = tempered(run.predictions.probs, of["temperature"])
        cut = of["operating_points"]["0.99"]["threshold"]
        chances += list(1 - probs[:, HEALTHY])
        called += list(1 - probs[:, HEALTHY] >= cut)
        tumour += list(run.predictions.labels != HEALTHY)
        sure += list(probs.max(axis=1) >= of["sure_from"])
    point = found["points"]["0.99"]
    assert point["sensitivity"]["value"] == pytest.approx(recall_score(tumour, called))
    specificity = recall_score(np.logical_not(tumour), np.logical_not(called))
    assert point["specificity"]["value"] == pytest.approx(specificity)
    assert found["coverage"]["value"] == pytest.approx(np.mean(sure))
    assert len(point["folds"]) == 5
    for prevalence, values in point["predictive"].items():
        expected = predictive_values(recall_score(tumour, called), specificity, float(prevalence))
        for name, score in values.items():
            assert score["value"] == pytest.approx(expected[name])
            assert score["low"] < score["value"] < score["high"]
    brier = found["brier"]["brier"]
    assert brier["value"] == pytest.approx(brier_score_loss(tumour, chances))
    assert brier["low"] < brier["value"] < brier["high"]
    # Another threshold in one fold moves the whole, and that fold alone.
    points = folds[2].record["thresholds"]["operating_points"]
    never = {name: each | {"threshold": 2.0} for name, each in points.items()}
    moved = [*folds[:2], with_thresholds(folds[2], operating_points=never), *folds[3:]]
    shifted = calibration(moved)["points"]["0.99"]
    assert shifted["folds"] == [*point["folds"][:2], 0.0, *point["folds"][3:]]
    assert shifted["sensitivity"]["value"] < point["sensitivity"]["value"]


def test_the_temperature_is_each_folds_own(folds):
    found = calibration(folds)
    hot = calibration([*folds[:4], with_thresholds(folds[4], temperature=20.0)])
    assert hot["error"] == found["error"]
    assert hot["tempered_error"]["value"] > found["tempered_error"]["value"]


def test_without_thresholds_there_is_nothing_to_say(folds):
    old = dataclasses.replace(folds[0], record={**folds[0].record})
    del old.record["thresholds"]
    assert calibration([old, *folds[1:]]) is None and calibration([]) is None
    assert calibration_section("an arm", {"tf": None, "pt": None}) == ""


def test_the_section_shows_what_was_measured(folds):
    found = calibration(folds)
    text = calibration_section("an arm", {"tf": None, "pt": found})
    assert text.startswith("| an arm |") and f"{found['risk']['value']:.1%}" in text
    ppv = found["points"]["0.99"]["predictive"]["0.01"]["ppv"]
    assert (
        f"| positive predictive value if 1% have a tumour | not run here | {with_interval(ppv)}"
        in text
    )
    assert decimals(found["brier"]["brier"]) in text


def test_a_score_of_too_few_groups_has_no_interval():
    assert decimals({"value": 0.0088, "low": None, "high": None}) == "0.0088"
