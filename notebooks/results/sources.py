"""What is left of the accuracy on tumours of unknown source, if none of them trains?

    python -m notebooks.results.sources DATA WEIGHTS

The linear probe (logistic regression on what block13 gives, averaged over the image) learns from
figshare's tumours of the clean split and is tested on those that are not figshare's. Its C is that
of `baselines.json`; the probe of the five folds, with all sources in training, stands beside it. It
writes `sources.json` beside this file.
"""

import argparse
import csv
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.comparison.baselines import PROBE, fit_probe, pooled_features
from src.config import CLASS_NAMES, ExperimentConfig
from src.data.dataset import open_dataset
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


def hold_out(
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    sources: np.ndarray,
    right: np.ndarray,
    c: float,
) -> list[dict]:
    """Return the accuracy on UNKNOWN for each of TRAINED, beside that with all sources in training.

    A group with images of both sides does not train.

    Args:
        features: (N, C) float32.
        labels: (N,) integers.
        groups: (N,) integers.
        sources: (N,) of SOURCES.
        right: (N,) whether the probe of the five folds is right; NaN where none tests the image.
        c: the probe's inverse strength of regularisation.
    Raises:
        InputError: a class that is tested does not train.
    """
    rows = []
    test = np.flatnonzero((sources == UNKNOWN) & np.isfinite(right))
    tested, by_group = labels[test], groups[test]
    for trained in TRAINED:
        train = np.flatnonzero(np.isin(sources, trained) & ~np.isin(groups, by_group))
        if unseen := sorted(set(tested) - set(labels[train])):
            raise InputError(f"No image of class {unseen[0]} trains, so none can be recognised.")
        probe = fit_probe(features[train], labels[train], c)
        answers = probe.predict(features[test].astype(np.float64))
        alone = answers == tested
        rows.append(
            {
                "trained": trained,
                "train_images": len(train),
                "images": _counts(tested),
                "answers": _counts(answers),
                "groups": len(np.unique(by_group)),
                "held_out": mean_interval(alone, by_group),
                "all_sources": mean_interval(right[test], by_group),
                "change": mean_difference(alone - right[test], by_group),
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


def measure(data: Path, weights: Path) -> Mapping:
    """Return what is recorded."""
    config = ExperimentConfig(**RECIPE | {"init": str(weights)})
    dataset = open_dataset(config, data)
    tuning = read_json(RESULTS / "baselines.json")["probe"]["tuning"]
    features, catalog = pooled_features(config, dataset), dataset.catalog
    used = np.sort(np.concatenate([dataset.parts[name] for name in ("train", "val", "test")]))
    known = right_over_folds(RESULTS / "baselines.csv")
    paths, labels = np.array(catalog.paths)[used], catalog.labels[used]
    right = np.array([known.get(path, np.nan) for path in paths.tolist()], float)
    c = tuning["selection"]["C"]
    about = labels, dataset.groups[used], source_of(paths, labels), right
    rows = hold_out(features[used], *about, c)
    return measurement(config, dataset.describe(), C=c, rows=rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m notebooks.results.sources")
    for name in ("data", "weights"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    try:
        write_json(RESULTS / "sources.json", measure(options.data, options.weights))
    except InputError as error:
        sys.exit(f"error: {error}")
