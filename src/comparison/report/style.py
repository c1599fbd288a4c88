"""How every figure looks: size, font, colours, and the notices above its axes.

Figures are 5.4 inches wide with text of 9 to 11 points, so that they stay legible when a phone
shows them 360 pixels wide. Colours are Okabe and Ito's (jfly.uni-koeln.de/color), which
colour-blind readers can distinguish; shape or position repeats what a colour says.
"""

import hashlib
import json
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from src.common.files import atomic_write

PHANTOM_NOTICE = "PHANTOM DATA – synthetic, not real MRI"
WIDTH = 5.4  # inches
COLORS = {"tf": "#D55E00", "pt": "#0072B2", "floor": "#7A7A7A", "wrong": "#B0003A"}
MARKERS = {"tf": "o", "pt": "s"}
TWIN_LINES = {  # twins lie on one another: PyTorch's thin line on TensorFlow's wide, pale one
    "tf": {"lw": 3.5, "alpha": 0.45, "markersize": 7},
    "pt": {"lw": 1.2, "markersize": 3},
}
GAP_AND_FLOOR = {  # how both are drawn
    "gap": {"color": "#000000", "marker": "o", "label": "gap: TensorFlow and PyTorch"},
    "floor": {
        "color": COLORS["floor"],
        "marker": "s",
        "label": "floor: PyTorch and PyTorch changed by one epsilon",
    },
}
STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same everywhere
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "legend.frameon": False,
}
_LINE = 0.19  # inches, one line of a notice
_REMARK = {"color": "#444444"}
_WARNING = {
    "color": "#5A3A00",
    "fontweight": "bold",
    "bbox": {"facecolor": "#FFE9A8", "edgecolor": "none", "pad": 2},
}


def styled(grid: bool = True) -> AbstractContextManager:
    """Return a context, also usable as a decorator, in which new axes have this style."""
    return matplotlib.rc_context({**STYLE, "axes.grid": grid})


def new_figure(height: float, about: dict) -> Figure:
    """Return an empty figure: `height` inches for its axes, the notices of `about` above them."""
    notices = figure_notices(about)
    total = height + (_LINE * len(notices) + 0.1 if notices else 0)
    figure = Figure(figsize=(WIDTH, total), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, height / total))
    for line, (text, warning) in enumerate(notices.items()):
        y = 1 - (0.07 + _LINE * line) / total
        style = _WARNING if warning else _REMARK
        figure.text(0.5, y, text, ha="center", va="top", fontsize=9, **style)
    return figure


def figure_notices(about: dict) -> dict[str, bool]:
    """Return {line above a figure and on top of the report: whether it is a warning}.

    `about` has `dataset` and `config`; real images and complete weights need no notice.
    """
    notices, config = {}, about["config"]
    if about["dataset"]["kind"] == "phantom":
        notices[PHANTOM_NOTICE] = True
    if seen := about["dataset"].get("seen_test_images"):
        notices[f"{seen:,} test images were seen by the model that this starts from"] = True
    if config.get("init") == "scratch":
        notices["trained from scratch: all weights randomly initialised"] = False
    elif config.get("reinit"):
        notices[f"{' and '.join(config['reinit'])} started from random weights"] = False
    return notices


def fingerprint(numbers: object) -> str:
    """Return the SHA-256 of `numbers` as JSON."""
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


def save_figure(figure: Figure, path: Path, numbers: object = None) -> Path:
    """Write `figure` as PNG and return `path`.

    Args:
        numbers: the JSON values it shows, if they are on disk; the PNG's text field *Source* holds
            their `fingerprint`, so that a test can find a stale figure. An SVG of the same name
            is written too, for print.
    """
    text = {} if numbers is None else {"Source": fingerprint(numbers)}
    with styled(), atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=200, facecolor="white", metadata=text)
    if numbers is not None:
        # Without a date and with this salt the same numbers give the same file.
        same = matplotlib.rc_context({"svg.hashsalt": path.stem})
        with styled(), same, atomic_write(path.with_suffix(".svg")) as temporary:
            figure.savefig(temporary, facecolor="white", metadata={"Date": None} | text)
    return path
