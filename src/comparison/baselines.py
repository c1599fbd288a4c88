"""What a score must beat: baselines on the same parts as the twins, from majority to linear probe.

They learn from the training part alone. None has a choice to make, so validation is not used.
"""

import csv
import dataclasses
import hashlib
import warnings
from pathlib import Path

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from src.common.cache import cache_folder, progress
from src.common.files import atomic_write
from src.config import CLASS_NAMES, ExperimentConfig
from src.data.audit.shortcuts import nearest, neighbour_pixels, shortcut_features
from src.data.augment import scale, to_rgb
from src.data.dataset import Dataset
from src.data.duplicates.thumbnails import Thumbnails
from src.data.splits.folds import FOLDS
from src.data.splits.split import split_catalog
from src.evaluation.intervals import group_intervals
from src.experiment import load_twin
from src.feature_cache.cache import FeatureMap
from src.feature_cache.plan import layers_up_to
from src.xception.weights import digest, initial_weights

PROBE = "linear probe"
NEIGHBOUR = "1-nn 32x32"
BASELINES = ("majority", "border", "thumbnail 8x8", NEIGHBOUR, PROBE)
SMALL_FOLDS = 10  # to show how much the accuracy on single tenths varies
BATCH = 32  # images per forward pass
BLOCK = "block13"  # the last one in the partial ImageNet file


def measure_baselines(
    dataset: Dataset, thumbnails: Thumbnails, features: np.ndarray, config: ExperimentConfig
) -> tuple[dict, list[dict]]:
    """Score every baseline on the official split and on the five clean folds, single and pooled.

    Args:
        dataset: N images, opened for `config`.
        thumbnails: theirs.
        features: (N, C) float32, of frozen weights, for the probe.
        config: its seed and `val_fraction` decide the parts.
    Returns:
        {"official", "fold 0" .. "fold 4", "pooled"} -> baseline -> {count, groups, and what
        `src.evaluation.intervals.group_intervals` returns}, with "probe tenths", the probe's
        accuracies on ten folds of the clean groups; and one row per image and cut.
    """
    labels, paths = dataset.catalog.labels, dataset.catalog.paths
    pixels = neighbour_pixels(thumbnails)
    inputs = {"majority": pixels, NEIGHBOUR: pixels, PROBE: features}
    inputs |= shortcut_features(thumbnails)
    cuts = {"official": ("official", -1)} | {f"fold {k}": ("clean", k) for k in range(FOLDS)}
    scores, rows, folds = {}, [], []
    for cut, (kind, fold) in progress(cuts.items(), len(cuts), "Baselines", "split"):
        split = split_catalog(dataset.catalog, dataclasses.replace(config, split=kind, fold=fold))
        train, test = split.parts["train"], split.parts["test"]
        groups = split.groups[test]
        probs = {name: _predict(name, inputs[name], labels, train, test) for name in BASELINES}
        scores[cut] = _score_all(labels[test], groups, probs)
        if kind == "clean":
            folds.append((labels[test], groups, np.array(list(probs.values()))))
        for index, row in enumerate(test):
            answers = {name: CLASS_NAMES[probs[name][index].argmax()] for name in BASELINES}
            about = {"path": paths[row], "label": CLASS_NAMES[labels[row]]}
            rows.append({"split": cut, **about, "group": int(groups[index]), **answers})
    fold_labels, fold_groups, fold_probs = zip(*folds)
    pooled = dict(zip(BASELINES, np.concatenate(fold_probs, axis=1)))
    scores["pooled"] = _score_all(np.concatenate(fold_labels), np.concatenate(fold_groups), pooled)
    scores["probe tenths"] = _tenths(features, labels, split.groups, split.parts)
    return scores, rows


def write_rows(path: Path, rows: list[dict]) -> None:
    """Write every baseline's answer for every test image, as CSV."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def baselines_table(scores: dict) -> str:
    """Return accuracies as a Markdown table, one row per baseline."""
    lines = [
        "| baseline | official | clean, five folds pooled | single folds |",
        "|---|---:|---:|---:|",
    ]
    for name in BASELINES:
        official, pooled = (_span(scores[cut][name]["accuracy"]) for cut in ("official", "pooled"))
        folds = [scores[f"fold {k}"][name]["accuracy"]["value"] for k in range(FOLDS)]
        lines.append(f"| {name} | {official} | {pooled} | {min(folds):.1%} to {max(folds):.1%} |")
    return "\n".join(lines)


def _span(rate: dict[str, float]) -> str:
    return f"{rate['value']:.1%} ({rate['low']:.1%} to {rate['high']:.1%})"


def _predict(
    name: str, values: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Return a baseline's probabilities (M, 4) of the rows `test`, learnt from the rows `train`."""
    if name == NEIGHBOUR:
        return np.eye(len(CLASS_NAMES))[labels[train][nearest(values[train], values[test])]]
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    model = DummyClassifier(strategy="prior") if name == "majority" else logistic
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a baseline need not have converged to the last digit
        model.fit(values[train], labels[train])
    probs = np.zeros((len(test), len(CLASS_NAMES)))
    probs[:, model.classes_] = model.predict_proba(values[test])
    return probs


def _score_all(labels: np.ndarray, groups: np.ndarray, probs: dict[str, np.ndarray]) -> dict:
    counts = {"count": len(labels), "groups": len(np.unique(groups))}
    return {name: counts | group_intervals(labels, probs[name], groups) for name in BASELINES}


def _tenths(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, parts: dict) -> list:
    """Return the probe's accuracy on each tenth of the clean groups."""
    rows = np.sort(np.concatenate(list(parts.values())))
    cutter = StratifiedGroupKFold(SMALL_FOLDS, shuffle=True, random_state=0)
    accuracies = []
    for train, test in cutter.split(rows, labels[rows], groups[rows]):
        probs = _predict(PROBE, features, labels, rows[train], rows[test])
        accuracies.append(float((probs.argmax(axis=1) == labels[rows[test]]).mean()))
    return accuracies


def pooled_features(config: ExperimentConfig, dataset: Dataset) -> np.ndarray:
    """Return (N, C) float32: PyTorch's outputs of BLOCK, averaged over each image of a dataset.

    The weights, image size and precision of `config` decide. Features are kept in the cache batch
    by batch, so an interrupted pass goes on where it stopped.

    Raises:
        InputError: the weights cannot be had, or the cache cannot be written.
    """
    weights = initial_weights(config)
    about = (BLOCK, digest(weights), config.precision, config.restore_defaults, config.bn_epsilon)
    about += (config.image_size, dataset.catalog.fingerprint)
    path = cache_folder("features") / f"{hashlib.sha256(repr(about).encode()).hexdigest()[:24]}.bin"
    rows = np.arange(len(dataset.catalog))
    cache = FeatureMap(path, len(rows), (layers_up_to(BLOCK)[-1].outputs,), "<f4")
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    if missing := [batch for batch in batches if "" in cache.makers(batch)]:
        twin = load_twin("pt")
        twin.runtime.configure(config)
        model = twin.model.build_model(config, weights)
        for batch in progress(missing, len(missing), f"Features of {BLOCK}", "batch"):
            images = to_rgb(scale(dataset.pixels[batch]))
            maps = twin.model.block_output(model, images, BLOCK)  # (B, s, s, C)
            cache.write(batch, maps.mean(axis=(1, 2), dtype=np.float32), "pt")
    return np.stack([cache.output(row) for row in rows])
