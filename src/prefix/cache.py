"""The frozen prefix of one stage: its outputs for the images of some batches, from the store.

What decides an output names it: the prefix's weights, the numbers and ledger rows its layers
compute with, and the image. Which framework computed it does not, since both compute the same to
rounding; the store remembers that for the record.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from src.common.cache import cache_folder, progress
from src.common.files import write_json
from src.config import ExperimentConfig
from src.data.batches import Batches
from src.prefix.batches import PrefixBatches
from src.prefix.plan import arithmetic_rows, cached_block, prefix_end, prefix_layers
from src.prefix.store import SHARD, Store
from src.xception.blocks import tensors
from src.xception.weights import digest

# Images at a time, always: convolutions round otherwise in smaller batches, so an output would
# depend on its neighbours. At a batch size that 16 divides it is what training computes, in
# TensorFlow bit by bit, in PyTorch to rounding (losses up to 1e-6 nats apart were seen).
BATCH = 16
_FOLDER = "prefix"
_FORMAT = 1  # to be raised when the blocks come to compute something else

Compute = Callable[[np.ndarray], np.ndarray]  # (BATCH, S, S, 3) -> (BATCH, s, s, C) or (BATCH, C)


@dataclass
class Prefix:
    """The network up to and including `block`, whose outputs are kept.

    Attributes:
        block: the last frozen block; after "block14" the outputs are the pooled features.
        seconds: spent on computing what was not kept yet.
    """

    block: str
    framework: str
    views: int
    _store: Store = field(repr=False)
    _compute: Compute = field(repr=False)
    _names: set[str] = field(default_factory=set, repr=False)
    computed: int = 0
    seconds: float = 0.0

    def batches(self, batches: Batches) -> PrefixBatches:
        """Return `batches` with the prefix's outputs in place of the images.

        What the store lacks is computed first.

        Raises:
            InputError: there is no room for it on the disk.
        """
        names = batches.image_names()  # (V, M)
        wanted = [(view, place) for view, row in enumerate(names) for place in range(len(row))]
        if any(name not in self._store for name in names.flat):
            started = time.perf_counter()
            with self._store.adding():
                self._fill(batches, names, wanted)
            self.seconds += time.perf_counter() - started
        self._names |= set(names.flat)
        places = self._store.places(names.flat).reshape(*names.shape, 2)
        return PrefixBatches(batches, self._store, places)

    def describe(self) -> dict:
        """Return what a record must say of it, as plain JSON values."""
        return {
            "block": self.block,
            "views": self.views,
            "images": len(self._names),
            "made_by": self._store.made_by(self._names),
            "computed": self.computed,
            "seconds": self.seconds,
        }

    def _fill(self, batches: Batches, names: np.ndarray, wanted: list) -> None:
        missing = list({names[at]: at for at in wanted if names[at] not in self._store}.items())
        starts = range(0, len(missing), SHARD)
        what = f"{self.block} of {len(missing)} images"
        for start in progress(starts, len(starts), what, "file"):
            chunk = missing[start : start + SHARD]
            arrays = np.concatenate(
                [
                    self._compute_some(batches, [at for _, at in chunk[first : first + BATCH]])
                    for first in range(0, len(chunk), BATCH)
                ]
            )
            self._store.reserve(len(missing) - start, arrays[0].nbytes)
            self._store.add([name for name, _ in chunk], arrays, self.framework)
            self.computed += len(chunk)

    def _compute_some(self, batches: Batches, at: list[tuple[int, int]]) -> np.ndarray:
        views, places = np.resize(np.array(at), (BATCH, 2)).T  # repeated where fewer are left
        images = batches.images(places, views, np.zeros(BATCH, np.int64))
        return self._compute(images)[: len(at)]


def find_prefix(
    config: ExperimentConfig,
    stage: int,
    framework: str,
    get_weights: Callable[[], Mapping[str, np.ndarray]],
    make_compute: Callable[[str], Compute],
) -> Prefix | None:
    """Return the prefix whose outputs `stage` may take from the cache; None where there is none.

    Args:
        config: the experiment.
        stage: HEAD or FINETUNE.
        framework: "tf" or "pt".
        get_weights: gives the model's.
        make_compute: block -> the function that computes its output.
    """
    block = cached_block(config, stage, framework)
    if block is None:
        return None
    wanted = [tensor.name for tensor in tensors(prefix_layers(block))]
    weights = get_weights()
    about = {
        "format": _FORMAT,
        "block": block,
        "weights": digest({name: weights[name] for name in wanted}),
        "image_size": config.image_size,
        "precision": config.precision,
        "bn_epsilon": config.bn_epsilon,
        "framework_defaults": arithmetic_rows(config, framework),
        "batch": BATCH,
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
    whole = cache_folder(_FOLDER)
    folder = cache_folder(f"{_FOLDER}/{config.image_size}-{block}-{key}")
    write_json(folder / "about.txt", about)
    return Prefix(block, framework, config.cached_views, Store(folder, whole), make_compute(block))


def stage_batches(
    batches: Batches, config: ExperimentConfig, stage: int, prefix: Prefix | None
) -> Batches | PrefixBatches:
    """Return what a stage trains on, or is validated on: images, or a prefix's outputs.

    Where the config asks for the cache and the stage has a frozen prefix, augmentation is limited
    to the config's `cached_views`, even for a twin that cannot use the cache there: both then see
    the same images.
    """
    if config.prefix_cache and prefix_end(config, stage):
        batches = batches.with_views(config.cached_views)
    return prefix.batches(batches) if prefix else batches
