"""Classify an image of your own: from a path, or dropped into a box."""

import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from src.common.errors import InputError
from src.common.files import read_json
from src.comparison.report.heatmaps import Overlay, draw_overlays
from src.config import CLASS_NAMES
from src.data.pixels import decode_gray
from src.notebook.explained import as_input
from src.notebook.setup import show, show_table
from src.predict import predict_files
from src.records import FRAMEWORKS


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
    (heat,) = twin.explain.grad_cam(model, config, as_input(gray[None]), wanted)
    return Overlay(gray, f"{title}: {label}", heat)


def _draw(image: Path, panels: list[Overlay], record: dict) -> Figure:
    plain = Overlay(panels[0].image, image.name if len(image.name) < 24 else "the image")
    return draw_overlays([plain, *panels], record)
