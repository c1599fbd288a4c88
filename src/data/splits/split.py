"""Which images train, which choose the best epoch, which test.

A frozen split decides where it knows the images (`frozen`); else `groups` says what belongs
together, and `folds` cuts by whole groups.
"""

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.config import SPLITS, ExperimentConfig
from src.data.catalog import Catalog
from src.data.duplicates.thumbnails import catalog_thumbnails
from src.data.patients.recover import catalog_fingerprints, shipped_origins
from src.data.splits.folds import (
    CT,
    DROPPED,
    FOLDS,
    PARTS,
    SELECTION_FOLD,
    SINGLE,
    TooFewImagesError,
    cut_fold,
    make_folds,
    take_groups,
)
from src.data.splits.frozen import assign_unknown, cut_frozen, read_frozen, shipped_file
from src.data.splits.groups import group_catalog, group_copies
from src.data.splits.synthetic import find_originals, scans_of

TEST_FRACTION = 0.2  # of a folder that has no Testing part; the merge has 0.19
NO_PARTS = "The folder has no Training and Testing parts"
BY_NAME = (
    "groups kept whole (byte-identical files, and files whose names share a patient's number). "
    "Other copies of a slice, or other slices of a patient, may still sit in two parts."
)
BY_PIXELS = (
    "groups kept whole (copies and neighbouring slices, found by their pixels; patients, where "
    "file names or a table beside the images name them)"
)


@dataclass(frozen=True, eq=False)
class Split:
    """A cut of a catalogue.

    Attributes:
        parts: {"train", "val", "test"} -> sorted int64 rows; no row in two parts.
        groups: (N,) int64; images of one group never sit in two parts that were cut apart here.
        note: what a reader of the scores must know about the cut, or "".
        made_at_runtime: no maker and no frozen file cut the parts.
        rule: of the frozen file that cut them, with its version, or "".
        aside: {"selection", "ct"} -> sorted int64 rows that a frozen file never tests in a fold.
    """

    parts: dict[str, np.ndarray]
    groups: np.ndarray = field(repr=False)
    note: str = ""
    made_at_runtime: bool = False
    rule: str = ""
    aside: dict[str, np.ndarray] = field(default_factory=dict, repr=False)


