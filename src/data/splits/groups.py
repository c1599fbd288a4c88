"""What belongs together in a folder of images: copies of a slice, and images of one patient.

A clean split never puts two images of one group into different parts.
"""

import csv
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from src.common.errors import InputError
from src.common.files import read_json
from src.config import CLASS_NAMES
from src.data.catalog import Catalog
from src.data.duplicates.similarity import Pairs, find_pairs
from src.data.duplicates.thumbnails import Thumbnails, catalog_thumbnails
from src.data.patients.recover import Origin, image_fingerprints, shipped_origins
from src.data.phantom.write import MARKER

PATIENT_TABLE = "catalogue.csv"  # beside the images; columns path and patient
# A set so uniform that chains of neighbours join more than this share of it is grouped by copies.
LARGEST_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Grouping:
    """The groups of N images and what they were made of: all that the audit and the splits share.

    Attributes:
        catalog: the images, all decodable.
        thumbnails, fingerprints: theirs.
        pairs: near-duplicates, as `find_pairs` gives them with its defaults.
        origins: path -> figshare slice, where known.
    """

    catalog: Catalog
    thumbnails: Thumbnails
    fingerprints: list[str]
    pairs: Pairs
    origins: dict[str, Origin]

    @cached_property
    def _groups_and_note(self) -> tuple[np.ndarray, str]:
        return join_images(self._patients, self.pairs, self.catalog.sha256)

    @property
    def groups(self) -> np.ndarray:
        """(N,) int64 group numbers."""
        return self._groups_and_note[0]

    @property
    def note(self) -> str:
        """What a reader must know of the rule that made the groups, or ""."""
        return self._groups_and_note[1]

    @cached_property
    def copies_and_patients(self) -> np.ndarray:
        """(N,) int64 groups of copies and patients alone: what parts must never share.

        Neighbouring slices of unknown patients are not joined.
        """
        same = self.pairs.where(self.pairs.same)
        return connect_images(self._patients, self.catalog.sha256, same)

    @cached_property
    def conflicts(self) -> list[dict]:
        """The same-slice pairs whose labels differ: `paths`, `labels`, `truth`, `wrong`.

        `truth` is figshare's class, or None where figshare does not know the slice; `wrong` are the
        paths that contradict it, and both where nothing says which is right.
        """
        catalog, origins = self.catalog, self.origins
        same = self.pairs.where(self.pairs.same)
        conflicts = []
        for rows in zip(same.first, same.second):
            labels = [int(catalog.labels[row]) for row in rows]
            if labels[0] == labels[1]:
                continue
            paths = [catalog.paths[row] for row in rows]
            truths = {origins[path].label for path in paths if path in origins}
            truth = truths.pop() if len(truths) == 1 else None
            conflicts.append(
                {
                    "paths": paths,
                    "labels": [CLASS_NAMES[label] for label in labels],
                    "truth": None if truth is None else CLASS_NAMES[truth],
                    "wrong": [path for path, label in zip(paths, labels) if label != truth],
                }
            )
        return conflicts

    @cached_property
    def mislabelled(self) -> list[str]:
        """The paths whose label figshare, or a copy under another label, contradicts; sorted."""
        wrong = {path for conflict in self.conflicts for path in conflict["wrong"]}
        for path, label in zip(self.catalog.paths, self.catalog.labels):
            if path in self.origins and self.origins[path].label != label:
                wrong.add(path)
        return sorted(wrong)

    @cached_property
    def _patients(self) -> list[str]:
        """What names each image's patient, "" where nothing does."""
        from_file = patients_from_file(self.catalog)
        names = []
        for path, label in zip(self.catalog.paths, self.catalog.labels):
            in_name = patient_in_name(path)
            by_name = f"{label} {path.rpartition('/')[0]} {in_name}" if in_name else ""
            known = path in self.origins
            names.append(self.origins[path].patient if known else from_file.get(path, by_name))
        return names


