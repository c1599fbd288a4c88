"""Images -> probabilities."""

import numpy as np
import torch
from scipy.special import softmax

from src.common.progress import EpochBar
from src.pt.data import Loader, make_loader
from src.pt.model import XceptionClassifier


def predict_proba(model: XceptionClassifier, loader: Loader) -> np.ndarray:
    """Return class probabilities in catalogue order.

    With the config's `flip_average`, the mean of those of each image and of its mirror image.

    Args:
        model: from `build_model`; left in inference mode.
        loader: batches (B, 3, H, W) float32 in [-1, 1], RGB.
    Returns:
        (N, K) float32; each row sums to 1.
    Raises:
        ValueError: `loader` has no batches.
    Source: Chollet 2017, arXiv:1610.02357.
    Twin: `src.tf.predict.predict_proba` (batches are (B, H, W, 3)).
    """
    probs = softmax(predict_logits(model, loader), axis=1)
    if model.config.flip_average:
        mirrored = make_loader(loader.batches.mirrored(), workers=loader.num_workers)
        probs = (probs + softmax(predict_logits(model, mirrored), axis=1)) / 2
    return probs.astype(np.float32)


def predict_logits(model: XceptionClassifier, loader: Loader) -> np.ndarray:
    """Return the logits that `predict_proba` turns into probabilities: (N, K) float64.

    Raises:
        ValueError: `loader` has no batches.
    Twin: `src.tf.predict.predict_logits`.
    """
    if not len(loader):
        raise ValueError("Expected at least one batch of images. Received: an empty loader.")
    loader.set_epoch(0)
    model.eval()
    logits = []
    with (
        EpochBar("predict", loader.batches.images_per_epoch, len(loader)) as bar,
        torch.inference_mode(),
    ):
        for images, _, _ in loader:
            logits.append(model(images).numpy(force=True))
            bar.advance(len(images))
    return np.concatenate(logits).astype(np.float64)
