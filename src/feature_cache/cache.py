"""The outputs of the frozen blocks: computed once per image, kept on disk for every later run.

What decides an output names the file it is kept in: the weights and the arithmetic of the frozen
blocks, the images, and how they are augmented. Which framework computed it does not, since both
compute the same to rounding; the file remembers that for the record.
"""

import contextlib
import hashlib
import json
import os
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from src.common.cache import cache_folder, progress
from src.common.errors import InputError
from src.common.files import write_json
from src.common.lock import one_writer
from src.config import ExperimentConfig
from src.data.batches import Batches
from src.feature_cache import plan
from src.xception.blocks import tensors
from src.xception.weight_files import digest

# Images at a time, always: convolutions round otherwise in smaller batches, so an output would
# depend on its neighbours. At a batch size that 16 divides it is what training computes, in
# TensorFlow bit by bit, in PyTorch to rounding (losses up to 1e-6 nats apart were seen).
BATCH = 16
_FOLDER = "feature_cache"
LIMIT = "BRAIN_TUMOR_CACHE_GB"
_DEFAULT_GB = 16.0  # block12 and block13 of 7,000 images at 299 px take 7.4 and 2.9
_MAKERS = ("", "tf", "pt")  # a file holds the index
_FORMAT = 3  # raise it when the blocks compute something else, or the files change
# By precision; the others compute in 16 bits. (float16 holds more digits than bfloat16.)
_DTYPES = {"float64": "<f8", "float32": "<f4"}
# Differences that change what a frozen block computes. (Others change files, heads, or training.)
_ARITHMETIC = ("bn_epsilon", "pool_padding")

Compute = Callable[[np.ndarray], np.ndarray]  # (BATCH, S, S, 3) -> (BATCH, s, s, C) or (BATCH, C)


class FeatureMap:
    """One file with an output for each of N images, its maker and its checksum.

    The file begins as zeros. An output whose checksum does not fit, after a kill or in a damaged
    file, counts as missing. So does one that lies at another image's place.
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, ...], dtype: str):
        """Open the file, created or brought to its length, for `count` outputs of `shape`.

        Raises:
            OSError: it cannot be written.
        """
        self.path, self._count = path, count
        self._entry = np.dtype([("maker", "<u4"), ("crc32", "<u4"), ("output", dtype, shape)])
        self.output_bytes = self._entry.itemsize
        with path.open("ab") as file:
            if file.tell() != count * self.output_bytes:
                file.truncate(count * self.output_bytes)

    @cached_property
    def _entries(self) -> np.memmap:
        return np.memmap(self.path, self._entry, "r", shape=self._count)

    def __getstate__(self) -> dict:  # a memmap would pickle as its whole content
        return {name: value for name, value in self.__dict__.items() if name != "_entries"}

    def output(self, row: int) -> np.ndarray:
        """Return the output of image `row`, unchecked."""
        return self._entries[row]["output"]

    def makers(self, rows: np.ndarray) -> np.ndarray:
        """Return which framework computed each output of `rows` (n,): "" where one is missing."""
        makers = []
        for row, entry in zip(rows.tolist(), map(self._entries.__getitem__, rows)):
            maker = entry["maker"]
            whole = maker < len(_MAKERS) and entry["crc32"] == _checksum(row, entry)
            makers.append(_MAKERS[maker] if whole else "")
        return np.array(makers)

    def write(self, rows: np.ndarray, outputs: np.ndarray, framework: str) -> None:
        """Keep `outputs` (n, *shape) of `rows` (n,).

        Raises:
            InputError: a value is too large for the map's numbers.
            OSError: the disk is full or cannot be written.
        """
        entries = np.zeros(len(rows), self._entry)
        limit = np.finfo(entries["output"].dtype).max
        if (np.abs(outputs) > limit).any():
            raise InputError(
                f"The feature cache keeps numbers up to {limit:.5g} in this precision, and "
                f"{self.path.stem} has an output of {np.abs(outputs).max():.5g}. Train with "
                "--no-feature-cache, or --precision float32."
            )
        entries["maker"], entries["output"] = _MAKERS.index(framework), outputs
        # Plain writes, not a writable map: on a full disk those raise, a map kills the process.
        with self.path.open("r+b") as file:
            for entry, row in zip(entries, rows.tolist()):
                entry["crc32"] = _checksum(row, entry)
                file.seek(row * self.output_bytes)
                file.write(entry.tobytes())


def _checksum(row: int, entry: np.void) -> int:
    return zlib.crc32(entry["output"], zlib.crc32(b"%d %d" % (row, entry["maker"])))


class CachedBatches(Batches):
    """The same images in the same order as `batches`, as the frozen blocks' outputs for them."""

    def __init__(self, batches: Batches, maps: list[FeatureMap]):
        """Take the outputs of view v from `maps[v]`."""
        vars(self).update(vars(batches))
        self._maps = maps

    def mirrored(self) -> "Batches":
        """Raise TypeError: outputs are kept of the images as they are."""
        raise TypeError("Kept outputs have no mirror image. Mirror the images' batches.")

    def images(self, indices: np.ndarray, views: np.ndarray, _repeats: np.ndarray) -> np.ndarray:
        """Return the outputs for the images: (B, s, s, C), or (B, C) of the whole backbone.

        float32, or what they are kept in where that is more.
        """
        outputs = [self._maps[v].output(row) for v, row in zip(views, self.rows[indices])]
        return np.stack(outputs, dtype=np.promote_types(outputs[0].dtype, np.float32))


