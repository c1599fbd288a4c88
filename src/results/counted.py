"""Accuracy by what is counted: images, patients, distinct slices; and by where images come from.

Patients and slices are figshare's, recovered for the merge's images in
`dataset/recovered_patients.csv`.
"""

import numpy as np

from src.config import CLASS_NAMES
from src.data.patients.recover import Origin, shipped_table
from src.evaluation.intervals import mean_interval

SOURCES = ("figshare tumours", "tumours of unknown source", "notumor")
COUNTED = ("patient", "distinct slice", "image", *SOURCES)


def accuracy_by(
    paths: np.ndarray, labels: np.ndarray, predicted: np.ndarray, groups: np.ndarray
) -> dict[str, dict | None]:
    """Return the accuracy by each of COUNTED, with its interval.

    - A patient is right if more of the slices are put into the true class than into any other.
    - A slice counts once, as the share of its copies that are right. It is figshare's where
      recovered; elsewhere all images of one group of the split count as one.

    Intervals are over the groups; of patients, over patients.

    Args:
        paths: (N,) text, in the Kaggle merge.
        labels: (N,) integers, the true classes.
        predicted: (S, N) integers, the classes by each of S seeds, over which values are means.
        groups: (N,) integers.
    Returns:
        each of COUNTED -> {"count", "value", "low", "high"}, or None where there is nothing of it.
    """
    origins = [shipped_table().get(path) for path in paths.tolist()]
    recovered = np.array([origin is not None for origin in origins])
    tumour = labels != CLASS_NAMES.index("notumor")
    right = (predicted == labels).mean(axis=0)
    images = dict(zip(SOURCES, (recovered, tumour & ~recovered, ~tumour)))
    images["image"] = np.ones(len(labels), bool)
    accuracy = {
        name: {"count": int(rows.sum()), **mean_interval(right[rows], groups[rows])}
        for name, rows in images.items()
        if rows.any()
    }
    names = [f"slice {o.slice}" if o else f"group {g}" for o, g in zip(origins, groups.tolist())]
    _, slices, copies = np.unique(names, return_inverse=True, return_counts=True)
    by_slice = mean_interval(right, groups, 1 / copies[slices])
    accuracy["distinct slice"] = {"count": len(copies), **by_slice}
    if known := [origin for origin in origins if origin]:
        accuracy["patient"] = _by_patient(known, predicted[:, recovered])
    return {name: accuracy.get(name) for name in COUNTED}


def _by_patient(origins: list[Origin], predicted: np.ndarray) -> dict:
    """Return the accuracy of K images of patients, `predicted` (S, K), as in `accuracy_by`."""
    label_of = {origin.patient: origin.label for origin in origins}
    names, index = np.unique([origin.patient for origin in origins], return_inverse=True)
    patients, truth = np.arange(len(names)), [label_of[name] for name in names]
    right = np.zeros(len(names))
    for classes in predicted:
        slices = np.zeros((len(names), len(CLASS_NAMES)))
        np.add.at(slices, (index, classes), 1)
        own = slices[patients, truth]
        slices[patients, truth] = 0
        right += (own > slices.max(axis=1)) / len(predicted)
    return {"count": len(names), **mean_interval(right, patients)}
