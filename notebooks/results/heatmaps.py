"""What can be said of the shipped classifier's heat maps, beyond the pointing game?

    python -m notebooks.results.heatmaps DATA [MODEL]

The pointing game by class and by size of the tumour; maps while block after block, from the head
on, gets random weights; and what the answer loses without the pixels that a map marks. Of test
images whose tumour has a box in figshare: FIGSHARE_DATA names its folder. It writes `heatmaps.json`
beside this file.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image, ImageFilter
from scipy.stats import spearmanr

from notebooks.results.script import record
from src.common.cache import progress
from src.config import BLOCK_NAMES
from src.data.augment import as_input
from src.data.dataset import Dataset, open_dataset
from src.data.tumour_boxes import tumour_boxes
from src.evaluation.intervals import mean_interval
from src.evaluation.localisation import (
    BEST_BLOCKS,
    BEST_METHOD,
    box_masks,
    enlarge,
    hits_and_shares,
    joint_maps,
)
from src.experiment import load_twin
from src.records import measurement
from src.serving.backends import BATCH, OnnxBackend
from src.training.checkpoint import read_model, weights_sha256
from src.xception.weight_files import PRETRAINED
from src.xception.weights import initial_weights

EVERY = 4  # of the images with a box, where many forward passes are needed
SIZES = ("small", "medium", "large")  # thirds of the tumours, by the area of their box
STEPS = 8  # shares of the image after which the network is asked again
BLUR = 0.05  # of the side: what an image begins as, before its pixels are shown

# images (N, S, S) uint8 -> probabilities (N, K)
Predict = Callable[[np.ndarray], np.ndarray]


def hits_by_kind(
    hits: np.ndarray, inside: np.ndarray, names: np.ndarray, groups: np.ndarray
) -> list[dict]:
    """Return how often maps point into the box, by class and by size of the box.

    Args:
        hits: (N,) bool.
        inside: (N, S, S) bool, the boxes.
        names: (N,) of classes.
        groups: (N,) integers.
    """
    areas = inside.mean(axis=(1, 2))
    thirds = np.searchsorted(np.quantile(areas, (1 / 3, 2 / 3)), areas)
    sizes = np.array(SIZES)[thirds]
    centre = inside[:, inside.shape[1] // 2, inside.shape[2] // 2]
    rows = []
    for kind_of, kinds in ((names, sorted(set(names))), (sizes, SIZES)):
        for kind in kinds:
            some = kind_of == kind
            rates = {
                "hits": mean_interval(hits[some], groups[some]),
                "centre": mean_interval(centre[some], groups[some]),
            }
            rows.append({"kind": kind, "count": int(some.sum()), **rates})
    return rows


def cascade(
    twin: SimpleNamespace,
    model,
    weights: Mapping[str, np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    inside: np.ndarray,
) -> list[dict]:
    """Return what becomes of the maps while block after block, from the head on, is randomised.

    Args:
        twin: from `load_twin`; `model` is one of its networks, with `weights`.
        images: (N, S, S, 3) float32.
        labels: (N,) integers.
        inside: (N, S, S) bool, the boxes.
    Returns:
        randomised (the last block that was), correlation (mean rank correlation with the maps of
        the trained network) and hits; first of the trained network.
    Source: Adebayo et al. 2018, arXiv:1810.03292, cascading randomisation.
    """
    seed = model.config.seed + 1  # not the weights that training began with
    random = initial_weights(replace(model.config, init="scratch", reinit=(), seed=seed))
    current, rows, trained = dict(weights), [], None
    blocks = ["", "head", *reversed(BLOCK_NAMES)]
    for block in progress(blocks, len(blocks), "Randomising", "block"):
        current |= {name: random[name] for name in weights if name.split("_")[0] == block}
        twin.model.set_weights(model, current)
        maps = joint_maps(twin.explain, model, images, labels)
        trained = maps if trained is None else trained
        pairs = zip(trained.reshape(len(maps), -1), maps.reshape(len(maps), -1))
        ranks = [_rank_correlation(*pair) for pair in pairs]
        hits, _ = hits_and_shares(maps, inside)
        means = {"correlation": float(np.mean(ranks)), "hits": float(np.mean(hits))}
        rows.append({"randomised": block, **means})
    return rows


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's; 0 where a map is the same everywhere."""
    return spearmanr(one, other).statistic if np.ptp(one) and np.ptp(other) else 0.0


