"""What belongs together in a folder of images: copies of a slice, and images of one patient.

A clean split never puts two images of one group into different parts.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from src.common.errors import InputError
from src.common.files import only_file, read_json
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
    """The groups of N images and what they were made of, for the audit and the splits.

    Attributes:
        catalog: the images, all decodable.
        thumbnails, fingerprints: theirs.
        pairs: near-duplicates.
        origins: path -> figshare slice, where known.
        joins: more pairs of rows to join.
    """

    catalog: Catalog
    thumbnails: Thumbnails
    fingerprints: list[str]
    pairs: Pairs
    origins: dict[str, Origin]
    joins: Sequence[tuple[int, int]] = ()

    @cached_property
    def _groups_and_note(self) -> tuple[np.ndarray, str]:
        return join_images(self._patients, self.pairs, self.catalog.sha256, self.joins)

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
        """(N,) int64 groups of copies and patients, without neighbours: no two parts share one."""
        same = self.pairs.where(self.pairs.same)
        return connect_images(self._patients, self.catalog.sha256, same, self.joins)

    @cached_property
    def conflicts(self) -> list[dict]:
        """The same-slice pairs whose labels differ: `paths`, `labels`, `truth`, `wrong`.

        `truth` is figshare's class, or None where figshare does not know the slice; `wrong` are the
        paths that contradict it, and both where nothing says which is right.
        """
        conflicts = []
        same = self.pairs.where(self.pairs.same)
        for rows in zip(same.first, same.second):
            paths = [self.catalog.paths[row] for row in rows]
            labels = [self.catalog.classes[self.catalog.labels[row]] for row in rows]
            if labels[0] == labels[1]:
                continue
            truths = {self.origins[path].label for path in paths if path in self.origins}
            truth = CLASS_NAMES[truths.pop()] if len(truths) == 1 else None
            wrong = [path for path, label in zip(paths, labels) if label != truth]
            conflicts.append({"paths": paths, "labels": labels, "truth": truth, "wrong": wrong})
        return conflicts

    @property
    def conflicts_note(self) -> str:
        """What a reader must know of copies under two labels, or ""."""
        if not self.conflicts:
            return ""
        first, second = self.conflicts[0]["paths"]
        return (
            f"{len(self.conflicts)} pairs of images show one slice under two classes, the first "
            f"{first} and {second}: one label of each is wrong (`python -m src data audit` lists "
            "them; remove the wrong ones)."
        )

    @cached_property
    def mislabelled(self) -> list[str]:
        """The paths whose label figshare, or a copy under another label, contradicts; sorted."""
        wrong = {path for conflict in self.conflicts for path in conflict["wrong"]}
        names, labels = self.catalog.classes, dict(zip(self.catalog.paths, self.catalog.labels))
        known = self.origins.items()
        wrong |= {path for path, origin in known if origin.contradicts(names[labels[path]])}
        return sorted(wrong)

    @cached_property
    def _patients(self) -> list[str]:
        """What names each image's patient, "" where nothing does."""
        names = {
            path: f"{label} {path.rpartition('/')[0]} {name}"
            for path, label in zip(self.catalog.paths, self.catalog.labels)
            if (name := patient_in_name(path))
        }
        names |= patients_from_file(self.catalog)
        names |= {path: origin.patient for path, origin in self.origins.items()}
        return [names.get(path, "") for path in self.catalog.paths]


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

    `by_name` also joins images of one class whose names share `patient_in_name`.
    """
    patients = [
        f"{label} {name}" if by_name and (name := patient_in_name(path)) else ""
        for path, label in zip(catalog.paths, catalog.labels)
    ]
    return connect_images(patients, catalog.sha256)


def join_images(
    names: list[str],
    pairs: Pairs,
    sha256: tuple[str, ...],
    joins: Sequence[tuple[int, int]] = (),
) -> tuple[np.ndarray, str]:
    """Return (N,) group numbers, and what a reader must know of the rule, or "".

    Joined are images of one patient, copies (the same slice, or the same bytes), and neighbours
    (correlation .92 of the whole or .85 of the detail) of which at least one has no known patient:
    patients whose heads look alike are not made one.

    Args:
        names: N patients, "" where unknown.
        pairs: as `find_pairs` gives them.
        sha256: N.
        joins: other pairs of rows to join.
    """
    known = np.array([bool(name) for name in names])
    near = pairs.same | ~(known[pairs.first] & known[pairs.second])
    groups = connect_images(names, sha256, pairs.where(near), joins)
    largest = np.bincount(groups[~known]).max(initial=0)
    if largest <= max(20, LARGEST_SHARE * len(names)):
        return groups, ""
    note = "the images are so alike that only copies of a slice were grouped, not neighbours"
    return connect_images(names, sha256, pairs.where(pairs.same), joins), note


def connect_images(
    names: list[str],
    sha256: tuple[str, ...],
    pairs: Pairs | None = None,
    joins: Sequence[tuple[int, int]] = (),
) -> np.ndarray:
    """Return (N,) int64 numbers of connected components, in the order of their first image.

    Connected are images of one name (other than ""), of one hash, and of one pair.
    """
    first, second = (list(pairs.first), list(pairs.second)) if pairs else ([], [])
    first += [one for one, _ in joins]
    second += [other for _, other in joins]
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
    try:
        if marker.exists():
            images = read_json(marker)["images"]
            return {path: images[path]["patient"] for path in catalog.paths if path in images}
        if not table.exists():
            return {}
        with only_file(table).open(newline="", encoding="utf-8") as file:
            return {row["path"]: row["patient"] for row in csv.DictReader(file) if row["patient"]}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError) as error:
        raise InputError(
            f"{marker if marker.exists() else table} is damaged ({error!r}): expected the path and "
            "patient of each image. Repair it, or delete it to have patients read from file names."
        ) from error


def patient_in_name(path: str) -> str | None:
    """Return what of a file's name may name a patient: all before the last of its several numbers.

    `patient012_slice03.png` -> `patient012_slice`; `Tr-gl_0010.jpg` -> None.
    """
    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    numbers = list(re.finditer(r"\d+", stem))
    return stem[: numbers[-1].start()] if len(numbers) > 1 else None
