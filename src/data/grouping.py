"""One look at a folder of images: what is a copy of what, whose it is, what belongs together."""

from dataclasses import dataclass

import numpy as np

from src.data.catalog import Catalog
from src.data.conflicts import find_conflicts, mislabelled
from src.data.duplicates.similarity import Pairs, find_pairs
from src.data.duplicates.thumbnails import Thumbnails, catalog_thumbnails
from src.data.groups import join_images, patient_in_name, told_patients
from src.data.patients.recover import SHIPPED, Origin, confirmed, fingerprints, read_table


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
    told = told_patients(catalog)
    names = []
    for path, label in zip(catalog.paths, catalog.labels):
        in_name = patient_in_name(path)
        by_name = f"{label} {path.rpartition('/')[0]} {in_name}" if in_name else ""
        names.append(origins[path].patient if path in origins else told.get(path, by_name))
    return names
