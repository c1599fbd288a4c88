"""Which images train, which choose the best epoch, which test.

Here: the choice between a frozen split and one made at run time. `groups` says what belongs
together, `folds` cuts by whole groups, `frozen` keeps the file that ships.
"""

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.config import CLASS_NAMES, ExperimentConfig
from src.data.catalog import SPLITS, Catalog
from src.data.duplicates.thumbnails import catalog_thumbnails
from src.data.patients.recover import read_table
from src.data.splits.folds import FOLDS, cut_fold, make_folds, take_groups
from src.data.splits.frozen import (
    DROPPED,
    PARTS,
    SINGLE,
    Assignment,
    FrozenSplit,
    assign_unknown,
    cut_frozen,
    read_frozen,
    shipped_file,
)
from src.data.splits.groups import conflicts_note, group_catalog, group_copies

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
    """

    parts: dict[str, np.ndarray]
    groups: np.ndarray = field(repr=False)
    note: str = ""
    made_at_runtime: bool = False


def split_catalog(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Cut a catalogue as `config.split` says. The same catalogue and seed give the same cut.

    Where a frozen split names the images' paths, thumbnails of the files confirm that these are its
    images, whatever size an experiment chose for its pixels.

    Args:
        catalog: N images.
        config: its `split`, `fold`, `val_fraction` and `seed` decide.

    Raises:
        InputError: a class has too few images to be in every part, or parts that must not share
            images or patients do.
    """
    split = _KINDS.get(config.split, _from_file)(catalog, config)
    needed = set(range(len(CLASS_NAMES)))
    if config.split == "patient":  # figshare has no notumor
        needed.remove(CLASS_NAMES.index("notumor"))
    elif config.split not in _KINDS:  # nor has a file that was made of figshare
        needed &= set(catalog.labels[np.concatenate(list(split.parts.values()))])
    for part, rows in split.parts.items():
        for label in needed - set(catalog.labels[rows]):
            raise InputError(
                f"Class {CLASS_NAMES[label]} has too few different images to be in each of "
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
                f"{int(shared.sum())} of {len(others)} images of {other} show a slice or a "
                f"patient that is in {part} too, the first {catalog.paths[others[shared][0]]}: "
                "scores would measure memory. Cut the parts by whole groups (`python -m src "
                "data split --write FILE` does), or use --split official, which does not "
                "promise to keep them apart."
            )


def describe_split(catalog: Catalog, config: ExperimentConfig) -> dict:
    """Return `parts` (path -> part), `folds` (path -> 0..4), `groups` and counts, as JSON values.

    The folds of the official split are none: its makers gave one test part.

    Raises:
        InputError: as `split_catalog`.
    """
    catalog, _ = catalog_thumbnails(catalog)
    split = split_catalog(catalog, config)
    part_of = np.full(len(catalog), DROPPED, dtype=object)
    for part, rows in split.parts.items():
        part_of[rows] = part
    folds = {}
    if config.split != "official":
        for fold in range(FOLDS):
            cut = split_catalog(catalog, replace(config, fold=fold))
            folds |= {catalog.paths[row]: fold for row in cut.parts["test"]}
    used = part_of != DROPPED
    return {
        "kind": config.split,
        "fold": config.fold,
        "seed": config.seed,
        "note": split.note,
        "made_at_runtime": split.made_at_runtime,
        "counts": {
            part: {
                name: int(((part_of == part) & (catalog.labels == label)).sum())
                for label, name in enumerate(CLASS_NAMES)
            }
            for part in (*PARTS, DROPPED)
        },
        "groups_per_part": {part: len(set(split.groups[split.parts[part]])) for part in PARTS},
        "groups_total": len(set(split.groups[used])),
        "parts": dict(zip(catalog.paths, part_of.tolist())),
        "folds": dict(sorted(folds.items())),
        "groups": dict(zip(catalog.paths, split.groups.tolist())),
        "skipped": [list(row) for row in catalog.skipped],
    }