def group_catalog(catalog: Catalog) -> Grouping:
    """Compare all images with one another and join what belongs together.

    Patients come from the shipped table, a file beside the images, or the files' names.

    Raises:
        InputError: the cache cannot be written, or a class is left without an image.
    """
    catalog, thumbnails = catalog_thumbnails(catalog)
    fingerprints = image_fingerprints(thumbnails.whole)
    origins = shipped_origins(catalog.paths, fingerprints)
    return Grouping(catalog, thumbnails, fingerprints, find_pairs(thumbnails), origins)


def group_copies(catalog: Catalog, by_name: bool = False) -> np.ndarray:
    """Return (N,) group numbers without decoding an image: byte-identical images share one.

    Args:
        catalog: N images.
        by_name: also join images of one class whose names share `patient_in_name`.
    """
    names = [patient_in_name(path) or "" if by_name else "" for path in catalog.paths]
    names = [name and f"{label} {name}" for name, label in zip(names, catalog.labels)]
    return connect_images(names, catalog.sha256)


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
    groups = connect_images(names, sha256, pairs.where(near))
    unnamed = np.bincount(groups[~known]) if not known.all() else np.zeros(1, int)
    if unnamed.max() > max(20, LARGEST_SHARE * len(names)):
        note = "the images are so alike that only copies of a slice were grouped, not neighbours"
        return connect_images(names, sha256, pairs.where(pairs.same)), note
    return groups, ""


def connect_images(
    names: list[str], sha256: tuple[str, ...], pairs: Pairs | None = None
) -> np.ndarray:
    """Return (N,) int64 numbers of connected components, in the order of their first image.

    Connected are images of one name (other than ""), of one hash, and of one pair.
    """
    first, second = (list(pairs.first), list(pairs.second)) if pairs else ([], [])
    row_of: dict[tuple[str, str], int] = {}
    for row, (name, sha) in enumerate(zip(names, sha256)):
        for key in [("sha", sha)] + ([("patient", name)] if name else []):
            first.append(row_of.setdefault(key, row))
            second.append(row)
    shape = (len(names), len(names))
    edges = coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=shape)
    return connected_components(edges, directed=False)[1].astype(np.int64)


def patients_from_file(catalog: Catalog) -> dict[str, str]:
    """Return path -> patient from a file beside the images: a phantom's, or a `catalogue.csv`.

    Raises:
        InputError: that file is damaged.
    """
    marker, table = catalog.root / MARKER, catalog.root / PATIENT_TABLE
    if marker.exists():
        try:
            images = read_json(marker)["images"]
            return {path: images[path]["patient"] for path in catalog.paths if path in images}
        except (KeyError, TypeError) as error:
            raise InputError(f"{marker} does not say its images' patients ({error!r}).") from error
    if not table.exists():
        return {}
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return {row["path"]: row["patient"] for row in csv.DictReader(file) if row["patient"]}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise InputError(
            f"{table} is damaged ({error!r}): expected the columns path and patient. Repair it, "
            "or delete it to have patients read from file names."
        ) from error


def patient_in_name(path: str) -> str | None:
    """Return what of a file's name may name a patient: all before its last number, if that has one.

    `patient012_slice03.png` -> `patient012_slice`; `Tr-gl_0010.jpg` -> None.
    """
    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    numbers = list(re.finditer(r"\d+", stem))
    return stem[: numbers[-1].start()] if len(numbers) > 1 else None


def conflicts_note(conflicts: list[dict]) -> str:
    """Return what a reader must know of copies under two labels, or ""."""
    if not conflicts:
        return ""
    first, second = conflicts[0]["paths"]
    return (
        f"{len(conflicts)} pairs of images show one slice under two classes, the first {first} and "
        f"{second}: each pair is in one part, where one of its labels is wrong. `python -m src "
        "data audit` lists them; remove the wrong ones."
    )
