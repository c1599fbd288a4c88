"""Several sources made one folder of images, which everything else reads with `--data`.

    OUT/{glioma,meningioma,notumor,pituitary}/figshare_00001.jpg      the images
    OUT/masks/figshare_00001.png      lesions, where the source has them
    OUT/catalogue.csv   a row per image: class, source, slice, patient, box, mask
    OUT/left_out.csv    a row per file that was not taken: why, and the copy that was
    OUT/source.json     what was merged, and how

Files of images are copied as they are; a .mat file becomes an 8-bit gray PNG.
"""

import csv
import datetime
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from src.common import hardware
from src.common.cache import in_threads, progress
from src.common.errors import InputError
from src.common.files import atomic_folder, write_json
from src.config import CLASS_NAMES
from src.data.catalog import find_root
from src.data.duplicates.similarity import FLIPS, SAME_DETAIL, SAME_WHOLE, Pairs, find_pairs
from src.data.duplicates.thumbnails import Thumbnails
from src.data.patients.recover import Origin, image_fingerprints, shipped_origins
from src.data.sources import SourceImage, read_source
from src.data.sources.figshare import BOX
from src.data.sources.matlab import read_slice, to_8_bits
from src.data.sources.origin import MARKER
from src.data.sources.table import source_thumbnails
from src.data.splits.groups import PATIENT_TABLE

# Of a slice that two sources have, the copy of the earlier one stays. figshare publishes patients,
# boxes and masks; SARTAJ and Br35H are what the merge was made of.
ORDER = ("figshare", "sartaj", "br35h", "merge")
FIGSHARE = ORDER[0]
CONTRADICTED = "figshare contradicts its class"
COPY = "a copy"
WRONG_COPY = "a copy, under a class that figshare contradicts"
UNDECIDED = "one slice under two classes, and figshare does not know it"


@dataclass(frozen=True)
class LeftOut:
    """Why an image is not taken; for a copy, the image that stands for it and how alike they are.

    Attributes:
        reason: one clause.
        copy_of: row of the image that stays; None where it was not left out as a copy.
        whole, detail: correlations, as `Pairs` has them.
        flip: what makes them largest, one of FLIPS.
    """

    reason: str
    copy_of: int | None = None
    whole: float = 0.0
    detail: float = 0.0
    flip: str = ""


@dataclass(frozen=True, eq=False)
class Merged:
    """All images of all sources, in ORDER, and what is known of them.

    Attributes:
        images: N.
        origins: row -> figshare slice, of images of the merge that the shipped table knows.
        left_out: row -> why it is not taken.
    """

    images: list[SourceImage]
    origins: dict[int, Origin]
    left_out: dict[int, LeftOut]

    @property
    def kept(self) -> list[int]:
        """Rows of the images that are taken."""
        return [row for row in range(len(self.images)) if row not in self.left_out]

    def slice(self, row: int) -> str:
        """Return the number of the figshare slice that an image shows, or ""."""
        if self.images[row].source == FIGSHARE:
            return self.images[row].name
        return self.origins[row].slice if row in self.origins else ""

    def patient(self, row: int) -> str:
        """Return an image's patient, or "" where nobody knows."""
        return self.origins[row].patient if row in self.origins else self.images[row].patient


def merge_sources(folders: dict[str, Path]) -> Merged:
    """Read sources and decide which images stay. Nothing is written.

    Left out are files that cannot be read, images of the merge whose label figshare contradicts,
    and copies: the same slice, by the audit's rule, as an image of an earlier source.

    Args:
        folders: source -> where it lies; sources of ORDER.
    Raises:
        InputError: a folder holds another source, or none, or the cache cannot be written.
    """
    images: list[SourceImage] = []
    by_source: list[Thumbnails] = []
    left_out: dict[int, LeftOut] = {}
    for source in ORDER:
        if source in folders:
            of_source = _read(source, folders[source])
            thumbnails, bad = source_thumbnails(of_source)
            left_out |= {len(images) + row: LeftOut(why) for row, why in bad.items()}
            images += of_source
            by_source.append(thumbnails)
    rows = np.array([row for row in range(len(images)) if row not in left_out])
    thumbnails = Thumbnails.concatenate(by_source)
    origins = _origins(images, rows, thumbnails)
    for row, origin in origins.items():
        if origin.label != images[row].label:
            left_out[row] = LeftOut(CONTRADICTED)
    trusted = np.array([row not in left_out for row in rows])
    pairs = find_pairs(thumbnails.of(trusted))
    left_out |= _copies(images, origins, rows[trusted], pairs)
    return Merged(images, origins, left_out)


