"""Heat maps of test images, how well they point at the tumours, and a box for one's images."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from src.common.errors import InputError
from src.common.files import read_json
from src.comparison.pointing import measure_pointing, randomised
from src.comparison.report.heatmaps import Overlay, draw_overlays
from src.config import ExperimentConfig
from src.data.augment import as_input
from src.data.dataset import Dataset
from src.data.tumour_boxes import tumour_boxes
from src.notebook.setup import show, show_table
from src.records import FRAMEWORKS, Run
from src.serving.classifier import load_classifier

BLOCKS = ("block14", "block12")  # the last, which decides; and one with a finer grid


def draw_heat_maps(model, explain, run: Run, dataset: Dataset) -> Figure:
    """Draw the surest mistakes and right answers of a run with the heat map of each answer.

    `explain` is the module of the model's twin, here and below.
    """
    test = run.predictions
    order = np.argsort(-test.probs.max(axis=1), kind="stable")
    right = (test.probs.argmax(axis=1) == test.labels)[order]
    rows = np.concatenate([order[~right][:3], order[right][:3]])
    gray, names = dataset.test_pixels[dataset.parts["test"][rows]], dataset.catalog.classes
    maps = explain.heat_maps(model, as_input(gray), test.probs[rows].argmax(axis=1), BLOCKS[0])
    panels = []
    for image, heat, label, prob in zip(gray, maps, test.labels[rows], test.probs[rows]):
        guess = prob.argmax()
        sign = "✓" if guess == label else "✗"
        title = f"{sign} {names[guess]} {prob[guess]:.0%}\ntruth: {names[label]}"
        panels.append(Overlay(image, title, heat))
    return draw_overlays(panels, run.record)


def draw_boxes(model, explain, dataset: Dataset, about: dict, block: str) -> Figure:
    """Draw two test images of each tumour, one column per class, with heat map and true box."""
    rows, boxes = tumour_boxes(dataset)
    labels = dataset.catalog.labels[rows]
    columns = [np.flatnonzero(labels == label)[:2] for label in np.unique(labels)]
    chosen = [column[k] for k in (0, 1) for column in columns if k < len(column)]
    gray, labels = dataset.test_pixels[rows[chosen]], labels[chosen]
    maps = explain.heat_maps(model, as_input(gray), labels, block)
    names = [dataset.catalog.classes[label] for label in labels]
    panels = list(map(Overlay, gray, names, maps, boxes[chosen]))
    return draw_overlays(panels, about, columns=len(columns))


def pointing_table(
    twin: SimpleNamespace, model, config: ExperimentConfig, dataset: Dataset
) -> list[dict]:
    """Return how well maps of the true class point at tumours, trained and randomised, as rows."""
    networks = {"trained": model, "randomised": randomised(twin, config)}
    return [
        {
            "map of": f"{row['block']}, {row['side']} x {row['side']}",
            "network": row["network"],
            "images": row["count"],
            "points into the box": f"{row['hits']:.1%}",
            "the centre would": f"{row['centre']:.1%}",
            "energy in the box": f"{row['energy']:.1%}",
            "the box takes": f"{row['box']:.1%}",
            "empty maps": f"{row['empty']:.1%}",
        }
        for row in measure_pointing(twin, networks, dataset, BLOCKS, ["grad-cam"])
    ]


def show_prediction(image: Path, folders: dict[str, Path]) -> None:
    """Show both models' probabilities for one image, and a heat map of each answer.

    Raises:
        InputError: the image cannot be read.
    """
    rows, panels = [], []
    for name, title in FRAMEWORKS.items():
        answer = load_classifier(folders[name], name).predict(image, heatmap=True)
        if not answer.label:
            raise InputError(f"{image.name}: {answer.why}.")
        probs = {label: f"{prob:.1%}" for label, prob in answer.probabilities.items()}
        rows.append({"model": title, "says": answer.label, **probs})
        panels.append(Overlay(answer.pixels, f"{title}: {answer.label}", answer.heatmap))
    show_table(rows)
    title = image.name if len(image.name) < 24 else "the image"
    panels.insert(0, Overlay(panels[0].image, title))
    figure = draw_overlays(panels, read_json(folders["pt"] / "record.json"))
    show(figure, f"The image, and where each model saw signs of {rows[0]['says']}")
    print("Not a medical device: for research and teaching only.")


def upload_box(folders: dict[str, Path]):
    """Return a widget to upload an image; both models' predictions appear below it."""
    import ipywidgets

    button = ipywidgets.FileUpload(accept="image/*", multiple=False, description="your image")
    output = ipywidgets.Output()

    def answer(_change) -> None:
        value = button.value  # in ipywidgets 7, as on Colab, {name: {"content": ...}}
        (upload,) = value.values() if isinstance(value, dict) else value
        name = upload["name"] if "name" in upload else upload["metadata"]["name"]
        output.clear_output()
        with output, tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(name).name
            file.write_bytes(upload["content"])
            try:
                show_prediction(file, folders)
            except InputError as error:
                print(f"error: {error}")

    button.observe(answer, names="value")
    return ipywidgets.VBox([button, output])
