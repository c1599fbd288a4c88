"""One vote per group, and intervals that resample groups: against cases known by hand and SciPy."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score

from src.evaluation.groups import group_votes, score_groups
from src.evaluation.intervals import group_intervals, paired_difference
from src.evaluation.metrics import score


def example(seed=0, n=300, right=0.8):
    """(N,) labels, (N, 4) probs that are right about as often as asked."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    guess = np.where(rng.random(n) < right, labels, rng.integers(0, 4, n))
    probs = rng.dirichlet(np.ones(4), n) * 0.4 + 0.6 * np.eye(4)[guess]
    return labels, probs


def test_a_group_has_one_vote():
    probs = np.array([[0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0], [0.3, 0.7, 0, 0], [0, 0, 1, 0.0]])
    labels, groups = np.array([0, 0, 0, 2]), np.array([7, 7, 7, 3])
    voted, mean = group_votes(labels, probs, groups)
    assert voted.tolist() == [2, 0]
    assert mean[1] == pytest.approx([1.4 / 3, 1.6 / 3, 0, 0])
    # By images 2 of 4 are right; glioma's one group is outvoted, notumor's is right.
    assert score(labels, probs)["accuracy"] == 0.5
    result = score_groups(labels, probs, groups)
    assert result["count"] == 2 and result["accuracy"] == 0.5
    assert result["per_class"]["glioma"]["sensitivity"] == 0


def test_a_group_of_two_classes_votes_once_for_each():
    labels, probs = np.array([0, 1, 1]), np.eye(4)[[0, 1, 0]]
    voted, mean = group_votes(labels, probs, np.zeros(3, int))
    assert voted.tolist() == [0, 1] and mean[1].tolist() == [0.5, 0.5, 0, 0]


def test_groups_of_one_image_score_as_images():
    labels, probs = example()
    order = np.random.default_rng(1).permutation(len(labels))
    by_groups = score_groups(labels, probs, order)
    by_images = score(labels, probs)
    for name in ("count", "accuracy", "macro_f1", "confusion_matrix"):
        assert by_groups[name] == by_images[name]


def test_one_group_has_no_interval():
    labels, probs = example()
    found = group_intervals(labels, probs, np.zeros(len(labels), int))
    assert found["accuracy"]["value"] == score(labels, probs)["accuracy"]
    assert all(rate["low"] is rate["high"] is None for rate in found.values())
    paired = paired_difference(labels, labels, labels, np.zeros(len(labels), int))
    assert paired["value"] == 0 and paired["low"] is None


def test_groups_of_one_image_give_the_ordinary_bootstrap():
    labels, probs = example()
    right = (probs.argmax(axis=1) == labels).astype(float)
    oracle = stats.bootstrap(
        (right,), np.mean, n_resamples=999, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    found = group_intervals(labels, probs, np.arange(300), seed=5, resamples=999)["accuracy"]
    assert found["low"] == pytest.approx(oracle.low) and found["high"] == pytest.approx(oracle.high)
    # And the textbook's: 1.96 standard errors.
    reach = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 300)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(reach, rel=0.1)


def test_values_are_those_of_score():
    labels, probs = example()
    found = group_intervals(labels, probs, np.arange(300) // 3)
    whole = score(labels, probs)
    for name, rate in found.items():
        assert rate["value"] == pytest.approx(whole[name])
        assert rate["low"] < rate["value"] < rate["high"]


def test_macro_values_of_a_resample_are_scikit_learn_s():
    """Of two groups there are but three resamples, so the bounds are scores of two of them."""
    labels, probs = example(n=80)
    groups = np.repeat([0, 1], 40)
    found = group_intervals(labels, probs, groups, resamples=4000)
    resamples = [groups == 0, groups == 1, groups >= 0]
    for name, oracle in (("balanced_accuracy", balanced_accuracy_score), ("macro_f1", f1_score)):
        options = {"average": "macro"} if name == "macro_f1" else {}
        scores = [oracle(labels[r], probs[r].argmax(axis=1), **options) for r in resamples]
        ends = [min(scores), max(scores)]
        assert [found[name]["low"], found[name]["high"]] == pytest.approx(ends)


def repeated(times=6):
    """Every image `times` times over: no more is known than of the images once."""
    labels, probs = example()
    return [np.repeat(values, times, axis=0) for values in (labels, probs, np.arange(300))]


def test_copies_of_an_image_make_nothing_surer():
    labels, probs = example()
    once = group_intervals(labels, probs, np.arange(300), seed=2)["accuracy"]
    assert group_intervals(*repeated(), seed=2)["accuracy"] == pytest.approx(once)


def test_forgetting_the_groups_would_make_it_surer():
    labels, probs, groups = repeated()
    right, wrong = (
        group_intervals(labels, probs, which)["accuracy"]
        for which in (groups, np.arange(len(groups)))
    )
    width = [rate["high"] - rate["low"] for rate in (right, wrong)]
    assert width[0] / width[1] == pytest.approx(np.sqrt(6), rel=0.15)


def test_a_paired_difference_by_hand():
    labels = np.zeros(100, int)
    a, b = np.zeros(100, int), np.zeros(100, int)
    b[:20] = 1  # b misses 20 that a gets, and a misses 5 that b gets
    a[20:25] = 2
    found = paired_difference(labels, a, b, np.arange(100), seed=1)
    assert found["value"] == pytest.approx(0.15)
    assert (found["only_a"], found["only_b"]) == (20, 5)
    gain = (a == 0).astype(float) - (b == 0)
    oracle = stats.bootstrap(
        (gain,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert [found["low"], found["high"]] == pytest.approx([oracle.low, oracle.high])
    # All the gain in one group of twenty: one draw in e holds it not at all.
    groups = np.r_[np.zeros(20, int), np.arange(1, 81)]
    assert paired_difference(labels, a, b, groups)["low"] < 0 < found["low"]


def test_the_seed_decides():
    labels, probs = example()
    groups = np.arange(300) // 2
    first, again, other = (group_intervals(labels, probs, groups, seed=s) for s in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("groups", [np.zeros(299, int), np.zeros(300), np.zeros((300, 1), int)])
def test_groups_that_do_not_fit_are_refused(groups):
    labels, probs = example()
    for function in (score_groups, group_intervals):
        with pytest.raises(ValueError, match=r"Expected groups as \(300,\) integers"):
            function(labels, probs, groups)
