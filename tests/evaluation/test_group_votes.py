"""One vote per group, and intervals over groups: by hand and against other libraries."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn.metrics import f1_score
from statsmodels.stats.proportion import proportion_confint

from src.evaluation.intervals import (
    PER_CLASS,
    group_intervals,
    mean_difference,
    mean_interval,
    paired_difference,
    score_interval,
    weighted_scores,
)
from src.evaluation.metrics import AVERAGES, group_votes, score, score_groups


def example(seed=0, n=300):
    """(N,) labels, (N, 4) probs that are mostly right."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    guess = np.where(rng.random(n) < 0.8, labels, rng.integers(0, 4, n))
    probs = rng.dirichlet(np.ones(4), n) * 0.4 + 0.6 * np.eye(4)[guess]
    return labels, probs


def test_a_group_has_one_vote():
    probs = np.array([[0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0], [0.3, 0.7, 0, 0], [0, 0, 1, 0.0]])
    labels, groups = np.array([0, 0, 0, 2]), np.array([7, 7, 7, 3])
    voted, mean, owners = group_votes(labels, probs, groups)
    assert owners.tolist() == [3, 7]
    assert voted.tolist() == [2, 0]
    assert mean[1] == pytest.approx([1.4 / 3, 1.6 / 3, 0, 0])
    # By images 2 of 4 are right; glioma's one group is outvoted, notumor's is right.
    assert score(labels, probs)["accuracy"] == 0.5
    result = score_groups(labels, probs, groups)
    assert result["count"] == 2 and result["accuracy"] == 0.5
    assert result["per_class"]["glioma"]["sensitivity"] == 0


def test_a_group_of_two_classes_votes_once_for_each():
    labels, probs = np.array([0, 1, 1]), np.eye(4)[[0, 1, 0]]
    voted, mean, _ = group_votes(labels, probs, np.zeros(3, int))
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
    assert all(rate["low"] is rate["high"] is None for rate in in_one(found).values())
    paired = paired_difference(labels, labels, labels, np.zeros(len(labels), int))
    assert paired["value"] == 0 and paired["low"] is None


def ends(interval):
    return [interval["low"], interval["high"]]


def test_groups_of_one_image_give_the_textbooks_interval():
    labels, probs = example()
    right = (probs.argmax(axis=1) == labels).astype(float)
    share = right.mean()
    reach = stats.t.ppf(0.975, 299) / np.sqrt(share * (1 - share) * 299)
    expected = expit(logit(share) + np.array([-reach, reach]))
    found = group_intervals(labels, probs, np.arange(300))
    assert ends(found["accuracy"]) == pytest.approx(expected)
    assert ends(mean_interval(right, np.arange(300))) == pytest.approx(expected)
    only = labels == 2
    alone = mean_interval(right[only], np.arange(only.sum()))
    of_class = found["per_class"]["notumor"]["sensitivity"]
    assert ends(of_class) == pytest.approx(ends(alone), rel=0.01)  # 299 / 300 for 74 / 75


def test_the_same_interval_for_one_score_asked_in_three_ways():
    labels, probs = example()
    groups = np.random.default_rng(2).integers(0, 40, 300)
    right = probs.argmax(axis=1) == labels
    asked = [
        group_intervals(labels, probs, groups)["accuracy"],
        mean_interval(right * 1.0, groups),
        score_interval(lambda rows: right[rows].mean(), groups),
    ]
    assert asked[0] == pytest.approx(asked[1])
    assert asked[0] == pytest.approx(asked[2])
    macro = score_interval(
        lambda rows: f1_score(labels[rows], probs[rows].argmax(axis=1), average="macro"), groups
    )
    assert group_intervals(labels, probs, groups)["macro_f1"] == pytest.approx(macro)
    gains = np.random.default_rng(3).normal(size=300)
    by_score = score_interval(lambda rows: gains[rows].mean(), groups, difference=True)
    assert mean_difference(gains, groups) == pytest.approx(by_score)


