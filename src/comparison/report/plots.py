"""Figures of a comparison, drawn from comparison.json alone (and from pixels, for samples)."""

from itertools import pairwise
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.common import hardware
from src.comparison.agreement import largest_ratio
from src.comparison.report.style import (
    COLORS,
    GAP_AND_FLOOR,
    WIDTH,
    new_figure,
    save_figure,
    styled,
)
from src.comparison.report.tables import costs, percent
from src.records import FRAMEWORKS

LONGEST_NAME = 12  # letters of a class beside a matrix
_INK = "#222222"
# TensorFlow broad below, PyTorch thin above: both stay visible where they coincide.
_TWIN_LINES = {
    "tf": {"color": COLORS["tf"], "lw": 3.2, "alpha": 0.55},
    "pt": {"color": COLORS["pt"], "lw": 1.4},
}
_FLOOR_LINE = {"color": COLORS["floor"], "lw": 0.8}
_RATIO_LINE = {"color": COLORS["wrong"], "lw": 1, "ls": ":"}


def write_figures(folder: Path, comparison: dict, samples: list[dict]) -> dict[str, Path]:
    """Draw every figure of comparison.json into `folder`; return {name: path of the PNG}.

    Without `samples`, from `make_samples`, there is no figure `samples`.
    """
    figures = {
        "confusion": draw_confusion(comparison),
        "agreement": draw_agreement(comparison),
        "curves": draw_curves(comparison),
        "resources": draw_resources(comparison),
    }
    if samples:
        figures["samples"] = draw_samples(comparison, samples)
    return {name: save_figure(figure, folder / f"{name}.png") for name, figure in figures.items()}


@styled()
def draw_curves(comparison: dict) -> Figure:
    """Loss and accuracy by epoch, of both twins, training and validation."""
    figure = new_figure(5.6, comparison)
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        _draw_curve_pair(axes, comparison, name)
        _mark_stages(axes, comparison["pt"]["history"]["stage"])
        low, high = axes.get_ylim()
        if high - low < 0.2:  # so that rounding noise never fills a panel
            axes.set_ylim((low + high) / 2 - 0.1, (low + high) / 2 + 0.1)
    loss.set(title="Loss", ylabel="nats per image")
    accuracy.set(title="Accuracy", ylabel="of images", xlabel="epoch")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    number_axis(accuracy)
    keys = [Line2D([], [], label=FRAMEWORKS[name], **_TWIN_LINES[name]) for name in FRAMEWORKS]
    if comparison["pt_floor"]:
        keys.append(Line2D([], [], label="PyTorch, changed by one epsilon", **_FLOOR_LINE))
    keys += [
        Line2D([], [], color=_INK, marker="o", ms=5, lw=1.2, label="training"),
        Line2D([], [], color=_INK, marker="s", ms=5, lw=1.2, ls="--", label="validation"),
    ]
    figure.legend(handles=keys, loc="outside lower left", ncols=2)
    return figure


@styled()
def draw_agreement(comparison: dict) -> Figure:
    """Gap and floor of the first steps' losses and of the epochs' losses, on log axes."""
    figure = new_figure(5.9, comparison)
    steps, epochs = figure.subplots(2, 1)
    block = comparison["agreement"]
    _draw_differences(steps, block["steps"], "step", [""])
    steps.set_title("Loss of each of the first steps")
    _draw_differences(epochs, block["epochs"], "epoch", ["loss_", "val_loss_"])
    epochs.set_title("Loss of each epoch")
    figure.supylabel("relative difference of losses", fontsize=10)
    figure.legend(handles=_difference_keys(block), loc="outside lower left")
    return figure


def draw_confusion(comparison: dict) -> Figure:
    """The confusion matrices of the test part, of both twins."""
    tests = {title: comparison[name]["metrics"]["test"] for name, title in FRAMEWORKS.items()}
    return draw_matrices(tests, comparison)


