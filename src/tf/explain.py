"""Grad-CAM: which part of an image spoke for a class."""

import keras
import numpy as np
import tensorflow as tf

from src.tf.model import XceptionClassifier, block_end

BATCH = 16  # images at a time; bounds the memory


def grad_cam(
    model: XceptionClassifier,
    images: np.ndarray,
    classes: np.ndarray | None = None,
    block: str = "block14",
) -> np.ndarray:
    """Return for each image a map of what speaks for one class.

    The block's channels, each weighted by the mean gradient of the class's logit over it, summed;
    what speaks against the class is cut off at 0.

    Args:
        model: from `build_model`; used in inference mode.
        images: (N, S, S, 3) float32 in [-1, 1].
        classes: (N,) integers, for which class; by default the one predicted.
        block: "block1" to "block14"; the last is nearest to the decision, and coarsest.
    Returns:
        (N, s, s), at the resolution of the block, in units of the logit; float64 in that
        precision, else float32. `src.evaluation.localisation.enlarge` brings it to the image's.
    Source: Selvaraju et al. 2017, arXiv:1610.02391.
    Twin: `src.pt.explain.grad_cam`.
    """
    both = keras.Model(model.input, [block_end(model, block), model.output])
    maps = []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        maps.append(_one_batch(both, images[part], None if classes is None else classes[part]))
    return np.concatenate(maps)


def _one_batch(both: keras.Model, images: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
    with tf.GradientTape() as tape:
        maps, logits = both(images, training=False)  # (B, s, s, C), (B, K)
        if classes is None:
            classes = tf.argmax(logits, axis=1)
        chosen = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
    weights = tf.reduce_mean(tape.gradient(chosen, maps), axis=(1, 2), keepdims=True)
    cam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=3))  # (B, s, s)
    return keras.ops.convert_to_numpy(keras.ops.cast(cam, keras.config.floatx()))
