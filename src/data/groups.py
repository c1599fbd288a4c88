"""Images that must stay together: those of a patient, and copies or neighbours of one slice."""

import csv
import re
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from src.common.errors import InputError
from src.common.files import read_json
from src.data.catalog import Catalog
from src.data.duplicates.similarity import Pairs
from src.data.phantom.write import MARKER

TOLD = "catalogue.csv"  # beside the images; columns path and patient
# A set so uniform that chains of neighbours join more than this share of it is grouped by copies.
LARGEST_SHARE = 0.1


def join_images(names: list[str], pairs: Pairs, sha256: tuple[str, ...]) -> tuple[np.ndarray, str]:
    """Return (N,) group numbers, and what a reader must know of the rule, or "".

    Joined are images of one patient, copies (the same slice, or the same bytes), and neighbours
    (correlation .92 of the whole or .85 of the detail) of which at least one has no known patient:
    patients whose heads look alike are not made one.

    Args:
        names: N patients, "" where unknown.
        pairs: as `find_pairs` gives them with its defaults.
        sha256: N.
    """
    known = np.array([bool(name) for name in names])
    near = pairs.same | ~(known[pairs.first] & known[pairs.second])
    groups = _connect(names, sha256, pairs.where(near))
    unnamed = np.bincount(groups[~known]) if not known.all() else np.zeros(1, int)
    if unnamed.max() > max(20, LARGEST_SHARE * len(names)):
        note = "the images are so alike that only copies of a slice were grouped, not neighbours"
        return _connect(names, sha256, pairs.where(pairs.same)), note
    return groups, ""


def _connect(names: list[str], sha256: tuple[str, ...], pairs: Pairs) -> np.ndarray:
    """Return (N,) numbers of the connected components, in the order of their first image."""
    first, second = list(pairs.first), list(pairs.second)
    seen: dict[tuple[str, str], int] = {}
    for row, (name, sha) in enumerate(zip(names, sha256)):
        for key in [("sha", sha)] + ([("patient", name)] if name else []):
            first.append(seen.setdefault(key, row))
            second.append(row)
    shape = (len(names), len(names))
    edges = coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=shape)
    return connected_components(edges, directed=False)[1].astype(np.int64)


def told_patients(catalog: Catalog) -> dict[str, str]:
    """Return path -> patient as a file beside the images says: a phantom's, or a `catalogue.csv`.

    Raises:
        InputError: that file is damaged.
    """
    marker, told = catalog.root / MARKER, catalog.root / TOLD
    if marker.exists():
        try:
            images = read_json(marker)["images"]
            return {path: images[path]["patient"] for path in catalog.paths if path in images}
        except (KeyError, TypeError) as error:
            raise InputError(f"{marker} does not say its images' patients ({error!r}).") from error
    if told.exists():
        return read_told(told)
    return {}


def read_told(path: Path) -> dict[str, str]:
    """Return path -> patient of those that have one, from a table of paths and patients.

    Raises:
        InputError: the table is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["path"]: row["patient"] for row in csv.DictReader(file) if row["patient"]}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise InputError(
            f"{path} is damaged ({error!r}): expected the columns path and patient. Mend it, "
            "or delete it to have patients told from file names."
        ) from error


def patient_in_name(path: str) -> str | None:
    """Return what of a file's name may name a patient: all before its last number, if that has one.

    `patient012_slice03.png` -> `patient012_slice`; `Tr-gl_0010.jpg` -> None.
    """
    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    numbers = list(re.finditer(r"\d+", stem))
    return stem[: numbers[-1].start()] if len(numbers) > 1 else None
