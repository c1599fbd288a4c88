"""Several sources made one folder of images, which everything else reads with `--data`.

    OUT/{glioma,meningioma,notumor,pituitary}/figshare_00001.jpg      the images
    OUT/masks/figshare_00001.png      lesions, where the source has them
    OUT/catalogue.csv   a row per image: class, source, slice, patient, box, mask
    OUT/left_out.csv    a row per file that was not taken: why, and the copy that was
    OUT/source.json     what was merged, and how

Files of images are copied as they are; a .mat file becomes an 8-bit gray PNG.
"""

import datetime
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from src.common import hardware
from src.common.cache import in_threads, progress
from src.common.errors import InputError
from src.common.files import atomic_folder, with_home, write_csv, write_json
from src.config import CLASS_NAMES
from src.data.duplicates.similarity import FLIPS, SAME_DETAIL, SAME_WHOLE, Pairs, find_pairs
from src.data.duplicates.thumbnails import Thumbnails
from src.data.folders import MASKS, find_root
from src.data.patients.recover import image_fingerprints, shipped_origins
from src.data.sources.matlab import lesion_box, read_pixels, to_8_bits
from src.data.sources.origin import MARKER
from src.data.sources.readers import BOX, SourceImage, read_source, source_thumbnails
from src.data.splits.groups import PATIENT_TABLE

# Of a slice that two sources have, the copy of the earlier one stays. figshare publishes patients,
# boxes and masks; SARTAJ and Br35H are what the merge was made of.
ORDER = ("figshare", "sartaj", "br35h", "merge")
CONTRADICTED = "figshare contradicts its class"
COPY = "a copy"
WRONG_COPY = "a copy, under a class that figshare contradicts"
UNDECIDED = "one slice under two classes, and figshare does not know it"
COLUMNS = ("path", "class", "source", "source_name", "slice", "patient", *BOX, "mask", "fold")
COLUMNS += ("augmented",)
LEFT_OUT = "left_out.csv"
LEFT_OUT_COLUMNS = ("source", "source_name", "class", "slice", "reason")
# The image that stands for a copy, how alike the two are, and the flip that makes them so.
LEFT_OUT_COLUMNS += ("copy_of", "copy_class", "whole", "detail", "flip")
# No digits: a name with one number names no patient (see `patient_in_name`).
_PREFIX = {"br35h": "brh"}


def build(folders: dict[str, Path], out: Path) -> dict:
    """Merge sources into a new folder, which appears only when it is complete.

    Left out are files that cannot be read, images whose class figshare contradicts, slices under
    two classes that figshare does not know, and copies: the same slice, by the audit's rule, as an
    image of an earlier source.

    Args:
        folders: source -> where it lies; sources of ORDER.
        out: missing, or an empty folder.
    Returns:
        what was merged and how, as `source.json` holds it.
    Raises:
        InputError: a folder holds another source, or none; `out` holds something or cannot be
            written; an image is gone or damaged.
    """
    with atomic_folder(with_home(out).absolute()) as folder:
        images, reasons = _choose(folders)
        kept = _write_images(folder, images, reasons)
        left_out = [_facts(images[row]) | reason for row, reason in reasons.items()]
        for name, columns, rows in (
            (PATIENT_TABLE, COLUMNS, kept), (LEFT_OUT, LEFT_OUT_COLUMNS, left_out)
        ):  # fmt: skip
            rows = sorted(rows, key=lambda row: [row.get(column) for column in columns[:2]])
            write_csv(folder / name, columns, rows)
        about = _describe(kept, left_out)
        write_json(folder / MARKER, about)
    return about


