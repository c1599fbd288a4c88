"""Splits that promise not to leak, frozen to a file: `clean`, and `patient` for figshare alone."""

import numpy as np

from src.config import ExperimentConfig
from src.data.catalog import Catalog
from src.data.folds import FOLDS, make_folds, take_fold
from src.data.frozen import DROPPED, Frozen, Place
from src.data.grouping import Grouping, group_catalog
from src.data.patients.recover import Origin
from src.data.split_spot import SINGLE

NO_FOLD = FOLDS  # of an image that trains in every fold


def freeze(kind: str, grouping: Grouping, seed: int) -> Frozen:
    """Make the frozen split of a kind from groups.

    Args:
        kind: "clean"; or "patient", figshare's slices alone, one image each.
        grouping: of the whole catalogue.
        seed: of the first draw, see `make_folds`.
    """
    catalog, groups = grouping.catalog, grouping.groups
    keep = ~np.isin(catalog.paths, grouping.wrong)
    if kind == "patient":
        keep &= _one_a_slice(catalog, grouping.origins)
    rows = np.flatnonzero(keep)
    folds, tests = make_folds(catalog.labels[rows], groups[rows], seed, halve=True)
    places = {
        path: Place(print_, _name(group), -1, DROPPED)
        for path, print_, group in zip(catalog.paths, grouping.prints, groups)
        if kind != "patient"  # there, what is not named is not used
    }
    for row, fold, test in zip(rows, folds, tests):
        part = "train" if fold else "test" if test else "val"
        path = catalog.paths[row]
        places[path] = Place(grouping.prints[row], _name(groups[row]), int(fold), part)
    about = (
        f"{kind} split: {len(rows)} images in {len(np.unique(groups[rows]))} groups (patients "
        "where recovered; elsewhere components at correlation .92 of the whole or .85 of the "
        f"detail), {FOLDS} folds by StratifiedGroupKFold from seed {seed}, fold 0 cut into val and "
        f"test; {len(catalog) - len(rows)} images not used"
    )
    return Frozen(about, places)


def cut_frozen(
    catalog: Catalog, known: dict[str, Place], config: ExperimentConfig
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return parts and (N,) group numbers of the images that a frozen split knows.

    `config.fold` -1 gives the single cut; 0 to 4 that fold to test, and a tenth of the rest to
    validate. Images it does not know, or drops, are in no part.
    """
    places = [known.get(path) for path in catalog.paths]
    names = [place.group if place else f"unknown {row}" for row, place in enumerate(places)]
    groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
    used = np.array([bool(place) and place.part != DROPPED for place in places])
    if config.fold == SINGLE:
        parts = {
            part: np.flatnonzero(used & [bool(p) and p.part == part for p in places])
            for part in ("train", "val", "test")
        }
        return parts, groups
    folds = np.array([place.fold if place else -1 for place in places])
    rest = np.flatnonzero(used & (folds != config.fold))
    val = take_fold(catalog.labels, groups, rest, config.val_fraction, config.seed)
    parts = {
        "train": np.setdiff1d(rest, val),
        "val": val,
        "test": np.flatnonzero(used & (folds == config.fold)),
    }
    return parts, groups


def place_unknown(catalog: Catalog, known: dict[str, Place]) -> dict[str, Place]:
    """Return `known` with a place for every other image: beside its copies, patient or neighbours.

    An image that belongs to nothing known trains, whatever fold tests.
    """
    grouping = group_catalog(catalog)
    row_of = {path: row for row, path in enumerate(catalog.paths)}
    seats: dict[int, list[Place]] = {}
    for path, place in known.items():
        if place.part != DROPPED:
            seats.setdefault(int(grouping.groups[row_of[path]]), []).append(place)
    places = dict(known)
    for path, print_, group in zip(catalog.paths, grouping.prints, grouping.groups):
        if path in known:
            continue
        near = seats.get(int(group), [])
        if len({place.group for place in near}) > 1 or path in grouping.wrong:
            places[path] = Place(print_, f"new {group}", -1, DROPPED)  # would tie two groups
        elif near:
            places[path] = Place(print_, near[0].group, near[0].fold, near[0].part)
        else:
            places[path] = Place(print_, f"new {group}", NO_FOLD, "train")
    return places


def _one_a_slice(catalog: Catalog, origins: dict[str, Origin]) -> np.ndarray:
    """Return (N,) bool: one image of each figshare slice, the mirrored one, that all have."""
    chosen: dict[str, str] = {}
    for path, origin in sorted(origins.items(), key=lambda item: (not item[1].mirrored, item[0])):
        chosen.setdefault(origin.slice, path)
    return np.isin(catalog.paths, list(chosen.values()))


def _name(group: int) -> str:
    return f"g{group:04}"
