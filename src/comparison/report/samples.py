"""A few test images for the report, chosen by a rule and not by hand."""

from dataclasses import dataclass

import numpy as np

from src.config import CLASS_NAMES
from src.records import Predictions

HOW_CHOSEN = (
    "Two random images of each class, then the worst mistakes: the images to whose true class the "
    "two models together gave the lowest probability."
)


@dataclass(frozen=True)
class Samples:
    """Test images and both twins' predictions for them."""

    images: np.ndarray  # (n, S, S) uint8, gray
    paths: tuple[str, ...]
    labels: np.ndarray  # (n,) int64, the truth
    probs: dict  # {"tf" | "pt": (n, 4)}


def choose_samples(tf: Predictions, pt: Predictions, worst: int = 4, seed: int = 0) -> np.ndarray:
    """Return (n,) rows of the test part: two random ones of each class, then the `worst`."""
    rng = np.random.default_rng(seed)
    random = []
    for label in range(len(CLASS_NAMES)):
        rows = np.flatnonzero(tf.labels == label)
        random.extend(sorted(rng.permutation(rows)[:2]))
    everyone = np.arange(len(tf.labels))
    of_truth = tf.probs[everyone, tf.labels] + pt.probs[everyone, pt.labels]
    ranked = [row for row in np.argsort(of_truth, kind="stable") if row not in random]
    return np.array([*random, *ranked[:worst]], dtype=np.int64)


def make_samples(tf: Predictions, pt: Predictions, rows: np.ndarray, images: np.ndarray) -> Samples:
    """Join `images` (n, S, S) uint8, the pixels of test rows `rows` (n,), with the predictions.

    Raises:
        ValueError: `images` are not one uint8 plane per row.
    """
    if images.dtype != np.uint8 or images.ndim != 3 or len(images) != len(rows):
        raise ValueError(
            f"Expected images ({len(rows)}, S, S) uint8. Received: {images.shape} {images.dtype}."
        )
    return Samples(
        images,
        tuple(tf.paths[rows].tolist()),
        tf.labels[rows],
        {"tf": tf.probs[rows], "pt": pt.probs[rows]},
    )
