"""The network in two halves: what comes before a stage's trainable blocks, and the rest."""

import keras
import numpy as np

from src.config import ExperimentConfig
from src.feature_cache.cache import Compute, Prefix, find_prefix
from src.tf.model import XceptionClassifier, block_end, get_weights


def open_prefix(model: XceptionClassifier, config: ExperimentConfig, stage: int) -> Prefix | None:
    """Return the frozen prefix whose outputs `stage` takes from the cache; None without one.

    Twin: `src.pt.feature_cache.open_prefix`.
    """
    return find_prefix(
        config,
        stage,
        "tf",
        lambda: get_weights(model, config),
        lambda block: prefix_function(model, config, block),
    )


def prefix_function(model: XceptionClassifier, config: ExperimentConfig, block: str) -> Compute:
    """Return the function from images (B, S, S, 3) to what `tail` begins with.

    It gives `block`'s output (B, s, s, C), channels last in both twins, or the pooled features
    (B, 2048) after block14; float64 in that precision, else float32.
    Twin: `src.pt.feature_cache.prefix_function`.
    """
    first = keras.Model(model.input, _end(model, block))

    def compute(images: np.ndarray) -> np.ndarray:
        # A graph, as in `fit`: run layer by layer, TensorFlow rounds otherwise.
        return first.predict_on_batch(images).astype(keras.config.floatx())

    return compute


def tail(model: XceptionClassifier, config: ExperimentConfig, block: str) -> XceptionClassifier:
    """Return the network from `block`'s output on, which shares its layers with `model`.

    Twin: `src.pt.feature_cache.tail`.
    """
    return XceptionClassifier(_end(model, block), model.output, name="xception_tail")


def _end(model: XceptionClassifier, block: str):
    """Return the symbolic tensor that the tail begins with."""
    return model.get_layer("head_pool").output if block == "block14" else block_end(model, block)
