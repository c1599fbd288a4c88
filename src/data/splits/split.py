"""Which images train, which choose the best epoch, which test."""

import dataclasses
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.config import CLASS_NAMES, ExperimentConfig
from src.data.catalog import Catalog
from src.data.duplicates.thumbnails import thumbnails_of
from src.data.patients.recover import SHIPPED, fingerprints, read_table
from src.data.splits.frozen import (
    DROPPED,
    Frozen,
    Place,
    cut_frozen,
    place_unknown,
    read_frozen,
    shipped_file,
)
from src.data.splits.groups import group_copies_and_patients, patient_in_name
from src.data.splits.unfrozen import (
    BY_NAME,
    NO_PARTS,
    PARTS,
    Split,
    group_copies,
    grouped,
    keep_official_parts,
    split_by_groups,
)

__all__ = ["PARTS", "Split", "group_copies", "patient_in_name", "refuse_leak", "split_catalog"]

MIN_KNOWN_SHARE = 0.5  # a frozen split decides where it knows at least this share of the images


def split_catalog(
    catalog: Catalog, config: ExperimentConfig, thumbnails: np.ndarray | None = None
) -> Split:
    """Cut a catalogue as `config.split` says. The same catalogue and seed give the same cut.

    Args:
        catalog: N images.
        config: its `split`, `fold`, `val_fraction` and `seed` decide.
        thumbnails: (N, 64, 64) uint8 of the files, if they are at hand; else they are looked at
            where a frozen split names their paths, to see whether these are its images.

    Raises:
        InputError: a class has too few images to be in every part, or parts that must not share
            images or patients do.
    """
    split = _KINDS.get(config.split, _from_file)(catalog, config, thumbnails)
    needed = set(range(len(CLASS_NAMES)))
    if config.split == "patient":  # figshare has no notumor
        needed.remove(CLASS_NAMES.index("notumor"))
    elif config.split not in _KINDS:  # nor has a file that was made of figshare
        needed &= set(catalog.labels[np.concatenate(list(split.parts.values()))])
    for part, rows in split.parts.items():
        present = np.bincount(catalog.labels[rows], minlength=len(CLASS_NAMES))
        for label in needed:
            if not present[label]:
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
    names = list(split.parts)
    for number, part in enumerate(names):
        for other in names[number + 1 :]:
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


def _official(catalog: Catalog, config: ExperimentConfig, thumbnails: np.ndarray | None) -> Split:
    """Testing as its makers cut it; validation carved from Training, stratified by class."""
    if not catalog.has_split:
        return split_by_groups(
            catalog, config, group_copies(catalog, by_name=True), NO_PARTS, BY_NAME
        )
    split = keep_official_parts(catalog, config, group_copies(catalog), _official_leak(catalog))
    return dataclasses.replace(split, groups=_known_groups(catalog, split.groups, thumbnails))


def _known_groups(
    catalog: Catalog, copies: np.ndarray, thumbnails: np.ndarray | None
) -> np.ndarray:
    """Return (N,) the frozen clean split's groups where it knows the images, else `copies`.

    The official parts ignore them, but its scores are given per patient like those of others.
    """
    if not shipped_file("clean").exists():
        return copies
    frozen = read_frozen(shipped_file("clean"))
    if not any(path in frozen.places for path in catalog.paths):
        return copies
    known = frozen.known(catalog, _prints(catalog, thumbnails))
    names = [
        known[path].group if path in known else f"copies {copy}"
        for path, copy in zip(catalog.paths, copies)
    ]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _prints(catalog: Catalog, thumbnails: np.ndarray | None) -> list[str]:
    return fingerprints(thumbnails_of(catalog).whole if thumbnails is None else thumbnails)


def _official_leak(catalog: Catalog) -> str:
    """Return what is known of the official split's leak, or ""."""
    sha, official = np.array(catalog.sha256), np.array(catalog.official)
    copies = int(np.isin(sha[official == "Testing"], sha[official == "Training"]).sum())
    origins = read_table()[0] if SHIPPED.exists() else {}
    found = {
        part: {
            origins[path].patient
            for path, of in zip(catalog.paths, official)
            if of == part and path in origins
        }
        for part in ("Training", "Testing")
    }
    patients = len(found["Testing"] & found["Training"])
    if not copies and not patients:
        return ""
    what = [f"{copies} test images are byte-identical to training images"] if copies else []
    if patients:
        what.append(f"{patients} test patients are in Training too")
    return (
        f"The official split leaks: {' and '.join(what)}. Its scores measure memory; "
        "--split clean keeps patients and copies apart."
    )


