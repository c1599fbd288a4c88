"""Anybody's predictions for the official test images, scored by what Training holds of them.

`python -m src rescore PREDICTIONS.csv`: a network of any framework that memorised its training
images is good where Training holds the same slice, and worse elsewhere.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np

from src.common.errors import InputError, reason_of
from src.common.files import only_file
from src.config import CLASS_NAMES
from src.data.audit.leaks import LEAKS, leaks_by_name
from src.data.folders import standard_class
from src.evaluation.intervals import mean_interval, score_interval
from src.records import read_predictions
from src.results.tables import points

NAMES = ("path", "file", "filename", "name", "image")  # of the column that names the image
LABELS = ("prediction", "predicted", "label", "class")  # of the column that holds the answer
PLAIN = LABELS[2:]  # beside one of the others, these hold the truth
LARGEST = 64 * 2**20  # bytes of a file


def rescore(file: Path) -> dict:
    """Return the accuracy on the official test images, whole and apart.

    Args:
        file: CSV with a header: a column of NAMES, and either one of LABELS or one probability for
            each class; or `predictions.npz` of a run. Folders before a file's name do not matter.
    Returns:
        what `score_apart` returns, and unanswered: rows without an answer, which are not scored.
    Raises:
        InputError: the file cannot be read, or holds no official test image.
    """
    rows = _read(Path(file))
    answers = {name: label for name, label in rows.items() if label}
    if not (found := score_apart(answers))["images"]:
        raise InputError(
            f"{file}: none of its {len(answers):,} images with an answer is a test image of the "
            f"Kaggle merge, such as {next(iter(leaks_by_name()))}. Version 2 of the merge names "
            "its images otherwise."
        )
    return found | {"unanswered": len(rows) - len(answers)}


def score_apart(answers: Mapping[str, str]) -> dict:
    """Return the accuracy on the official test images, whole and by what Training holds of them.

    Args:
        answers: file name, without folders -> predicted class.
    Returns:
        images (scored), missing (official test images without a prediction), unknown (predictions
        of other images), `parts`: "all" and each of LEAKS -> {"count", "value", "low", "high",
        "per_class"}, or None where there is nothing of it, and `memory`: the accuracy where
        Training holds the file or the slice, minus that elsewhere; None where one is missing.
        Intervals are over groups.
    """
    table = leaks_by_name()
    rows, right, unknown = [], [], 0
    for name, label in answers.items():
        if row := table.get(name):
            rows.append(row)
            right.append(label == row["path"].split("/")[1])
        else:
            unknown += 1
    leaks, right = np.array([row["leak"] for row in rows]), np.array(right, float)
    groups = np.array([int(row["group"]) for row in rows])
    classes = np.array([row["path"].split("/")[1] for row in rows])
    parts = {"all": np.ones(len(rows), bool)} | {leak: leaks == leak for leak in LEAKS}
    return {
        "images": len(rows),
        "missing": len(table) - len(rows),
        "unknown": unknown,
        "parts": {name: _part(right, groups, classes, kept) for name, kept in parts.items()},
        "memory": _memory(right, groups, np.isin(leaks, LEAKS[:2])),
    }


def rescore_text(found: dict) -> str:
    """Return what `rescore` found as lines."""
    lines = [f"{'Training holds':16}{'images':>8}{'accuracy (95 % interval)':>28}"]
    lines[0] += "".join(f"{name:>12}" for name in CLASS_NAMES)
    for name, part in found["parts"].items():
        if part:
            value = f"{part['value']:.1%}"
            if part["low"] is not None:
                value += f" ({part['low']:.1%} to {part['high']:.1%})"
            shares = [part["per_class"].get(kind) for kind in CLASS_NAMES]
            cells = "".join(f"{'-' if s is None else f'{s:.1%}':>12}" for s in shares)
            lines.append(f"{name:16}{part['count']:8,}{value:>28}{cells}")
    if memory := found["memory"]:
        lines.append(f"Same file or slice minus the others: {points(memory)} percentage points.")
    if found["unanswered"]:
        lines.append(f"{found['unanswered']:,} rows have no answer, and are not scored.")
    if found["missing"]:
        lines.append(f"{found['missing']:,} official test images have no prediction.")
    if found["unknown"]:
        lines.append(f"{found['unknown']:,} predictions are of other images, and are not counted.")
    lines.append(
        "All but a few of these images have a copy or another slice of their patient in Training. "
        "No part of them says what a network is worth on new patients: the clean split does."
    )
    return "\n".join(lines)


def _memory(right: np.ndarray, groups: np.ndarray, known: np.ndarray) -> dict | None:
    if known.all() or not known.any():
        return None

    def gain(rows: np.ndarray) -> float | None:
        sides = right[rows][known[rows]], right[rows][~known[rows]]
        return float(sides[0].mean() - sides[1].mean()) if all(map(len, sides)) else None

    return score_interval(gain, groups, difference=True)


def _part(
    right: np.ndarray, groups: np.ndarray, classes: np.ndarray, kept: np.ndarray
) -> dict | None:
    if not kept.any():
        return None
    shares = {kind: right[kept & (classes == kind)] for kind in CLASS_NAMES}
    per_class = {kind: float(some.mean()) for kind, some in shares.items() if len(some)}
    interval = mean_interval(right[kept], groups[kept])
    return {"count": int(kept.sum()), **interval, "per_class": per_class}


def _read(file: Path) -> dict[str, str]:
    """Return file name, without folders -> predicted class, "" where there is no answer."""
    if file.suffix == ".npz":
        found = read_predictions(file)
        if found.probs.shape[1] != len(CLASS_NAMES):
            raise InputError(
                f"{file} is of {found.probs.shape[1]} classes. Expected: {', '.join(CLASS_NAMES)}."
            )
        paths, labels = found.paths.tolist(), found.probs.argmax(axis=1)
        return {PurePath(p).name: CLASS_NAMES[k] for p, k in zip(paths, labels)}
    try:
        if only_file(file).stat().st_size > LARGEST:
            raise InputError(f"{file} has more than {LARGEST >> 20} MB: no table of predictions.")
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            header = _header(file, reader.fieldnames or ())
            rows = [(reader.reader.line_num, row) for row in reader]  # its own stops at blanks
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} cannot be read as CSV: {reason_of(error)}.") from None
    image = next((header[name] for name in NAMES if name in header), None)
    label = _label_column(file, header)
    columns = {standard_class(name): name for name in header.values()}
    probs = {kind: columns[kind] for kind in CLASS_NAMES if kind in columns}
    if not image or not (label or len(probs) == len(CLASS_NAMES)):
        raise InputError(
            f"{file} needs a header with a column for the image ({', '.join(NAMES)}), and one for "
            f"the answer ({', '.join(LABELS)}) or for each of {', '.join(CLASS_NAMES)}. "
            f"Received: {', '.join(header.values()) or 'an empty file'}."
        )
    answers = {}
    for number, row in rows:
        name = PurePath((row[image] or "").replace("\\", "/")).name
        if name in answers:
            raise InputError(f"{file}, line {number}: a second prediction for {name}.")
        answers[name] = _answer(row, label, probs, f"{file}, line {number}")
    return answers


def _header(file: Path, names: Sequence[str]) -> dict[str, str]:
    """Return column, in lower case -> as it is spelled; two that mean the same are refused."""
    header, meant = {name.strip().lower(): name for name in names}, set()
    for name in (name.strip().lower() for name in names if name.strip()):
        if (kind := standard_class(name) or name) in meant:
            raise InputError(f"{file} has two columns for {kind}. Leave out one of them.")
        meant.add(kind)
    return header


def _label_column(file: Path, header: Mapping[str, str]) -> str | None:
    given = [name for name in LABELS if name in header]
    given = [name for name in given if name not in PLAIN] or given
    if len(given) > 1:
        raise InputError(
            f"{file} has the columns {' and '.join(given)}: which one holds the answer is not "
            "clear. Leave out the other."
        )
    return header[given[0]] if given else None


def _answer(row: dict, label: str | None, probs: dict[str, str], where: str) -> str:
    columns = [*probs.values(), *([label] if label else [])]
    if not any((row[column] or "").strip() for column in columns):
        return ""
    said = standard_class(row[label] or "") if label else None
    if label and not said and len(probs) != len(CLASS_NAMES):
        expected = ", ".join(CLASS_NAMES)
        raise InputError(f"{where}: expected one of {expected}. Received: {row[label]!r}.")
    try:
        values = np.array([float(row[column]) for column in probs.values()])
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if len(values) != len(CLASS_NAMES) or not np.isfinite(values).all():
        if said:
            return said
        raise InputError(f"{where}: expected a number for each class.")
    likeliest = CLASS_NAMES[values.argmax()]
    plain = said and label.strip().lower() in PLAIN
    if plain and values[CLASS_NAMES.index(said)] < values.max():
        raise InputError(
            f"{where}: {label} says {said}, but {likeliest} is the likeliest. If {label} holds the "
            "truth, leave it out."
        )
    return said or likeliest
