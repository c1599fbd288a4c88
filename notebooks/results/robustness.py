"""What does the shipped classifier look at, and how good must an image be?

    python -m notebooks.results.robustness DATA [MODEL]

Shortcuts: its test images with the border or the tumour's box taken away, and each alone. Quality:
every sixth of them in steps of JPEG, blur, noise, contrast, rotation, crop and size, by both twins.
Boxes come from figshare: FIGSHARE_DATA names its folder. It writes `robustness.json` and
`robustness.png` beside this file.
"""

import argparse
import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from notebooks.results.script import in_a_sentence
from src.common.files import read_json, write_json
from src.comparison.report.style import (
    COLORS,
    MARKERS,
    TWIN_LINES,
    new_figure,
    save_figure,
    styled,
)
from src.data.dataset import Dataset, open_dataset
from src.data.tumour_boxes import tumour_boxes
from src.evaluation.intervals import mean_interval
from src.evaluation.localisation import box_masks
from src.notebook.setup import both_twins
from src.records import FRAMEWORKS, measurement
from src.results.grid import RESULTS
from src.serving.backends import BATCH, Backend, OnnxBackend, TwinBackend
from src.training.checkpoint import read_model_card, weights_sha256
from src.xception.weight_files import PRETRAINED

EVERY = 6  # of the test images, for the steps of quality
BORDER = 0.1  # of the side, on each side
QUALITY = {  # worse to the right
    "JPEG quality": (75, 50, 25, 10, 5),
    "blur, px": (0.5, 1, 2, 4),
    "noise, gray levels": (5, 10, 20, 40),
    "contrast, times": (0.75, 0.5, 0.25),
    "rotation, degrees": (5, 10, 20, 45),
    "crop, % of the side": (5, 10, 20),
    "side, px, enlarged again": (112, 56, 28),
}
Change = Callable[[np.ndarray, int], np.ndarray]  # (S, S) uint8, its number -> the same


def degrade(kind: str, step: float) -> Change:
    """Return what makes an image worse; `kind` and `step` from QUALITY."""

    def change(image: np.ndarray, number: int) -> np.ndarray:
        picture, side = Image.fromarray(image), len(image)
        match kind.partition(",")[0]:
            case "JPEG quality":
                file = io.BytesIO()
                picture.save(file, "JPEG", quality=int(step))
                picture = Image.open(file)
            case "blur":
                picture = picture.filter(ImageFilter.GaussianBlur(step))
            case "noise":
                noise = np.random.default_rng(number).normal(0, step, image.shape)
                return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
            case "contrast":
                flat = image.mean() * (1 - step)
                return np.rint(flat + image * step).astype(np.uint8)
            case "rotation":
                picture = picture.rotate(step, Image.Resampling.BILINEAR)
            case "crop":
                cut = side * step / 200
                box = cut, cut, side - cut, side - cut
                picture = picture.resize((side, side), Image.Resampling.BILINEAR, box)
            case "side":
                small = picture.resize((int(step), int(step)), Image.Resampling.BILINEAR)
                picture = small.resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(picture)

    return change


def border_mask(side: int) -> np.ndarray:
    """Return (S, S) bool: the outer BORDER of an image."""
    inside = np.zeros((side, side), bool)
    width = round(BORDER * side)
    inside[width:-width, width:-width] = True
    return ~inside


def keep(mask: np.ndarray) -> Change:
    """Return what makes image k black but where `mask` (or mask k of (N, S, S)) is true."""

    def change(image: np.ndarray, number: int) -> np.ndarray:
        return np.where(mask[number] if mask.ndim == 3 else mask, image, 0).astype(np.uint8)

    return change


def remove_box(masks: np.ndarray) -> Change:
    """Return what fills the box of image k, masks (N, S, S), with the median of the head there."""

    def change(image: np.ndarray, number: int) -> np.ndarray:
        head = image[(image > 20) & ~masks[number]]  # what is not background
        return np.where(masks[number], int(np.median(head)) if len(head) else 0, image).astype(
            np.uint8
        )

    return change


def predict(backend: Backend, images: np.ndarray, change: Change | None = None) -> np.ndarray:
    """Return the likeliest class of each image, changed before, (N,) int64."""
    found = []
    for first in range(0, len(images), BATCH):
        some = images[first : first + BATCH]
        if change:
            some = np.stack([change(image, first + k) for k, image in enumerate(some)])
        found.append(backend.run(some).probabilities.argmax(axis=1))
    return np.concatenate(found)


