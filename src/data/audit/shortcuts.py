"""Scores without the lesion: simple classifiers on what should carry no information.

A split on which these score high measures memory, or how the classes were collected.
"""

import warnings
from functools import partial

import numpy as np
from scipy.ndimage import binary_fill_holes, distance_transform_edt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from src.common.cache import progress
from src.data.catalog import Catalog
from src.data.duplicates.thumbnails import Thumbnails, background

SIDE = 32  # px
NEIGHBOUR, SKULL = "1-nn 32x32", "scalp and skull"
RIM = 6  # px of a head thumbnail's 64: about how thick scalp and skull are together


def score_shortcuts(
    thumbnails: Thumbnails, catalog: Catalog, splits: dict[str, dict[str, np.ndarray]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return split -> baseline -> accuracy, balanced_accuracy, and notumor_auroc, if it is a class.

    Args:
        thumbnails, catalog: of the same images.
        splits: name -> {"train", "test", ...} -> rows.
    """
    inputs = shortcut_features(thumbnails) | {NEIGHBOUR: neighbour_pixels(thumbnails)}
    jobs = [(split, name) for split in splits for name in inputs]
    scores: dict[str, dict] = {split: {} for split in splits}
    labels, classes = catalog.labels, catalog.classes
    notumor = classes.index("notumor") if "notumor" in classes else -1
    logistic = partial(_logistic, notumor=notumor)
    for split, name in progress(jobs, len(jobs), "Shortcuts", "baseline"):
        train, test = splits[split]["train"], splits[split]["test"]
        values, score = inputs[name], _nearest if name == NEIGHBOUR else logistic
        with warnings.catch_warnings():
            # Of a class without test images.
            warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
            scores[split][name] = score(values[train], labels[train], values[test], labels[test])
    return scores


def shortcut_features(thumbnails: Thumbnails) -> dict[str, np.ndarray]:
    """Return name -> (N, F) float32: histogram, border pixels, scalp and skull, 8x8 thumbnail."""
    border = np.pad(np.zeros((SIDE - 2, SIDE - 2), bool), 1, constant_values=True).ravel()
    return {
        "histogram": thumbnails.histogram,
        "border": neighbour_pixels(thumbnails)[:, border] / 255,
        SKULL: np.stack([_rim(head) for head in thumbnails.head]),
        "thumbnail 8x8": neighbour_pixels(thumbnails, 8) / 255,
    }


def _rim(head: np.ndarray) -> np.ndarray:
    """Return (9,) float32: the deciles of the gray tones in the outer RIM pixels of a head.

    Where nothing is brighter than background, those of the whole image.
    """
    mask = binary_fill_holes(head > background(head))
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    rim = head[(depth > 0) & (depth <= RIM)]
    deciles = np.percentile(rim if len(rim) else head, np.arange(10, 100, 10))
    return (deciles / 255).astype(np.float32)


def neighbour_pixels(thumbnails: Thumbnails, side: int = SIDE) -> np.ndarray:
    """Return (N, side*side) float32, shrunk to block means: what the nearest neighbour compares."""
    images, step = thumbnails.whole, thumbnails.whole.shape[1] // side
    blocks = images.reshape(len(images), side, step, side, step)
    return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(len(images), -1)


def nearest(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return, for each row of `new`, the nearest row of `known` by Euclidean distance."""
    lengths = np.einsum("nf,nf->n", known, known)
    blocks = [new[start : start + 512] for start in range(0, len(new), 512)]
    return np.concatenate([(lengths - 2 * block @ known.T).argmin(axis=1) for block in blocks])


def fit_simple(values: np.ndarray, labels: np.ndarray) -> Pipeline:
    """Return logistic regression on standardised `values` (N, F), fitted to `labels` (N,)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    with threadpool_limits(1):
        # Small products: threads that wait for one another cost more than they bring.
        return model.fit(values, labels)


def _nearest(known: np.ndarray, answers: np.ndarray, new: np.ndarray, truth: np.ndarray) -> dict:
    return _rates(truth, answers[nearest(known, new)])


def _logistic(
    known: np.ndarray, answers: np.ndarray, new: np.ndarray, truth: np.ndarray, notumor: int
) -> dict:
    model = fit_simple(known, answers)
    probs = model.predict_proba(new)
    rates = _rates(truth, model.classes_[probs.argmax(axis=1)])
    if notumor in model.classes_ and 0 < (truth == notumor).mean() < 1:
        of_notumor = probs[:, model.classes_ == notumor].ravel()
        rates["notumor_auroc"] = float(roc_auc_score(truth == notumor, of_notumor))
    return rates


def _rates(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    balanced = balanced_accuracy_score(truth, predicted)
    return {"accuracy": float((truth == predicted).mean()), "balanced_accuracy": float(balanced)}
