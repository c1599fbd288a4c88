"""The outputs of the frozen blocks: computed once per image, kept on disk for every later run.

What decides an output names the file it is kept in: the weights and the arithmetic of the frozen
blocks, the images, and how they are augmented. Which framework computed it does not, since both
compute the same to rounding; the file remembers that for the record.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from src.common.cache import cache_folder, progress
from src.common.errors import InputError
from src.common.files import write_json
from src.config import ExperimentConfig
from src.data.batches import Batches
from src.feature_cache import plan
from src.feature_cache.feature_map import FeatureMap, check_room
from src.xception.blocks import tensors
from src.xception.weights import digest

# Images at a time, always: convolutions round otherwise in smaller batches, so an output would
# depend on its neighbours. At a batch size that 16 divides it is what training computes, in
# TensorFlow bit by bit, in PyTorch to rounding (losses up to 1e-6 nats apart were seen).
BATCH = 16
_FOLDER = "feature_cache"
_FORMAT = 2  # raise it when the blocks compute something else, or the files change

Compute = Callable[[np.ndarray], np.ndarray]  # (BATCH, S, S, 3) -> (BATCH, s, s, C) or (BATCH, C)


class CachedBatches:
    """The same images in the same order as `batches`, as the frozen blocks' outputs for them."""

    def __init__(self, batches: Batches, maps: list[FeatureMap]):
        """Take the outputs of view v from `maps[v]`."""
        self._batches, self._maps = batches, maps
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
        indices, views, _ = self._batches.sample_indices(epoch, index)
        rows = self._batches.rows[indices]
        outputs = np.stack([self._maps[view].output(row) for view, row in zip(views, rows)])
        return outputs, *self._batches.labels_and_weights(indices)


@dataclass
class FeatureCache:
    """The network up to and including `block`, whose outputs are kept.

    Attributes:
        block: the last frozen block; after "block14" the outputs are the pooled features.
        computed: how many outputs were missing and had to be computed.
        seconds: what that took.
    """

    block: str
    framework: str
    views: int
    _about: dict = field(repr=False)  # what decides the outputs, besides the images
    _compute: Compute = field(repr=False)
    _makers: dict[tuple[Path, int], str] = field(default_factory=dict, repr=False)
    computed: int = 0
    seconds: float = 0.0

    def batches(self, batches: Batches) -> CachedBatches:
        """Return `batches` with outputs in place of the images; computes those that are missing.

        Raises:
            InputError: there is no room for them, or the disk cannot be read or written.
        """
        try:
            maps = self._open_maps(batches)
            makers = [each.makers(batches.rows) for each in maps]
            if "" in np.array(makers):
                self._fill(batches, maps, makers)
                makers = [each.makers(batches.rows) for each in maps]
        except OSError as error:
            raise InputError(
                f"Cannot use the feature cache {cache_folder(_FOLDER)}: {error.strerror or error}. "
                "Free space there, mend its permissions, or train with --no-feature-cache."
            ) from error
        if "" in np.array(makers):
            raise InputError(f"{maps[0].path.parent} was changed meanwhile. Run it again.")
        for each, made in zip(maps, makers):
            self._makers |= {(each.path, row): maker for row, maker in zip(batches.rows, made)}
        return CachedBatches(batches, maps)

    def describe(self) -> dict:
        """Return what a record must say of it, as plain JSON values."""
        made_by = Counter(map(str, self._makers.values()))
        return {
            "block": self.block,
            "views": self.views,
            "images": len(self._makers),
            "made_by": dict(sorted(made_by.items())),
            "computed": self.computed,
            "seconds": self.seconds,
        }

    def _open_maps(self, batches: Batches) -> list[FeatureMap]:
        """Return a map for each view of the images."""
        size, dtype = self._about["image_size"], self._about["dtype"]
        shape = plan.output_shape(self.block, size)
        maps = []
        for view in batches.view_names():
            about = self._about | {
                "images": batches.pixels.path.stem,
                "pixels": batches.pixels.sha256,
                "view": view,
            }
            key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
            path = cache_folder(_FOLDER) / f"{size}-{self.block}-{key}.bin"
            if not path.with_suffix(".json").exists():
                write_json(path.with_suffix(".json"), about)  # for people; no code reads it
            maps.append(FeatureMap(path, batches.pixels.count, shape, dtype))
        return maps

    def _fill(self, batches: Batches, maps: list[FeatureMap], makers: list[np.ndarray]) -> None:
        started = time.perf_counter()
        chunks = [
            (maps[view], view, missing[start : start + BATCH])  # indices into the part
            for view, missing in enumerate(np.flatnonzero(made == "") for made in makers)
            for start in range(0, len(missing), BATCH)
        ]
        left = sum(len(indices) for _, _, indices in chunks)
        what = f"{self.block} of {left} images"
        for feature_map, view, indices in progress(chunks, len(chunks), what, "batch"):
            check_room(feature_map, left)
            left -= len(indices)
            # Another process may have computed some meanwhile.
            indices = indices[feature_map.makers(batches.rows[indices]) == ""]
            if len(indices):
                whole = np.resize(indices, BATCH)  # repeated where fewer are left
                images = batches.images(whole, np.full(BATCH, view), np.zeros(BATCH, np.int64))
                outputs = self._compute(images)[: len(indices)]
                feature_map.write(batches.rows[indices], outputs, self.framework)
                self.computed += len(indices)
        self.seconds += time.perf_counter() - started


def find_cache(
    config: ExperimentConfig,
    stage: int,
    framework: str,
    get_weights: Callable[[], Mapping[str, np.ndarray]],
    make_compute: Callable[[str], Compute],
) -> FeatureCache | None:
    """Return the cache of the blocks that `stage` leaves frozen; None where there is none.

    Args:
        config: the experiment.
        stage: HEAD or FINETUNE.
        framework: "tf" or "pt".
        get_weights: gives the model's.
        make_compute: block -> the function that computes its output.
    """
    block = plan.cached_block(config, stage, framework)
    if block is None:
        return None
    weights = get_weights()
    about = {
        "format": _FORMAT,
        "block": block,
        "weights": digest({t.name: weights[t.name] for t in tensors(plan.layers_up_to(block))}),
        "image_size": config.image_size,
        "precision": config.precision,
        "dtype": "<f8" if config.precision == "float64" else "<f4",
        "bn_epsilon": config.bn_epsilon,
        "restore_defaults": plan.arithmetic_defaults(config, framework),
        "batch": BATCH,
    }
    return FeatureCache(block, framework, config.cached_views, about, make_compute(block))


def stage_batches(
    batches: Batches, config: ExperimentConfig, stage: int, cache: FeatureCache | None
) -> Batches | CachedBatches:
    """Return what a stage trains or is validated on: images, or outputs of the frozen blocks.

    Where the config asks for the cache and the stage has frozen blocks, augmentation is limited
    to the config's `cached_views`, even for a twin that cannot use the cache there: both then see
    the same images.
    """
    if config.feature_cache and plan.last_frozen_block(config, stage):
        batches = batches.with_views(config.cached_views)
    return cache.batches(batches) if cache else batches
