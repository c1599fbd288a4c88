"""Figures of a comparison, drawn from comparison.json alone (and from pixels, for samples)."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.comparison.agreement import LARGEST_RATIO
from src.comparison.report.samples import Samples
from src.comparison.report.style import (
    COLORS,
    GAP_AND_FLOOR,
    WIDTH,
    new_figure,
    save_figure,
    styled,
)
from src.comparison.report.tables import percent
from src.config import CLASS_NAMES
from src.records import FRAMEWORKS


def write_figures(folder: Path, comparison: dict, samples: Samples | None = None) -> dict:
    """Draw every figure into `folder` as PNG.

    Args:
        comparison: the content of comparison.json.
        samples: test images to show; without them there is no figure `samples`.
    Returns:
        {name: path}, in the order of the report.
    """
    drawings = {
        "confusion": draw_confusion,
        "agreement": draw_agreement,
        "curves": draw_curves,
        "resources": draw_resources,
    }
    figures = {name: draw(comparison) for name, draw in drawings.items()}
    if samples is not None and len(samples.paths):
        figures["samples"] = draw_samples(comparison, samples)
    return {name: save_figure(figure, folder / f"{name}.png") for name, figure in figures.items()}


def draw_curves(comparison: dict) -> Figure:
    """Loss and accuracy by epoch, of both twins, training and validation."""
    with styled():
        figure = new_figure(5.6, comparison)
        loss, accuracy = figure.subplots(2, 1, sharex=True)
        for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
            _draw_curve_pair(axes, comparison, name)
            _mark_stages(axes, comparison["pt"]["history"]["stage"])
            _widen(axes, 0.2)
        loss.set_title("Loss")
        loss.set_ylabel("nats per image")
        accuracy.set_title("Accuracy")
        accuracy.set_ylabel("of images")
        accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        accuracy.set_xlabel("epoch")
        accuracy.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        figure.legend(handles=_curve_keys(comparison), loc="outside lower left", ncols=2)
        return figure


def draw_agreement(comparison: dict) -> Figure:
    """Gap and floor of the first steps' losses and of the epochs' losses, on log axes."""
    with styled():
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
    """The confusion matrices of the test part: counts, shaded by share of the true class."""
    with styled(grid=False):
        figure = new_figure(3.2, comparison)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, framework in zip(panels, FRAMEWORKS):
            test = comparison[framework]["metrics"]["test"]
            draw_matrix(axes, np.array(test["confusion_matrix"]))
            axes.set_title(
                f"{FRAMEWORKS[framework]}, {percent(test['accuracy'])} right", fontsize=10
            )
        panels[0].set_yticks(range(len(CLASS_NAMES)), CLASS_NAMES)
        panels[0].set_ylabel("truth")
        figure.supxlabel("predicted class (number of test images)", fontsize=10)
        return figure


def draw_resources(comparison: dict) -> Figure:
    """Speed, time and peak memory of both twins, as bars."""
    quantities = (
        ("Training speed, images per second", lambda run: run["images_per_second"].get("train")),
        (
            "Prediction speed, images per second",
            lambda run: run["images_per_second"].get("predict"),
        ),
        ("Whole run, minutes", lambda run: run["seconds"] / 60),
        ("Peak memory, MB", lambda run: run["peak_memory_mb"]),
    )
    rows = [(title, [get(comparison[name]) for name in FRAMEWORKS]) for title, get in quantities]
    rows = [(title, values) for title, values in rows if any(values)]
    with styled(grid=False):
        figure = new_figure(1.05 * len(rows) + 0.2, comparison)
        for axes, (title, values) in zip(np.ravel(figure.subplots(len(rows), 1)), rows):
            bars = axes.barh(
                list(FRAMEWORKS.values()),
                [value or 0 for value in values],
                color=[COLORS[name] for name in FRAMEWORKS],
                height=0.7,
            )
            axes.bar_label(bars, [_bar_text(value) for value in values], padding=4)
            axes.set_title(title, fontsize=10)
            axes.set_xlim(0, 1.15 * max(value or 0 for value in values))
            axes.set_xticks([])
            axes.tick_params(left=False)
            axes.spines["bottom"].set_visible(False)
            axes.invert_yaxis()
        return figure


def draw_samples(comparison: dict, samples: Samples) -> Figure:
    """Test images with the true class and both twins' predictions."""
    columns, gap, text = 3, 0.08, 0.68  # inches
    side = (WIDTH - (columns - 1) * gap) / columns
    rows = -(-len(samples.paths) // columns)
    with styled(grid=False):
        figure = new_figure(rows * (side + text), comparison)
        figure.set_layout_engine("none")  # it ignores text below an image
        total = figure.get_figheight()
        for k, image in enumerate(samples.images):
            row, column = divmod(k, columns)
            left, bottom = column * (side + gap), (rows - row) * (side + text) - side
            axes = figure.add_axes((left / WIDTH, bottom / total, side / WIDTH, side / total))
            axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
            axes.axis("off")
            for line, (text_line, color) in enumerate(_sample_lines(samples, k)):
                height = (bottom - 0.05 - 0.19 * line) / total
                figure.text(left / WIDTH, height, text_line, color=color, va="top", fontsize=9)
        return figure


def _draw_curve_pair(axes, comparison: dict, name: str) -> None:
    """Draw train and validation of the floor run (thin), then of both twins."""
    for series, line, marker in ((name, "-", "o"), (f"val_{name}", "--", "s")):
        floor = ((comparison.get("pt_floor") or {}).get("history") or {}).get(series)
        if floor:
            axes.plot(*_numbered(floor), line, color=COLORS["floor"], lw=0.8, zorder=3)
        for framework, width, size in (("tf", 3.2, 7), ("pt", 1.4, 3.5)):
            # TensorFlow broad below, PyTorch thin above: both stay visible where they coincide.
            axes.plot(
                *_numbered(comparison[framework]["history"][series]),
                line,
                marker=marker,
                lw=width,
                ms=size,
                color=COLORS[framework],
                alpha=0.55 if framework == "tf" else 1,
            )


def _curve_keys(comparison: dict) -> list[Line2D]:
    keys = [
        Line2D([], [], color=COLORS["tf"], lw=3.2, alpha=0.55, label=FRAMEWORKS["tf"]),
        Line2D([], [], color=COLORS["pt"], lw=1.4, label=FRAMEWORKS["pt"]),
        Line2D([], [], color="#222222", marker="o", ms=5, lw=1.2, label="training"),
        Line2D([], [], color="#222222", marker="s", ms=5, lw=1.2, ls="--", label="validation"),
    ]
    if comparison.get("pt_floor"):
        label = "PyTorch, changed by one epsilon"
        keys.insert(2, Line2D([], [], color=COLORS["floor"], lw=0.8, label=label))
    return keys


def _numbered(values: list) -> tuple[np.ndarray, np.ndarray]:
    values = np.array(values, dtype=float)  # None becomes NaN, a hole in the line
    return np.arange(1, len(values) + 1), values


def _widen(axes, span: float) -> None:
    """Show at least `span` of the y axis, so that rounding noise never fills a panel."""
    low, high = axes.get_ylim()
    if high - low < span:
        middle = (low + high) / 2
        axes.set_ylim(middle - span / 2, middle + span / 2)


def _mark_stages(axes, stages: list[int]) -> None:
    """Draw a line where stage 2 begins; nothing where there is one stage only."""
    for epoch, (before, after) in enumerate(pairwise(stages), 1):
        if before != after:
            axes.axvline(epoch + 0.5, color="#555555", lw=1, ls=":")
            axes.text(
                epoch + 0.5,
                1.0,
                f" stage {after}",
                transform=axes.get_xaxis_transform(),
                va="top",
                fontsize=9,
                color="#444444",
            )


def _draw_differences(axes, rows: list[dict], unit: str, prefixes: list[str]) -> None:
    """Draw `gap` and `floor` of each prefix over the rows; the second prefix dashed and hollow."""
    seen = [row[prefix + kind] for row in rows for prefix in prefixes for kind in ("gap", "floor")]
    floors = [row[prefixes[0] + "floor"] or 0 for row in rows]
    limit = LARGEST_RATIO * max(floors, default=0)
    shown = np.log10([value for value in [*seen, limit] if value] or [1e-7, 1e-1])
    # A log axis cannot show equal losses: they lie on its bottom line, and the label says so.
    bottom = 10 ** np.floor(shown.min() - (0.5 if 0 in seen else 0.01))
    axes.set_yscale("log")
    axes.set_ylim(bottom, 10 ** np.ceil(shown.max() + 0.01))
    axes.set_xlim(0.5, max(len(rows), 1) + 0.5)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
    axes.minorticks_off()
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.set_xlabel(f"{unit} (bottom line: exactly equal)" if 0 in seen else unit)
    if limit:
        axes.axhline(limit, color=COLORS["wrong"], lw=1, ls=":")
    for number, prefix in enumerate(prefixes):
        for kind in ("floor", "gap"):
            x, y = _numbered([row[prefix + kind] for row in rows])
            if not np.isfinite(y).any():
                continue  # an unclipped line without points has no extent to lay out
            axes.plot(
                x,
                np.where(y == 0, bottom, y),
                "--" if number else "-",
                marker=GAP_AND_FLOOR[kind]["marker"],
                color=GAP_AND_FLOOR[kind]["color"],
                markerfacecolor="white" if number else GAP_AND_FLOOR[kind]["color"],
                lw=1.2,
                ms=5,
                clip_on=False,
            )


def _difference_keys(block: dict) -> list[Line2D]:
    keys = [Line2D([], [], lw=1.2, ms=5, **GAP_AND_FLOOR["gap"])]
    if any(row["floor"] is not None for row in block["steps"]):
        keys.append(Line2D([], [], lw=1.2, ms=5, **GAP_AND_FLOOR["floor"]))
        label = f"{LARGEST_RATIO:.0f} times the largest floor of training"
        keys.append(Line2D([], [], lw=1, ls=":", color=COLORS["wrong"], label=label))
    hollow = {"marker": "o", "markerfacecolor": "white", "label": "dashed, hollow: validation"}
    keys.append(Line2D([], [], lw=1.2, ms=5, ls="--", color="#000000", **hollow))
    return keys


def draw_matrix(axes, matrix: np.ndarray) -> None:
    """Draw one confusion matrix: counts, shaded by their share of the true class."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for (row, column), count in np.ndenumerate(matrix):
        dark = shares[row, column] > 0.55
        axes.text(
            column,
            row,
            f"{count}",
            ha="center",
            va="center",
            color="white" if dark else "#222222",
            fontweight="bold" if row == column else "normal",
        )
    axes.set_xticks(
        range(len(CLASS_NAMES)), CLASS_NAMES, rotation=40, ha="right", rotation_mode="anchor"
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _bar_text(value: float | None) -> str:
    if not value:
        return "not measured"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _sample_lines(samples: Samples, k: int) -> list[tuple[str, str]]:
    """Return the lines below sample `k`: the truth, then each twin's prediction, red if wrong."""
    truth = samples.labels[k]
    lines = [(f"truth: {CLASS_NAMES[truth]}", "#222222")]
    for framework, short in (("tf", "TF"), ("pt", "PT")):
        probs = samples.probs[framework][k]
        guess = int(probs.argmax())
        sign, color = ("✓", "#222222") if guess == truth else ("✗", COLORS["wrong"])
        lines.append((f"{sign} {short} {CLASS_NAMES[guess]} {probs[guess]:.0%}", color))
    return lines