def shortcuts(backend: Backend, dataset: Dataset) -> list[dict]:
    """Return the accuracy on images of which a part is missing, and with nothing missing."""
    test, side = dataset.parts["test"], dataset.test_pixels.shape[1]
    boxed, boxes = tumour_boxes(dataset)
    masks, border = box_masks(boxes, side), border_mask(side)
    changes = {
        "test images": (test, None),
        "test images, the border black": (test, keep(~border)),
        "test images, the border alone": (test, keep(border)),
        "images with a box": (boxed, None),
        "images with a box, the box filled": (boxed, remove_box(masks)),
        "images with a box, the box alone": (boxed, keep(masks)),
    }
    rows = []
    for name, (images, change) in changes.items():
        classes = predict(backend, dataset.test_pixels[images], change)
        rows.append({"name": name} | _scored(dataset, images, classes))
        print(f"{name}: {rows[-1]['accuracy']['value']:.1%}", file=sys.stderr)
    return rows


def qualities(backends: Mapping[str, Backend], dataset: Dataset) -> list[dict]:
    """Return the accuracy of each backend at each step of QUALITY, and of images as they are."""
    rows = dataset.parts["test"][::EVERY]
    images, found = dataset.test_pixels[rows], []
    steps = [("as it is", 0, None)]
    steps += [(kind, each, degrade(kind, each)) for kind in QUALITY for each in QUALITY[kind]]
    for kind, step, change in steps:
        row = {"kind": kind, "step": step}
        for name, backend in backends.items():
            row[name] = _scored(dataset, rows, predict(backend, images, change))["accuracy"]
        found.append(row)
        shown = ", ".join(f"{name} {row[name]['value']:.1%}" for name in backends)
        print(f"{kind} {step}: {shown}", file=sys.stderr)
    return found


def _scored(dataset: Dataset, rows: np.ndarray, classes: np.ndarray) -> dict:
    right = classes == dataset.catalog.labels[rows]
    return {"count": len(rows), "accuracy": mean_interval(right, dataset.groups[rows])}


def draw(record: Mapping, path: Path) -> Path:
    """Draw the steps of quality: a panel for each kind, a line for each framework."""
    whole, *rows = record["quality"]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    with styled():
        figure = new_figure(2.0 * -(-len(kinds) // 2), record)
        panels = figure.subplots(-(-len(kinds) // 2), 2, sharey=True, squeeze=False).ravel()
        for axes, kind in zip(panels, kinds):
            some = [whole, *(row for row in rows if row["kind"] == kind)]
            for name, title in FRAMEWORKS.items():
                values = [row[name]["value"] for row in some]
                style = {"color": COLORS[name], "marker": MARKERS[name], **TWIN_LINES[name]}
                axes.plot(values, label=title, **style)
            axes.set_xticks(range(len(some)), ["as is", *(f"{row['step']:g}" for row in some[1:])])
            axes.set_title(kind, fontsize=10)
            axes.set_ylim(0, 1)
        panels[0].legend(loc="lower left", fontsize=9)
        panels[0].set_ylabel("accuracy")
        for axes in panels[len(kinds) :]:
            axes.remove()
        return save_figure(figure, path, record)


def measure(data: Path, folder: Path) -> dict:
    """Return what is recorded."""
    _, config = read_model_card(folder)
    dataset = open_dataset(config, data)
    both_twins()  # torchvision before TensorFlow
    twins = {name: TwinBackend(folder, name) for name in FRAMEWORKS}
    found = {"shortcuts": shortcuts(OnnxBackend(folder), dataset), "every": EVERY}
    found["weights_sha256"] = weights_sha256(folder)
    return measurement(
        config, dataset.describe(), **found, border=BORDER, quality=qualities(twins, dataset)
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m notebooks.results.robustness")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("model", type=Path, nargs="?", default=PRETRAINED)
    parser.add_argument("--draw", action="store_true", help="only draw the figure again")
    options = parser.parse_args()
    with in_a_sentence():
        if not options.draw:
            if options.data is None:
                parser.error("give the folder of the images")
            write_json(RESULTS / "robustness.json", measure(options.data, options.model))
        draw(read_json(RESULTS / "robustness.json"), RESULTS / "robustness.png")
