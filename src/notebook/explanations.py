"""Heat maps of a run's test images, and how well they point at the tumours."""

import dataclasses
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from src.common.errors import InputError
from src.common.files import read_json
from src.comparison.report.heatmaps import Overlay, draw_overlays
from src.config import CLASS_NAMES, ExperimentConfig
from src.data.augment import scale
from src.data.dataset import Dataset
from src.data.pixels import decode_gray
from src.data.tumour_boxes import tumour_boxes
from src.evaluation.localisation import localisation
from src.notebook.setup import show, show_table
from src.predict import predict_files
from src.records import FRAMEWORKS, Run
from src.xception.weights import initial_weights

BLOCKS = ("block14", "block12")  # the last, which decides; and one with a finer grid


def as_input(gray: np.ndarray) -> np.ndarray:
    """Return images (N, S, S) uint8 as the network takes them: (N, S, S, 3) float32 in [-1, 1]."""
    return np.repeat(scale(gray)[..., None], 3, axis=3)


def worst_and_best(run: Run, count: int = 3) -> np.ndarray:
    """Return rows of the test part: the surest mistakes, then the surest right answers."""
    seen = run.predictions
    sure = seen.probs.max(axis=1)
    right = seen.probs.argmax(axis=1) == seen.labels
    order = np.argsort(-sure, kind="stable")
    return np.concatenate([order[~right[order]][:count], order[right[order]][:count]])


def draw_heat_maps(model, explain, run: Run, dataset: Dataset, block: str = BLOCKS[0]) -> Figure:
    """Draw the surest mistakes and the surest right answers with what spoke for each answer.

    Args:
        model, explain: of one twin; `explain` is its module.
        run: whose predictions choose the images.
        dataset: the run's.
        block: whose maps; see `grad_cam`.
    """
    rows = worst_and_best(run)
    gray = dataset.pixels[dataset.parts["test"][rows]]
    maps = explain.grad_cam(model, as_input(gray), block=block)
    panels = [Overlay(image, _title(run, row), map_) for row, image, map_ in zip(rows, gray, maps)]
    return draw_overlays(panels, run.record)


def draw_boxes(model, explain, dataset: Dataset, about: dict, block: str) -> Figure:
    """Draw two test images of each tumour with heat map and the box a radiologist drew.

    One column a tumour.
    """
    rows, boxes = tumour_boxes(dataset)
    labels = dataset.catalog.labels[rows]
    two = [np.flatnonzero(labels == label)[:2] for label in np.unique(labels)]
    some = np.array([found[place] for place in (0, 1) for found in two if place < len(found)])
    gray = dataset.pixels[rows[some]]
    maps = explain.grad_cam(model, as_input(gray), labels[some], block)
    panels = [
        Overlay(image, CLASS_NAMES[label], map_, box)
        for image, label, map_, box in zip(gray, labels[some], maps, boxes[some])
    ]
    return draw_overlays(panels, about, columns=len(np.unique(labels)))


def pointing_table(
    twin: SimpleNamespace, model, config: ExperimentConfig, dataset: Dataset
) -> list:
    """Return how well maps of the true class point at tumours, trained and randomised, as rows.

    The randomised network has every weight drawn anew: maps that score alike with it show the
    image, not what was learned.

    Source: Adebayo et al. 2018, arXiv:1810.03292.
    """
    rows, boxes = tumour_boxes(dataset)
    images, labels = as_input(dataset.pixels[rows]), dataset.catalog.labels[rows]
    drawn = initial_weights(dataclasses.replace(config, init="scratch", reinit=()))
    networks = {"trained": model, "randomised": twin.model.build_model(config, drawn)}
    table = []
    for block in BLOCKS:
        for name, network in networks.items():
            maps = twin.explain.grad_cam(network, images, labels, block)
            found = localisation(maps, boxes)
            table.append(
                {
                    "map of": f"{block}, {maps.shape[1]} x {maps.shape[2]}",
                    "network": name,
                    "images": found["count"],
                    "points into the box": f"{found['hits']:.1%}",
                    "the centre would": f"{found['centre']:.1%}",
                    "energy in the box": f"{found['energy']:.1%}",
                    "the box takes": f"{found['box']:.1%}",
                    "empty maps": f"{found['empty']:.1%}",
                }
            )
    return table


def _title(run: Run, row: int) -> str:
    seen = run.predictions
    guess = int(seen.probs[row].argmax())
    sign = "✓" if guess == seen.labels[row] else "✗"
    said = f"{sign} {CLASS_NAMES[guess]} {seen.probs[row][guess]:.0%}"
    return f"{said}\ntruth: {CLASS_NAMES[seen.labels[row]]}"


def show_prediction(image: Path, twins: dict, folders: dict[str, Path]) -> None:
    """Show what both models say of one image, and where each looked.

    Raises:
        InputError: the file is no image that can be read.
    """
    rows, panels = [], []
    for name, title in FRAMEWORKS.items():
        (answer,), _ = predict_files([image], folders[name], name)
        probs = {f"{label}": f"{prob:.1%}" for label, prob in answer["probs"].items()}
        rows.append({"model": title, "says": answer["label"], **probs})
        panels.append(_heat_panel(image, twins[name], folders[name], title, answer["label"]))
    show_table(rows)
    figure = _draw(image, panels, read_json(folders["pt"] / "record.json"))
    show(figure, f"The image, and where each model found signs of {rows[0]['says']}")
    print("Not a medical device: for research and teaching only.")


def upload_box(twins: dict, folders: dict[str, Path]):
    """Return a box to drop an image into; what both models say of it appears below.

    Without ipywidgets a sentence that says what to do instead.
    """
    try:
        import ipywidgets
    except ImportError:
        return "No ipywidgets here: give the path of your image to show_prediction instead."
    button = ipywidgets.FileUpload(accept="image/*", multiple=False, description="your image")
    output = ipywidgets.Output()

    def answer(_change) -> None:
        output.clear_output()
        with output, tempfile.TemporaryDirectory() as folder:
            try:
                name, content = _uploaded(button.value)
                file = Path(folder) / Path(name).name
                file.write_bytes(content)
                show_prediction(file, twins, folders)
            except InputError as error:
                print(f"error: {error}")

    button.observe(answer, names="value")
    return ipywidgets.VBox([button, output])


def _uploaded(value) -> tuple[str, bytes]:
    """Return name and content of what a FileUpload holds, in ipywidgets 8 and 7 (Colab)."""
    if isinstance(value, dict):
        name, entry = next(iter(value.items()))
        return name, bytes(entry["content"])
    return value[0]["name"], bytes(value[0]["content"])


def _heat_panel(image: Path, twin, folder: Path, title: str, label: str) -> Overlay:
    model, config = twin.checkpoint.load_model(folder)
    gray = decode_gray(image, config.image_size)
    wanted = [CLASS_NAMES.index(label)]
    (heat,) = twin.explain.grad_cam(model, as_input(gray[None]), wanted)
    return Overlay(gray, f"{title}: {label}", heat)


def _draw(image: Path, panels: list[Overlay], record: dict) -> Figure:
    plain = Overlay(panels[0].image, image.name if len(image.name) < 24 else "the image")
    return draw_overlays([plain, *panels], record)
