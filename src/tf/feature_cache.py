"""The network in two halves: the blocks that a stage leaves frozen, and the rest."""

from functools import cache

import keras
import numpy as np

from src.feature_cache.cache import Compute
from src.tf.model import XceptionClassifier, block_end


def block_function(model: XceptionClassifier, block: str) -> Compute:
    """Return the function from images (B, S, S, 3) to what `after_block` begins with.

    It gives `block`'s output (B, s, s, C), channels last in both twins, or the pooled features
    (B, 2048) after block14; float64 in that precision, else float32.
    Twin: `src.pt.feature_cache.block_function`.
    """

    @cache
    def first(_side: int) -> keras.Model:
        return keras.Model(model.input, _end(model, block))

    def compute(images: np.ndarray) -> np.ndarray:
        # A graph, as in `fit`: run layer by layer, TensorFlow rounds otherwise. One for each side:
        # after a second one Keras makes it a graph for any side, which rounds otherwise, too.
        return first(images.shape[1]).predict_on_batch(images).astype(keras.config.floatx())

    return compute


def after_block(model: XceptionClassifier, block: str) -> XceptionClassifier:
    """Return the network from `block`'s output on, which shares its layers with `model`.

    Twin: `src.pt.feature_cache.after_block`.
    """
    return XceptionClassifier(_end(model, block), model.output, model.config, name="xception_rest")


def _end(model: XceptionClassifier, block: str):
    """Return the symbolic tensor that `after_block` begins with."""
    return model.get_layer("head_pool").output if block == "block14" else block_end(model, block)
