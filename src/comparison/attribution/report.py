"""The attribution as a table and as a figure."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.comparison.report.style import COLORS, new_figure, save_figure, styled
from src.differences import STOCK
from src.records import FRAMEWORKS

_TITLES = {
    "probs": "mean |difference| of probabilities",
    "accuracy": "accuracy, settled less default",
    "log_loss": "log loss (nats an image), settled less default",
}


def attribution_table(attribution: dict) -> str:
    """Return what each row moved, as lines of text, and the rows that moved nothing."""
    seeds, floor = attribution["seeds"], attribution["floor"]
    lines = [
        f"What settling each row moved, on the test part: means and 95 % intervals of "
        f"{len(seeds)} seeds",
        f"{'row':18} {'twin':10} {'log loss':>26} {'accuracy':>26} {'|probs|':>9} {'/ floor':>8}",
    ]
    for entry in attribution["rows"]:
        moved = entry["moved"]
        lines.append(
            f"{entry['row']:18} {FRAMEWORKS[entry['framework']]:10} {_span(moved['log_loss']):>26} "
            f"{_span(moved['accuracy']):>26} {moved['probs']['mean']:9.4f} "
            f"{_times(moved['probs']['mean'], floor['probs']['mean']):>8}"
        )
    lines.append(
        f"{'(one epsilon)':18} {'PyTorch':10} {_span(floor['log_loss']):>26} "
        f"{_span(floor['accuracy']):>26} {floor['probs']['mean']:9.4f}"
    )
    if quiet := within_floor(attribution):
        lines.append(f"Moved the probabilities no more than one epsilon does: {', '.join(quiet)}.")
    still = set(STOCK) - {entry["row"] for entry in attribution["rows"]}
    if still:
        lines.append(f"Cannot move anything in this experiment: {', '.join(sorted(still))}.")
    stock, exact = (attribution["gaps"][n]["gap"]["probs"]["mean"] for n in (0, -1))
    lines.append(
        f"TensorFlow from PyTorch, |probs|: stock {stock:.4f}, exact {exact:.4f}; "
        f"PyTorch from itself {floor['probs']['mean']:.4f}."
    )
    return "\n".join(lines)


def within_floor(attribution: dict) -> list[str]:
    """Return the rows, with their twins, that moved the probabilities no more than one epsilon."""
    largest = max(attribution["floor"]["probs"]["values"])
    return [
        f"{entry['row']} ({FRAMEWORKS[entry['framework']]})"
        for entry in attribution["rows"]
        if entry["moved"]["probs"]["mean"] <= largest
    ]


def draw_attribution(attribution: dict) -> Figure:
    """Draw what each row moved in each twin, and beside it what one epsilon moves.

    Args:
        attribution: from `measure_attribution`, with the dataset's description under `dataset`.
    """
    rows = [row for row in STOCK if any(e["row"] == row for e in attribution["rows"])]
    with styled():
        figure = new_figure(2.2 + 3 * 0.24 * len(rows), attribution)
        panels = figure.subplots(len(_TITLES), 1)
        for axes, (quantity, title) in zip(panels, _TITLES.items()):
            _draw_quantity(axes, attribution, rows, quantity)
            axes.set_title(title)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left")
        return figure


def write_attribution_figure(attribution: dict, path: Path) -> Path:
    """Draw the figure as PNG and return `path`."""
    return save_figure(draw_attribution(attribution), path, attribution)


def _draw_quantity(axes: Axes, attribution: dict, rows: list[str], quantity: str) -> None:
    places = {row: len(rows) - 1 - place for place, row in enumerate(rows)}  # first row on top
    for twin, offset, marker in (("tf", 0.15, "s"), ("pt", -0.15, "o")):
        entries = [e for e in attribution["rows"] if e["framework"] == twin]
        values = [e["moved"][quantity] for e in entries]
        axes.errorbar(
            [value["mean"] for value in values],
            [places[entry["row"]] + offset for entry in entries],
            xerr=[_reach(value) for value in values],
            fmt=marker,
            markersize=4,
            color=COLORS[twin],
            label=f"{FRAMEWORKS[twin]}, 95 % interval over seeds",
        )
    floor = attribution["floor"][quantity]["values"]
    edge = max(abs(value) for value in floor)
    low = 0 if quantity == "probs" else -edge
    axes.axvspan(low, edge, color=COLORS["floor"], alpha=0.25, lw=0, label="one epsilon, any seed")
    axes.set_yticks(list(places.values()), list(places))


def _reach(value: dict) -> float:
    return 0.0 if value["high"] is None else value["high"] - value["mean"]


def _span(value: dict) -> str:
    if value["low"] is None:
        return f"{value['mean']:+.4f}"
    return f"{value['mean']:+.4f} ({value['low']:+.4f}, {value['high']:+.4f})"


def _times(value: float, floor: float) -> str:
    return f"{value / floor:.1f}" if floor else "-"
