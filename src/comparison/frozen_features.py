"""Average-pooled features of frozen ImageNet weights: what a linear probe looks at.

About 0.1 s an image on one core at 224 px, so they are kept in the cache, a few hundred images a
file: a run that was stopped goes on from the last of them.
"""

import contextlib
import hashlib
from types import SimpleNamespace

import numpy as np

from src.common.cache import cache_folder, progress
from src.common.files import atomic_write
from src.config import ExperimentConfig
from src.data.augment import scale
from src.data.dataset import Dataset
from src.xception.weights import digest, initial_weights

PIECE = 256  # images a file
BATCH = 32  # images a forward pass
BLOCK = "block13"  # the last one that the partial ImageNet file reaches


def pooled_features(
    twin: SimpleNamespace, config: ExperimentConfig, dataset: Dataset, block: str = BLOCK
) -> np.ndarray:
    """Return (N, C) float32: `block`'s maps averaged over the image, of every image of a dataset.

    Args:
        twin: from `src.experiment.load_twin`; its runtime is configured here.
        config: its weights, image size and precision decide.
        dataset: opened for the same config.
        block: "block1" to "block14".
    Raises:
        InputError: the weights cannot be had, or the cache cannot be written.
    """
    weights = initial_weights(config)
    model = None
    pieces = []
    key = _key(twin, config, dataset, digest(weights), block)
    starts = range(0, len(dataset.catalog), PIECE)
    for start in progress(starts, len(starts), f"Features of {block}", "piece"):
        rows = np.arange(start, min(start + PIECE, len(dataset.catalog)))
        store = cache_folder("features") / f"{key}-{start:06}.npy"
        piece = _read(store, len(rows))
        if piece is None:
            if model is None:
                twin.runtime.configure(config)
                model = twin.model.build_model(config, weights)
            piece = _pool(twin, model, config, dataset, rows, block)
            with atomic_write(store) as temporary:
                np.save(temporary, piece)
        pieces.append(piece)
    return np.concatenate(pieces)


def _pool(twin, model, config, dataset: Dataset, rows: np.ndarray, block: str) -> np.ndarray:
    pooled = []
    for start in range(0, len(rows), BATCH):
        gray = scale(dataset.pixels[rows[start : start + BATCH]])
        images = np.repeat(gray[..., None], 3, axis=3)
        maps = twin.model.block_output(model, config, images, block)  # (B, s, s, C)
        pooled.append(maps.mean(axis=(1, 2), dtype=np.float32))
    return np.concatenate(pooled)


def _key(twin, config: ExperimentConfig, dataset: Dataset, weights: str, block: str) -> str:
    """Name everything that decides the numbers."""
    words = (twin.model.__name__, weights, block, config.precision, *config.framework_defaults)
    words += (config.image_size, dataset.catalog.fingerprint, config.bn_epsilon)
    return hashlib.sha256(repr(words).encode()).hexdigest()[:24]


def _read(store, count: int) -> np.ndarray | None:
    """Return what was stored, or None where that is missing or damaged."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        with store.open("rb") as file:
            piece = np.load(file, allow_pickle=False)
        if piece.ndim == 2 and len(piece) == count and np.isfinite(piece).all():
            return piece
    return None