def deletion_and_insertion(
    predict: Predict, images: np.ndarray, scores: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the mean probability of the true class while pixels go, and while they come.

    *Deletion* makes the pixels with the highest scores black first: lower is better. *Insertion*
    begins with the blurred image, and gives it the same pixels first: higher is better.

    Args:
        predict: the network.
        images: (N, S, S) uint8.
        scores: (N, S, S), how much each pixel is said to speak for the class.
        labels: (N,) integers.
    Returns:
        {"deletion", "insertion"} -> (N,), the area under the curve over the share of pixels.
    Source: Petsiuk et al. 2018, arXiv:1806.07421.
    """
    ranks = _shares_before(scores)
    width = BLUR * images.shape[1]
    blurred = np.stack(
        [Image.fromarray(image).filter(ImageFilter.GaussianBlur(width)) for image in images]
    )
    ends = {"deletion": (images, np.zeros_like(images)), "insertion": (blurred, images)}
    areas = {}
    for name, (before, after) in ends.items():
        curve = []
        for step in range(STEPS + 1):
            shown = np.where(ranks < step / STEPS, after, before)
            curve.append(predict(shown)[np.arange(len(labels)), labels])
        areas[name] = np.trapezoid(curve, dx=1 / STEPS, axis=0)
    return areas


def _shares_before(scores: np.ndarray) -> np.ndarray:
    """Return for each pixel which share of its image has a higher score: (N, S, S) in [0, 1)."""
    flat = scores.reshape(len(scores), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    ranks = np.empty(flat.shape)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None] / flat.shape[1], axis=1)
    return ranks.reshape(scores.shape)


def faithfulness(
    predict: Predict, images: np.ndarray, maps: np.ndarray, labels: np.ndarray, groups: np.ndarray
) -> list[dict]:
    """Return deletion and insertion of maps, and of maps that know nothing.

    Args:
        predict: the network.
        images: (N, S, S) uint8.
        maps: (N, S, S).
        labels, groups: (N,) integers.
    """
    side = images.shape[1]
    x = np.arange(side) - (side - 1) / 2
    orders = {
        "heat map": maps,
        "the centre first": np.broadcast_to(-np.hypot(x[:, None], x), images.shape),
        # As coarse as a map of block12 at 224 px: single pixels would delete nothing but noise.
        "random": enlarge(np.random.default_rng(0).random((len(maps), 14, 14)), side, side),
    }
    rows = []
    for name, scores in progress(orders.items(), len(orders), "Deleting and inserting", "map"):
        areas = deletion_and_insertion(predict, images, scores, labels)
        rows.append({"order": name, **{k: mean_interval(v, groups) for k, v in areas.items()}})
    return rows


def measure(data: Path, folder: Path) -> dict:
    """Return what is recorded."""
    twin, (weights, config) = load_twin("pt"), read_model(folder)
    config = replace(config, precision="float32")  # on any machine
    twin.runtime.configure(config)
    dataset, model = open_dataset(config, data), twin.model.build_model(config, weights)
    return measurement(
        config,
        dataset.describe(),
        blocks=BEST_BLOCKS,
        method=BEST_METHOD,
        every=EVERY,
        weights_sha256=weights_sha256(folder),
        **_measured(twin, model, weights, dataset, OnnxBackend(folder)),
    )


def _measured(twin, model, weights, dataset: Dataset, backend) -> dict:
    rows, boxes = tumour_boxes(dataset)
    pixels, labels = dataset.test_pixels[rows], dataset.catalog.labels[rows]
    groups, inside = dataset.groups[rows], box_masks(boxes, pixels.shape[1])
    names = np.array(dataset.catalog.classes)[labels]
    maps = joint_maps(twin.explain, model, as_input(pixels), labels)
    hits, _ = hits_and_shares(maps, inside)
    some = slice(None, None, EVERY)

    def predict(images: np.ndarray) -> np.ndarray:
        batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
        return np.concatenate([backend.run(batch).probabilities for batch in batches])

    few = pixels[some], maps[some], labels[some]
    return {
        "pointing": hits_by_kind(hits, inside, names, groups),
        "faithfulness": faithfulness(predict, *few, groups[some]),
        "cascade": cascade(twin, model, weights, as_input(few[0]), few[2], inside[some]),
    }


if __name__ == "__main__":
    record("heatmaps", measure, "data", model=PRETRAINED)
