"""`predict`: parse, call, print. Loads no framework unless `--framework` names one."""

import argparse
import io
import itertools
import json
import os
import sys
from pathlib import Path

from src.common.cache import progress
from src.common.errors import InputError
from src.common.files import make_folder
from src.serving.classifier import Answer, load_classifier
from src.serving.images import PICTURE_FILES, find_images
from src.serving.medical_files import is_medical
from src.serving.overlay import is_heat_map, save_overlay
from src.serving.rows import answer_row, with_series, write_csv

SOME_REFUSED = 3  # the exit code where a file has no answer


def add_predict(parser: argparse.ArgumentParser) -> None:
    """Add the options of `predict`."""
    about = "images, DICOM or NIfTI files, or folders of them"
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help=about)
    about = "a frame of DICOM and NIfTI files, from 1; default: all, and an answer for the file"
    parser.add_argument("--frame", "--slice", type=int, metavar="N", help=about)
    about = "folder of a run; default: the shipped model"
    parser.add_argument("--model", type=Path, metavar="RUN", help=about)
    about = "compute with that twin; default: with ONNX Runtime, which needs neither framework"
    parser.add_argument("--framework", choices=("tf", "pt"), help=about)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    about = "write a heat map of each image there, as PNG: what spoke for its label"
    parser.add_argument("--heatmap", type=Path, metavar="DIR", help=about)
    parser.epilog = f"Exit code: 0 all answered, {SOME_REFUSED} some not, 2 wrong use."


def predict(options: argparse.Namespace) -> int:
    """Classify images, print the answers, and return the exit code."""
    if options.frame is not None and options.frame < 1:
        raise InputError(f"Frames are counted from 1. Received: --frame {options.frame}.")
    found = list(find_images(options.paths, 0))  # looks at names only
    if all(isinstance(image, str) for _, image in found):
        raise InputError("; ".join(f"{name}: {why}" for name, why in found) + ".")
    if options.frame and not any(is_medical(file) for _, file in found if isinstance(file, Path)):
        raise InputError("DICOM and NIfTI files alone have frames. Leave out --frame.")
    folder = options.heatmap and make_folder(options.heatmap, "Choose another with --heatmap")
    classifier = load_classifier(options.model, options.framework or "onnx")
    names = [name for name, _ in found]  # not what is written into these folders from now on
    answers = classifier.stream(names, heatmap=bool(folder), frame=options.frame)
    if len(found) > 1:
        answers = progress(answers, len(found), "Predicting")
    rows, drawn = [], _Drawings(folder, {os.path.realpath(name) for name, _ in found})
    for answer in with_series(classifier, answers, options.frame):
        rows.append(answer_row(answer) | ({"heatmap": drawn.write(answer)} if folder else {}))
    _PRINT["json" if options.json else "csv" if options.csv else "table"](rows, classifier.classes)
    for row in rows:
        if row["why"]:
            state = "unsure" if row["unsure"] else "no answer"
            print(f"{state}: {row['name']}: {row['why']}", file=sys.stderr)
    for title, text in classifier.about.items():
        print(f"{title}: {text}", file=sys.stderr)
    return 0 if all(row["label"] for row in rows) else SOME_REFUSED


class _Drawings:
    """Writes heat maps under the names of their images; no two share one, and no file is lost.

    Heat maps of earlier runs alone are overwritten, and none that was asked about.
    """

    def __init__(self, folder: Path | None, images: set[str]):
        self.folder = folder
        self.taken = {path.casefold() for path in images}

    def write(self, answer: Answer) -> str | None:
        """Return the path of the picture, or None where there is no answer."""
        if answer.heatmap is None:
            return None
        name = Path(answer.name)
        stem = name.stem if name.suffix.lower() in PICTURE_FILES else name.name
        candidates = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        for candidate in candidates:
            path = self.folder / f"{candidate}.png"
            resolved = os.path.realpath(path).casefold()
            free = not os.path.lexists(path) or is_heat_map(path)
            if free and resolved not in self.taken:
                break
        self.taken.add(resolved)
        save_overlay(path, answer.pixels, answer.heatmap)
        return str(path)


def _print_table(rows: list[dict], classes: tuple[str, ...]) -> None:
    if not any(row["label"] for row in rows):
        return
    labels = {row["name"]: f"{row['label']}{' (unsure)' * row['unsure']}" for row in rows}
    width, cell = max(map(len, labels)), max(10, *map(len, classes))
    wide = max(cell, *map(len, labels.values()))
    print(f"{'image':{width}}  {'label':{wide}}  " + "  ".join(f"{n:>{cell}}" for n in classes))
    for row in rows:
        if row["label"]:
            probs = "  ".join(f"{prob:{cell}.4f}" for prob in row["probabilities"].values())
            print(f"{row['name']:{width}}  {labels[row['name']]:{wide}}  {probs}")


def _print_csv(rows: list[dict], classes: tuple[str, ...]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that is no UTF-8 keeps its bytes
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    write_csv(rows, classes, sys.stdout)


def _print_json(rows: list[dict], _classes: tuple[str, ...]) -> None:
    print(json.dumps(rows, indent=2))


_PRINT = {"table": _print_table, "csv": _print_csv, "json": _print_json}
