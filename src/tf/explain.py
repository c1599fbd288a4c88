"""Heat maps: which part of an image spoke for a class."""

import keras
import numpy as np
import tensorflow as tf

from src.evaluation.localisation import check_method
from src.tf.model import XceptionClassifier, block_end

BATCH = 16  # images at a time; bounds the memory


def heat_maps(
    model: XceptionClassifier,
    images: np.ndarray,
    classes: np.ndarray,
    block: str,
    method: str,
) -> np.ndarray:
    """Return for each image a map of what speaks for one class.

    The block's channels, weighted by the gradient of the class's logit and summed; what speaks
    against the class is cut off at 0. Methods differ in a channel's weight: its mean gradient
    (Grad-CAM), the gradient at each place (HiResCAM), or the mean of the positive gradients with
    more weight where they are large (Grad-CAM++).

    Args:
        model: from `build_model`; used in inference mode.
        images: (N, S, S, 3) float32 in [-1, 1].
        classes: (N,) integers, the class that each map is for.
        block: "block1" to "block14"; the last is nearest to the decision, and coarsest.
        method: one of `src.evaluation.localisation.METHODS`.
    Returns:
        (N, s, s), at the resolution of the block, in units of the logit (but by Grad-CAM++);
        float64 in that precision, else float32. `src.evaluation.localisation.enlarge` brings it to
        the image's resolution.
    Raises:
        ValueError: there is no such method.
    Source: Selvaraju et al. 2017, arXiv:1610.02391; Draelos & Carin 2020, arXiv:2011.08891
    (HiResCAM); Chattopadhyay et al. 2018, arXiv:1710.11063, equation 19 (Grad-CAM++).
    Twin: `src.pt.explain.heat_maps`.
    """
    check_method(method)
    both = keras.Model(model.input, [block_end(model, block), model.output])
    maps = []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        maps.append(_one_batch(both, images[part], classes[part], method))
    return np.concatenate(maps)


def _one_batch(
    both: keras.Model, images: np.ndarray, classes: np.ndarray, method: str
) -> np.ndarray:
    with tf.GradientTape() as tape:
        maps, logits = both(images, training=False)  # (B, s, s, C), (B, K)
        chosen = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
    weights = _channel_weights(tape.gradient(chosen, maps), maps, method)
    cam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=3))  # (B, s, s)
    return keras.ops.convert_to_numpy(keras.ops.cast(cam, keras.config.floatx()))


def _channel_weights(gradient: tf.Tensor, maps: tf.Tensor, method: str) -> tf.Tensor:
    """(B, s, s, C) twice -> (B, 1, 1, C), or (B, s, s, C) for HiResCAM."""
    if method == "hirescam":
        return gradient
    if method == "grad-cam":
        return tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
    divisor = 2 * gradient**2 + tf.reduce_sum(maps, axis=(1, 2), keepdims=True) * gradient**3
    alpha = tf.math.divide_no_nan(gradient**2, divisor)
    return tf.reduce_sum(alpha * tf.nn.relu(gradient), axis=(1, 2), keepdims=True)
