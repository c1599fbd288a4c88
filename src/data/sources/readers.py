"""Readers of the datasets that the merge was made of: one table of images from any of them.

`read_source` says which dataset a folder holds and lists its images; no pixels are read until a
`SourceImage` is asked for them.
"""

import contextlib
import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from src.common.cache import in_threads, progress
from src.common.errors import InputError, reason_of
from src.common.files import only_file, with_home
from src.config import CLASS_NAMES
from src.data.duplicates.thumbnails import Thumbnails, make_thumbnails, open_upright
from src.data.folders import SUFFIXES, standard_class
from src.data.pixels import to_gray
from src.data.sources.matlab import read_facts, read_folds, read_pixels, to_8_bits
from src.data.sources.origin import is_augmented

TABLE = "slices.csv"  # beside figshare's slices that were exported as images
BOX = ("box_x_center", "box_y_center", "box_width", "box_height")
# Copies of the merge use some of these names, too, but not for all their classes.
SARTAJ_FOLDERS = {"glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor"}
BR35H_FOLDERS = {"no": "notumor"}  # `yes` does not say which tumour
_EXPECTED = (
    f"figshare (.mat files, or {TABLE} with images/), the Kaggle merge (glioma, meningioma, "
    "notumor, pituitary), SARTAJ (glioma_tumor, ..., no_tumor) or Br35H (yes, no)"
)


@dataclass(frozen=True)
class SourceImage:
    """An image of one source, not yet read."""

    source: str  # "merge", "figshare", "sartaj" or "br35h"
    name: str  # unique within the source; figshare's is the number of its .mat file
    label: int  # index into CLASS_NAMES
    file: Path  # where the pixels are
    slice: str = ""  # the number of the figshare slice that it shows, where that is known
    patient: str = ""  # the published id, where one was published
    # The lesion's centre x, centre y, width and height, shares of the image.
    box: tuple[float, float, float, float] | None = None
    fold: int = 0  # figshare's published cross-validation fold, 1 to 5; 0 where unknown
    augmented: bool = False  # the name says that it was made from another image (`*-aug-*`)

    def gray(self) -> Image.Image:
        """Return the image as 8-bit gray.

        Raises:
            InputError: a .mat file is damaged.
            Exception: whatever Pillow raises on a damaged image.
        """
        if self.file.suffix == ".mat":
            return Image.fromarray(to_8_bits(read_pixels(self.file)[0]))
        return to_gray(open_upright(self.file))


def source_thumbnails(images: list[SourceImage]) -> tuple[Thumbnails, dict[int, str]]:
    """Return the thumbnails of those images that can be read, and row -> reason of the rest.

    Raises:
        InputError: the cache cannot be written, or no image can be read.
    """
    stamps = [(str(image.file), image.file.stat()) for image in images]
    key = "\n".join(repr((path, at.st_size, at.st_mtime_ns)) for path, at in stamps)
    return make_thumbnails(images, SourceImage.gray, key, f"Thumbnails of {images[0].source}")


def find_figshare(given: Path | None = None) -> list[SourceImage] | None:
    """Return figshare's slices from `given`, else FIGSHARE_DATA; None where neither is set.

    Raises:
        InputError: the folder that was named is not figshare's.
    """
    named = given or os.environ.get("FIGSHARE_DATA")
    if not named:
        return None
    images = read_source(Path(named))
    if images[0].source != "figshare":
        raise InputError(f"{named} holds {images[0].source}, not figshare. Expected {_EXPECTED}.")
    return images


def read_source(folder: Path) -> list[SourceImage]:
    """List the images of one source; the folder's content says which source it is.

    Raises:
        InputError: no such folder, nothing known in it, or something in it is damaged.
    """
    folder = Path(os.path.realpath(with_home(folder)))
    if not folder.is_dir():
        raise InputError(f"No such folder: {folder}. Expected {_EXPECTED}.")
    names = {path.name.lower() for path in folder.rglob("*") if path.is_dir()}
    classes = {name: kind for name in names if (kind := standard_class(name))}
    if (folder / TABLE).exists():
        images = _read_exported(folder)
    elif classes and classes.keys() <= SARTAJ_FOLDERS:
        images = _read_class_folders(folder, "sartaj", classes)
    elif len(set(classes.values())) >= 3:
        images = _read_class_folders(folder, "merge", classes)
    elif "no" in names:
        images = _read_class_folders(folder, "br35h", BR35H_FOLDERS)
    else:
        images = _read_mat_files(folder)
    if not images:
        raise InputError(f"No images of a known source in {folder}. Expected {_EXPECTED}.")
    return images


