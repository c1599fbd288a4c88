"""Heat maps of test images, how well they point at the tumours, and the page for one's images."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from src.common.errors import InputError
from src.common.files import read_json
from src.comparison.report.heatmaps import Overlay, draw_overlays
from src.data.augment import as_input
from src.data.catalog import read_catalog
from src.data.dataset import Dataset
from src.data.folders import standard_path
from src.data.pixels import decode_gray
from src.data.tumour_boxes import tumour_boxes
from src.evaluation.localisation import joint_maps, visible
from src.notebook.runs import data_folder
from src.notebook.setup import add_page, show, show_table
from src.records import Run
from src.results.grid import RESULTS
from src.serving.classifier import load_classifier

POINTING = RESULTS / "pointing.json"  # `python -m notebooks.results.pointing` wrote it


def draw_heat_maps(model, explain, run: Run, dataset: Dataset) -> Figure:
    """Draw the surest mistakes and right answers of a run with the heat map of each answer.

    `explain` is the module of the model's twin, here and below.
    """
    test = run.predictions
    order = np.argsort(-test.probs.max(axis=1), kind="stable")
    right = (test.probs.argmax(axis=1) == test.labels)[order]
    rows = np.concatenate([order[~right][:3], order[right][:3]])
    gray, names = dataset.test_pixels[dataset.parts["test"][rows]], dataset.catalog.classes
    maps = visible(joint_maps(explain, model, as_input(gray), test.probs[rows].argmax(axis=1)))
    panels = []
    for image, heat, label, prob in zip(gray, maps, test.labels[rows], test.probs[rows]):
        guess = prob.argmax()
        sign = "✓" if guess == label else "✗"
        title = f"{sign} {names[guess]} {prob[guess]:.0%}\ntruth: {names[label]}"
        panels.append(Overlay(image, title, heat))
    return draw_overlays(panels, run.record)


def show_mistakes() -> None:
    """Show the surest mistake of each group that holds most of them, the surest first.

    Of the fine-tuned network in PyTorch on the five clean folds.
    """
    found = read_json(RESULTS / "table.json")["mistakes"]["pt"]
    print(
        f"{found['wrong']} of {found['images']:,} images are wrong; {found['groups_half']} of "
        f"{found['groups']} groups hold half of these."
    )
    catalog, panels = read_catalog(data_folder()), []
    files = {standard_path(path): catalog.root / path for path in catalog.paths}
    for row in sorted(found["largest"], key=lambda row: -row["probability"]):
        if file := files.get(row["path"]):  # the phantom set has none of them
            title = f"✗ {row['answer']} {row['probability']:.0%}\ntruth: {row['label']}"
            title += f"\ngroup {row['group']}: {row['wrong']} of {row['images']} wrong"
            panels.append(Overlay(decode_gray(file, 224), title))
    if panels:
        about = read_json(RESULTS / "grid" / "tuned-pt-fold0-seed0.json")
        show(draw_overlays(panels, about), "The surest mistakes of the groups with most of them")


def draw_boxes(model, explain, dataset: Dataset, about: dict) -> Figure:
    """Draw two test images of each tumour, one column per class, with heat map and true box."""
    rows, boxes = tumour_boxes(dataset)
    labels = dataset.catalog.labels[rows]
    columns = [np.flatnonzero(labels == label)[:2] for label in np.unique(labels)]
    chosen = [column[k] for k in (0, 1) for column in columns if k < len(column)]
    gray, labels = dataset.test_pixels[rows[chosen]], labels[chosen]
    maps = visible(joint_maps(explain, model, as_input(gray), labels))
    names = [dataset.catalog.classes[label] for label in labels]
    panels = list(map(Overlay, gray, names, maps, boxes[chosen]))
    return draw_overlays(panels, about, columns=len(columns))


def pointing_rows() -> list[dict]:
    """Return the recorded pointing game of the shipped classifier on its test part, as rows."""
    return [
        {
            "network": row["network"],
            "images": row["count"],
            "points into the box": f"{row['hits']:.1%}",
            "the centre would": f"{row['centre']:.1%}",
            "energy in the box": f"{row['energy']:.1%}",
            "the box takes": f"{row['box']:.1%}",
            "empty maps": f"{row['empty']:.1%}",
        }
        for row in read_json(POINTING)["test"]
    ]


def show_prediction(image: Path, models: dict[str, tuple[Path | None, str]], about: dict) -> None:
    """Show several models' probabilities for one image, and a heat map of each answer.

    Args:
        image: a file.
        models: from `saved_models`.
        about: has `dataset` and `config`, for the notices above the figure.
    Raises:
        InputError: the image cannot be read.
    """
    rows, panels = [], []
    for title, (folder, framework) in models.items():
        answer = load_classifier(folder, framework).predict(image, heatmap=True)
        if not answer.label:
            raise InputError(f"{image.name}: {answer.why}.")
        probs = {label: f"{prob:.1%}" for label, prob in answer.probabilities.items()}
        rows.append({"model": title, "says": answer.label, **probs})
        panels.append(Overlay(answer.pixels, f"{title}:\n{answer.label}", answer.heatmap))
    show_table(rows)
    title = image.name if len(image.name) < 24 else "the image"
    panels.insert(0, Overlay(panels[0].image, title))
    show(
        draw_overlays(panels, about),
        f"The image, and where each model saw signs of {rows[0]['says']}",
    )
    print("Not a medical device: for research and teaching only.")


def show_page() -> None:
    """Show the classifier's page below the cell, with both frameworks' answers.

    Where Gradio is missing or too old, Colab and Kaggle get it; elsewhere, how to install it is
    shown instead.
    """
    from src.serving.page import launch

    try:
        add_page()
        launch(backends=("tf", "pt"), data_dir=data_folder(), inline=True)
    except InputError as error:
        print(error)
