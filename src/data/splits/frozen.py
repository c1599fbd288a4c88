"""A split frozen to a file: path -> group, fold, part, confirmed by a tolerant fingerprint.

The first line gives the rule, the seed, and a seal: a hash of the rows. Sealed rows keep copies and
patients together, because `freeze` made them; rows that were edited since are believed only after a
look at the images. Content hashes of the images would not survive a copy of the merge at another
resolution or JPEG quality; paths and fingerprints do.
"""

import csv
import hashlib
import io
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.common.files import atomic_write
from src.config import ExperimentConfig
from src.data.catalog import Catalog
from src.data.patients.recover import Origin, catalog_fingerprints, is_close, shipped_origins
from src.data.splits.folds import FOLDS, cut_fold, make_folds
from src.data.splits.groups import Grouping, group_catalog

FOLDER = Path(__file__).resolve().parents[3] / "dataset"
DROPPED = "dropped"
COLUMNS = ("path", "fingerprint", "group", "fold", "part")
SINGLE = -1  # `config.fold`: the one cut 80/10/10 instead of a fold
MIN_KNOWN_SHARE = 0.5  # a frozen split decides where it knows at least this share of the images
NO_FOLD = FOLDS  # of an image that trains in every fold
_SEAL = "; seal "
PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Assignment:
    """Where a frozen split puts one image; `fold` is -1 when it is dropped."""

    fingerprint: str
    group: str
    fold: int
    part: str


@dataclass(frozen=True)
class FrozenSplit:
    """A frozen split: what made it, and the assignment of every image it knows, by path.

    `sealed` is True where the rows are as `write_frozen` wrote them.
    """

    about: str
    assignments: dict[str, Assignment]
    sealed: bool = field(default=False, compare=False)

    def known(self, catalog: Catalog) -> dict[str, Assignment]:
        """Return the assignments of images whose path and fingerprint agree; none if few do."""
        enough = MIN_KNOWN_SHARE * min(len(catalog), len(self.assignments))
        if sum(path in self.assignments for path in catalog.paths) < enough:
            return {}  # before any image is decoded
        known = {
            path: self.assignments[path]
            for path, fingerprint in zip(catalog.paths, catalog_fingerprints(catalog))
            if path in self.assignments
            and is_close(fingerprint, self.assignments[path].fingerprint)
        }
        return known if len(known) >= enough else {}


def shipped_file(kind: str) -> Path:
    """Return where the frozen split of a kind ships."""
    return FOLDER / f"{kind}_split.csv"


def freeze(kind: str, grouping: Grouping, seed: int) -> FrozenSplit:
    """Make the frozen split of a kind from groups: five folds, and fold 0 cut into val and test.

    Args:
        kind: "clean"; or "patient", figshare's slices alone, one image each.
        grouping: of the whole catalogue.
        seed: the first to try, see `make_folds`.
    """
    catalog, groups = grouping.catalog, grouping.groups
    used = ~np.isin(catalog.paths, grouping.mislabelled)
    if kind == "patient":
        used &= _one_per_slice(catalog, grouping.origins)
    rows = np.flatnonzero(used)
    folds, tests = make_folds(catalog.labels[rows], groups[rows], seed, split_first_fold=True)
    where = {row: (-1, DROPPED) for row in np.flatnonzero(~used) if kind != "patient"}
    for row, fold, test in zip(rows, folds, tests):
        where[row] = (int(fold), "train" if fold else "test" if test else "val")
    assignments = {
        catalog.paths[row]: Assignment(grouping.fingerprints[row], f"g{groups[row]:04}", *to)
        for row, to in where.items()
    }
    about = (
        f"{kind} split: {len(rows)} images in {len(np.unique(groups[rows]))} groups (patients "
        "where recovered; elsewhere components at correlation .92 of the whole or .85 of the "
        f"detail), {FOLDS} folds by StratifiedGroupKFold from seed {seed}, fold 0 cut into val and "
        f"test; {len(catalog) - len(rows)} images not used"
    )
    return FrozenSplit(about, assignments)


