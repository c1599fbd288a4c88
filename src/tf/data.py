"""The shared batches as a Keras dataset."""

import keras
import numpy as np

from src.config import CLASS_NAMES
from src.data.batches import Batches


class Loader(keras.utils.PyDataset):
    """Batches (B, H, W, 3) float32 in [-1, 1], one-hot labels (B, 4), loss weights (B,).

    Twin: `src.pt.data.Loader`.
    """

    def __init__(self, batches: Batches, workers: int):
        super().__init__(workers=max(workers, 1), use_multiprocessing=False)
        self.batches = batches
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        images, labels, weights = self.batches.batch(self.epoch, index)
        return images, keras.utils.to_categorical(labels, len(CLASS_NAMES)), weights

    def set_epoch(self, epoch: int) -> None:
        """Choose whose order and augmentation the batches have; workers start anew and see it."""
        self.epoch = epoch


def make_loader(batches: Batches, *, workers: int = 0) -> Loader:
    """Return `batches` as this framework's own kind of dataset.

    Args:
        batches: the shared source of batches.
        workers: threads that prepare batches ahead; the batches are the same with any number.
    Twin: `src.pt.data.make_loader` (workers are processes there).
    """
    return Loader(batches, workers)
