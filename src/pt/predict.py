"""Images -> probabilities."""

import numpy as np
import torch
from scipy.special import softmax

from src.common.clock import Clock
from src.common.progress import EpochBar
from src.pt.data import Loader, make_loader
from src.pt.model import XceptionClassifier, fold_batch_norms

_FEW = 4  # batches, for which a copy of the network would not pay


def predict_proba(
    model: XceptionClassifier, loader: Loader, clock: Clock | None = None
) -> np.ndarray:
    """Return class probabilities in catalogue order.

    With the config's `flip_average`, the mean of those of each image and of its mirror image.

    Args:
        model: from `build_model`; left in inference mode.
        loader: batches (B, 3, H, W) float32 in [-1, 1], RGB.
        clock: times the steps, for whoever wants the speed.
    Returns:
        (N, K) float32; each row sums to 1.
    Raises:
        ValueError: `loader` has no batches.
    Source: Chollet 2017, arXiv:1610.02357.
    Twin: `src.tf.predict.predict_proba` (batches are (B, H, W, 3)).
    """
    probs = softmax(predict_logits(model, loader, clock), axis=1)
    if model.config.flip_average:
        mirrored = make_loader(loader.batches.mirrored(), workers=loader.num_workers)
        probs = (probs + softmax(predict_logits(model, mirrored, clock), axis=1)) / 2
    return probs.astype(np.float32)


def predict_logits(
    model: XceptionClassifier, loader: Loader, clock: Clock | None = None
) -> np.ndarray:
    """Return the logits that `predict_proba` turns into probabilities: (N, K) float64.

    Raises:
        ValueError: `loader` has no batches.
    Twin: `src.tf.predict.predict_logits`.
    """
    if not len(loader):
        raise ValueError("Expected at least one batch of images. Received: an empty loader.")
    loader.set_epoch(0)
    model.eval()
    logits, clock = [], clock or Clock()
    clock.start_pass(len(loader))
    if len(loader) > _FEW and model.config.precision != "float64":  # which is for exact digits
        model = fold_batch_norms(model)
    with (
        EpochBar("predict", loader.batches.images_per_epoch, len(loader)) as bar,
        torch.inference_mode(),
    ):
        for images, _, _ in loader:
            logits.append(model(images).numpy(force=True))
            clock.step(len(images))
            clock.end_turn()
            bar.advance(len(images))
    return np.concatenate(logits).astype(np.float64)
