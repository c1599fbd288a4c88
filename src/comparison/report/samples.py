"""A few test images for the report, chosen by a rule and not by hand."""

import numpy as np

from src.config import CLASS_NAMES
from src.records import Predictions

HOW_CHOSEN = (
    "Two random images of each class, then the worst mistakes: the images to whose true class the "
    "two models together gave the lowest probability."
)


def choose_samples(tf: Predictions, pt: Predictions) -> np.ndarray:
    """Return (n,) rows of the test part: two random ones of each class, then the four worst."""
    rng = np.random.default_rng(0)
    random = []
    for label in range(len(CLASS_NAMES)):
        random += sorted(rng.permutation(np.flatnonzero(tf.labels == label))[:2])
    everyone = np.arange(len(tf.labels))
    of_truth = tf.probs[everyone, tf.labels] + pt.probs[everyone, pt.labels]
    ranked = [row for row in np.argsort(of_truth, kind="stable") if row not in random]
    return np.array([*random, *ranked[:4]], dtype=np.int64)


def make_samples(
    tf: Predictions, pt: Predictions, rows: np.ndarray, images: np.ndarray
) -> list[dict]:
    """Join `images` (n, S, S) uint8, the pixels of test rows `rows` (n,), with the predictions.

    Returns:
        [{image, path, truth, tf, tf_prob, pt, pt_prob}]: the true class, and the class that each
        twin predicts with its probability.
    """
    samples = []
    for row, image in zip(rows, images, strict=True):
        sample = {"image": image, "path": str(tf.paths[row]), "truth": CLASS_NAMES[tf.labels[row]]}
        for name, probs in (("tf", tf.probs[row]), ("pt", pt.probs[row])):
            sample |= {name: CLASS_NAMES[probs.argmax()], f"{name}_prob": float(probs.max())}
        samples.append(sample)
    return samples
