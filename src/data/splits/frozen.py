"""A split frozen to a file: path -> group, fold, part, confirmed by a tolerant fingerprint.

The first line gives the rule, the seed, and a seal: a hash of the rows. Sealed rows keep copies and
patients together, because `freeze` made them; rows that were edited since are believed only after
the images were compared. Paths and fingerprints survive another resolution or JPEG quality.
"""

import csv
import hashlib
import io
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from src.common.errors import InputError, reason_of
from src.common.files import atomic_write, only_file
from src.config import ExperimentConfig
from src.data.catalog import Catalog
from src.data.patients.recover import (
    MIN_KNOWN_SHARE,
    catalog_fingerprints,
    is_close,
    merge_names,
    shipped_origins,
)
from src.data.splits.folds import (
    CT,
    DROPPED,
    FOLDS,
    PARTS,
    SELECTION,
    SELECTION_FOLD,
    SINGLE,
    cut_fold,
    make_folds,
    take_selection,
)
from src.data.splits.groups import Grouping, group_catalog
from src.data.splits.judged import FOLDER, judged_ct, judged_joins

COLUMNS = ("path", "fingerprint", "group", "fold", "part")
NO_FOLD = FOLDS + 1  # of an image that trains in every fold
_SEAL = "; seal "


@dataclass(frozen=True)
class Assignment:
    """Where a frozen split puts one image; `fold` is -1 when it is in no part."""

    fingerprint: str
    group: str
    fold: int
    part: str


@dataclass(frozen=True)
class FrozenSplit:
    """What made a split, and the assignment of every image that it knows, by path.

    `sealed` is True where the rows are as `write_frozen` wrote them.
    """

    about: str
    assignments: dict[str, Assignment]
    sealed: bool = field(default=False, compare=False)

    def known(self, catalog: Catalog) -> dict[str, Assignment]:
        """Return the assignments of images whose name and fingerprint agree; none if few do.

        An image of the merge that was renamed goes by the name that the shipped tables have for it.
        """
        fingerprints = catalog_fingerprints(catalog)
        names = merge_names(catalog.paths, fingerprints)
        known = {
            path: assigned
            for path, name, fingerprint in zip(catalog.paths, names, fingerprints)
            if (assigned := self.assignments.get(name) or self.assignments.get(path))
            and is_close(fingerprint, assigned.fingerprint)
        }
        enough = MIN_KNOWN_SHARE * min(len(catalog), len(self.assignments))
        return known if len(known) >= enough else {}


def shipped_file(kind: str) -> Path:
    """Return where the frozen split of a kind ships."""
    return FOLDER / f"{kind}_split.csv"


def freeze(kind: str, grouping: Grouping, seed: int) -> FrozenSplit:
    """Set a selection part aside, make five folds of the rest, and cut fold 0 into val and test.

    By whole groups. CT, and images whose label figshare contradicts, are in no part.

    Args:
        kind: "clean"; or "patient", figshare's slices alone, one image each.
        grouping: of the whole catalogue, without synthetic files.
        seed: the first to try, see `make_folds`.
    Raises:
        InputError: the images are too few, or none of them is figshare's though `kind` asks for it.
    """
    if kind == "patient" and not grouping.origins:
        raise InputError(
            "None of these images is known to be a figshare slice, and --kind patient is a split "
            "of those alone. Give figshare's slices with --figshare, or freeze --kind clean."
        )
    catalog, fingerprints = grouping.catalog, grouping.fingerprints
    names = merge_names(catalog.paths, fingerprints)
    grouping = replace(grouping, joins=judged_joins(names, fingerprints))
    groups = grouping.groups
    parts = np.full(len(catalog), "train", dtype=object)
    parts[np.isin(catalog.paths, grouping.mislabelled)] = DROPPED
    parts[judged_ct(names, fingerprints)] = CT
    rows = np.flatnonzero(parts == "train")
    # The same groups for both kinds, so that what chose a recipe is tested in neither.
    parts[rows[take_selection(catalog.labels[rows], groups[rows], seed)]] = SELECTION
    used = np.isin(parts, ("train", SELECTION))
    if kind == "patient":
        origins, chosen = grouping.origins, {}
        # The mirrored image first, which every slice has.
        for path in sorted(origins, key=lambda path: (not origins[path].mirrored, path)):
            chosen.setdefault(origins[path].slice, path)
        used &= np.isin(catalog.paths, list(chosen.values()))
        parts[~used] = DROPPED
    rows = np.flatnonzero(parts == "train")
    folds = np.where(parts == SELECTION, SELECTION_FOLD, -1)
    folds[rows], tests = make_folds(catalog.labels[rows], groups[rows], seed, split_first_fold=True)
    parts[rows[folds[rows] == 0]] = "val"
    parts[rows[tests]] = "test"
    columns = zip(fingerprints, groups, folds.tolist(), parts.tolist())
    assignments = {
        path: Assignment(fingerprint, f"g{group:04}", fold, part)
        for path, (fingerprint, group, fold, part) in zip(catalog.paths, columns)
        if kind != "patient" or part != DROPPED
    }
    about = (
        f"{kind} split, version 2: {used.sum()} images in {len(np.unique(groups[used]))} groups "
        "(patients where recovered; elsewhere components at correlation .92 of the whole or .85 of "
        "the detail, and what joined_images.csv joins), a twelfth of them set aside for selection, "
        f"{FOLDS} folds of the rest by StratifiedGroupKFold from seed {seed}, fold 0 cut into val "
        f"and test; {(~used).sum()} images not used"
    )
    return FrozenSplit(about, assignments)


