"""figshare's 3,064 slices: the original `.mat` files, or exported images with a `slices.csv`."""

import csv
from pathlib import Path

from src.common.cache import in_threads, progress
from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.data.sources.matlab import read_facts, read_folds
from src.data.sources.table import SourceImage, same_patient

TABLE = "slices.csv"
COLUMNS = ("id", "label", "pid")
BOX = ("box_x_center", "box_y_center", "box_width", "box_height")
_SUFFIXES = (".jpg", ".jpeg", ".png")


def read_exported(folder: Path) -> list[SourceImage]:
    """Read a folder with `slices.csv` (id, label, pid, perhaps a box) and `images/ID.jpg`.

    Raises:
        InputError: a column, a value or an image is missing.
    """
    table = folder / TABLE
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} cannot be read: {error}.") from error
    missing = [name for name in COLUMNS if name not in columns]
    if missing or not rows:
        what = f"lacks the column {', '.join(missing)}" if missing else "has no rows"
        raise InputError(f"{table} {what}. Expected: {', '.join(COLUMNS + BOX)}.")
    if len({row["id"] for row in rows}) < len(rows):
        raise InputError(f"{table} names a slice twice. Each id must stand in one row.")
    candidates = [*sorted(folder.glob("*")), *sorted(folder.glob("images/*"))]
    files = {file.stem: file for file in candidates if file.suffix.lower() in _SUFFIXES}
    lost = [row["id"] for row in rows if row["id"] not in files]
    if lost:
        raise InputError(
            f"{table} names {len(lost)} slices that have no image, the first {lost[0]}: expected "
            f"{folder / 'images' / (lost[0] + '.jpg')}."
        )
    return [_from_row(row, f"{table}, line {line}", files) for line, row in enumerate(rows, 2)]


def _from_row(row: dict, where: str, files: dict[str, Path]) -> SourceImage:
    if row["label"] not in CLASS_NAMES:
        raise InputError(
            f"{where}: label must be one of {', '.join(CLASS_NAMES)}. Received: {row['label']!r}."
        )
    patient = same_patient(row["pid"] or "")
    if not patient:
        raise InputError(f"{where}: pid is empty. Every slice has a patient.")
    try:
        sides = tuple(float(row[name]) for name in BOX if row.get(name))
    except ValueError as error:
        raise InputError(f"{where}: a box must be four numbers: {error}.") from error
    label, box = CLASS_NAMES.index(row["label"]), sides if len(sides) == len(BOX) else None
    return SourceImage("figshare", row["id"], label, files[row["id"]], row["id"], patient, box)


def read_mat_folder(folder: Path) -> list[SourceImage]:
    """Read a folder of `1.mat` ... `3064.mat`, and `cvind.mat` if it is there; no pixels.

    Raises:
        InputError: a file is damaged or is not figshare's.
    """
    mat_files = sorted(folder.rglob("*.mat"))
    files = sorted((file for file in mat_files if file.stem.isdigit()), key=lambda f: int(f.stem))
    if len({file.stem for file in files}) < len(files):
        raise InputError(f"{folder} holds two .mat files of one number. Keep one of each.")
    folds: dict[int, int] = {}
    for file in mat_files:
        if file.stem == "cvind":
            folds = read_folds(file)
    images = []
    facts = progress(in_threads(read_facts, files), len(files), "Reading figshare", "file")
    for file, (label, pid) in zip(files, facts):
        number, patient, fold = file.stem, same_patient(pid), folds.get(int(file.stem), 0)
        images.append(SourceImage("figshare", number, label, file, number, patient, fold=fold))
    return images
