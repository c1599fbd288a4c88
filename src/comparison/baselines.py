"""What a score must beat: baselines on the same parts as the twins, from majority to linear probe.

They learn from the training part alone. The probe has a choice to make, how strongly it is
regularised, and makes it on the selection part.
"""

import dataclasses
import warnings
from collections.abc import Sequence
from functools import partial

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from src.common.cache import progress
from src.common.errors import InputError
from src.common.tables import markdown_table
from src.config import CLASS_NAMES, ExperimentConfig
from src.data.audit.shortcuts import (
    NEIGHBOUR,
    SKULL,
    fit_simple,
    nearest,
    neighbour_pixels,
    shortcut_features,
)
from src.data.dataset import Dataset
from src.data.duplicates.thumbnails import Thumbnails
from src.data.splits.folds import FOLDS, SELECTION, SELECTION_FOLD
from src.data.splits.split import Split, split_catalog
from src.evaluation.intervals import group_intervals
from src.evaluation.metrics import score
from src.experiment import load_twin
from src.feature_cache.cache import open_cache
from src.xception.weights import initial_weights

PROBE = "linear probe"
BASELINES = ("majority", "border", SKULL, "thumbnail 8x8", NEIGHBOUR, PROBE)
SMALL_FOLDS = 10  # to show how much the accuracy on single tenths varies
BLOCK = "block13"  # the last one in the partial ImageNet file
# Of the probe: the inverse strengths of regularisation to choose from, and when its solver stops:
# with every derivative of its loss, a mean over images, below `tol`.
PROBE_C = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
PROBE_SOLVER = {"solver": "lbfgs", "tol": 1e-6, "max_iter": 10_000}


def measure_baselines(
    dataset: Dataset, thumbnails: Thumbnails, features: np.ndarray, config: ExperimentConfig
) -> tuple[dict, list[dict], dict]:
    """Score every baseline on the official split and on the five clean folds, single and pooled.

    Args:
        dataset: N images, opened for `config`.
        thumbnails: theirs.
        features: (N, C) float32, of frozen weights, for the probe.
        config: its seed and `val_fraction` decide the parts.
    Returns:
        {"official", "fold 0" .. "fold 4", "pooled"} -> baseline -> {count, groups, and what
        `src.evaluation.intervals.group_intervals` returns}, with "probe tenths", the probe's
        accuracies on ten folds of the clean groups, the selection part left out; one row per image
        and cut; and what the probe was: the grid, the solver, `tuning` (see `_tune`) and the
        `iterations` of each cut.
    Raises:
        InputError: the probe did not converge.
    """
    labels, paths = dataset.catalog.labels, dataset.catalog.paths
    classes = dataset.catalog.classes
    pixels = neighbour_pixels(thumbnails)
    inputs = {"majority": pixels, NEIGHBOUR: pixels} | shortcut_features(thumbnails)
    cuts = {"official": ("official", -1)} | {f"fold {k}": ("clean", k) for k in range(FOLDS)}
    splits = {
        cut: split_catalog(dataset.catalog, dataclasses.replace(config, split=kind, fold=fold))
        for cut, (kind, fold) in cuts.items()
    }
    tuning = _tune(dataset, features, config, splits)
    scores, rows, folds, iterations = {}, [], [], {}
    for cut, split in progress(splits.items(), len(splits), "Baselines", "split"):
        train, test = split.parts["train"], split.parts["test"]
        groups = split.groups[test]
        probs = {
            name: _predict(name, inputs[name], labels, train, test)
            for name in BASELINES
            if name in inputs
        }
        chosen = tuning.get(SELECTION) or tuning[cut]
        probe = fit_probe(features[train], labels[train], chosen["C"])
        iterations[cut] = int(probe[-1].n_iter_[0])
        probs[PROBE] = _probabilities(probe, features[test], len(classes))
        scores[cut] = _score_all(labels[test], groups, probs, classes)
        if cut != "official":
            folds.append((labels[test], groups, np.array(list(probs.values()))))
        for index, row in enumerate(test):
            answers = {name: classes[probs[name][index].argmax()] for name in BASELINES}
            about = {"path": paths[row], "label": classes[labels[row]]}
            rows.append({"split": cut, **about, "group": int(groups[index]), **answers})
    fold_labels, fold_groups, fold_probs = zip(*folds)
    pooled = dict(zip(BASELINES, np.concatenate(fold_probs, axis=1)))
    everyone = np.concatenate(fold_labels), np.concatenate(fold_groups)
    scores["pooled"] = _score_all(*everyone, pooled, classes)
    scores["probe tenths"] = _tenths(features, labels, split, chosen["C"])
    probe = {"grid": PROBE_C, **PROBE_SOLVER, "tuning": tuning, "iterations": iterations}
    return scores, rows, probe


def baselines_table(scores: dict) -> str:
    """Return accuracies as a Markdown table, one row per baseline."""
    lines = []
    for name in BASELINES:
        rates = (_span(scores[cut][name]["accuracy"]) for cut in ("official", "pooled"))
        folds = [scores[f"fold {k}"][name]["accuracy"]["value"] for k in range(FOLDS)]
        lines.append([name, *rates, f"{min(folds):.1%} to {max(folds):.1%}"])
    head = ("baseline", "official", "clean, five folds pooled", "single folds")
    return markdown_table(head, lines)


def _span(rate: dict[str, float | None]) -> str:
    interval = "" if rate["low"] is None else f" ({rate['low']:.1%} to {rate['high']:.1%})"
    return f"{rate['value']:.1%}{interval}"


