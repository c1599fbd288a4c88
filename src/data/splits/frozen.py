"""A split frozen to a file: path -> group, fold, part, confirmed by a tolerant fingerprint.

The first line says the rule, the seed, and a seal: a hash of the rows. What made them kept copies
and patients together; rows changed by hand since are believed only after a look at the images.
Content hashes of the images would not survive a copy of the merge at another resolution or JPEG
quality; paths and fingerprints do.
"""

import csv
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.common.files import atomic_write
from src.config import ExperimentConfig
from src.data.catalog import Catalog
from src.data.patients.recover import SHIPPED, Origin, is_close, read_table
from src.data.splits.folds import FOLDS, make_folds, take_fold
from src.data.splits.groups import Grouping, group_catalog
from src.data.splits.unfrozen import SINGLE

FOLDER = Path(__file__).resolve().parents[3] / "dataset"
DROPPED = "dropped"
COLUMNS = ("path", "fingerprint", "group", "fold", "part")
_SEAL = "; seal "
_PARTS = ("train", "val", "test", DROPPED)


@dataclass(frozen=True)
class Place:
    """Where a frozen split puts one image; `fold` is -1 when it is dropped."""

    fingerprint: str
    group: str
    fold: int
    part: str


@dataclass(frozen=True)
class Frozen:
    """A frozen split: what made it, and the place of every image it knows, by path.

    `sealed` is True where the rows are as `write_frozen` wrote them.
    """

    about: str
    places: dict[str, Place]
    sealed: bool = field(default=False, compare=False)

    def known(self, catalog: Catalog, prints: list[str]) -> dict[str, Place]:
        """Return the places of the images whose path is known and whose fingerprint agrees."""
        return {
            path: self.places[path]
            for path, print_ in zip(catalog.paths, prints)
            if path in self.places and is_close(print_, self.places[path].fingerprint)
        }


def shipped_file(kind: str) -> Path:
    """Return where the frozen split of a kind ships."""
    return FOLDER / f"{kind}_split.csv"


def write_frozen(path: Path, frozen: Frozen) -> None:
    """Write a split as CSV, sorted by path, and seal it."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, place in sorted(frozen.places.items()):
        fold = place.fold if place.part != DROPPED else ""
        writer.writerow((name, place.fingerprint, place.group, fold, place.part))
    text = f"# {frozen.about}{_SEAL}{_seal(rows.getvalue())}\n{rows.getvalue()}"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def read_frozen(path: Path) -> Frozen:
    """Read what `write_frozen` wrote, and check that it keeps its promise.

    Raises:
        InputError: the file is missing or damaged, names an image twice, or puts a group or a
            recovered patient into two folds or parts.
    """
    try:
        first, _, text = Path(path).read_text(encoding="utf-8").partition("\n")
        rows = list(csv.DictReader(io.StringIO(text)))
        places = {row["path"]: _place(row) for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a frozen split ({type(error).__name__}: {error}). Take the "
            "repository's own, or make one with `python -m src data split`."
        ) from error
    if len(places) < len(rows):
        seen = set()
        twice = [row["path"] for row in rows if row["path"] in seen or seen.add(row["path"])]
        raise InputError(
            f"{path} names {len(twice)} images twice, the first {twice[0]}: which part it is in is "
            "not clear. Leave one row of each."
        )
    _refuse_torn(path, places, "groups", {name: place.group for name, place in places.items()})
    _refuse_torn(path, places, "recovered patients", _patients(places))
    about, _, seal = first.removeprefix("#").strip().rpartition(_SEAL)
    return Frozen(about or seal, places, bool(about) and seal == _seal(text))


def _seal(rows: str) -> str:
    return hashlib.sha256(rows.encode()).hexdigest()[:16]


def _patients(places: dict[str, Place]) -> dict[str, str]:
    """Return path -> patient of the images that the shipped table knows, path and fingerprint."""
    origins, prints = read_table() if SHIPPED.exists() else ({}, {})
    return {
        path: origins[path].patient
        for path, place in places.items()
        if path in origins and is_close(prints[path], place.fingerprint)
    }


def _refuse_torn(path: Path, places: dict[str, Place], what: str, names: dict[str, str]) -> None:
    """Refuse a split that puts images of one name into two folds or parts."""
    where: dict[str, set] = {}
    members: dict[str, list[str]] = {}
    for image, name in names.items():
        place = places[image]
        if place.part != DROPPED:
            where.setdefault(name, set()).add((place.fold, place.part))
            members.setdefault(name, []).append(image)
    torn = sorted(name for name, seats in where.items() if len(seats) > 1)
    if torn:
        count = sum(len(members[name]) for name in torn)
        raise InputError(
            f"{path} tears {len(torn)} {what} ({count} images) apart, the first {torn[0]} with "
            f"{members[torn[0]][0]}: training and testing would share patients or images. Take "
            "the repository's own file, or make one with `python -m src data split --write FILE`."
        )


def _place(row: dict[str, str]) -> Place:
    if row["part"] not in _PARTS:
        raise ValueError(f"part {row['part']!r}")
    int(row["fingerprint"], 16)
    fold = -1 if row["part"] == DROPPED else int(row["fold"])
    if not -1 <= fold < FOLDS:
        raise ValueError(f"fold {fold}")
    return Place(row["fingerprint"], row["group"], fold, row["part"])


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