def split_catalog(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Cut a catalogue as `config.split` says. The same catalogue and seed give the same cut.

    A frozen split is for the images that it names and whose thumbnails agree, whatever size an
    experiment chose for its pixels. Of the config, `split`, `fold`, `val_fraction` and `seed`
    decide. Synthetic files take no part in the cut; afterwards some of them join "train".

    Raises:
        InputError: a class has too few images to be in every part, or parts that must not share
            images or patients do.
    """
    scans = scans_of(catalog)
    split = (_official if config.split == "official" else _frozen)(scans, config)
    if len(scans) < len(catalog):
        split = _add_synthetic(catalog, scans, split, config.split == "official")
    if config.fold == SELECTION_FOLD and not len(split.parts["test"]):
        raise InputError(
            f"Fold {SELECTION_FOLD} is the selection part, and split {config.split} has none. Give "
            "--split a .csv that `data split --write` wrote, or --fold 0 to 4."
        )
    needed = set(range(len(catalog.classes)))
    if config.split not in ("official", "clean"):  # figshare has no notumor
        needed = set(catalog.labels[np.concatenate(list(split.parts.values()))])
    for part, rows in split.parts.items():
        for label in needed - set(catalog.labels[rows]):
            raise TooFewImagesError(
                f"Class {catalog.classes[label]} has too few different images to be in each of "
                f"{', '.join(PARTS)}: none is left for {part}. Add images to {catalog.root}."
            )
    if config.split != "official":
        refuse_leak(catalog, split)
    return split


def refuse_leak(catalog: Catalog, split: Split) -> None:
    """Refuse parts that share a group, or an image byte for byte.

    Raises:
        InputError: they do; says how many images of which part.
    """
    sha = np.array(catalog.sha256)
    for part, other in itertools.combinations(split.parts, 2):
        rows, others = split.parts[part], split.parts[other]
        shared = np.isin(split.groups[others], split.groups[rows])
        shared |= np.isin(sha[others], sha[rows])
        if shared.any():
            raise InputError(
                f"{shared.sum()} of {len(others)} images of {other} show a slice or a patient that "
                f"is in {part} too, the first {catalog.paths[others[shared][0]]}: scores would "
                "measure memory. Cut the parts by whole groups (`python -m src data split --write "
                "FILE` does), or use --split official, which does not promise to keep them apart."
            )


def describe_split(catalog: Catalog, config: ExperimentConfig) -> dict:
    """Return `parts` (path -> part), `folds` (path -> 0..4), `groups` and counts, as JSON values.

    Images too few for five folds have none; `note` says why.

    Raises:
        InputError: as `split_catalog`.
    """
    catalog, _ = catalog_thumbnails(catalog)
    split = split_catalog(catalog, config)
    parts = split.parts | {CT: split.aside.get(CT, np.array([], np.int64))}
    used = np.concatenate(list(parts.values()))
    parts[DROPPED] = np.setdiff1d(np.arange(len(catalog)), used)
    part_of = {catalog.paths[row]: part for part, rows in parts.items() for row in rows}
    folds, note = {}, split.note
    try:
        for fold in range(FOLDS) if config.split != "official" else ():  # its makers made no folds
            cut = split_catalog(catalog, replace(config, fold=fold))
            folds |= {catalog.paths[row]: fold for row in cut.parts["test"]}
    except TooFewImagesError as error:
        folds, note = {}, f"{note} The five folds are not shown: {error}".strip()
    return {
        "kind": config.split,
        "fold": config.fold,
        "seed": config.seed,
        "note": note,
        "counts": {part: catalog.class_counts(rows) for part, rows in parts.items()},
        "groups_per_part": {part: len(set(split.groups[split.parts[part]])) for part in PARTS},
        "parts": dict(sorted(part_of.items())),
        "folds": dict(sorted(folds.items())),
        "groups": dict(zip(catalog.paths, split.groups.tolist())),
    }


def _official(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Keep Testing as its makers cut it; carve validation from Training, stratified by class."""
    if not catalog.has_split:
        groups = group_copies(catalog, by_name=True)
        return _split_by_groups(catalog, config, groups, NO_PARTS, BY_NAME)
    copies, test = group_copies(catalog), np.flatnonzero(np.array(catalog.official) == "Testing")
    # The parts ignore patients, but scores are given per patient like those of other splits.
    known = read_frozen(shipped_file("clean")).known(catalog)
    names = [
        known[path].group if path in known else f"copies {copy}"
        for path, copy in zip(catalog.paths, copies)
    ]
    groups = np.unique(names, return_inverse=True)[1].astype(np.int64) if known else copies
    return Split(_parts(catalog, config, copies, test), groups, _official_leak(catalog))


def _frozen(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Cut as the file says that `config.split` names, or that ships under this name.

    "clean" assigns images that the file does not know, too, and does without a file that knows too
    few; the others leave them in no part. A file that was edited by hand must not leak.
    """
    file = shipped_file(config.split) if config.split in SPLITS else Path(config.split)
    frozen = read_frozen(file)
    known = assignments = frozen.known(catalog)
    if not known and config.split == "clean":
        return _unfrozen(catalog, config)
    if not known:
        raise InputError(
            f"{file} is a split of other images: of its {len(frozen.assignments)} it finds "
            f"fewer than half among the {len(catalog)} in {catalog.root}, by path and fingerprint. "
            "Give the folder that it was made of, or use --split clean, which groups any images."
        )
    notes = []
    renamed = sum(frozen.assignments.get(path) != assigned for path, assigned in known.items())
    if renamed:
        notes.append(f"{renamed} images are known by fingerprint alone: renamed, or moved.")
    if config.split == "clean" and len(known) < len(catalog):
        assignments = assign_unknown(catalog, known)
        notes.append(
            f"{len(catalog) - len(known)} images are not those of {file.name}, by path or by "
            "fingerprint: they were grouped at runtime, and joined their copies, patients and "
            "neighbours, or train."
        )
    parts, groups, aside = cut_frozen(catalog, assignments, config)
    used = np.concatenate([*parts.values(), aside[CT]])
    unused = np.setdiff1d(np.arange(len(catalog)), used)
    if len(aside[CT]):
        notes.append(f"{len(aside[CT])} images are CT, not MRI: they are in no part.")
    if len(unused):
        notes.append(
            f"{len(unused)} images are in no part, the first {catalog.paths[unused[0]]}: "
            f"{file.name} does not use them, or their labels or groups conflict."
        )
    if not frozen.sealed:
        refuse_leak(catalog, Split(parts, group_catalog(catalog).copies_and_patients))
    return Split(parts, groups, " ".join(notes), rule=frozen.about, aside=aside)


def _unfrozen(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Group images that no frozen split knows by their pixels, and cut them by whole groups.

    The makers' Training and Testing are kept where no group lies in both.
    """
    grouping = group_catalog(catalog)
    groups, conflicts = grouping.groups, grouping.conflicts_note
    rule = "; ".join(filter(None, (BY_PIXELS, grouping.note)))
    rule = f"{rule}. {conflicts}".rstrip()
    if config.fold != SINGLE:
        folds, _ = make_folds(catalog.labels, groups, config.seed)
        note = (
            f"Fold {config.fold} of five made at runtime: {len(catalog)} images in "
            f"{len(np.unique(groups))} {rule}"
        )
        return Split(cut_fold(catalog.labels, groups, folds, config), groups, note, True)
    if not catalog.has_split:
        return _split_by_groups(catalog, config, groups, NO_PARTS, rule)
    testing = np.array(catalog.official) == "Testing"
    crossing = np.isin(groups[testing], groups[~testing])
    if not crossing.any():
        return Split(_parts(catalog, config, groups, np.flatnonzero(testing)), groups, conflicts)
    why = (
        f"{crossing.sum()} of {len(crossing)} images of Testing show a slice or a patient of "
        "Training: the folder's parts are not used"
    )
    return _split_by_groups(catalog, config, groups, why, rule)


def _split_by_groups(
    catalog: Catalog, config: ExperimentConfig, groups: np.ndarray, why: str, rule: str
) -> Split:
    """Make parts from groups, and say why the folder's are not used and what made the groups."""
    test = take_groups(np.arange(len(catalog)), groups, catalog, TEST_FRACTION, config.seed, "test")
    note = (
        f"{why}, so they were made at runtime: {TEST_FRACTION:.0%} for testing, stratified by "
        f"class, {len(catalog)} images in {len(np.unique(groups))} {rule}"
    )
    return Split(_parts(catalog, config, groups, test), groups, note, True)


def _parts(
    catalog: Catalog, config: ExperimentConfig, groups: np.ndarray, test: np.ndarray
) -> dict[str, np.ndarray]:
    """Return parts with these test rows: whole groups of the rest validate, what is left trains."""
    rest = np.setdiff1d(np.arange(len(catalog)), test)
    val = take_groups(rest, groups, catalog, config.val_fraction, config.seed, "val")
    return {"train": np.setdiff1d(rest, val), "val": val, "test": test}


def _add_synthetic(catalog: Catalog, scans: Catalog, split: Split, official: bool) -> Split:
    """Return the split of `scans` as one of the catalogue: synthetic files train, or are nowhere.

    One trains if all that it may be made from trains and is of its class; those of Testing do not
    train in the official split.
    """
    originals, added = find_originals(catalog, scans), []
    rows = np.setdiff1d(np.arange(len(catalog)), list(originals))
    groups = np.arange(len(catalog)) + split.groups.max() + 1
    groups[rows] = split.groups
    trains = np.isin(np.arange(len(scans)), split.parts["train"])
    for row, found in originals.items():
        fits = found and (trains[found] & (scans.labels[found] == catalog.labels[row])).all()
        if fits and not (official and catalog.official[row] == "Testing"):
            added.append(row)
            groups[row] = split.groups[found[0]]
    unknown = sum(not found for found in originals.values())
    others = len(originals) - len(added) - unknown
    tests = sum(catalog.official[row] == "Testing" for row in originals)
    or_tests = " or they lie in Testing" if official else ""
    note = (
        f"{len(originals)} files are synthetic by name (*-aug-*), {tests} of them in Testing; none "
        f"validates or tests: {len(added)} train, as their originals do; {others} are left out, as "
        f"theirs do not{or_tests}; {unknown} are left out, as no original was found."
    )
    moved = {part: rows[of_scans] for part, of_scans in split.parts.items()}
    moved["train"] = np.sort(np.r_[moved["train"], np.array(added, np.int64)])
    return replace(
        split,
        parts=moved,
        groups=groups,
        note=f"{split.note} {note}".strip(),
        aside={name: rows[of_scans] for name, of_scans in split.aside.items()},
    )


def _official_leak(catalog: Catalog) -> str:
    """Return what is known of the official split's leak, or ""."""
    sha, testing = np.array(catalog.sha256), np.array(catalog.official) == "Testing"
    copies = int(np.isin(sha[testing], sha[~testing]).sum())
    origins = shipped_origins(catalog.paths, catalog_fingerprints(catalog))
    paths = np.array(catalog.paths)
    train, test = (
        {origins[path].patient for path in paths[part] if path in origins}
        for part in (~testing, testing)
    )
    shared = len(train & test)
    leaks = [f"{copies} test images are byte-identical to training images"] if copies else []
    leaks += [f"{shared} test patients are in Training too"] if shared else []
    if not leaks:
        return ""
    return (
        f"The official split leaks: {' and '.join(leaks)}. Its scores measure memory; "
        "--split clean keeps patients and copies apart."
    )
