"""`open_dataset`: from a folder, or none, to batches."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.common.progress import progress_stream
from src.config import CLASS_NAMES, ExperimentConfig
from src.data.batches import Batches
from src.data.catalog import Catalog, named_files, read_catalog
from src.data.folders import find_own_images
from src.data.phantom.write import default_phantom, is_phantom
from src.data.pixels import PILLOW_DECODER, Decode, Pixels, decode_gray, load_pixels
from src.data.sources.origin import describe_source
from src.data.splits.folds import CT
from src.data.splits.seen import seen_images
from src.data.splits.split import PARTS, Split, split_catalog

STATISTICS_IMAGES = 1024  # the size that Wu & Johnson 2021 suggest, arXiv:2105.07576, section 3
_STATISTICS = 0x5747  # after the seed, so that no two uses share a random stream
PHANTOM_NOTE = (
    "PHANTOM DATA: synthetic head slices, drawn by a program. "
    "The scores say nothing about real MRI."
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, cut into parts, ready to be batched.

    Attributes:
        kind: "real", or "phantom" for the built-in synthetic set.
        root: the folder the images lie in.
        catalog: one row per image.
        config: what the dataset was opened for, with the classes of the folder.
        parts: {"train", "val", "test"} -> int64 rows of the catalogue; "ct", if there is any.
        groups: (N,) int64; images of one group were kept in one part wherever parts were cut here.
    """

    kind: str
    root: Path
    catalog: Catalog
    config: ExperimentConfig
    _split: Split = field(repr=False)
    _store: Pixels = field(repr=False)
    _test_store: Pixels = field(repr=False)
    _seen: np.ndarray | None = field(default=None, repr=False)

    @property
    def pixels(self) -> np.ndarray:
        """(N, S, S) uint8 gray memory map, read-only; at the side that training sees."""
        return self._store.array

    @property
    def test_pixels(self) -> np.ndarray:
        """(N, T, T) uint8, the same images at the side that validation and test see."""
        return self._test_store.array

    @property
    def parts(self) -> dict[str, np.ndarray]:
        ct = self._split.aside.get(CT, ())
        return self._split.parts | ({CT: ct} if len(ct) else {})

    @property
    def groups(self) -> np.ndarray:
        return self._split.groups

    def batches(self, part: str, training: bool = False) -> Batches:
        """Return the batches of "train", "val", "test" or "ct".

        With `training` they are shuffled, augmented, balanced and limited as the config says. All
        others have the side that the config tests at.

        Source: Touvron et al. 2019, arXiv:1906.06423 (a test side above the training side).
        """
        store = self._store if training else self._test_store
        return Batches(self.catalog, store, self.parts[part], self.config, training)

    def statistics_batches(self) -> Batches:
        """Return the batches that BatchNorm's statistics are measured on before each validation.

        Always the same training images, shuffled, not augmented: at most `STATISTICS_IMAGES`, and
        no more than an epoch has. (In catalogue order a batch would hold one class.) They have the
        side of the test images, since that is what the statistics are for.
        """
        rows = self.parts["train"]
        count = min(self.config.max_images_per_epoch or len(rows), STATISTICS_IMAGES)
        shuffled = np.random.default_rng([self.config.seed, _STATISTICS]).permutation(rows)
        return Batches(self.catalog, self._test_store, shuffled[:count], self.config)

    def parts_fingerprint(self) -> str:
        """Return the SHA-256 of which image is in which part."""
        content = hashlib.sha256()
        for part in PARTS:
            content.update(self.parts[part].astype("<i8").tobytes() + part.encode())
        return content.hexdigest()

    def with_parts(self, parts: dict[str, np.ndarray]) -> "Dataset":
        """Return this dataset with other rows of the catalogue in the parts named."""
        return replace(self, _split=replace(self._split, parts=self._split.parts | parts))

    def with_counts(self, counts: dict[str, int]) -> "Dataset":
        """Return this dataset with `counts[part]` images in each part named.

        They are spread evenly over the part, or repeated from its start where it has fewer.
        """
        parts = {}
        for part, count in counts.items():
            rows = self.parts[part]
            evenly = np.linspace(0, len(rows) - 1, count).round().astype(np.int64)
            parts[part] = rows[evenly] if count <= len(rows) else np.resize(rows, count)
        return self.with_parts(parts)

    def describe(self) -> dict:
        """Return what a record must hold to say which images these were, as plain JSON values."""
        seen = {}
        if self._seen is not None:
            seen["seen_test_images"] = int(self._seen[self.parts["test"]].sum())
        return seen | {
            "kind": self.kind,
            "name": self.root.name,
            "source": describe_source(self.catalog),
            "counts": self.catalog.counts(),
            "skipped": [list(row) for row in self.catalog.skipped],
            "parts": {part: len(self.parts[part]) for part in PARTS},
            "split": "made at runtime" if self._split.made_at_runtime else self.config.split,
            "split_rule": self._split.rule,
            "aside": {name: len(rows) for name, rows in self._split.aside.items()},
            "note": f"{PHANTOM_NOTE if self.kind == 'phantom' else ''} {self._split.note}".strip(),
            "fingerprint": self.catalog.fingerprint,
        }


