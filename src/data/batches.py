"""The one source of batches: both twins, and all their workers, get the same bytes from it.

`Batches.batch(epoch, index)` is a pure function, so nothing depends on who asks, or in what order.
Randomness comes from counters: sha(seed, epoch, ...) through NumPy's SeedSequence and Philox.
"""

import copy
from functools import lru_cache

import numpy as np

from src.config import ExperimentConfig
from src.data.augment import as_input, augment, augmentation_name, generator, image_key, to_rgb
from src.data.catalog import Catalog
from src.data.pixels import Pixels

# The word after the seed, so that no two uses share a stream.
_PASS, _MIX = 1, 2


class Batches:
    """Batches of one part of a dataset.

    Attributes:
        labels: (M,) int64; with training=False, in the order of the batches.
        paths: (M,) of str, likewise.
        pixels: of the whole catalogue.
        rows: (M,) int64; which rows of `pixels` these images are.
        class_count: how many classes labels may have.
        images_per_epoch: M, or the config's `max_images_per_epoch` when training, if that is fewer.
    """

    def __init__(
        self,
        catalog: Catalog,
        pixels: Pixels,
        rows: np.ndarray,
        config: ExperimentConfig,
        training: bool = False,
    ):
        self.pixels, self.rows = pixels, rows
        self._config, self._training = config, training
        self._augmented = training and config.augment != "none"
        self._amounts = {
            "strength": config.augment_strength,
            "gamma": config.augment_gamma,
            "cutout": config.cutout,
        }
        self._views = 0  # no limit: a new one in every epoch
        self._mirrored = False
        self._keys = [image_key(catalog.paths[row]) for row in rows] if training else None
        self.paths = np.array([catalog.paths[row] for row in rows], dtype=np.str_)
        self.labels = catalog.labels[rows]
        self._label_bytes = self.labels.tobytes()  # once: each batch looks the epoch's order up
        self.images_per_epoch = len(rows)
        if training and config.max_images_per_epoch:
            self.images_per_epoch = min(config.max_images_per_epoch, len(rows))
        self.class_count = len(catalog.classes)
        self._class_weights = np.ones(self.class_count, np.float32)
        if training and config.balance == "class_weights":
            self._class_weights = class_weights(self.labels, self.class_count)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """How many images each batch of an epoch holds."""
        whole, rest = divmod(self.images_per_epoch, self._config.batch_size)
        return [self._config.batch_size] * whole + ([rest] if rest else [])

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return batch `index` of `epoch`: the same bytes for the same arguments, always.

        Returns:
            images (B, S, S, 3) float32 in [-1, 1], RGB; labels (B,) int64; loss weights (B,)
            float32: of each image's class when training with class weights, else 1.
        Raises:
            IndexError: the epoch has no such batch.
        """
        samples = self.sample_indices(epoch, index)
        return self.images(*samples), *self.labels_and_weights(samples[0])

    def sample_indices(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which images batch `index` of `epoch` has, as three (B,) int64.

        They are indices in the part; the epoch whose augmentation each image gets; and how often it
        was drawn before in that epoch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"Batch {index} of {len(self)}.")
        config = self._config
        chosen = slice(index * config.batch_size, (index + 1) * config.batch_size)
        if not self._training:
            indices = np.arange(len(self.rows))[chosen]
            return indices, np.zeros_like(indices), np.zeros_like(indices)
        asked = config.seed, epoch, self.images_per_epoch, config.balance == "sampling"
        order, repeats = _epoch_order(self._label_bytes, *asked)
        indices, repeats = order[chosen], repeats[chosen]
        if self._views:
            return indices, (epoch + repeats) % self._views, np.zeros_like(repeats)
        return indices, np.full_like(indices, epoch), repeats

    def images(self, indices: np.ndarray, epochs: np.ndarray, repeats: np.ndarray) -> np.ndarray:
        """Return the images of `sample_indices`: (B, S, S, 3) float32 in [-1, 1], RGB."""
        pixels = self.pixels.array[self.rows[indices]]
        if self._mirrored:
            pixels = pixels[..., ::-1]
        if not self._augmented:
            return as_input(pixels)
        keys = [self._keys[index] for index in indices]
        samples = zip(pixels, epochs.tolist(), keys, repeats.tolist())
        seed, amounts = self._config.seed, self._amounts
        augmented = [augment(image, seed, *sample, **amounts) for image, *sample in samples]
        return to_rgb(np.stack(augmented))

    def labels_and_weights(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels (B,) int64 and loss weights (B,) float32 of the images at `indices`."""
        labels = self.labels[indices]
        return labels, self._class_weights[labels]

    def with_views(self, count: int) -> "Batches":
        """Return these batches with at most `count` augmented views of each image, in turns."""
        limited = copy.copy(self)
        limited._views = count if self._augmented else 1
        return limited

    def mirrored(self) -> "Batches":
        """Return these batches with every image flipped left to right."""
        mirrored = copy.copy(self)
        mirrored._mirrored = not self._mirrored
        return mirrored

    def view_names(self) -> list[str]:
        """Return a name for each view of the images; with a row, it decides the view's pixels."""
        if not self._augmented:
            return ["plain"]
        seed, amounts = self._config.seed, self._amounts
        return [augmentation_name(seed, view, **amounts) for view in range(self._views)]


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return (K,) float32 loss weights: inverse class frequency, mean 1 over `labels` (N,)."""
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)


@lru_cache(maxsize=8)
def _epoch_order(
    label_bytes: bytes, seed: int, epoch: int, count: int, balanced: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices that an epoch draws, (count,), and how often each came before.

    They come from one permutation of the images after another, so that a short epoch goes on where
    the last one stopped. Balanced, each class has its permutations and the classes take turns.
    """
    labels = np.frombuffer(label_bytes, np.int64)
    first, last = epoch * count, (epoch + 1) * count
    if not balanced:
        order = _repeat_permutations(np.arange(len(labels)), first, last, (seed, _PASS, 0))
        return order, _times_before(order)
    present = np.unique(labels)
    drawn = []
    for turn, label in enumerate(present):
        # Draw t goes to class t mod K: this class has had ceil((t - turn) / K) before draw t.
        had = [-(-(draw - turn) // len(present)) for draw in (first, last)]
        members = np.flatnonzero(labels == label)
        drawn.append(_repeat_permutations(members, *had, (seed, _PASS, 1 + int(label))))
    order = np.concatenate(drawn)[generator(seed, _MIX, epoch).permutation(count)]
    return order, _times_before(order)


def _repeat_permutations(members: np.ndarray, first: int, last: int, stream: tuple) -> np.ndarray:
    """Return entries [first, last) of one permutation of `members` after another."""
    passes = range(first // len(members), -(-last // len(members)))
    row = [generator(*stream, number).permutation(members) for number in passes]
    start = first - passes.start * len(members)
    return np.concatenate(row)[start : start + last - first] if row else members[:0]


def _times_before(order: np.ndarray) -> np.ndarray:
    """Return, for each entry of (n,), how many equal ones stand before it."""
    by_value = np.argsort(order, kind="stable")
    values = order[by_value]
    times = np.empty(len(order), np.int64)
    times[by_value] = np.arange(len(order)) - np.searchsorted(values, values)
    return times