@pytest.mark.parametrize("share", [0, 1])
def test_all_right_or_all_wrong_gets_the_exact_bound(share):
    found = mean_interval(np.full(60, float(share)), np.arange(60) // 2)
    assert ends(found) == pytest.approx(proportion_confint(30 * share, 30, method="beta"))
    # Three groups with half of the images: as if there were 3.6 groups.
    sizes = np.r_[10, 10, 10, np.ones(30, int)]
    uneven = mean_interval(np.full(60, float(share)), np.repeat(np.arange(33), sizes))
    count = 330**2 / 30030
    few = proportion_confint(share * count, count, method="beta")
    assert ends(uneven) == pytest.approx(few)


def test_groups_of_very_many_images_are_counted_as_any_others():
    right = np.arange(240_000) % 2
    found = score_interval(lambda rows: right[rows].mean(), np.arange(240_000) // 60_000)
    assert found == pytest.approx(mean_interval(right * 1.0, np.arange(240_000) // 60_000))
    assert found["low"] is not None


def test_large_groups_leave_fewer_degrees_of_freedom():
    """Of six groups, four large: as if there were 3.8 of them, by hand."""
    gains, sizes = np.array([0.1, 0.4, -0.2, 0.3, 0.2, 0.0]), np.array([8, 6, 6, 1, 1, 8])
    found = mean_difference(np.repeat(gains, sizes), np.repeat(np.arange(6), sizes))
    mean = (gains * sizes).sum() / 30
    without = (30 * mean - gains * sizes) / (30 - sizes)
    error = np.sqrt(5 / 6 * np.square(without - without.mean()).sum())
    assert found["value"] == pytest.approx(mean)
    expected = stats.t.interval(0.95, 202**2 / 10786 - 1, mean, error)
    assert ends(found) == pytest.approx(expected)


def in_one(found):
    """{"accuracy": .., "per_class": {"glioma": {"auroc": ..}}} -> {"accuracy", "glioma auroc"}."""
    per_class = found["per_class"].items()
    flat = {f"{name} {kind}": rates[kind] for name, rates in per_class for kind in PER_CLASS}
    return {name: found[name] for name in AVERAGES if name in found} | flat


def test_values_are_those_of_score():
    labels, probs = example()
    groups = np.arange(300) // 3
    found = in_one(group_intervals(labels, probs, groups))
    whole = in_one(score(labels, probs))
    assert len(found) == len(whole) == 4 + 4 * 3
    for name, rate in found.items():
        assert rate["value"] == pytest.approx(whole[name])
        assert rate["low"] < rate["value"] < rate["high"]


def test_one_group_with_most_images_has_no_interval():
    right, sizes = np.tile([1.0, 0.0], 50), np.array([80, 10, 10])
    assert 6600**2 / (sizes**4).sum() < 2
    found = mean_interval(right, np.repeat(np.arange(3), sizes))
    assert found == {"value": 0.5, "low": None, "high": None}
    assert mean_difference(right, np.repeat(np.arange(3), sizes)) == found


@pytest.mark.parametrize("case", ["plain", "tied", "class without images"])
def test_weights_score_as_if_the_images_were_there_as_often(case):
    labels, probs = example(n=120)
    if case == "tied":  # as one nearest neighbour says it
        probs = np.eye(4)[probs.argmax(axis=1)]
    if case == "class without images":
        labels[labels == 3] = 0
    groups = np.arange(120) // 3
    draws = np.random.default_rng(3).integers(0, 3, (2, 40))
    found = weighted_scores(labels, probs, groups, draws.astype(float))
    for index, drawn in enumerate(draws):
        copies = np.repeat(np.arange(120), drawn[groups])
        whole = score(labels[copies], probs[copies])
        assert list(found) == [*AVERAGES, *PER_CLASS]
        for name in AVERAGES:
            assert found[name][index] == pytest.approx(whole[name])
        for kind in PER_CLASS:
            wanted = [rates[kind] for rates in whole["per_class"].values()]
            undecided = case == "class without images" and kind != "specificity"
            assert wanted.count(None) == undecided
            wanted = [np.nan if rate is None else rate for rate in wanted]
            assert found[kind][index] == pytest.approx(wanted, nan_ok=True)


def test_what_rests_on_one_group_has_no_interval():
    labels, probs = example(n=60)
    labels[labels == 3] = 0
    labels[0] = 3
    found = group_intervals(labels, probs, np.arange(60))
    rare = found["per_class"]["pituitary"]["sensitivity"]
    assert rare["value"] in (0, 1) and rare["low"] is rare["high"] is None
    assert all(found[name]["low"] < found[name]["high"] for name in AVERAGES)


def test_scores_of_several_seeds_are_means_over_them():
    (labels, one), two = example(), example(seed=1)[1]
    groups = np.arange(300) // 3
    both = in_one(group_intervals(labels, [one, two], groups))
    each = [in_one(group_intervals(labels, probs, groups)) for probs in (one, two)]
    for name, rate in both.items():
        assert rate["value"] == pytest.approx(np.mean([found[name]["value"] for found in each]))
    # Images that all seeds get alike tell no more than one seed does.
    again = in_one(group_intervals(labels, [one, one, one], groups))
    for name, rate in again.items():
        assert rate == pytest.approx(each[0][name])


def repeated():
    """Every image six times over: no more is known than of the images once."""
    labels, probs = example()
    return [np.repeat(values, 6, axis=0) for values in (labels, probs, np.arange(300))]


def test_copies_of_an_image_make_nothing_surer():
    labels, probs = example()
    once = group_intervals(labels, probs, np.arange(300))["accuracy"]
    assert group_intervals(*repeated())["accuracy"] == pytest.approx(once)


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
    found = paired_difference(labels, a, b, np.arange(100))
    assert found["value"] == pytest.approx(0.15)
    assert (found["only_a"], found["only_b"]) == (20, 5)
    gain = (a == 0).astype(float) - (b == 0)
    oracle = stats.ttest_1samp(gain, 0).confidence_interval(0.95)
    assert ends(found) == pytest.approx([oracle.low, oracle.high])
    narrower = paired_difference(labels, a, b, np.arange(100), confidence=0.9)
    oracle = stats.ttest_1samp(gain, 0).confidence_interval(0.9)
    assert ends(narrower) == pytest.approx([oracle.low, oracle.high])
    # Groups of one size: their means are what is known.
    groups = np.arange(100) // 5
    oracle = stats.ttest_1samp(gain.reshape(20, 5).mean(axis=1), 0).confidence_interval(0.95)
    assert ends(paired_difference(labels, a, b, groups)) == pytest.approx([*oracle])
    # All the gain in two groups of ten.
    groups = np.r_[np.arange(20) // 10, np.arange(2, 82)]
    assert paired_difference(labels, a, b, groups)["low"] < 0 < found["low"]


def test_weights_say_how_much_a_value_counts():
    values, groups = np.array([1.0, 0, 1, 1, 0]), np.arange(5)
    copies = np.array([1, 3, 2, 1, 4])
    found = mean_interval(values, groups, copies)
    assert found["value"] == pytest.approx((1 + 2 + 1) / 11)
    whole = np.repeat(values, copies), np.repeat(groups, copies)
    assert mean_interval(*whole) == pytest.approx(found)
    assert mean_interval(*whole, np.repeat(1 / copies, copies)) == pytest.approx(
        mean_interval(values, groups)
    )


def test_no_seed_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one seed"):
        group_intervals(np.zeros(3, int), [], np.arange(3))


@pytest.mark.parametrize("groups", [np.zeros(299, int), np.zeros(300), np.zeros((300, 1), int)])
def test_groups_that_do_not_fit_are_refused(groups):
    labels, probs = example()
    for function in (score_groups, group_intervals):
        with pytest.raises(ValueError, match=r"Expected groups as \(300,\) integers"):
            function(labels, probs, groups)