@dataclass
class FeatureCache:
    """The network up to and including `block`, whose outputs are kept."""

    block: str  # the last frozen one; after "block14" the outputs are the pooled features
    framework: str
    views: int
    _about: dict = field(repr=False)  # what decides the outputs, besides the images
    _compute: Compute = field(repr=False)
    _makers: dict[tuple[Path, int], str] = field(default_factory=dict, repr=False)
    computed: int = 0  # outputs that were missing
    seconds: float = 0.0  # what computing them took

    def batches(self, batches: Batches) -> CachedBatches:
        """Return `batches` with outputs in place of the images; computes those that are missing.

        Raises:
            InputError: there is no room for them, or the disk cannot be read or written.
        """
        try:
            maps = self._open_maps(batches)
            makers = [each.makers(batches.rows) for each in maps]
            if "" in np.array(makers):
                with one_writer(maps[0].path):  # others wait, and compute what is missing then
                    makers = [each.makers(batches.rows) for each in maps]
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
        counts = {"images": len(self._makers), "made_by": dict(sorted(made_by.items()))}
        spent = {"computed": self.computed, "seconds": self.seconds}
        return {"block": self.block, "views": self.views, **counts, **spent}

    def _open_maps(self, batches: Batches) -> list[FeatureMap]:
        """Return a map for each view of the images."""
        pixels = batches.pixels
        size = pixels.image_size  # validation's may be another than training's
        shape = plan.output_shape(self.block, size)
        images = {"images": pixels.path.stem, "pixels": pixels.sha256, "image_size": size}
        maps = []
        for view in batches.view_names():
            about = self._about | images | {"view": view}
            key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
            path = cache_folder(_FOLDER) / f"{size}-{self.block}-{key}.bin"
            if not path.exists():
                write_json(path.with_suffix(".json"), about)  # for people; no code reads it
            maps.append(FeatureMap(path, pixels.count, shape, self._about["dtype"]))
        return maps

    def _fill(self, batches: Batches, maps: list[FeatureMap], makers: list[np.ndarray]) -> None:
        started = time.perf_counter()
        chunks = [
            (view, missing[start : start + BATCH])
            for view, missing in enumerate(np.flatnonzero(made == "") for made in makers)
            for start in range(0, len(missing), BATCH)
        ]
        left = sum(len(indices) for _, indices in chunks)
        what = f"{self.block} of {left} images"
        for view, indices in progress(chunks, len(chunks), what, "batch"):
            check_room(maps[view], left)
            left -= len(indices)
            whole = np.resize(indices, BATCH)  # repeated where fewer are left
            images = batches.images(whole, np.full(BATCH, view), np.zeros(BATCH, np.int64))
            outputs = self._compute(images)[: len(indices)]
            maps[view].write(batches.rows[indices], outputs, self.framework)
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

    `get_weights` gives the model's; `make_compute` gives the function that computes a block.
    """
    block = plan.cached_block(config, stage, framework)
    if block is None:
        return None
    return open_cache(block, config, framework, get_weights(), make_compute(block))


def open_cache(
    block: str,
    config: ExperimentConfig,
    framework: str,
    weights: Mapping[str, np.ndarray],
    compute: Compute,
) -> FeatureCache:
    """Return the cache of the network up to and including `block`.

    Args:
        block: its last block.
        config: the experiment.
        framework: "tf" or "pt".
        weights: the model's.
        compute: gives the block's outputs of images.
    """
    restored = plan.restored_defaults(config, framework)
    about = {
        "format": _FORMAT,
        "block": block,
        "weights": digest({t.name: weights[t.name] for t in tensors(plan.layers_up_to(block))}),
        "precision": config.precision,
        "dtype": _DTYPES.get(config.precision, "<f2"),
        "bn_epsilon": config.bn_epsilon,
        "restore_defaults": [row for row in _ARITHMETIC if row in restored],
        "batch": BATCH,
    }
    return FeatureCache(block, framework, config.cached_views, about, compute)


def stage_batches(
    batches: Batches, config: ExperimentConfig, stage: int, cache: FeatureCache | None
) -> Batches:
    """Return what a stage trains or is validated on: images, or outputs of the frozen blocks.

    Where the config asks for the cache and the stage has frozen blocks, augmentation is limited
    to the config's `cached_views`, even for a twin that cannot use the cache there: both then see
    the same images.
    """
    if config.feature_cache and plan.last_frozen_block(config, stage):
        batches = batches.with_views(config.cached_views)
    return cache.batches(batches) if cache else batches


def check_room(feature_map: FeatureMap, count: int) -> None:
    """Make sure that the cache may grow by `count` outputs of a map.

    Raises:
        InputError: it may not.
    """
    folder, used, need = feature_map.path.parent, 0, count * feature_map.output_bytes
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process took it away
            status = path.stat()
            # What it takes of the disk: a map is sparse until it is filled. (Not so on Windows.)
            used += getattr(status, "st_blocks", status.st_size // 512) * 512
    bound = _bound()
    if used + need > bound:
        raise InputError(
            f"The feature cache {folder} holds {used / 1e9:.1f} GB and may hold {bound / 1e9:.1f} "
            f"GB; {count} images need {need / 1e9:.1f} GB more. Delete files there that no run "
            f"needs, set {LIMIT} to more gigabytes, or train with --no-feature-cache."
        )


def _bound() -> float:
    """Return how many bytes the cache may take."""
    given = os.environ.get(LIMIT) or _DEFAULT_GB
    with contextlib.suppress(ValueError):
        if 0 <= float(given) < 1e9:
            return float(given) * 1e9
    raise InputError(f"{LIMIT} must be a number of gigabytes. Received: {given!r}.")