def write_frozen(path: Path, frozen: FrozenSplit) -> None:
    """Write a split as CSV, sorted by path, and seal it."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, assigned in sorted(frozen.assignments.items()):
        fold = assigned.fold if 0 <= assigned.fold < FOLDS else ""
        writer.writerow((name, assigned.fingerprint, assigned.group, fold, assigned.part))
    text = f"# {frozen.about}{_SEAL}{_seal(rows.getvalue())}\n{rows.getvalue()}"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def read_frozen(path: Path) -> FrozenSplit:
    """Read what `write_frozen` wrote, and check that it keeps its promise.

    Raises:
        InputError: the file is missing or damaged, names an image twice, or puts a group or a
            recovered patient into two folds or parts.
    """
    try:
        text = only_file(path).read_text(encoding="utf-8", errors="surrogateescape")
        return _parse(Path(path), text)
    except InputError:  # says what is wrong already
        raise
    except (OSError, csv.Error, LookupError, ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"{path} is not a frozen split ({reason_of(error)}). Take the "
            "repository's file, or make one with `python -m src data split`."
        ) from error


@lru_cache(maxsize=2)  # half a second for the shipped file, which every `open_dataset` reads
def _parse(path: Path, content: str) -> FrozenSplit:
    first, _, text = content.partition("\n")
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        raise ValueError("it names no image")
    assignments = {row["path"]: _read_assignment(row) for row in rows}
    twice = [name for name, n in Counter(row["path"] for row in rows).items() if n > 1]
    if twice:
        raise InputError(
            f"{path} names {len(twice)} images twice, the first {twice[0]}: which part it is in is "
            "not clear. Leave one row of each."
        )
    used = {name: each for name, each in assignments.items() if each.fold >= 0}
    origins = shipped_origins(list(used), [each.fingerprint for each in used.values()])
    groups = {name: each.group for name, each in used.items()}
    patients = {name: origin.patient for name, origin in origins.items()}
    for what, name_of in (("groups", groups), ("recovered patients", patients)):
        _refuse_two_parts(path, used, what, name_of)
    about, _, seal = first.removeprefix("#").strip().rpartition(_SEAL)
    return FrozenSplit(about or seal, assignments, bool(about) and seal == _seal(text))


def _seal(rows: str) -> str:
    return hashlib.sha256(rows.encode(errors="surrogateescape")).hexdigest()[:16]


def _read_assignment(row: dict[str, str]) -> Assignment:
    part = row["part"]
    if part not in (*PARTS, SELECTION, DROPPED, CT):
        raise ValueError(f"part {part!r}")
    int(row["fingerprint"], 16)
    fold = SELECTION_FOLD if part == SELECTION else int(row["fold"]) if part in PARTS else -1
    if not (-1 <= fold < FOLDS or part == SELECTION):
        raise ValueError(f"fold {fold}")
    return Assignment(row["fingerprint"], row["group"], fold, row["part"])


def _refuse_two_parts(
    path: Path, used: dict[str, Assignment], what: str, name_of: dict[str, str]
) -> None:
    """Refuse a split that puts images of one name into two folds or parts."""
    members = defaultdict(list)
    for image, name in name_of.items():
        members[name].append(image)
    crossing = [
        (name, images)
        for name, images in sorted(members.items())
        if len({(used[image].fold, used[image].part) for image in images}) > 1
    ]
    if crossing:
        name, images = crossing[0]
        count = sum(len(images) for _, images in crossing)
        raise InputError(
            f"{path} puts {len(crossing)} {what} ({count} images) into several folds or parts, the "
            f"first {name} with {images[0]}: training and testing would share patients or images. "
            "Take the repository's file, or make one with `python -m src data split --write FILE`."
        )


def cut_frozen(
    catalog: Catalog, known: dict[str, Assignment], config: ExperimentConfig
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """Return parts, (N,) group numbers, and the rows of the selection part and of CT.

    What is not `known`, or is dropped, is in none of them.
    """
    assigned = [known.get(path) for path in catalog.paths]
    part_of = np.array([each.part if each else "" for each in assigned])
    aside = {name: np.flatnonzero(part_of == name) for name in (SELECTION, CT)}
    names = [each.group if each else f"unknown {row}" for row, each in enumerate(assigned)]
    groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
    if config.fold == SINGLE:
        part_of[part_of == SELECTION] = "train"
        return {part: np.flatnonzero(part_of == part) for part in PARTS}, groups, aside
    folds = np.array([each.fold if each else -1 for each in assigned])
    return cut_fold(catalog.labels, groups, folds, config), groups, aside


def assign_unknown(catalog: Catalog, known: dict[str, Assignment]) -> dict[str, Assignment]:
    """Return `known` with an assignment for every other image: that of its copies or patient.

    Where some of those are in a fold, they decide. An image that belongs to nothing known trains
    or validates, and never tests.
    """
    grouping = group_catalog(catalog)
    known_of_group = defaultdict(dict)
    for path, group in zip(catalog.paths, grouping.groups):
        if path in known:
            known_of_group[group][known[path].group] = known[path]
    assignments = dict(known)
    for path, fingerprint, group in zip(catalog.paths, grouping.fingerprints, grouping.groups):
        if path in known:
            continue
        assigned = Assignment(fingerprint, f"new {group}", NO_FOLD, "train")
        near = list(known_of_group[group].values())
        near = [each for each in near if each.fold >= 0] or near  # else CT, or dropped
        if len(near) > 1 or path in grouping.mislabelled:
            assigned = replace(assigned, fold=-1, part=DROPPED)
        elif near:
            assigned = replace(near[0], fingerprint=fingerprint)
        assignments[path] = assigned
    return assignments
