"""What is left of the accuracy on tumours of unknown source, if none of them trains?

    python -m notebooks.results.sources DATA WEIGHTS

The linear probe (logistic regression on what block13 gives, averaged over the image) learns from
figshare's tumours of the clean split and is tested on those that are not figshare's. Its C is that
of `baselines.json`; the probe of the five folds, with all sources in training, stands beside it. It
writes `sources.json` beside this file.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from notebooks.results.script import record
from src.common.errors import InputError
from src.common.files import read_json
from src.comparison.baselines import PROBE, fit_probe, pooled_features
from src.config import CLASS_NAMES, ExperimentConfig
from src.data.dataset import Dataset, open_dataset
from src.data.patients.recover import shipped_table
from src.evaluation.intervals import mean_difference, mean_interval
from src.records import measurement
from src.results.counted import SOURCES
from src.results.grid import RECIPE, RESULTS

FIGSHARE, UNKNOWN, HEALTHY = SOURCES
TRAINED = ((FIGSHARE, HEALTHY), (FIGSHARE,))  # sources that train, where UNKNOWN tests


def source_of(paths: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return which of SOURCES each image (N,) is of."""
    known = np.array([path in shipped_table() for path in paths.tolist()])
    tumours = np.where(known, FIGSHARE, UNKNOWN)
    return np.where(labels == CLASS_NAMES.index("notumor"), HEALTHY, tumours)


@dataclass(frozen=True)
class Probed:
    """The images of the clean split, and what the linear probe of the five folds says of them.

    Attributes:
        paths: (N,) text, in the Kaggle merge.
        features: (N, C) float32, block13's outputs averaged over the image.
        labels: (N,) integers.
        groups: (N,) integers, of the split.
        right: (N,) whether the probe of the fold that tests an image is right; NaN where none does.
        c: the probe's inverse strength of regularisation.
    """

    paths: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    right: np.ndarray
    c: float

    def held_out(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, int]:
        """Return what a probe that learns from `train` answers to `test`, and from how many images.

        A group with images of both sides does not train.

        Args:
            train: (N,) whether an image may train.
            test: (N,) whether it tests.
        Raises:
            InputError: a class that is tested does not train.
        """
        train = train & ~np.isin(self.groups, self.groups[test])
        if unseen := sorted(set(self.labels[test]) - set(self.labels[train])):
            raise InputError(f"No image of class {unseen[0]} trains, so none can be recognised.")
        probe = fit_probe(self.features[train], self.labels[train], self.c)
        return probe.predict(self.features[test].astype(np.float64)), int(train.sum())


def hold_out(images: Probed, sources: np.ndarray) -> list[dict]:
    """Return the accuracy on UNKNOWN for each of TRAINED, beside that with all sources in training.

    Args:
        images: N of them.
        sources: (N,) of SOURCES.
    Raises:
        InputError: a class that is tested does not train.
    """
    rows, test = [], (sources == UNKNOWN) & np.isfinite(images.right)
    labels, groups, right = images.labels[test], images.groups[test], images.right[test]
    for trained in TRAINED:
        answers, count = images.held_out(np.isin(sources, trained), test)
        alone = answers == labels
        rows.append(
            {
                "trained": trained,
                "train_images": count,
                "images": _counts(labels),
                "answers": _counts(answers),
                "groups": len(np.unique(groups)),
                "held_out": mean_interval(alone, groups),
                "all_sources": mean_interval(right, groups),
                "change": mean_difference(alone - right, groups),
            }
        )
    return rows


def _counts(classes: np.ndarray) -> dict[str, int]:
    return {CLASS_NAMES[k]: int((classes == k).sum()) for k in np.unique(classes)}


def right_over_folds(file: Path) -> dict[str, bool]:
    """Return {path: whether the probe of its clean fold is right} from `baselines.csv`."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"].startswith("fold")]
    return {row["path"]: row[PROBE] == row["label"] for row in rows}


def probed_images(data: Path, weights: Path) -> tuple[ExperimentConfig, Dataset, Probed]:
    """Return the probe's config, the images that it sees, and what it says of them."""
    config = ExperimentConfig(**RECIPE | {"init": str(weights)})
    dataset = open_dataset(config, data)
    tuning = read_json(RESULTS / "baselines.json")["probe"]["tuning"]
    features, catalog = pooled_features(config, dataset), dataset.catalog
    used = np.sort(np.concatenate([dataset.parts[name] for name in ("train", "val", "test")]))
    known = right_over_folds(RESULTS / "baselines.csv")
    paths, labels = np.array(catalog.paths)[used], catalog.labels[used]
    right = np.array([known.get(path, np.nan) for path in paths.tolist()], float)
    about = features[used], labels, dataset.groups[used], right
    return config, dataset, Probed(paths, *about, c=tuning["selection"]["C"])


def measure(data: Path, weights: Path) -> Mapping:
    """Return what is recorded."""
    config, dataset, images = probed_images(data, weights)
    rows = hold_out(images, source_of(images.paths, images.labels))
    return measurement(config, dataset.describe(), C=images.c, rows=rows)


if __name__ == "__main__":
    record("sources", measure, "data", "weights")