def _read(source: str, folder: Path) -> list[SourceImage]:
    if source == "merge" and folder.is_dir():
        folder = find_root(folder)  # from there the shipped table's paths start
    images = read_source(folder)
    if images[0].source != source:
        raise InputError(
            f"--{source} {folder} holds {images[0].source}. Give it as --{images[0].source}."
        )
    return images


def _origins(
    images: list[SourceImage], rows: np.ndarray, thumbnails: Thumbnails
) -> dict[int, Origin]:
    """Return row -> origin of the images of the merge that the shipped table knows.

    `thumbnails` are those of `rows`.
    """
    of_merge = np.array([images[row].source == "merge" for row in rows])
    row_of = {images[row].name: int(row) for row in rows[of_merge]}
    fingerprints = image_fingerprints(thumbnails.whole[of_merge])
    known = shipped_origins(list(row_of), fingerprints)
    return {row_of[name]: origin for name, origin in known.items()}


def _copies(
    images: list[SourceImage], origins: dict[int, Origin], rows: np.ndarray, pairs: Pairs
) -> dict[int, LeftOut]:
    """Return the copies of what an earlier source has, and what two sources class differently.

    `pairs` are of `rows`, which count all images.
    """
    same = pairs.where(pairs.same)
    sources = np.array([ORDER.index(images[row].source) for row in rows])
    left_out: dict[int, LeftOut] = {}
    for copy, pair in find_replacements(sources, same).items():
        row, kept = int(rows[copy]), int(rows[same.first[pair]])
        whole, detail = float(same.whole[pair]), float(same.detail[pair])
        likeness = (kept, whole, detail, FLIPS[same.flip[pair]])
        if images[row].label == images[kept].label:
            left_out[row] = LeftOut(COPY, *likeness)
        elif images[kept].source == FIGSHARE or kept in origins:
            left_out[row] = LeftOut(WRONG_COPY, *likeness)
        else:
            left_out[row] = left_out[kept] = LeftOut(UNDECIDED)
    return left_out


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
    can_replace = across | (
        (sources[same.first] != ORDER.index(FIGSHARE)) & (shared[same.first] | shared[same.second])
    )
    pairs_of: dict[int, list[int]] = {}
    for pair in np.flatnonzero(can_replace):
        pairs_of.setdefault(int(same.second[pair]), []).append(int(pair))
    replacements: dict[int, int] = {}
    for image in sorted(pairs_of):  # earlier images are settled first
        kept = [pair for pair in pairs_of[image] if int(same.first[pair]) not in replacements]
        if kept:
            replacements[image] = max(kept, key=lambda pair: likeness[pair])
    return replacements


COLUMNS = ("path", "class", "source", "source_name", "slice", "patient", *BOX, "mask", "fold")
COLUMNS += ("augmented",)
LEFT_OUT = "left_out.csv"
LEFT_OUT_COLUMNS = ("source", "source_name", "class", "slice", "reason")
LEFT_OUT_COLUMNS += ("copy_of", "copy_class", "whole", "detail", "flip")
# No digits: a name with one number names no patient (see `patient_in_name`).
_PREFIX = {"br35h": "brh"}


def check_out(out: Path) -> Path:
    """Return the folder to build, which must be missing or empty.

    Raises:
        InputError: it holds something.
    """
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not an empty folder. Choose another with --out.")
    return out


def write_merged(out: Path, merged: Merged) -> dict:
    """Write images, masks and tables; `out` appears only when it is complete.

    Returns:
        what was merged and how, as `source.json` holds it.
    Raises:
        InputError: `out` holds something or cannot be written, or an image is gone or damaged.
    """
    out = check_out(out)
    names = _names(merged.images)
    try:
        with atomic_folder(out) as folder:
            for name in (*CLASS_NAMES, "masks"):
                (folder / name).mkdir()

            def write(row: int) -> tuple:
                return _write_one(folder, names[row], merged, row)

            kept = merged.kept
            rows = list(progress(in_threads(write, kept), len(kept), "Writing images"))
            _write_csv(folder / PATIENT_TABLE, COLUMNS, sorted(rows))
            _write_csv(folder / LEFT_OUT, LEFT_OUT_COLUMNS, _left_out_rows(merged))
            about = describe_merged(merged)
            about["masks"] = len(list((folder / "masks").iterdir()))
            about["boxes"] = sum(row[COLUMNS.index(BOX[0])] != "" for row in rows)
            write_json(folder / MARKER, about)
    except OSError as error:
        raise InputError(
            f"Cannot build {out}: {error.strerror or error}. Free some space, or choose another "
            "folder with --out."
        ) from error
    return about


