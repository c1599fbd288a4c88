"""Merged sources -> a folder that `--data` reads, and the lines that say what became of them."""

import csv
import datetime
import shutil
from collections import Counter
from pathlib import Path

from PIL import Image

from src.common import hardware
from src.common.cache import in_threads, progress
from src.common.errors import InputError
from src.common.files import atomic_folder, write_json
from src.config import CLASS_NAMES
from src.data.build import ORDER, Merged
from src.data.groups import TOLD
from src.data.similarity import SAME_DETAIL, SAME_WHOLE
from src.data.sources.figshare import BOX
from src.data.sources.matlab import read_slice, to_8_bits
from src.data.sources.table import SourceImage
from src.data.sources.told import MARKER

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
            _write_csv(folder / TOLD, COLUMNS, sorted(rows))
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
    images, kept = merged.images, set(merged.kept)
    sources = [name for name in ORDER if any(image.source == name for image in images)]
    patients = {merged.patient(row) for row in kept} - {""}
    return {
        "source": "built from " + ", ".join(sources),
        "order": list(ORDER),
        "same_slice": {"whole": SAME_WHOLE, "detail": SAME_DETAIL},
        "sources": {
            name: {
                "images": sum(image.source == name for image in images),
                "kept": sum(images[row].source == name for row in kept),
                "left_out": dict(
                    Counter(
                        gone.reason
                        for row, gone in merged.left_out.items()
                        if images[row].source == name
                    )
                ),
            }
            for name in sources
        },
        "counts": {
            name: sum(images[row].label == label for row in kept)
            for label, name in enumerate(CLASS_NAMES)
        },
        "augmented": sum(images[row].augmented for row in kept),
        "patients": len(patients),
        "images_of_known_patients": sum(merged.patient(row) != "" for row in kept),
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
            stays = merged.images[gone.copy_of]
            alike = (f"{gone.whole:.4f}", f"{gone.detail:.4f}", gone.flip)
            copy = (f"{stays.source}/{stays.name}", CLASS_NAMES[stays.label], *alike)
        named = (image.source, image.name, CLASS_NAMES[image.label], merged.slice(row))
        rows.append((*named, gone.reason, *copy))
    return sorted(rows)


def _write_csv(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
