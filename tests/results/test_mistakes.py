"""The groups with most mistakes, by hand."""

import numpy as np

from src.records import Predictions
from src.results.mistakes import mistakes, mistakes_section


def predictions():
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    groups = np.array([5, 5, 5, 5, 9, 9, 7, 7])
    given = np.array([1, 1, 3, 0, 0, 1, 2, 2])
    probs = np.full((8, 4), 0.1)
    probs[np.arange(8), given] = [0.7, 0.9, 0.8, 0.7, 0.6, 0.7, 0.7, 0.7]
    paths = np.array([f"{k}.jpg" for k in range(8)])
    return Predictions(paths, labels, probs, groups)


def test_mistakes_by_hand():
    found = mistakes(predictions())
    first, second = found.pop("largest")
    assert found == dict(images=8, wrong=4, groups=3, groups_wrong=2, groups_half=1)
    assert first == {
        "group": 5,
        "label": "glioma",
        "images": 4,
        "wrong": 3,
        "answers": {"meningioma": 2, "pituitary": 1},
        "path": "1.jpg",
        "answer": "meningioma",
        "probability": 0.9,
    }
    assert (second["group"], second["wrong"], second["path"]) == (9, 1, "4.jpg")


def test_the_section_names_the_groups():
    section = mistakes_section({"tf": None, "pt": mistakes(predictions())})
    assert "| 5 | glioma | 3 of 4 | 2 meningioma, 1 pituitary | 1.jpg, meningioma 90% |" in section
    assert "4 of 8 images are wrong. They lie in 2 of 3 groups, and 1 holds half" in section
    assert mistakes_section({"tf": None, "pt": None}) == ""


def test_no_mistake_at_all():
    right = predictions()
    found = mistakes(
        Predictions(right.paths, right.probs.argmax(axis=1), right.probs, right.groups)
    )
    assert found["wrong"] == found["groups_wrong"] == found["groups_half"] == 0
    assert found["largest"] == []
    assert mistakes_section({"tf": found, "pt": None}) == ""