@styled(grid=False)
def draw_matrices(tests: dict[str, dict], about: dict) -> Figure:
    """Confusion matrices side by side: counts, shaded by their share of the true class.

    Args:
        tests: title -> metrics of a test part.
        about: has `dataset` and `config`, for the notices above the figure.
    """
    figure = new_figure(3.2, about)
    panels = figure.subplots(1, len(tests), sharey=True, squeeze=False)[0]
    classes = list(next(iter(tests.values()))["per_class"])
    ticks = [name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…" for name in classes]
    text = {"fontsize": min(10.0, 48 / len(ticks)), "parse_math": False}  # or numbers would touch
    for axes, (title, test) in zip(panels, tests.items()):
        _draw_matrix(axes, np.array(test["confusion_matrix"]), ticks, text)
        axes.set_title(f"{title}, {percent(test['accuracy'])} right", fontsize=10)
    panels[0].set_yticks(range(len(ticks)), ticks, **text)
    panels[0].set_ylabel("truth")
    figure.supxlabel("predicted class (number of test images)", fontsize=10)
    return figure


def _draw_matrix(axes: Axes, matrix: np.ndarray, ticks: list[str], text: dict) -> None:
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for (row, column), count in np.ndenumerate(matrix):
        style = {"color": "white" if shares[row, column] > 0.55 else _INK}
        style |= {"fontweight": "bold" if row == column else "normal", **text}
        axes.text(column, row, count, ha="center", va="center", **style)
    turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(ticks)), ticks, **turned, **text)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


@styled(grid=False)
def draw_resources(comparison: dict) -> Figure:
    """Speed, time and peak memory of both twins, as bars."""
    kept = comparison["tf"].get("feature_cache")
    titles = (
        "Training speed, images per second",
        "Prediction speed, images per second",
        "Run, minutes; kept outputs aside" if kept else "Whole run, minutes",
        "Peak memory, MiB",
    )
    pairs = zip(*(costs(comparison[name]).values() for name in FRAMEWORKS))
    rows = [(title, pair) for title, pair in zip(titles, pairs) if any(pair)]
    figure = new_figure(1.05 * len(rows) + 0.6, comparison)
    machine = fill(hardware.name(comparison["hardware"]), 80)
    figure.supxlabel(machine, fontsize=9, parse_math=False)
    for axes, (title, pair) in zip(np.ravel(figure.subplots(len(rows), 1)), rows):
        lengths = [value or 0 for value in pair]
        colors = [COLORS[name] for name in FRAMEWORKS]
        bars = axes.barh(list(FRAMEWORKS.values()), lengths, color=colors, height=0.7)
        axes.bar_label(bars, [_bar_text(value) for value in pair], padding=4)
        axes.set_title(title, fontsize=10)
        axes.set(xlim=(0, 1.15 * max(lengths)), xticks=[])
        axes.tick_params(left=False)
        axes.spines["bottom"].set_visible(False)
        axes.invert_yaxis()
    return figure