def write_frozen(path: Path, frozen: FrozenSplit) -> None:
    """Write a split as CSV, sorted by path, and seal it."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, assigned in sorted(frozen.assignments.items()):
        fold = assigned.fold if assigned.part != DROPPED else ""
        writer.writerow((name, assigned.fingerprint, assigned.group, fold, assigned.part))
    text = f"# {frozen.about}{_SEAL}{_seal(rows.getvalue())}\n{rows.getvalue()}"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def read_frozen(path: Path) -> FrozenSplit:
    """Read what `write_frozen` wrote, and check that it keeps its promise.

    Raises:
        InputError: the file is missing or damaged, names an image twice, or puts a group or a
            recovered patient into two folds or parts.
    """
    try:
        first, _, text = Path(path).read_text(encoding="utf-8").partition("\n")
        rows = list(csv.DictReader(io.StringIO(text)))
        assignments = {row["path"]: _read_assignment(row) for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a frozen split ({type(error).__name__}: {error}). Take the "
            "repository's file, or make one with `python -m src data split`."
        ) from error
    twice = [name for name, n in Counter(row["path"] for row in rows).items() if n > 1]
    if twice:
        raise InputError(
            f"{path} names {len(twice)} images twice, the first {twice[0]}: which part it is in is "
            "not clear. Leave one row of each."
        )
    groups = {name: assigned.group for name, assigned in assignments.items()}
    origins = shipped_origins(list(assignments), [row.fingerprint for row in assignments.values()])
    patients = {name: origin.patient for name, origin in origins.items()}
    _refuse_split_across_parts(path, assignments, "groups", groups)
    _refuse_split_across_parts(path, assignments, "recovered patients", patients)
    about, _, seal = first.removeprefix("#").strip().rpartition(_SEAL)
    return FrozenSplit(about or seal, assignments, bool(about) and seal == _seal(text))


def cut_frozen(
    catalog: Catalog, known: dict[str, Assignment], config: ExperimentConfig
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return parts and (N,) group numbers of the images that a frozen split knows.

    `config.fold` -1 gives the single cut; 0 to 4 that fold to test, and a tenth of the rest to
    validate. Images it does not know, or drops, are in no part.
    """
    assigned = [known.get(path) for path in catalog.paths]
    names = [each.group if each else f"unknown {row}" for row, each in enumerate(assigned)]
    groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
    if config.fold == SINGLE:
        part_of = np.array([each.part if each else "" for each in assigned])
        return {part: np.flatnonzero(part_of == part) for part in PARTS}, groups
    folds = np.array([each.fold if each else -1 for each in assigned])
    return cut_fold(catalog.labels, groups, folds, config), groups


def assign_unknown(catalog: Catalog, known: dict[str, Assignment]) -> dict[str, Assignment]:
    """Return `known` with an assignment for every other image: that of its copies or patient.

    An image that belongs to nothing known trains, whatever fold tests.
    """
    grouping = group_catalog(catalog)
    row_of = {path: row for row, path in enumerate(catalog.paths)}
    known_of_group: dict[int, list[Assignment]] = {}
    for path, assigned in known.items():
        if assigned.part != DROPPED:
            group = int(grouping.groups[row_of[path]])
            known_of_group.setdefault(group, []).append(assigned)
    assignments = dict(known)
    for path, fingerprint, group in zip(catalog.paths, grouping.fingerprints, grouping.groups):
        if path in known:
            continue
        near = known_of_group.get(int(group), [])
        joins_two = len({assigned.group for assigned in near}) > 1
        if joins_two or path in grouping.mislabelled:
            assigned = Assignment(fingerprint, f"new {group}", -1, DROPPED)
        elif near:
            assigned = replace(near[0], fingerprint=fingerprint)
        else:
            assigned = Assignment(fingerprint, f"new {group}", NO_FOLD, "train")
        assignments[path] = assigned
    return assignments


def _seal(rows: str) -> str:
    return hashlib.sha256(rows.encode()).hexdigest()[:16]


def _read_assignment(row: dict[str, str]) -> Assignment:
    if row["part"] not in (*PARTS, DROPPED):
        raise ValueError(f"part {row['part']!r}")
    int(row["fingerprint"], 16)
    fold = -1 if row["part"] == DROPPED else int(row["fold"])
    if not -1 <= fold < FOLDS:
        raise ValueError(f"fold {fold}")
    return Assignment(row["fingerprint"], row["group"], fold, row["part"])


def _refuse_split_across_parts(
    path: Path, assignments: dict[str, Assignment], what: str, name_of: dict[str, str]
) -> None:
    """Refuse a split that puts images of one name into two folds or parts."""
    members: dict[str, list[str]] = {}
    for image, name in name_of.items():
        if assignments[image].part != DROPPED:
            members.setdefault(name, []).append(image)
    crossing = {
        name: images
        for name, images in sorted(members.items())
        if len({(assignments[image].fold, assignments[image].part) for image in images}) > 1
    }
    if crossing:
        first, images = next(iter(crossing.items()))
        raise InputError(
            f"{path} puts {len(crossing)} {what} ({sum(map(len, crossing.values()))} images) into "
            f"several folds or parts, the first {first} with {images[0]}: training and testing "
            "would share patients or images. Take the repository's file, or make one with "
            "`python -m src data split --write FILE`."
        )


def _one_per_slice(catalog: Catalog, origins: dict[str, Origin]) -> np.ndarray:
    """Return (N,) bool: one image of each figshare slice, the mirrored one, that all have."""
    chosen: dict[str, str] = {}
    for path, origin in sorted(origins.items(), key=lambda item: (not item[1].mirrored, item[0])):
        chosen.setdefault(origin.slice, path)
    return np.isin(catalog.paths, list(chosen.values()))