def _choose(folders: dict[str, Path]) -> tuple[list[SourceImage], dict[int, dict[str, str]]]:
    """Return all images in ORDER, and row -> LEFT_OUT_COLUMNS from `reason` on where left out."""
    images: list[SourceImage] = []
    by_source: list[Thumbnails] = []
    left_out: dict[int, dict[str, str]] = {}
    for source in (name for name in ORDER if name in folders):
        folder = folders[source]
        if source == "merge" and folder.is_dir():
            folder = find_root(folder)  # from there the shipped table's paths start
        of_source = read_source(folder)
        holds = of_source[0].source
        if holds != source:
            raise InputError(f"--{source} {folder} holds {holds}. Give it as --{holds}.")
        thumbnails, bad = source_thumbnails(of_source)
        left_out |= {len(images) + row: {"reason": why} for row, why in bad.items()}
        images += of_source
        by_source.append(thumbnails)
    rows = np.array([row for row in range(len(images)) if row not in left_out])
    thumbnails = Thumbnails(*map(np.concatenate, zip(*(vars(each).values() for each in by_source))))
    names = [images[row].name for row in rows]
    origins = shipped_origins(names, image_fingerprints(thumbnails.whole))
    for row, name in zip(rows.tolist(), names):
        if name in origins and images[row].source == "merge":
            origin = origins[name]
            images[row] = replace(images[row], slice=origin.slice, patient=origin.patient)
            if origin.label != images[row].label:
                left_out[row] = {"reason": CONTRADICTED}
    trusted = np.array([row not in left_out for row in rows])
    left_out |= _copies(images, rows[trusted], find_pairs(thumbnails.where(trusted)))
    return images, left_out


def _copies(images: list[SourceImage], rows: np.ndarray, pairs: Pairs) -> dict[int, dict]:
    """Return the copies of what an earlier source has, and what two sources class differently.

    `pairs` are of `rows`, which count all images.
    """
    same = pairs.where(pairs.same)
    wrong = _contradicted([images[row] for row in rows], same)
    left_out = {int(rows[at]): {"reason": CONTRADICTED, "slice": wrong[at]} for at in wrong}
    same = same.where(~np.isin(same.first, [*wrong]) & ~np.isin(same.second, [*wrong]))
    sources = np.array([ORDER.index(images[row].source) for row in rows])
    copies = {
        int(rows[copy]): (int(rows[same.first[pair]]), pair)
        for copy, pair in find_replacements(sources, same).items()
    }
    labels = [image.label for image in images]
    disputed = {kept for row, (kept, _) in copies.items() if labels[row] != labels[kept]}
    known = {kept for row, (kept, _) in copies.items() if images[kept].slice or images[row].slice}
    undecided = disputed - known
    left_out |= {row: {"reason": UNDECIDED} for row in undecided}
    for row, (kept_row, pair) in copies.items():
        if kept_row in undecided:
            left_out[row] = {"reason": UNDECIDED}
            continue
        kept = images[kept_row]
        left_out[row] = {
            "reason": COPY if images[row].label == kept.label else WRONG_COPY,
            "copy_of": f"{kept.source}/{kept.name}",
            "copy_class": CLASS_NAMES[kept.label],
            "whole": f"{same.whole[pair]:.4f}",
            "detail": f"{same.detail[pair]:.4f}",
            "flip": FLIPS[same.flip[pair]],
        }
    return left_out


def _contradicted(images: list[SourceImage], same: Pairs) -> dict[int, str]:
    """Return image -> its slice, where that is known from a copy only, and of another class.

    Copies of figshare's own images do not count: they are left out for those (WRONG_COPY).
    """
    pairs = [*zip(same.first.tolist(), same.second.tolist())]
    of_figshare = {second for first, second in pairs if images[first].source == "figshare"}
    wrong = {}
    for one, other in [*pairs, *(pair[::-1] for pair in pairs)]:
        image, copy = images[one], images[other]
        if copy.slice and not image.slice and image.label != copy.label and one not in of_figshare:
            wrong[one] = copy.slice
    return wrong


def find_replacements(sources: np.ndarray, same: Pairs) -> dict[int, int]:
    """Return copy -> the pair that it forms with the image that stays in its place.

    A slice that one source alone has stays as often as it is there (a split keeps its copies
    together). One that two sources have stays once; but figshare's slices are never taken for one
    another, as their numbers say that each is another slice.

    Args:
        sources: (N,) int, indices into ORDER, ascending.
        same: pairs of these images that show one slice.
    """
    across = sources[same.first] != sources[same.second]
    shared = np.zeros(len(sources), bool)
    shared[same.first[across]] = shared[same.second[across]] = True
    likeness = np.maximum(same.whole, same.detail)
    of_figshare = sources[same.first] == ORDER.index("figshare")
    can_replace = across | ((shared[same.first] | shared[same.second]) & ~of_figshare)
    replacements: dict[int, int] = {}
    for pair in np.lexsort((-likeness, same.second)):  # earlier images are settled first
        copy, kept = int(same.second[pair]), int(same.first[pair])
        if can_replace[pair] and kept not in replacements:
            replacements.setdefault(copy, int(pair))
    return replacements


