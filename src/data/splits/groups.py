"""One look at a folder of images: what is a copy of what, whose it is, what belongs together."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from src.common.errors import InputError
from src.common.files import read_json
from src.config import CLASS_NAMES
from src.data.catalog import Catalog
from src.data.duplicates.similarity import Pairs, find_pairs
from src.data.duplicates.thumbnails import Thumbnails, catalog_thumbnails
from src.data.patients.recover import SHIPPED, Origin, confirmed, fingerprints, read_table
from src.data.phantom.write import MARKER


@dataclass(frozen=True, eq=False)
class Grouping:
    """What groups were made of: all that the audit and the splits share.

    Attributes:
        catalog: N images, all decodable.
        thumbnails: theirs.
        prints: their fingerprints.
        pairs: near-duplicates.
        origins: path -> figshare slice, where known.
        groups: (N,) int64.
        conflicts: copies under two labels.
        wrong: paths whose label is contradicted.
        note: what a reader must know of the grouping, or "".
    """

    catalog: Catalog
    thumbnails: Thumbnails
    prints: list[str]
    pairs: Pairs
    origins: dict[str, Origin]
    groups: np.ndarray
    conflicts: list[dict]
    wrong: list[str]
    note: str = ""


def group_catalog(catalog: Catalog) -> Grouping:
    """Look at every image and put together what belongs together.

    Patients come from the shipped table, a file beside the images, or the files' names.

    Raises:
        InputError: the cache cannot be written, or a class is left without an image.
    """
    catalog, thumbnails = catalog_thumbnails(catalog)
    prints = fingerprints(thumbnails.whole)
    origins = confirmed(catalog, prints, *read_table()) if SHIPPED.exists() else {}
    return _group(catalog, thumbnails, prints, find_pairs(thumbnails), origins)


def regroup(grouping: Grouping, origins: dict[str, Origin]) -> Grouping:
    """Return the grouping with other origins: what `recover` found instead of the shipped table."""
    return _group(grouping.catalog, grouping.thumbnails, grouping.prints, grouping.pairs, origins)


def group_copies_and_patients(catalog: Catalog) -> np.ndarray:
    """Return (N,) group numbers: copies of a slice and images of a patient share one.

    Neighbouring slices of nobody known do not: this is what parts must never share.

    Raises:
        InputError: as `group_catalog`.
    """
    catalog, thumbnails = catalog_thumbnails(catalog)
    pairs = find_pairs(thumbnails)
    prints = fingerprints(thumbnails.whole)
    origins = confirmed(catalog, prints, *read_table()) if SHIPPED.exists() else {}
    return join_images(_patients(catalog, origins), pairs.where(pairs.same), catalog.sha256)[0]


def _group(
    catalog: Catalog,
    thumbnails: Thumbnails,
    prints: list[str],
    pairs: Pairs,
    origins: dict[str, Origin],
) -> Grouping:
    groups, note = join_images(_patients(catalog, origins), pairs, catalog.sha256)
    conflicts = find_conflicts(catalog, pairs, origins)
    wrong = mislabelled(catalog, conflicts, origins)
    return Grouping(catalog, thumbnails, prints, pairs, origins, groups, conflicts, wrong, note)


def _patients(catalog: Catalog, origins: dict[str, Origin]) -> list[str]:
    """Return (N,) what names each image's patient, "" where nothing does."""
    told = patients_from_file(catalog)
    names = []
    for path, label in zip(catalog.paths, catalog.labels):
        in_name = patient_in_name(path)
        by_name = f"{label} {path.rpartition('/')[0]} {in_name}" if in_name else ""
        names.append(origins[path].patient if path in origins else told.get(path, by_name))
    return names


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


def patients_from_file(catalog: Catalog) -> dict[str, str]:
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
        return read_patient_table(told)
    return {}


def read_patient_table(path: Path) -> dict[str, str]:
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


def find_conflicts(
    catalog: Catalog, pairs: Pairs, origins: dict[str, Origin]
) -> list[dict[str, object]]:
    """Return the same-slice pairs whose labels differ: `paths`, `labels`, `truth`, `wrong`.

    `truth` is figshare's class, or None where figshare does not know the slice; `wrong` are the
    paths that contradict it, and both where nothing tells which is right.
    """
    found = []
    for first, second in zip(pairs.first[pairs.same], pairs.second[pairs.same]):
        if catalog.labels[first] == catalog.labels[second]:
            continue
        paths = [catalog.paths[first], catalog.paths[second]]
        labels = [int(catalog.labels[first]), int(catalog.labels[second])]
        truths = {origins[path].label for path in paths if path in origins}
        truth = truths.pop() if len(truths) == 1 else None
        wrong = [path for path, label in zip(paths, labels) if label != truth]
        found.append(
            {
                "paths": paths,
                "labels": [CLASS_NAMES[label] for label in labels],
                "truth": None if truth is None else CLASS_NAMES[truth],
                "wrong": wrong,
            }
        )
    return found


def conflicts_note(conflicts: list[dict]) -> str:
    """Return what a reader must know of copies under two labels, or ""."""
    if not conflicts:
        return ""
    first, second = conflicts[0]["paths"]
    return (
        f"{len(conflicts)} pairs of images show one slice under two classes, the first {first} and "
        f"{second}: each pair is in one part, where one of its labels is wrong. `python -m src "
        "data audit` lists them; remove what is wrong."
    )


def mislabelled(catalog: Catalog, conflicts: list[dict], origins: dict[str, Origin]) -> list[str]:
    """Return the paths whose label figshare, or a copy under another label, contradicts."""
    wrong = {path for conflict in conflicts for path in conflict["wrong"]}
    for path, label in zip(catalog.paths, catalog.labels):
        if path in origins and origins[path].label != label:
            wrong.add(path)
    return sorted(wrong)
