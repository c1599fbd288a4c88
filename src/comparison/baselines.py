"""What a score must beat: baselines on the same parts as the twins, from majority to linear probe.

They learn from the training part alone. None has a choice to make, so validation is not used.
"""

import contextlib
import csv
import dataclasses
import hashlib
import importlib.metadata
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from src.common import hardware
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
from src.xception.weights import digest, initial_weights

PROBE = "linear probe"
NEIGHBOUR = "1-nn 32x32"
BASELINES = ("majority", "border", "thumbnail 8x8", NEIGHBOUR, PROBE)
SMALL_FOLDS = 10  # to show how much the accuracy on single tenths varies
BATCH = 32  # images per forward pass
BLOCK = "block13"  # the last one in the partial ImageNet file
_Fit = Callable[[np.ndarray, np.ndarray], np.ndarray]  # train rows, test rows -> (M, 4) probs


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
    labels = dataset.catalog.labels
    fits = _fits(thumbnails, features, labels)
    cuts = {"official": ("official", -1)} | {f"fold {k}": ("clean", k) for k in range(FOLDS)}
    scores: dict = {}
    rows: list[dict] = []
    pooled: dict[str, list[tuple]] = {name: [] for name in BASELINES}
    for cut, (kind, fold) in progress(cuts.items(), len(cuts), "Baselines", "split"):
        cut_config = dataclasses.replace(config, split=kind, fold=fold)
        split = split_catalog(dataset.catalog, cut_config)
        train, test = split.parts["train"], split.parts["test"]
        groups = split.groups[test]
        probs = {name: fits[name](train, test) for name in BASELINES}
        scores[cut] = {name: _scored(labels[test], probs[name], groups) for name in BASELINES}
        for name in BASELINES if kind == "clean" else ():
            pooled[name].append((labels[test], probs[name], groups))
        for index, row in enumerate(test):
            answers = {name: CLASS_NAMES[probs[name][index].argmax()] for name in BASELINES}
            about = {"path": dataset.catalog.paths[row], "label": CLASS_NAMES[labels[row]]}
            rows.append({"split": cut, **about, "group": int(groups[index]), **answers})
    scores["pooled"] = {
        name: _scored(*(np.concatenate(column) for column in zip(*pooled[name])))
        for name in BASELINES
    }
    scores["probe tenths"] = _tenths(fits[PROBE], labels, split.groups, split.parts)
    return scores, rows


def baselines_record(
    scores: dict, dataset: Dataset, config: ExperimentConfig, weights: str
) -> dict:
    """Return the scores with the images, weights and versions that they were measured on."""
    return {
        "scores": scores,
        "init": Path(config.init).name,
        "weights_sha256": weights,
        "reinit": list(config.reinit),
        "image_size": config.image_size,
        "seed": config.seed,
        "dataset": dataset.describe(),
        "versions": {
            name: importlib.metadata.version(name) for name in ("numpy", "scikit-learn", "torch")
        },
        "hardware": hardware.describe(None),
        "commit": hardware.commit(),
    }


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


def _fits(thumbnails: Thumbnails, features: np.ndarray, labels: np.ndarray) -> dict[str, _Fit]:
    simple = shortcut_features(thumbnails)
    pixels = neighbour_pixels(thumbnails)

    def majority(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        share = np.bincount(labels[train], minlength=len(CLASS_NAMES)) / len(train)
        return np.tile(share, (len(test), 1))

    def neighbour(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return np.eye(len(CLASS_NAMES))[labels[train][nearest(pixels[train], pixels[test])]]

    def linear(values: np.ndarray) -> _Fit:
        return lambda train, test: _logistic(values[train], labels[train], values[test])

    fits = {name: linear(simple[name]) for name in ("border", "thumbnail 8x8")}
    return fits | {"majority": majority, NEIGHBOUR: neighbour, PROBE: linear(features)}


def _logistic(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return (M, 4) probabilities of scikit-learn's logistic regression with its defaults."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a baseline need not have converged to the last digit
        model.fit(train, labels)
    probs = np.zeros((len(test), len(CLASS_NAMES)))
    probs[:, model[-1].classes_] = model.predict_proba(test)
    return probs


def _scored(labels: np.ndarray, probs: np.ndarray, groups: np.ndarray) -> dict:
    return {
        "count": len(labels),
        "groups": len(np.unique(groups)),
        **group_intervals(labels, probs, groups),
    }


def _tenths(probe: _Fit, labels: np.ndarray, groups: np.ndarray, parts: dict) -> list[float]:
    """Return the probe's accuracy on each tenth of the clean groups."""
    rows = np.sort(np.concatenate(list(parts.values())))
    cutter = StratifiedGroupKFold(SMALL_FOLDS, shuffle=True, random_state=0)
    accuracies = []
    for train, test in cutter.split(rows, labels[rows], groups[rows]):
        probs = probe(rows[train], rows[test])
        accuracies.append(float((probs.argmax(axis=1) == labels[rows[test]]).mean()))
    return accuracies


def pooled_features(
    twin: SimpleNamespace, config: ExperimentConfig, dataset: Dataset, block: str = BLOCK
) -> np.ndarray:
    """Return (N, C) float32: `block`'s outputs averaged over each image of a dataset, cached.

    Args:
        twin: from `src.experiment.load_twin`; its runtime is configured here.
        config: its weights, image size and precision decide.
        dataset: opened for the same config.
        block: "block1" to "block14".
    Raises:
        InputError: the weights cannot be had, or the cache cannot be written.
    """
    weights = initial_weights(config)
    key = _key(twin, config, dataset, digest(weights), block)
    store = cache_folder("features") / f"{key}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):  # missing, or damaged
        return np.load(store, allow_pickle=False)
    twin.runtime.configure(config)
    model = twin.model.build_model(config, weights)
    pooled = []
    starts = range(0, len(dataset.catalog), BATCH)
    for start in progress(starts, len(starts), f"Features of {block}", "batch"):
        gray = scale(dataset.pixels[start : start + BATCH])
        images = to_rgb(gray)
        maps = twin.model.block_output(model, images, block)  # (B, s, s, C)
        pooled.append(maps.mean(axis=(1, 2), dtype=np.float32))
    features = np.concatenate(pooled)
    with atomic_write(store) as temporary:
        np.save(temporary, features)
    return features


def _key(twin, config: ExperimentConfig, dataset: Dataset, weights: str, block: str) -> str:
    """Return a name made of everything that decides the numbers."""
    parts = (twin.model.__name__, weights, block, config.precision, *config.restore_defaults)
    parts += (config.image_size, dataset.catalog.fingerprint, config.bn_epsilon)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