def open_dataset(
    config: ExperimentConfig,
    data_dir: Path | None = None,
    decoder: tuple[Decode, str] = (decode_gray, PILLOW_DECODER),
) -> Dataset:
    """Find the images, decode them once into the cache and cut them into parts.

    Args:
        config: the experiment; classes other than the default's must be the folder's.
        data_dir: the folder of images. By default BRAIN_TUMOR_DATA; else `dataset/` beside `src/`,
            if it holds images; else where Kaggle mounts the set; else the phantom set is drawn
            into the cache folder.
        decoder: a function that reads a file as gray pixels, and the name under which the cache
            keeps these. A framework's own replaces it where the config restores that default.
    Returns:
        the dataset; its config has the classes of the folder.
    Raises:
        InputError: the folder is missing, has no classes, or others than the config names, or a
            class has no usable image; or the shipped model, from which the run starts, has seen
            test images, and the config does not allow it.
    """
    every = read_catalog(find_data(data_dir))
    config = with_classes(config, every)
    kind = "phantom" if is_phantom(every.root) else "real"
    # What cannot be decoded does not depend on the side: both stores have the same rows.
    catalog, store = load_pixels(every, config.image_size, *decoder)
    test_store = store
    if config.eval_size != config.image_size:
        _, test_store = load_pixels(every, config.eval_size, *decoder)
    split = split_catalog(catalog, config)
    seen = seen_images(catalog, split.groups) if config.init == "pretrained" else None
    dataset = Dataset(kind, catalog.root, catalog, config, split, store, test_store, seen)
    if seen is not None and not config.allow_seen_test:
        _refuse_seen(dataset)
    _announce(dataset)
    return dataset


def _refuse_seen(dataset: Dataset) -> None:
    """Refuse test images that the shipped classifier, from which the run starts, has seen."""
    described = dataset.describe()
    if described["seen_test_images"]:
        rows = dataset.parts["test"]
        first = dataset.catalog.paths[rows[dataset._seen[rows]][0]]
        raise InputError(
            f"{seen_mark(described)}, the first {first}: the scores would measure memory. Test on "
            "other images (of the Kaggle merge: --split clean --fold -1), start from other weights "
            "(--init imagenet), or give --allow-seen-test, which marks the record."
        )


def seen_mark(described: Mapping) -> str:
    """Return what marks scores on images that the shipped classifier has seen, or "".

    Args:
        described: from `Dataset.describe`.
    """
    if not (seen := described.get("seen_test_images")):
        return ""
    return (
        f"{seen:,} of {described['parts']['test']:,} test images, or others of their patient or "
        "slice, trained or validated the shipped model"
    )


def with_classes(config: ExperimentConfig, catalog: Catalog) -> ExperimentConfig:
    """Return `config` with the classes of the folder, if it names no others.

    Raises:
        InputError: it does.
    """
    if config.classes != CLASS_NAMES:
        check_classes(config.classes, catalog)
    return replace(config, classes=catalog.classes)


def check_classes(classes: tuple[str, ...], catalog: Catalog) -> None:
    """Check that a folder has these classes.

    Raises:
        InputError: it has others.
    """
    if catalog.classes != classes:
        raise InputError(
            f"The experiment is about the classes {', '.join(classes)}, but the folders in "
            f"{catalog.root} name {', '.join(catalog.classes)}. Give --data a folder with the "
            "same classes, or train a model for these (with no `classes` in its config)."
        )


def find_data(data_dir: Path | None = None) -> Path:
    """Return the folder that `open_dataset` would read; makes the phantom set where none is."""
    return find_own_images(data_dir) or default_phantom()


_announced: set[str] = set()


def _announce(dataset: Dataset) -> None:
    """Print once per process what a person would not expect of these images."""
    unused = named_files(dataset.catalog.skipped)
    for text in (_classes_note(dataset.catalog.classes), dataset.describe()["note"], unused):
        if text and text not in _announced:
            _announced.add(text)
            print(f"\n*** {text}\n" if "PHANTOM" in text else text, file=progress_stream())


def _classes_note(classes: tuple[str, ...]) -> str:
    """Return a sentence about classes that are not the merge's four, or ""."""
    if classes == CLASS_NAMES:
        return ""
    missing = [name for name in CLASS_NAMES if name not in classes]
    subset = f" (without {' and '.join(missing)})" if set(classes) < set(CLASS_NAMES) else ""
    return f"{len(classes)} classes, as the folders are named: {', '.join(classes)}{subset}."