def _predict(
    name: str, values: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Return a baseline's probabilities (M, K) of the rows `test`, learnt from the rows `train`."""
    if name == NEIGHBOUR:
        return np.eye(labels.max() + 1)[labels[train][nearest(values[train], values[test])]]
    fit = DummyClassifier(strategy="prior").fit if name == "majority" else fit_simple
    model = fit(values[train], labels[train])
    return _probabilities(model, values[test], labels.max() + 1)


def _probabilities(
    model: DummyClassifier | Pipeline, values: np.ndarray, class_count: int
) -> np.ndarray:
    """Return (M, K), 0 for a class that the model has not seen."""
    probs = np.zeros((len(values), class_count))
    probs[:, model.classes_] = model.predict_proba(values)
    return probs


def fit_probe(features: np.ndarray, labels: np.ndarray, c: float) -> Pipeline:
    """Return logistic regression on standardised `features` (N, C), fitted to convergence.

    Args:
        features: float32; converted to float64, in which the solver can reach its tolerance.
        labels: (N,) integers.
        c: the inverse strength of the L2 penalty, scikit-learn's C.
    Raises:
        InputError: it did not converge.
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=c, **PROBE_SOLVER))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            return probe.fit(features.astype(np.float64), labels)
    except ConvergenceWarning as warning:
        raise InputError(
            f"The linear probe did not converge with C={c:g} on {len(labels)} images: "
            f"{str(warning).splitlines()[0]} Look for features that are constant or huge."
        ) from warning


def tune_probe(
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    classes: Sequence[str] = CLASS_NAMES,
) -> dict:
    """Choose the probe's C of `PROBE_C` by its accuracy on the rows `test`; ties by log loss.

    Returns:
        C, images (of `test`), and `scores`: {C, accuracy, log_loss, iterations} of each.
    Raises:
        InputError: a fit on the rows `train` did not converge.
    """
    scores = []
    for c in progress(PROBE_C, len(PROBE_C), "Tuning the linear probe", "fit"):
        probe = fit_probe(features[train], labels[train], c)
        probs = _probabilities(probe, features[test], len(classes))
        measured = score(labels[test], probs, classes)
        kept = {name: measured[name] for name in ("accuracy", "log_loss")}
        scores.append({"C": c, **kept, "iterations": int(probe[-1].n_iter_[0])})
    best = min(scores, key=lambda each: (-each["accuracy"], each["log_loss"]))
    return {"C": best["C"], "images": len(test), "scores": scores}


def _tune(
    dataset: Dataset, features: np.ndarray, config: ExperimentConfig, splits: dict[str, Split]
) -> dict[str, dict]:
    """Choose C on the selection part, from the rows that its fold trains on, for all cuts.

    Images without a selection part choose for each cut on its validation part.

    Returns:
        "selection", or each cut -> what `tune_probe` returns.
    """
    catalog = dataset.catalog
    tune = partial(tune_probe, features, catalog.labels, classes=catalog.classes)
    if len(splits["fold 0"].aside.get(SELECTION, ())):
        clean = dataclasses.replace(config, split="clean", fold=SELECTION_FOLD)
        parts = split_catalog(catalog, clean).parts
        return {SELECTION: tune(parts["train"], parts["test"])}
    return {cut: tune(each.parts["train"], each.parts["val"]) for cut, each in splits.items()}


def _score_all(
    labels: np.ndarray, groups: np.ndarray, probs: dict[str, np.ndarray], classes: Sequence[str]
) -> dict:
    counts = {"count": len(labels), "groups": len(np.unique(groups))}
    intervals = partial(group_intervals, labels, groups=groups, classes=classes)
    return {name: counts | intervals(probs[name]) for name in BASELINES}


def _tenths(features: np.ndarray, labels: np.ndarray, split: Split, c: float) -> list[float]:
    """Return the probe's accuracy on each tenth of the clean groups."""
    rows = np.sort(np.concatenate(list(split.parts.values())))
    rows = np.setdiff1d(rows, split.aside.get(SELECTION, ()))
    cutter = StratifiedGroupKFold(SMALL_FOLDS, shuffle=True, random_state=0)
    accuracies = []
    for train, test in cutter.split(rows, labels[rows], split.groups[rows]):
        probe = fit_probe(features[rows[train]], labels[rows[train]], c)
        accuracies.append(float(probe.score(features[rows[test]], labels[rows[test]])))
    return accuracies


def pooled_features(config: ExperimentConfig, dataset: Dataset) -> np.ndarray:
    """Return (N, C) float32: BLOCK's outputs, averaged over each image of a dataset.

    They come from the feature cache, which runs that leave BLOCK frozen fill too; PyTorch computes
    those that are missing. The weights, image size and precision of `config` decide.

    Raises:
        InputError: the weights cannot be had, or the cache cannot be used.
    """
    twin = load_twin("pt")
    twin.runtime.configure(config)
    model = twin.model.build_model(config, initial_weights(config))
    compute = twin.feature_cache.block_function(model, BLOCK)
    cache = open_cache(BLOCK, config, "pt", twin.model.get_weights(model), compute)
    everything = dataset.with_parts({"all": np.arange(len(dataset.catalog))}).batches("all")
    batches = cache.batches(everything)
    outputs = (batches.batch(0, index)[0] for index in range(len(batches)))  # (B, s, s, C) each
    return np.concatenate([maps.mean(axis=(1, 2), dtype=np.float32) for maps in outputs])
