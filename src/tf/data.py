"""The shared batches as a Keras dataset, and TensorFlow's default way to read an image."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from src.config import ExperimentConfig
from src.data.batches import Batches
from src.data.pixels import PILLOW_DECODER, Decode, decode_gray
from src.feature_cache.cache import CachedBatches

_READ_BY_TENSORFLOW = {".jpg", ".jpeg", ".png", ".bmp"}


class Loader(keras.utils.PyDataset):
    """Batches (B, H, W, 3) float32 in [-1, 1], one-hot labels (B, K), loss weights (B,).

    Where frozen blocks are skipped, their outputs (B, s, s, C) or (B, 2048) stand for the images.
    Twin: `src.pt.data.Loader`.
    """

    def __init__(self, batches: Batches | CachedBatches, workers: int, replicas: int):
        super().__init__(workers=max(workers, 1), use_multiprocessing=False)
        self.batches, self.replicas = batches, replicas
        self.epoch = self.first = 0

    def __len__(self) -> int:
        return len(self.batches) - self.first

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        images, labels, weights = self.batches.batch(self.epoch, self.first + index)
        if self.replicas > 1:
            weights = weights * _shares(len(labels), self.replicas)
        return images, keras.utils.to_categorical(labels, self.batches.class_count), weights

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose whose order and augmentation the batches have, and with which one to begin."""
        self.epoch, self.first = epoch, first  # workers start again with each epoch and see it


def _shares(images: int, replicas: int) -> np.ndarray:
    """Return (B,) float32: what the mean over each image's part shall count for in the batch's.

    TensorFlow gives the first replicas ceil(B / replicas) images each, and the last one the rest.
    """
    first = -(-images // replicas)
    parts = np.arange(images) // first
    return (np.bincount(parts)[parts] * (replicas / images)).astype(np.float32)


def make_loader(batches: Batches | CachedBatches, *, workers: int = 0, replicas: int = 1) -> Loader:
    """Return `batches` as a Keras dataset.

    Args:
        batches: the shared source of batches.
        workers: threads that prepare batches ahead; the batches are the same with any number.
        replicas: how many share each training batch; its loss weights are then such that the mean
            of the replicas' means is that of the batch.
    Twin: `src.pt.data.make_loader` (workers are processes there).
    """
    return Loader(batches, workers, replicas)


def make_decoder(config: ExperimentConfig) -> tuple[Decode, str]:
    """Return the function that turns a file into gray pixels, and its name.

    Pillow's, unless TensorFlow's default is restored by `resize`.
    Twin: `src.pt.data.make_decoder`.
    """
    if "resize" in config.restore_defaults:
        return _decode_by_tensorflow, "tensorflow-1"
    return decode_gray, PILLOW_DECODER


def _decode_by_tensorflow(path: Path, image_size: int) -> np.ndarray:
    """Return (S, S) uint8 as `tf.io` and `tf.image.resize` make it by default: no antialiasing."""
    if path.suffix.lower() not in _READ_BY_TENSORFLOW:
        return decode_gray(path, image_size)
    with tf.device("CPU"):
        image = tf.io.decode_image(path.read_bytes(), channels=1, expand_animations=False)
        resized = tf.image.resize(image, (image_size, image_size))  # (S, S, 1) float32
    return np.rint(resized.numpy()[..., 0]).astype(np.uint8)
