"""The SHA-256 of batches, however a framework led them."""

import hashlib
from collections.abc import Iterable

import numpy as np

from src.data.batches import Batches


def sha256(batches: Batches, count: int, epoch: int = 0) -> str:
    """Return the SHA-256 of the first `count` batches from `epoch` on, into later epochs."""
    steps = (divmod(step, len(batches)) for step in range(count))
    return sha256_of(batches.batch(epoch + later, index) for later, index in steps)


def sha256_of(batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> str:
    """Return the SHA-256 of (images, labels, weights) triples."""
    content = hashlib.sha256()
    for images, labels, weights in batches:
        for array, kind in ((images, "<f4"), (labels, "<i8"), (weights, "<f4")):
            content.update(np.ascontiguousarray(array, kind).tobytes())
    return content.hexdigest()
