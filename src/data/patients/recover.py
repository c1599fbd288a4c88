"""Which figshare slice, and so which patient, each image of the merge is.

The merge publishes no patients. But 4,750 of its tumour images are figshare slices, mirrored or
not, and figshare publishes the patient of each. The recovered table ships in `dataset/`, for those
who have only the merge: an image is known by its path, and confirmed by a fingerprint that
re-encoding and resizing leave alone.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import dctn

from src.common.cache import progress
from src.common.errors import InputError, reason_of
from src.common.files import only_file, write_csv
from src.config import CLASS_NAMES
from src.data.catalog import Catalog
from src.data.duplicates.similarity import best_matches
from src.data.duplicates.thumbnails import Thumbnails, thumbnails_of
from src.data.folders import standard_path
from src.data.sources.readers import SourceImage, source_thumbnails

# Correlation of 64x64 thumbnails: copies reach .999, and .99 after JPEG quality 60 or 180 px;
# others stay below .90 (measured on 7,019 images).
MATCH = 0.97
SHIPPED = Path(__file__).resolve().parents[3] / "dataset" / "recovered_patients.csv"
MERGE = SHIPPED.with_name("clean_split.csv")  # names every image of the merge
COLUMNS = ("path", "fingerprint", "slice", "patient", "mirrored", "label", "correlation")
# Of 63 bits. Re-encodings measured so far move up to 7; 1 in 1,700 other images comes this close.
TOLERANCE = 8
# Of an image under another name: 399 of 400 copies at JPEG quality 60 come this close to their own
# row, but no closer to one of another group; 41 of 7,023 images come this close to such a row.
RENAMED = 3
MIN_KNOWN_SHARE = 0.5  # a folder is a shipped table's where at least this share of images is known


@dataclass(frozen=True)
class Origin:
    """Where one image of the merge comes from."""

    fingerprint: str  # of the image
    slice: str  # the number of figshare's .mat file
    patient: str  # figshare's, final letters removed
    mirrored: bool  # left-right, against figshare's images at hand
    label: int  # figshare's class, an index into CLASS_NAMES
    correlation: float  # of the thumbnails

    def contradicts(self, name: str) -> bool:
        """Tell whether figshare's class is another than `name`, as far as it knows such a class."""
        return name in CLASS_NAMES and name != CLASS_NAMES[self.label]


def recover(
    catalog: Catalog, thumbnails: Thumbnails, slices: list[SourceImage]
) -> dict[str, Origin]:
    """Return path -> origin of the images that are figshare slices.

    Args:
        thumbnails: of the catalogue's images.
        slices: figshare's.
    Raises:
        InputError: a figshare image is damaged.
    """
    references, bad = source_thumbnails(slices)
    for row, reason in bad.items():
        raise InputError(
            f"figshare slice {slices[row].name} ({slices[row].file}): {reason}. Download it again: "
            "without every slice, patients would be missed."
        )
    matches, flips, correlations = best_matches(thumbnails.whole, references.whole)
    origins = {}
    for row in np.flatnonzero(correlations >= MATCH):
        match = slices[matches[row]]
        fingerprint = image_fingerprint(thumbnails.whole[row])
        # figshare has no slice upside down, so every match is plain or mirrored left-right.
        mirrored, correlation = bool(flips[row] in (1, 2)), round(float(correlations[row]), 4)
        origins[catalog.paths[row]] = Origin(
            fingerprint, match.name, match.patient, mirrored, match.label, correlation
        )
    return origins


def image_fingerprint(gray: np.ndarray) -> str:
    """Return 16 hex digits that survive re-encoding and resizing of (H, W) uint8.

    The signs of the 63 lowest frequencies of the image, squeezed to 32x32.
    """
    small = Image.fromarray(gray).resize((32, 32), Image.Resampling.BOX)
    waves = dctn(np.asarray(small, np.float32), norm="ortho")[:8, :8].ravel()
    waves[0] = 0  # the mean says nothing
    return np.packbits(waves > 0).tobytes().hex()


def is_close(one: str, other: str, tolerance: int = TOLERANCE) -> bool:
    """Tell whether two fingerprints may be of one image."""
    return (int(one, 16) ^ int(other, 16)).bit_count() <= tolerance


