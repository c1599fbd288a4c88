"""A few test images to show, chosen by a rule and not by hand."""

from dataclasses import dataclass

import numpy as np

from src.config import CLASS_NAMES
from src.records import Predictions

HOW_CHOSEN = (
    "Two images of each class drawn at random, then those that the two models together gave the "
    "least probability of being what they are: the worst mistakes."
)


@dataclass(frozen=True)
class Samples:
    """Test images and what both twins said of them."""

    images: np.ndarray  # (n, S, S) uint8, gray
    paths: tuple[str, ...]
    labels: np.ndarray  # (n,) int64, the truth
    probs: dict  # {"tf" | "pt": (n, 4)}


def choose_samples(tf: Predictions, pt: Predictions, worst: int = 4, seed: int = 0) -> np.ndarray:
    """Return (n,) rows of the test part: two random ones of each class, then the `worst`."""
    rng = np.random.default_rng(seed)
    drawn = []
    for label in range(len(CLASS_NAMES)):
        rows = np.flatnonzero(tf.labels == label)
        drawn.extend(sorted(rng.permutation(rows)[:2]))
    everyone = np.arange(len(tf.labels))
    belief = tf.probs[everyone, tf.labels] + pt.probs[everyone, pt.labels]
    ranked = [row for row in np.argsort(belief, kind="stable") if row not in drawn]
    return np.array([*drawn, *ranked[:worst]], dtype=np.int64)


def make_samples(tf: Predictions, pt: Predictions, rows: np.ndarray, images: np.ndarray) -> Samples:
    """Join `images` (n, S, S) uint8, the pixels of test rows `rows` (n,), with the predictions.

    Raises:
        ValueError: `images` are not one uint8 plane a row.
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
