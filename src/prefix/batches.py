"""Batches of a frozen prefix's outputs, in the shape of `src.data.batches.Batches`."""

import numpy as np

from src.data.batches import Batches
from src.prefix.store import Store


class PrefixBatches:
    """The same images in the same order as `batches`, as the prefix's outputs for them."""

    def __init__(self, batches: Batches, store: Store, places: np.ndarray):
        """Take `places` (V, M, 2): where the store keeps view v of image m."""
        self._batches, self._store, self._places = batches, store, places
        self.labels, self.paths = batches.labels, batches.paths
        self.images_per_epoch, self.sizes = batches.images_per_epoch, batches.sizes

    def __len__(self) -> int:
        return len(self._batches)

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return batch `index` of `epoch`.

        Returns:
            outputs (B, s, s, C), or (B, C) of the whole backbone; labels (B,) int64; loss weights
            (B,) float32.
        Raises:
            IndexError: the epoch has no such batch.
        """
        places, views, _ = self._batches.draws(epoch, index)
        return self._store.read(self._places[views, places]), *self._batches.answers(places)