def _clean(catalog: Catalog, config: ExperimentConfig, thumbnails: np.ndarray | None) -> Split:
    """Cut as the frozen file says where it knows the images; else group them on the spot."""
    return _as_frozen(catalog, config, thumbnails, "clean") or grouped(catalog, config)


def _patient(catalog: Catalog, config: ExperimentConfig, thumbnails: np.ndarray | None) -> Split:
    """Cut figshare's slices, one image each; nothing else of the merge is used."""
    split = _as_frozen(catalog, config, thumbnails, "patient")
    if split is None:
        raise InputError(
            f"The frozen patient split does not know the images in {catalog.root}: it is for the "
            "merge, whose patients were recovered. Use --split clean, which groups any images."
        )
    return split


def _from_file(catalog: Catalog, config: ExperimentConfig, thumbnails: np.ndarray | None) -> Split:
    """Cut as a file that `data split --write` wrote; images it does not name are in no part."""
    file = Path(config.split)
    frozen = read_frozen(file)
    known = frozen.known(catalog, _prints(catalog, thumbnails))
    if len(known) < MIN_KNOWN_SHARE * min(len(catalog), len(frozen.places)):
        raise InputError(
            f"{file} is a split of other images: of its {len(frozen.places)} it finds {len(known)} "
            f"among the {len(catalog)} in {catalog.root}, by path and fingerprint. Give the "
            "folder that it was made of, or make a split of this one with `data split --write`."
        )
    unused = len(catalog) - sum(place.part != DROPPED for place in known.values())
    note = f"{unused} images are in no part: {file.name} does not use them." if unused else ""
    return _cut_checked(catalog, config, frozen, known, note)


def _cut_checked(
    catalog: Catalog, config: ExperimentConfig, frozen: Frozen, known: dict[str, Place], note: str
) -> Split:
    """Cut as a frozen split says; one that was changed by hand only if it keeps its promise.

    Raises:
        InputError: its parts share a slice or a patient, by the images themselves.
    """
    parts, groups = cut_frozen(catalog, known, config)
    split = Split(parts, groups, note)
    if not frozen.sealed:
        refuse_leak(catalog, dataclasses.replace(split, groups=group_copies_and_patients(catalog)))
    return split


_KINDS = {"official": _official, "clean": _clean, "patient": _patient}


def _as_frozen(
    catalog: Catalog, config: ExperimentConfig, thumbnails: np.ndarray | None, kind: str
) -> Split | None:
    """Return the frozen cut, or None where it does not know most of the images."""
    file = shipped_file(kind)
    if not file.exists():
        return None
    frozen = read_frozen(file)
    enough = MIN_KNOWN_SHARE * min(len(catalog), len(frozen.places))
    if sum(path in frozen.places for path in catalog.paths) < enough:
        return None
    known = frozen.known(catalog, _prints(catalog, thumbnails))
    if len(known) < enough:
        return None
    notes = []
    dropped = sum(place.part == DROPPED for place in known.values())
    if kind == "clean" and dropped:
        notes.append(f"{dropped} images are in no part: figshare contradicts their label.")
    unknown = len(catalog) - len(known)
    if unknown and kind == "clean":
        before, known = known, place_unknown(catalog, known)
        notes.append(
            f"{unknown} images are not those of {file.name}, by path or by fingerprint: they were "
            "grouped on the spot, and joined their copies, patients and neighbours, or train."
        )
        lost = [p for p, place in known.items() if place.part == DROPPED and p not in before]
        if lost:
            notes.append(
                f"{len(lost)} of these are in no part, the first {lost[0]}: their class "
                "contradicts a copy's, or they would join two groups."
            )
    return _cut_checked(catalog, config, frozen, known, " ".join(notes))