def _read_class_folders(folder: Path, source: str, classes: dict[str, str]) -> list[SourceImage]:
    """List the images that lie, at any depth, in a folder that `classes` names in lower case."""
    images = []
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        kind = classes.get(file.parent.name.lower())
        hidden = any(part.startswith(".") for part in path.parts)
        if kind and file.suffix.lower() in SUFFIXES and file.is_file() and not hidden:
            label, augmented = CLASS_NAMES.index(kind), is_augmented(file.name)
            image = SourceImage(source, path.as_posix(), label, file, augmented=augmented)
            images.append(image)
    return images


def _read_exported(folder: Path) -> list[SourceImage]:
    """Read `slices.csv` (id, label, pid, perhaps a box) with `images/ID.jpg`."""
    table = folder / TABLE
    try:
        with only_file(table).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            lines, rows = [], []
            for row in reader:
                lines.append(reader.reader.line_num)  # its own stops at blanks
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} cannot be read: {reason_of(error)}.") from error
    missing = [name for name in ("id", "label", "pid") if not rows or name not in rows[0]]
    if missing:
        what = f"lacks the column {', '.join(missing)}" if rows else "has no rows"
        raise InputError(f"{table} {what}. Expected: id, label, pid, {', '.join(BOX)}.")
    for line, row in zip(lines, rows):
        if not row["id"]:
            raise InputError(f"{table}, line {line}: id is empty. Every slice has a number.")
    if len({row["id"] for row in rows}) < len(rows):
        raise InputError(f"{table} names a slice twice. Each id must stand in one row.")
    candidates = [*sorted(folder.glob("*")), *sorted(folder.glob("images/*"))]
    files = {file.stem: file for file in candidates if file.suffix.lower() in SUFFIXES}
    lost = [row["id"] for row in rows if row["id"] not in files]
    if lost:
        raise InputError(
            f"{table} names {len(lost)} slices that have no image, the first {lost[0]}: expected "
            f"{folder / 'images' / (lost[0] + '.jpg')}."
        )
    return [_from_row(row, f"{table}, line {line}", files) for line, row in zip(lines, rows)]


def _from_row(row: dict, where: str, files: dict[str, Path]) -> SourceImage:
    if row["label"] not in CLASS_NAMES:
        raise InputError(
            f"{where}: label must be one of {', '.join(CLASS_NAMES)}. Received: {row['label']!r}."
        )
    patient = same_patient(row["pid"] or "")
    if not patient:
        raise InputError(f"{where}: pid is empty. Every slice has a patient.")
    label, box = CLASS_NAMES.index(row["label"]), _read_box(row, where)
    return SourceImage("figshare", row["id"], label, files[row["id"]], row["id"], patient, box)


def _read_box(row: dict, where: str) -> tuple[float, float, float, float] | None:
    given = [row.get(name) or "" for name in BOX]
    if not any(given):
        return None
    with contextlib.suppress(ValueError):
        sides = tuple(map(float, given))
        if all(0 <= side <= 1 for side in sides):  # NaN is not
            return sides
    raise InputError(
        f"{where}: a box must be four numbers from 0 to 1, or all four cells empty. "
        f"Received: {', '.join(given)}."
    )


def _read_mat_files(folder: Path) -> list[SourceImage]:
    """Read `1.mat` ... `3064.mat`, and `cvind.mat` if it is there; no pixels."""
    mat_files = sorted(folder.rglob("*.mat"))
    files = sorted((file for file in mat_files if file.stem.isdigit()), key=lambda f: int(f.stem))
    if len({file.stem for file in files}) < len(files):
        raise InputError(f"{folder} holds two .mat files of one number. Keep one of each.")
    tables = [read_folds(file) for file in mat_files if file.stem == "cvind"]
    images = []
    facts = progress(in_threads(read_facts, files), len(files), "Reading figshare", "file")
    for file, (label, pid) in zip(files, facts):
        number, patient = file.stem, same_patient(pid)
        fold = tables[-1].get(int(number), 0) if tables else 0
        images.append(SourceImage("figshare", number, label, file, number, patient, fold=fold))
    return images


def same_patient(pid: str) -> str:
    """Return the patient that a published figshare id stands for.

    43 ids end in a letter (MR040240 and MR040240B): the same patient, scanned again.
    """
    return re.sub(r"(?<=\d)[A-Za-z]$", "", pid.strip())
