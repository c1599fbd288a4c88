"""The frozen prefix of one stage: its outputs for the images of some batches, from the store.

What decides an output names it: the prefix's weights, the numbers and ledger rows its layers
compute with, and the image. Which framework computed it does not, since both compute the same to
rounding; the store remembers that for the record.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from src.common.cache import cache_folder, progress
from src.common.errors import InputError
from src.common.files import atomic_write, make_folder, write_json
from src.config import ExperimentConfig
from src.data.batches import Batches
from src.feature_cache.plan import affecting_rows, cached_block, last_frozen_block, layers_up_to
from src.xception.blocks import tensors
from src.xception.weights import digest

SHARD = 128  # arrays a file; a kill loses at most these
LIMIT = "BRAIN_TUMOR_CACHE_GB"
_DEFAULT_GB = 16.0  # block12 and block13 of 7,000 images at 299 px take 7.4 and 2.9
_SPARE = 1e9  # bytes of the disk that are left to others
_MAPS = 128  # files mapped at a time; each holds a descriptor, of which macOS gives 256


@dataclass(frozen=True)
class _Shard:
    path: Path
    made_by: str
    names: tuple[str, ...]


class Store:
    """The arrays kept in one folder: all of one shape and type, each under a name.

    Pickles as its folder and its list of shards; each process maps the files itself.
    """

    def __init__(self, folder: Path, limited: Path):
        """Open `folder`; it and all else in `limited` together keep within the bound on disk.

        Raises:
            InputError: the folder or a file in it cannot be opened.
        """
        self.folder, self._limited = make_folder(folder), Path(limited)
        self._shards: list[_Shard] = []
        self._where: dict[str, tuple[int, int]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take note of shards that were added since; damaged ones are left where they are.

        Raises:
            InputError: a file cannot be opened, which says nothing of what is in it.
        """
        known = {shard.path for shard in self._shards}
        for index in self._indexes():
            if index.with_suffix(".npy") in known:
                continue
            shard = _checked(index)
            if shard is None:
                continue
            for row, name in enumerate(shard.names):
                self._where.setdefault(name, (len(self._shards), row))
            self._shards.append(shard)

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def places(self, names: Iterable[str]) -> np.ndarray:
        """Return (N, 2) int64 that `read` takes: where each of the N names is kept."""
        return np.array([self._where[name] for name in names], np.int64).reshape(-1, 2)

    def read(self, places: np.ndarray) -> np.ndarray:
        """Return the arrays at `places` (N, 2), stacked along a new first axis."""
        return np.stack([_mapped(self._shards[shard].path)[row] for shard, row in places])

    def made_by(self, names: Iterable[str]) -> dict[str, int]:
        """Return how many of the arrays named each maker made."""
        counts: dict[str, int] = {}
        for name in names:
            maker = self._shards[self._where[name][0]].made_by
            counts[maker] = counts.get(maker, 0) + 1
        return dict(sorted(counts.items()))

    @contextlib.contextmanager
    def adding(self) -> Iterator[None]:
        """Be the only process that adds; wait for another one, then see what it added."""
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Waiting for another process that fills the same cache.", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            self._clear()
            yield

    def reserve(self, count: int, nbytes: int) -> None:
        """Make sure that `count` more arrays of `nbytes` bytes each may be kept.

        Others may be filling other folders: ask again before each `add`.

        Raises:
            InputError: the bound or the disk leaves too little room.
        """
        need, bound = count * nbytes, _bound()
        used = sum(map(_size, self._limited.rglob("*")))
        free = shutil.disk_usage(self.folder).free - _SPARE
        if need > min(bound - used, free):
            raise InputError(
                f"The feature cache needs {need / 1e9:.1f} GB for {count} images in "
                f"{self._limited}, which holds {used / 1e9:.1f} GB and may hold "
                f"{bound / 1e9:.1f} GB; the disk has {max(free, 0) / 1e9:.1f} GB to spare. Delete "
                f"folders there that no run needs, set {LIMIT} to more gigabytes, set "
                "BRAIN_TUMOR_CACHE to another disk, or train with --no-feature-cache."
            )

    def add(self, names: list[str], arrays: np.ndarray, made_by: str) -> None:
        """Keep `arrays` (N, ...) under N `names`.

        Raises:
            InputError: the disk is full or cannot be written.
        """
        arrays = np.ascontiguousarray(arrays)
        path = self.folder / f"{hashlib.sha256(' '.join(names).encode()).hexdigest()[:24]}.npy"
        index = {"made_by": made_by, "names": names, "crc32": zlib.crc32(arrays.data)}
        try:
            # Plain writes, not a writable map: on a full disk those raise, a map kills the process.
            with atomic_write(path) as temporary:
                np.save(temporary, arrays)
            write_json(path.with_suffix(".json"), index)
        except OSError as error:
            raise InputError(
                f"Cannot write the feature cache {path}: {error.strerror or error}. Free "
                f"{arrays.nbytes / 1e6:.0f} MB there, or train with --no-feature-cache."
            ) from error
        self.refresh()

    def _indexes(self) -> list[Path]:
        return sorted(self.folder.glob("[!.]*.json"))  # a dot: still being written

    def _clear(self) -> None:
        """Delete what does not count; for the lock's holder, since only one writes."""
        kept = {shard.path for shard in self._shards}
        for index in self._indexes():
            if index.with_suffix(".npy") not in kept:
                index.unlink()
        for data in (*self.folder.glob("*.npy"), *self.folder.glob(".*.tmp.npy")):
            if data not in kept:
                data.unlink(missing_ok=True)


