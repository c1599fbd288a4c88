"""Tumours of another source: what trains, what tests, and what the table says of it."""

import numpy as np
import pytest

from notebooks.results.sources import FIGSHARE, HEALTHY, UNKNOWN, Probed, hold_out, source_of
from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.data.patients.recover import shipped_table
from src.results.sections import sources_section

NOTUMOR = CLASS_NAMES.index("notumor")


def made_images(shift: float):
    """Return three sources of 120 images each, all right over the folds, and their sources.

    Images of unknown source lie `shift` away from where training finds their class.
    """
    rng = np.random.default_rng(0)
    sources = np.repeat([FIGSHARE, UNKNOWN, HEALTHY], 120)
    tumours = [label for label in range(len(CLASS_NAMES)) if label != NOTUMOR]
    labels = np.where(sources == HEALTHY, NOTUMOR, rng.choice(tumours, size=360))
    features = 6 * np.eye(len(CLASS_NAMES))[labels] + rng.normal(size=(360, 4))
    features[sources == UNKNOWN] = np.roll(features[sources == UNKNOWN], 1, axis=1) * shift + (
        features[sources == UNKNOWN] * (1 - shift)
    )
    paths, groups = np.array([f"{n}.jpg" for n in range(360)]), np.arange(360) // 3
    features = features.astype(np.float32)
    return Probed(paths, features, labels, groups, np.ones(360), c=0.01), sources


@pytest.mark.parametrize("shift, low, high", [(0.0, 0.9, 1.0), (1.0, 0.0, 0.3)])
def test_a_source_that_looks_otherwise_costs_accuracy(shift, low, high):
    rows = hold_out(*made_images(shift))
    for row in rows:
        assert sum(row["images"].values()) == 120 and row["groups"] == 40
        assert low <= row["held_out"]["value"] <= high
        assert row["all_sources"]["value"] == 1
        assert sum(row["answers"].values()) == 120
        assert row["change"]["value"] == pytest.approx(row["held_out"]["value"] - 1)
    text = sources_section(rows)
    assert f"| {FIGSHARE} and {HEALTHY} (240) |" in text and f"| {FIGSHARE} (120) |" in text
    assert f"{rows[0]['images']['glioma']} glioma, " in text


def test_a_class_that_does_not_train_cannot_be_tested():
    images, sources = made_images(0)
    images.labels[sources == FIGSHARE] = 1
    with pytest.raises(InputError, match="No image of class"):
        hold_out(images, sources)


def test_a_group_of_both_sides_does_not_train_and_untested_images_do_not_test():
    images, sources = made_images(0)
    images.groups[:3] = images.groups[120]  # three of figshare's are of one patient with others
    images.right[120:126] = np.nan  # two groups that no fold tests: of the selection part
    row, *_ = hold_out(images, sources)
    assert (sum(row["images"].values()), row["train_images"]) == (114, 240)
    images.right[120] = 1
    row, *_ = hold_out(images, sources)
    assert (sum(row["images"].values()), row["train_images"]) == (115, 237)


def test_sources_follow_from_the_class_and_the_recovered_table():
    known = next(iter(shipped_table()))
    paths = np.array([known, "Training/glioma/none.jpg", "Training/notumor/none.jpg"])
    labels = np.array([0, 0, NOTUMOR])
    assert source_of(paths, labels).tolist() == [FIGSHARE, UNKNOWN, HEALTHY]


def test_nothing_is_said_before_it_is_measured():
    assert sources_section([]) == ""