@styled(grid=False)
def draw_samples(comparison: dict, samples: list[dict]) -> Figure:
    """Test images with the true class and both twins' predictions, red where they are wrong."""
    columns, gap, text = 3, 0.08, 0.68  # inches
    side = (WIDTH - (columns - 1) * gap) / columns
    rows = -(-len(samples) // columns)
    figure = new_figure(rows * (side + text), comparison)
    figure.set_layout_engine("none")  # it ignores text below an image
    total = figure.get_figheight()
    for k, sample in enumerate(samples):
        row, column = divmod(k, columns)
        left, bottom = column * (side + gap), (rows - row) * (side + text) - side
        axes = figure.add_axes((left / WIDTH, bottom / total, side / WIDTH, side / total))
        axes.imshow(sample["image"], cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
        axes.axis("off")
        lines = [(f"truth: {sample['truth']}", _INK)]
        for name in FRAMEWORKS:
            right = sample[name] == sample["truth"]
            answer = f"{name.upper()} {sample[name]} {sample[f'{name}_prob']:.0%}"
            lines.append((f"✓ {answer}", _INK) if right else (f"✗ {answer}", COLORS["wrong"]))
        for number, (line, color) in enumerate(lines):
            y = (bottom - 0.05 - 0.19 * number) / total
            style = {"color": color, "va": "top", "fontsize": 9, "parse_math": False}
            figure.text(left / WIDTH, y, line, **style)
    return figure


def number_axis(axes: Axes) -> None:
    """Label whole steps or epochs only."""
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def _draw_curve_pair(axes: Axes, comparison: dict, name: str) -> None:
    """Draw training and validation: of the floor run, then of both twins."""
    for series, line, marker in ((name, "-", "o"), (f"val_{name}", "--", "s")):
        if floor := comparison["pt_floor"]:
            axes.plot(*_numbered(floor["history"][series]), line, zorder=3, **_FLOOR_LINE)
        for twin, size in (("tf", 7), ("pt", 3.5)):
            curve = _numbered(comparison[twin]["history"][series])
            axes.plot(*curve, line, marker=marker, ms=size, **_TWIN_LINES[twin])


def _numbered(values: list) -> tuple[np.ndarray, np.ndarray]:
    values = np.array(values, dtype=float)  # None becomes NaN, a hole in the line
    return np.arange(1, len(values) + 1), values


def _mark_stages(axes: Axes, stages: list[int]) -> None:
    """Draw a line where stage 2 begins; nothing where there is one stage only."""
    style = {"transform": axes.get_xaxis_transform(), "va": "top", "fontsize": 9}
    for epoch, (before, after) in enumerate(pairwise(stages), 1):
        if before != after:
            axes.axvline(epoch + 0.5, color="#555555", lw=1, ls=":")
            axes.text(epoch + 0.5, 1, f" stage {after}", color="#444444", **style)


def _draw_differences(axes: Axes, rows: list[dict], unit: str, prefixes: list[str]) -> None:
    """Draw `gap` and `floor` of each prefix over the rows; the second prefix dashed and hollow."""
    seen = [row[prefix + kind] for row in rows for prefix in prefixes for kind in ("gap", "floor")]
    floors = [row[prefixes[0] + "floor"] or 0 for row in rows]
    limit = largest_ratio(rows) * max(floors, default=0)
    shown = np.log10([value for value in [*seen, limit] if value] or [1e-7, 1e-1])
    # A log axis cannot show equal losses: they lie on its bottom line, and the label says so.
    bottom = 10 ** np.floor(shown.min() - (0.5 if 0 in seen else 0.01))
    axes.set(yscale="log", xlim=(0.5, max(len(rows), 1) + 0.5))
    axes.set_ylim(bottom, 10 ** np.ceil(shown.max() + 0.01))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
    axes.minorticks_off()
    number_axis(axes)
    axes.set_xlabel(f"{unit} (bottom line: exactly equal)" if 0 in seen else unit)
    if limit:
        axes.axhline(limit, **_RATIO_LINE)
    for prefix, line in zip(prefixes, ("-", "--")):
        for kind in ("floor", "gap"):
            x, y = _numbered([row[prefix + kind] for row in rows])
            if np.isfinite(y).any():  # an unclipped line without points has no extent to lay out
                style = GAP_AND_FLOOR[kind] | {"lw": 1.2, "ms": 5, "ls": line, "clip_on": False}
                hollow = {} if line == "-" else {"markerfacecolor": "white"}
                axes.plot(x, np.where(y == 0, bottom, y), **style, **hollow)


def _difference_keys(block: dict) -> list[Line2D]:
    keys = [Line2D([], [], lw=1.2, ms=5, **GAP_AND_FLOOR["gap"])]
    if any(row["floor"] is not None for row in block["steps"]):
        keys.append(Line2D([], [], lw=1.2, ms=5, **GAP_AND_FLOOR["floor"]))
        label = "the largest gap that rounding explains in training"
        keys.append(Line2D([], [], label=label, **_RATIO_LINE))
    hollow = {"marker": "o", "markerfacecolor": "white", "label": "dashed, hollow: validation"}
    keys.append(Line2D([], [], lw=1.2, ms=5, ls="--", color="#000000", **hollow))
    return keys


def _bar_text(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
