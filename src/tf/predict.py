"""Images -> probabilities."""

import keras
import numpy as np
from scipy.special import softmax

from src.common.clock import Clock
from src.common.progress import EpochBar
from src.tf.data import Loader, make_loader
from src.tf.model import XceptionClassifier


def predict_proba(
    model: XceptionClassifier, loader: Loader, clock: Clock | None = None
) -> np.ndarray:
    """Return class probabilities in catalogue order.

    With the config's `flip_average`, the mean of those of each image and of its mirror image.

    Args:
        model: from `build_model`; used in inference mode.
        loader: batches (B, H, W, 3) float32 in [-1, 1], RGB.
        clock: times the steps, for whoever wants the speed.
    Returns:
        (N, K) float32; each row sums to 1.
    Raises:
        ValueError: `loader` has no batches.
    Source: Chollet 2017, arXiv:1610.02357.
    Twin: `src.pt.predict.predict_proba` (batches are (B, 3, H, W)).
    """
    probs = softmax(predict_logits(model, loader, clock), axis=1)
    if model.config.flip_average:
        mirrored = make_loader(loader.batches.mirrored(), workers=loader.workers)
        probs = (probs + softmax(predict_logits(model, mirrored, clock), axis=1)) / 2
    return probs.astype(np.float32)


def predict_logits(
    model: XceptionClassifier, loader: Loader, clock: Clock | None = None
) -> np.ndarray:
    """Return the logits that `predict_proba` turns into probabilities: (N, K) float64.

    Raises:
        ValueError: `loader` has no batches.
    Twin: `src.pt.predict.predict_logits`.
    """
    if not len(loader):
        raise ValueError("Expected at least one batch of images. Received: an empty loader.")
    loader.set_epoch(0)
    clock = clock or Clock()
    with EpochBar("predict", loader.batches.images_per_epoch, len(loader)) as bar:
        logits = model.predict(loader, verbose=0, callbacks=[_Steps(loader, bar, clock)])
    return np.asarray(logits, np.float64)


class _Steps(keras.callbacks.Callback):
    """Counts the steps, whose outputs Keras has read off the device for it."""

    def __init__(self, loader: Loader, bar: EpochBar, clock: Clock):
        super().__init__()
        self.sizes, self.bar, self.clock = loader.batches.sizes, bar, clock

    def on_predict_begin(self, logs=None):
        self.clock.start_pass(len(self.sizes))

    def on_predict_batch_end(self, batch, logs=None):
        self.clock.step(self.sizes[batch])
        self.clock.end_turn()
        self.bar.advance(self.sizes[batch])