def image_fingerprints(pixels: np.ndarray) -> list[str]:
    """Return the fingerprint of each of (N, S, S) uint8."""
    return [image_fingerprint(image) for image in progress(pixels, len(pixels), "Fingerprints")]


@lru_cache(maxsize=4)
def catalog_fingerprints(catalog: Catalog) -> list[str]:
    """Return the fingerprints of a catalogue's images, which were decoded before.

    Raises:
        InputError: as `thumbnails_of`.
    """
    return image_fingerprints(thumbnails_of(catalog).whole)


def write_table(path: Path, origins: dict[str, Origin]) -> None:
    """Write what `recover` gave as CSV: COLUMNS are the path and the fields of `Origin`."""
    rows = []
    for name, o in sorted(origins.items()):
        known = (name, o.fingerprint, o.slice, o.patient, int(o.mirrored))
        rows.append(dict(zip(COLUMNS, (*known, CLASS_NAMES[o.label], f"{o.correlation:.4f}"))))
    write_csv(path, COLUMNS, rows)


@lru_cache(maxsize=1)
def shipped_table(path: Path = SHIPPED) -> dict[str, Origin]:
    """Return path -> origin, as `write_table` wrote them; read once.

    Raises:
        InputError: the table is missing or damaged.
    """
    origins = {}
    try:
        with only_file(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for row in csv.DictReader(file):
                name, row["mirrored"] = row.pop("path"), row["mirrored"] == "1"
                row["label"] = CLASS_NAMES.index(row["label"])
                row["correlation"] = float(row["correlation"])
                origins[name] = Origin(**row)
    except (OSError, csv.Error, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a table of recovered patients ({reason_of(error)}). "
            "Take the repository's file, or make one with `python -m src data provenance`."
        ) from error
    return origins


def shipped_origins(paths: Sequence[str], fingerprints: Sequence[str]) -> dict[str, Origin]:
    """Return path -> origin of those images that the shipped table knows, name and fingerprint.

    Raises:
        InputError: the shipped table is damaged.
    """
    table = shipped_table() if SHIPPED.exists() else {}
    return {
        path: table[name]
        for path, name, fingerprint in zip(paths, merge_names(paths, fingerprints), fingerprints)
        if name in table and is_close(fingerprint, table[name].fingerprint)
    }


def merge_names(paths: Sequence[str], fingerprints: Sequence[str]) -> list[str]:
    """Return the path by which the shipped tables name each image: its own, unless it was renamed.

    Version 2 of the merge numbers and divides its files anew, and copies have other names for its
    folders. An image whose fingerprint is not
    that of its path takes the name of the closest row, if no row of another group is as close.
    Where fewer than half of the images are found, it is not the merge, and all keep their paths.

    Raises:
        InputError: the shipped split is damaged.
    """
    merge = _read_merge(MERGE)
    names, codes = list(merge), np.array([int(row[0], 16) for row in merge.values()], np.uint64)
    found = {}
    for path, fingerprint in zip(paths, fingerprints):
        name = standard_path(path)
        expected = merge.get(name, ("", ""))[0]
        if expected and is_close(fingerprint, expected):
            found[path] = name
        if expected and is_close(fingerprint, expected, RENAMED):
            continue
        bits = np.bitwise_count(codes ^ np.uint64(int(fingerprint, 16)))
        closest = np.flatnonzero(bits == bits.min(initial=RENAMED))
        if len({merge[names[row]][1] for row in closest}) == 1:
            found[path] = names[closest[0]]
    if len(found) < MIN_KNOWN_SHARE * min(len(paths), len(names)):
        return list(paths)
    return [found.get(path, path) for path in paths]


@lru_cache(maxsize=1)
def _read_merge(path: Path) -> dict[str, tuple[str, str]]:
    """Return path -> fingerprint and group of every image of the merge."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            next(file)  # what made the split
            return {row["path"]: (row["fingerprint"], row["group"]) for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, StopIteration) as error:
        raise InputError(f"{path} is damaged ({error!r}). Take the repository's file.") from error
