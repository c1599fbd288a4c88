"""Metrics against values worked out by hand, against scikit-learn, and under faults."""

import json
import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.evaluation.metrics import score


def one_hot_rows(predicted):
    """(N,) classes -> (N, 4) rows with 0.7 on the class, the rest spread evenly."""
    rows = np.full((len(predicted), 4), 0.1)
    rows[np.arange(len(predicted)), predicted] = 0.7
    return rows


#         truth   prediction
HAND = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 2), (2, 2), (3, 3), (3, 0)]


def hand_example():
    labels, predicted = np.array(HAND).T
    return labels, one_hot_rows(predicted)


def random_example():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    logits = rng.normal(size=(200, 4)) + 1.5 * np.eye(4)[labels]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probs.astype(np.float32)


def test_hand_calculated_values():
    result = score(*hand_example())
    assert result["count"] == 10
    assert result["accuracy"] == 0.7
    assert result["confusion_matrix"] == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 3, 0], [1, 0, 0, 1]]
    glioma = result["per_class"]["glioma"]
    assert glioma["precision"] == pytest.approx(2 / 3)  # 2 of 3 claims
    assert glioma["sensitivity"] == pytest.approx(2 / 3)  # 2 of 3 images
    assert glioma["specificity"] == pytest.approx(6 / 7)  # 1 of 7 others was called glioma
    assert glioma["f1"] == pytest.approx(2 / 3)
    assert glioma["support"] == 3
    # Pairs of (glioma, other): 2 gliomas at .7 beat 6 others at .1 and tie with one at .7; the
    # glioma at .1 ties with 6 and loses one: (2 * 6.5 + 3) / 21.
    assert glioma["auroc"] == pytest.approx(16 / 21)
    assert result["per_class"]["pituitary"]["sensitivity"] == 0.5
    assert result["per_class"]["pituitary"]["precision"] == 1.0
    assert result["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1 + 1 / 2) / 4)
    # f1: glioma 4/6, meningioma 2/4, notumor 6/7, pituitary 2/3
    assert result["macro_f1"] == pytest.approx((4 / 6 + 2 / 4 + 6 / 7 + 2 / 3) / 4)
    assert result["log_loss"] == pytest.approx(-(7 * math.log(0.7) + 3 * math.log(0.1)) / 10)


def test_agrees_with_scikit_learn():
    labels, probs = random_example()
    result = score(labels, probs)
    predicted = probs.argmax(axis=1)
    precision, recall, f1, support = oracle.precision_recall_fscore_support(labels, predicted)
    for k, name in enumerate(CLASS_NAMES):
        rates = result["per_class"][name]
        assert rates["precision"] == pytest.approx(precision[k])
        assert rates["sensitivity"] == pytest.approx(recall[k])
        assert rates["f1"] == pytest.approx(f1[k])
        assert rates["support"] == support[k]
        others_found = oracle.recall_score(labels != k, predicted != k)
        assert rates["specificity"] == pytest.approx(others_found)
    balanced = oracle.balanced_accuracy_score(labels, predicted)
    assert result["balanced_accuracy"] == pytest.approx(balanced)
    assert result["macro_f1"] == pytest.approx(oracle.f1_score(labels, predicted, average="macro"))
    auroc = oracle.roc_auc_score(np.eye(4)[labels], probs, average="macro")
    assert result["macro_auroc"] == pytest.approx(auroc)


def swap_rows_and_columns(labels, probs):
    return probs.argmax(axis=1), one_hot_rows(labels)


def shift_classes(labels, probs):
    return labels, np.roll(probs, 1, axis=1)


def shuffle_rows(labels, probs):
    return labels, np.roll(probs, 1, axis=0)


@pytest.mark.parametrize("fault", [swap_rows_and_columns, shift_classes, shuffle_rows])
def test_a_faulty_table_scores_otherwise(fault):
    good, bad = score(*hand_example()), score(*fault(*hand_example()))
    assert bad["confusion_matrix"] != good["confusion_matrix"]
    assert bad["per_class"] != good["per_class"]


def test_absent_class_gives_none_not_nan():
    labels = np.array([0, 0, 1, 1])
    result = score(labels, one_hot_rows(np.array([0, 2, 1, 1])))
    absent = result["per_class"]["notumor"]  # no image, one claim
    assert absent["support"] == 0
    assert absent["precision"] == 0.0
    assert absent["specificity"] == 0.75
    assert absent["sensitivity"] is None and absent["f1"] is None and absent["auroc"] is None
    unseen = result["per_class"]["pituitary"]  # no image, no claim
    assert unseen["precision"] is None
    assert result["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)  # of the classes present
    assert result["macro_auroc"] is not None
    json.dumps(result, allow_nan=False)


def test_a_single_class_is_scored():
    result = score(np.array([2, 2]), one_hot_rows(np.array([2, 0])))
    assert result["per_class"]["notumor"]["specificity"] is None
    assert result["macro_auroc"] is None
    assert result["balanced_accuracy"] == 0.5
    json.dumps(result, allow_nan=False)


def test_certain_and_wrong_keeps_log_loss_finite():
    result = score(np.array([0, 1]), np.eye(4, dtype=np.float32)[[1, 1]])
    assert 10 < result["log_loss"] < 40


def test_values_are_plain_json():
    result = score(*random_example())
    assert json.loads(json.dumps(result, allow_nan=False)) == result


GOOD = one_hot_rows(np.array([0, 1, 2]))


@pytest.mark.parametrize(
    "labels, probs, error, says",
    [
        (np.array([0, 1]), GOOD, ValueError, "(2,) and (3, 4)"),
        (np.array([[0, 1, 2]]), GOOD, ValueError, "(1, 3)"),
        (np.array(3), GOOD, ValueError, "labels (N,)"),
        (np.array([0, 1, 2]), GOOD[:, :3], ValueError, "(3, 3)"),
        (np.empty(0, np.int64), np.empty((0, 4)), ValueError, "at least one"),
        (np.array([0.0, 1.0, 2.0]), GOOD, ValueError, "float64"),
        (np.array([0, 1, 4]), GOOD, ValueError, "0 to 4"),
        (np.array([-1, 1, 2]), GOOD, ValueError, "-1 to 2"),
        (np.array([0, 1, 2]), GOOD * 1.1, ValueError, "sum 1.1"),
        (np.array([0, 1, 2]), GOOD - [[0.2, -0.2, 0, 0]], ValueError, "row 1"),
        (np.array([0, 1, 2]), GOOD.astype(int), ValueError, "int64"),
        (np.array([0, 1, 2]), np.where(GOOD > 0.5, np.nan, GOOD), InputError, "3 of 3"),
        (np.array([0, 1, 2]), np.where(GOOD > 0.5, np.inf, GOOD), InputError, "diverged"),
    ],
)
def test_nonsense_is_refused(labels, probs, error, says):
    with pytest.raises(error) as caught:
        score(labels, probs)
    assert says in str(caught.value)