def _official(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Keep Testing as its makers cut it; carve validation from Training, stratified by class."""
    if not catalog.has_split:
        groups = group_copies(catalog, by_name=True)
        return _split_by_groups(catalog, config, groups, NO_PARTS, BY_NAME)
    copies, test = group_copies(catalog), np.flatnonzero(np.array(catalog.official) == "Testing")
    parts = _parts(catalog, config, copies, test)
    # The parts ignore patients, but scores are given per patient like those of other splits.
    known = read_frozen(shipped_file("clean")).known(catalog)
    names = [
        known[path].group if path in known else f"copies {copy}"
        for path, copy in zip(catalog.paths, copies)
    ]
    groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return Split(parts, groups if known else copies, _official_leak(catalog))


def _clean(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Cut as the frozen file says where it knows the images; else group them at run time."""
    frozen = read_frozen(shipped_file("clean"))
    known = frozen.known(catalog)
    if not known:
        return _unfrozen(catalog, config)
    notes = []
    dropped = sum(assigned.part == DROPPED for assigned in known.values())
    if dropped:
        notes.append(f"{dropped} images are in no part: figshare contradicts their label.")
    assignments = assign_unknown(catalog, known) if len(known) < len(catalog) else known
    new = {path: each for path, each in assignments.items() if path not in known}
    if new:
        notes.append(
            f"{len(new)} images are not those of {shipped_file('clean').name}, by path or by "
            "fingerprint: they were grouped at runtime, and joined their copies, patients and "
            "neighbours, or train."
        )
    in_no_part = [path for path, assigned in new.items() if assigned.part == DROPPED]
    if in_no_part:
        notes.append(
            f"{len(in_no_part)} of these are in no part, the first {in_no_part[0]}: their "
            "class contradicts a copy's, or they would join two groups."
        )
    return _cut_checked(catalog, config, frozen, assignments, " ".join(notes))


def _patient(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Cut figshare's slices, one image each; nothing else of the merge is used."""
    frozen = read_frozen(shipped_file("patient"))
    known = frozen.known(catalog)
    if not known:
        raise InputError(
            f"The frozen patient split does not know the images in {catalog.root}: it is for the "
            "merge, whose patients were recovered. Use --split clean, which groups any images."
        )
    return _cut_checked(catalog, config, frozen, known)


def _from_file(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Cut as a file that `data split --write` wrote; images it does not name are in no part."""
    file = Path(config.split)
    frozen = read_frozen(file)
    known = frozen.known(catalog)
    if not known:
        raise InputError(
            f"{file} is a split of other images: of its {len(frozen.assignments)} it finds "
            f"fewer than half among the {len(catalog)} in {catalog.root}, by path and fingerprint. "
            "Give the folder that it was made of, or make a split of this one with `data split "
            "--write`."
        )
    unused = len(catalog) - sum(assigned.part != DROPPED for assigned in known.values())
    note = f"{unused} images are in no part: {file.name} does not use them." if unused else ""
    return _cut_checked(catalog, config, frozen, known, note)


_KINDS = {"official": _official, "clean": _clean, "patient": _patient}


def _cut_checked(
    catalog: Catalog,
    config: ExperimentConfig,
    frozen: FrozenSplit,
    known: dict[str, Assignment],
    note: str = "",
) -> Split:
    """Cut as a frozen split says; one that was edited by hand only if it keeps its promise.

    Raises:
        InputError: its parts share a slice or a patient, by the images themselves.
    """
    parts, groups = cut_frozen(catalog, known, config)
    if not frozen.sealed:
        refuse_leak(catalog, Split(parts, group_catalog(catalog).copies_and_patients))
    return Split(parts, groups, note)


def _unfrozen(catalog: Catalog, config: ExperimentConfig) -> Split:
    """Group images that no frozen split knows by their pixels, and cut them by whole groups.

    The makers' Training and Testing are kept where no group lies in both.
    """
    grouping = group_catalog(catalog)
    groups, conflicts = grouping.groups, conflicts_note(grouping.conflicts)
    rule = "; ".join(filter(None, (BY_PIXELS, grouping.note)))
    rule = f"{rule}. {conflicts}".rstrip()
    if config.fold != SINGLE:
        folds, _ = make_folds(catalog.labels, groups, config.seed)
        note = (
            f"Fold {config.fold} of five made at runtime: {len(catalog)} images in "
            f"{len(np.unique(groups))} {rule}"
        )
        return Split(cut_fold(catalog.labels, groups, folds, config), groups, note, True)
    official = np.array(catalog.official)
    crossing = np.isin(groups[official == "Testing"], groups[official == "Training"])
    if catalog.has_split and not crossing.any():
        test = np.flatnonzero(official == "Testing")
        return Split(_parts(catalog, config, groups, test), groups, conflicts)
    why = NO_PARTS
    if catalog.has_split:
        why = (
            f"{crossing.sum()} of {len(crossing)} images of Testing show a slice or a patient of "
            "Training: the folder's parts are not used"
        )
    return _split_by_groups(catalog, config, groups, why, rule)


def _split_by_groups(
    catalog: Catalog, config: ExperimentConfig, groups: np.ndarray, why: str, rule: str
) -> Split:
    """Make parts from groups, and say why the folder's are not used and what made the groups."""
    everything = np.arange(len(catalog))
    test = take_groups(everything, groups, catalog, TEST_FRACTION, config.seed, "test")
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


def _official_leak(catalog: Catalog) -> str:
    """Return what is known of the official split's leak, or ""."""
    sha, official = np.array(catalog.sha256), np.array(catalog.official)
    copies = int(np.isin(sha[official == "Testing"], sha[official == "Training"]).sum())
    origins, paths = read_table(), np.array(catalog.paths)
    train, test = (
        {origins[path].patient for path in paths[official == part] if path in origins}
        for part in SPLITS
    )
    shared = len(train & test)
    leaks = [f"{copies} test images are byte-identical to training images"] if copies else []
    if shared:
        leaks.append(f"{shared} test patients are in Training too")
    if not leaks:
        return ""
    return (
        f"The official split leaks: {' and '.join(leaks)}. Its scores measure memory; "
        "--split clean keeps patients and copies apart."
    )
