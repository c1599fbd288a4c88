"""Does an answer depend on what a heat map marks? Pixels are taken away, or shown, in its order."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

STEPS = 8  # shares of the image after which the network is asked again
BLUR = 0.05  # of the side: what an image begins as, before its pixels are shown

# images (N, S, S) uint8 -> probabilities (N, K)
Predict = Callable[[np.ndarray], np.ndarray]


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
