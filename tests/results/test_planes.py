"""Planes: how they are named, what trains where one is held out, and what the table says."""

from collections import Counter

import numpy as np
import pytest

from notebooks.results.planes import PLANES, name_planes, read_seen, right_by_network, score_planes
from notebooks.results.sources import Probed
from src.results.sections import planes_section


def made_images(confounded: bool):
    """Return 360 images of known class and plane, all right over the folds; and their planes.

    In axial slices the features show the class; elsewhere they do unless it is `confounded`: then
    every other plane looks like a tumour.
    """
    rng = np.random.default_rng(0)
    planes = np.repeat(PLANES, 120)
    labels = np.tile(np.arange(4), 90)
    shown = np.where(confounded & (planes != "axial"), 0, labels)
    where = np.array([PLANES.index(plane) for plane in planes])
    features = np.hstack([6 * np.eye(4)[shown], 6 * np.eye(3)[where]]) + rng.normal(size=(360, 7))
    paths, groups = np.array([f"{n}.jpg" for n in range(360)]), np.arange(360) // 4
    return Probed(paths, features.astype(np.float32), labels, groups, np.ones(360), 0.01), planes


def test_a_probe_names_the_planes_that_nobody_looked_at():
    images, planes = made_images(confounded=False)
    seen = dict(zip(images.paths[::3].tolist(), planes[::3].tolist()))
    named, rightly = name_planes(images, seen)
    assert (named == planes).mean() > 0.98 and rightly["value"] > 0.98
    seen[images.paths[0]] = "sagittal"  # what somebody saw is kept, and counts as a mistake
    named, less = name_planes(images, seen)
    assert named[0] == "sagittal" and less["value"] < rightly["value"]


@pytest.mark.parametrize("confounded, low, high", [(False, 0.9, 1.0), (True, 0.0, 0.6)])
def test_a_plane_without_the_classes_cannot_teach_them(confounded, low, high):
    images, planes = made_images(confounded)
    networks = {"tf": np.ones(360), "pt": np.zeros(360)}
    rows = score_planes(images, planes, networks)
    kinds = [("tumours", 90), ("notumor", 30)]
    assert [(row["plane"], row["kind"], row["images"]) for row in rows] == [
        (plane, *kind) for plane in PLANES for kind in kinds
    ]
    axial = [row for row in rows if row["plane"] == "axial"]
    mean = sum(row["held_out"]["value"] * row["images"] for row in axial) / 120
    assert low <= mean <= high
    for row in rows:
        assert row["train_images"] == 240
        assert (row["tf"]["value"], row["pt"]["value"], row["probe"]["value"]) == (1, 0, 1)
        assert row["change"]["value"] == pytest.approx(row["held_out"]["value"] - 1)
    text = planes_section({"seen": 480, "named_rightly": axial[0]["tf"], "rows": rows})
    assert "| axial, tumours | 90 | " in text and "33% of the tumours are axial, and 33%" in text


def test_images_that_no_fold_tests_are_not_scored():
    images, planes = made_images(confounded=False)
    images.right[:4] = np.nan  # a group of the selection part
    rows = score_planes(images, planes, {})
    assert [row["images"] for row in rows[:2]] == [87, 29]
    assert {row["train_images"] for row in rows} == {240}


def test_the_planes_seen_are_of_images_that_folds_test():
    seen = read_seen()
    assert len(seen) == 480 and set(seen.values()) == set(PLANES)
    assert set(Counter(path.split("/")[1] for path in seen).values()) == {120}
    rights = right_by_network(np.array(list(seen)))
    assert all(np.isfinite(right).all() for right in rights.values())


def test_nothing_is_said_before_it_is_measured():
    assert planes_section({}) == ""