def describe_merged(merged: Merged) -> dict:
    """Return counts, rules and the code's state as plain JSON values."""
    images, kept = merged.images, [merged.images[row] for row in merged.kept]
    sources = [name for name in ORDER if any(image.source == name for image in images)]
    patients = [merged.patient(row) for row in merged.kept if merged.patient(row)]
    reasons: dict[str, Counter] = {name: Counter() for name in sources}
    for row, gone in merged.left_out.items():
        reasons[images[row].source][gone.reason] += 1
    return {
        "source": "built from " + ", ".join(sources),
        "order": list(ORDER),
        "same_slice": {"whole": SAME_WHOLE, "detail": SAME_DETAIL},
        "sources": {
            name: {
                "images": sum(image.source == name for image in images),
                "kept": sum(image.source == name for image in kept),
                "left_out": dict(reasons[name]),
            }
            for name in sources
        },
        "counts": {
            name: sum(image.label == label for image in kept)
            for label, name in enumerate(CLASS_NAMES)
        },
        "augmented": sum(image.augmented for image in kept),
        "patients": len(set(patients)),
        "images_of_known_patients": len(patients),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": hardware.commit(),
    }


def merged_text(about: dict) -> str:
    """Return what was merged as lines for a terminal."""
    lines = [f"{'source':10}{'images':>10}{'kept':>10}{'left out':>10}"]
    for name, of in about["sources"].items():
        numbers = (of["images"], of["kept"], of["images"] - of["kept"])
        lines.append(f"{name:10}" + "".join(f"{number:10,}" for number in numbers))
        reasons = Counter(of["left_out"]).most_common()
        lines += [f"  {count:,}: {reason}" for reason, count in reasons[:5]]
        more = sum(count for _, count in reasons[5:])
        lines += [f"  {more:,}: other reasons, see {LEFT_OUT}"] if more else []
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
            f"No image of {', '.join(empty)}: --data needs all four classes. Add a source that has "
            "it (the merge, or Br35H for notumor)."
        )
    return "\n".join(lines)


def _names(images: list[SourceImage]) -> list[str]:
    """Return a file name without suffix for each image, numbered within its source."""
    counts: Counter[str] = Counter()
    names = []
    for image in images:
        counts[image.source] += 1
        prefix = _PREFIX.get(image.source, image.source)
        names.append(f"{prefix}_{counts[image.source]:05}")
    return names


def _write_one(folder: Path, name: str, merged: Merged, row: int) -> tuple:
    """Write one image, and its mask; return its row of the catalogue."""
    image = merged.images[row]
    kind = CLASS_NAMES[image.label]
    box, mask = image.box, ""
    if image.file.suffix == ".mat":
        content = read_slice(image.file)
        path = f"{kind}/{name}.png"
        Image.fromarray(to_8_bits(content.image)).save(folder / path)
        box, mask = content.box, f"masks/{name}.png"
        Image.fromarray(content.mask).save(folder / mask)
    else:
        path = f"{kind}/{name}{image.file.suffix.lower()}"
        shutil.copyfile(image.file, folder / path)
    known = (kind, image.source, image.name, merged.slice(row), merged.patient(row))
    return (path, *known, *(box or [""] * len(BOX)), mask, image.fold or "", int(image.augmented))


def _left_out_rows(merged: Merged) -> list[tuple]:
    rows = []
    for row, gone in merged.left_out.items():
        image = merged.images[row]
        copy: tuple = ("",) * 5
        if gone.copy_of is not None:
            kept = merged.images[gone.copy_of]
            likeness = (f"{gone.whole:.4f}", f"{gone.detail:.4f}", gone.flip)
            copy = (f"{kept.source}/{kept.name}", CLASS_NAMES[kept.label], *likeness)
        named = (image.source, image.name, CLASS_NAMES[image.label], merged.slice(row))
        rows.append((*named, gone.reason, *copy))
    return sorted(rows)


def _write_csv(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