def _write_images(folder: Path, images: list[SourceImage], left_out: dict[int, dict]) -> list[dict]:
    """Write the images that stay, and their masks; return the rows of the catalogue."""
    kept, first = [], {}
    for row, image in enumerate(images):
        number = row - first.setdefault(image.source, row) + 1
        if row not in left_out:
            mark = "-aug-" if image.augmented else "_"  # no split may take it for a scan
            prefix = _PREFIX.get(image.source, image.source)
            kept.append((image, f"{prefix}{mark}{number:05}"))
    for name in {CLASS_NAMES[image.label] for image, _ in kept} | {MASKS}:
        (folder / name).mkdir()
    rows = in_threads(lambda named: _write_one(folder, *named), kept)
    return list(progress(rows, len(kept), "Writing images"))


def _write_one(folder: Path, image: SourceImage, name: str) -> dict:
    row = _facts(image) | {"patient": image.patient, "fold": image.fold or ""}
    row |= {"augmented": int(image.augmented)}
    box = image.box
    if image.file.suffix == ".mat":
        pixels, lesion = read_pixels(image.file)
        row |= {"path": f"{row['class']}/{name}.png", "mask": f"{MASKS}/{name}.png"}
        Image.fromarray(to_8_bits(pixels)).save(folder / row["path"])
        Image.fromarray(lesion).save(folder / row["mask"])
        box = lesion_box(lesion)
    else:
        row["path"] = f"{row['class']}/{name}{image.file.suffix.lower()}"
        shutil.copyfile(image.file, folder / row["path"])
    return row | dict(zip(BOX, box or ()))


def _facts(image: SourceImage) -> dict[str, str]:
    known = {"source": image.source, "source_name": image.name, "slice": image.slice}
    return known | {"class": CLASS_NAMES[image.label]}


def _describe(kept: list[dict], left_out: list[dict]) -> dict:
    """Return counts, rules and the code's state as plain JSON values."""
    stays = Counter(row["source"] for row in kept)
    goes = Counter(row["source"] for row in left_out)
    sources = [name for name in ORDER if name in stays + goes]
    patients = [row["patient"] for row in kept if row["patient"]]
    return {
        "source": "built from " + ", ".join(sources),
        "order": list(ORDER),
        "same_slice": {"whole": SAME_WHOLE, "detail": SAME_DETAIL},
        "sources": {
            name: {
                "images": stays[name] + goes[name],
                "kept": stays[name],
                "left_out": Counter(row["reason"] for row in left_out if row["source"] == name),
            }
            for name in sources
        },
        "counts": {name: sum(row["class"] == name for row in kept) for name in CLASS_NAMES},
        "augmented": sum(row["augmented"] for row in kept),
        "patients": len(set(patients)),
        "images_of_known_patients": len(patients),
        "boxes": sum(BOX[0] in row for row in kept),
        "masks": sum("mask" in row for row in kept),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": hardware.commit(),
    }


def build_text(about: dict) -> str:
    """Return what was merged as lines for a terminal."""
    lines = [f"{'source':10}{'images':>10}{'kept':>10}{'left out':>10}"]
    for name, of in about["sources"].items():
        left_out = of["images"] - of["kept"]
        lines.append(f"{name:10}{of['images']:10,}{of['kept']:10,}{left_out:10,}")
        reasons = Counter(of["left_out"]).most_common()
        lines += [f"  {count:,}: {reason}" for reason, count in reasons]
    lines.append(", ".join(f"{name} {count:,}" for name, count in about["counts"].items()))
    lines.append(
        f"{about['images_of_known_patients']:,} images of {about['patients']:,} known patients, "
        f"{about['boxes']:,} with a box, {about['masks']:,} with a mask"
    )
    if about["augmented"]:
        lines.append(f"{about['augmented']:,} are synthetic (*-aug-*): column augmented")
    empty = [name for name, count in about["counts"].items() if not count]
    if empty:
        lines.append(
            f"No image of {', '.join(empty)}, so it is no class of this folder. A source that has "
            "it would add it (the merge, or Br35H for notumor)."
        )
    return "\n".join(lines)