def _checked(index: Path) -> _Shard | None:
    """Return the shard that `index` describes if its bytes are those that were written."""
    path = index.with_suffix(".npy")
    try:
        about = json.loads(index.read_text(encoding="utf-8"))
        arrays = np.load(path, mmap_mode="r", allow_pickle=False)
        names = tuple(about["names"])
        whole = len(arrays) == len(names) and zlib.crc32(arrays.data) == about["crc32"]
        return _Shard(path, about["made_by"], names) if whole else None
    except (FileNotFoundError, EOFError, ValueError, KeyError, TypeError):
        return None
    except OSError as error:
        raise InputError(
            f"Cannot read the feature cache {path}: {error.strerror or error}. Mend that, or train "
            "with --no-feature-cache."
        ) from error


def _size(path: Path) -> int:
    """Return a file's bytes: none of a folder, or of a file that another process took away."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


@lru_cache(maxsize=_MAPS)
def _mapped(path: Path) -> np.memmap:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _bound() -> float:
    """Return how many bytes the cache may take.

    Raises:
        InputError: the environment does not name a number.
    """
    given = os.environ.get(LIMIT, "")
    try:
        gigabytes = float(given) if given else _DEFAULT_GB
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < 1e9:
        raise InputError(f"{LIMIT} must be a number of gigabytes. Received: {given!r}.")
    return gigabytes * 1e9


class CachedBatches:
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


# Images at a time, always: convolutions round otherwise in smaller batches, so an output would
# depend on its neighbours. At a batch size that 16 divides it is what training computes, in
# TensorFlow bit by bit, in PyTorch to rounding (losses up to 1e-6 nats apart were seen).
BATCH = 16
_FOLDER = "feature_cache"
_FORMAT = 1  # to be raised when the blocks come to compute something else

Compute = Callable[[np.ndarray], np.ndarray]  # (BATCH, S, S, 3) -> (BATCH, s, s, C) or (BATCH, C)


@dataclass
class FeatureCache:
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

    def batches(self, batches: Batches) -> CachedBatches:
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
        return CachedBatches(batches, self._store, places)

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


def find_cache(
    config: ExperimentConfig,
    stage: int,
    framework: str,
    get_weights: Callable[[], Mapping[str, np.ndarray]],
    make_compute: Callable[[str], Compute],
) -> FeatureCache | None:
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
    wanted = [tensor.name for tensor in tensors(layers_up_to(block))]
    weights = get_weights()
    about = {
        "format": _FORMAT,
        "block": block,
        "weights": digest({name: weights[name] for name in wanted}),
        "image_size": config.image_size,
        "precision": config.precision,
        "bn_epsilon": config.bn_epsilon,
        "restore_defaults": affecting_rows(config, framework),
        "batch": BATCH,
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
    whole = cache_folder(_FOLDER)
    folder = cache_folder(f"{_FOLDER}/{config.image_size}-{block}-{key}")
    write_json(folder / "about.txt", about)
    return FeatureCache(
        block, framework, config.cached_views, Store(folder, whole), make_compute(block)
    )


def stage_batches(
    batches: Batches, config: ExperimentConfig, stage: int, prefix: FeatureCache | None
) -> Batches | CachedBatches:
    """Return what a stage trains on, or is validated on: images, or a prefix's outputs.

    Where the config asks for the cache and the stage has a frozen prefix, augmentation is limited
    to the config's `cached_views`, even for a twin that cannot use the cache there: both then see
    the same images.
    """
    if config.feature_cache and last_frozen_block(config, stage):
        batches = batches.with_views(config.cached_views)
    return prefix.batches(batches) if prefix else batches
