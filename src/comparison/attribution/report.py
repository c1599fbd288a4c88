"""The attribution as a table and as a figure."""

from pathlib import Path

from matplotlib.axes import Axes

from src.common.tables import markdown_table
from src.comparison.report.style import COLORS, MARKERS, new_figure, save_figure, styled
from src.comparison.report.tables import MISSING
from src.differences import STOCK
from src.records import FRAMEWORKS

_TITLES = {
    "probs": "mean absolute change of probabilities, each seed",
    "accuracy": "accuracy, exact minus default",
    "log_loss": "log loss (nats per image), exact minus default",
}


def attribution_table(attribution: dict) -> str:
    """Return the effect of each difference as Markdown: a table, and three sentences."""
    floor = attribution["floor"]
    epsilon = floor["probs"]["mean"]
    lines = []
    rows = [(e["row"], FRAMEWORKS[e["framework"]], e["moved"]) for e in attribution["rows"]]
    for name, framework, change in [*rows, ("floor (one epsilon)", FRAMEWORKS["pt"], floor)]:
        probs = change["probs"]["mean"]
        ratio = f"{probs / epsilon:.1f}" if epsilon and change is not floor else MISSING
        cells = [name, framework, _span(change["log_loss"]), _span(change["accuracy"])]
        lines.append([*cells, f"{probs:.4f}", ratio])
    changes = [f"change of {what}" for what in ("log loss", "accuracy", "probabilities")]
    head = ("difference", "framework", *changes, "divided by the floor")
    count = len(attribution["seeds"])
    seeds = f"means and 95 % intervals of {count} seeds" if count > 1 else "one seed"
    about = [f"Changes are exact minus default on the test part: {seeds}."]
    if quiet := within_floor(attribution):
        about.append(f"No larger than the floor of some seed: {', '.join(quiet)}.")
    if still := set(STOCK) - {entry["row"] for entry in attribution["rows"]}:
        about.append(f"Without any effect in this experiment: {', '.join(sorted(still))}.")
    stock, exact = (attribution["gaps"][n]["gap"]["probs"]["mean"] for n in (0, -1))
    about.append(
        f"Mean difference of probabilities between TensorFlow and PyTorch: stock {stock:.4f}, "
        f"exact {exact:.4f}; floor {epsilon:.4f}."
    )
    return "\n".join([markdown_table(head, lines, left=2), "", *about])


def within_floor(attribution: dict) -> list[str]:
    """Return what changes the probabilities no more than one epsilon does in some seed."""
    largest = max(attribution["floor"]["probs"]["values"])
    return [
        f"{entry['row']} ({FRAMEWORKS[entry['framework']]})"
        for entry in attribution["rows"]
        if entry["moved"]["probs"]["mean"] <= largest
    ]


@styled()
def write_attribution_figure(attribution: dict, path: Path) -> Path:
    """Draw the effect of each difference in each twin, and the floor, as PNG; return `path`."""
    rows = [row for row in STOCK if any(e["row"] == row for e in attribution["rows"])]
    figure = new_figure(2.2 + 3 * 0.24 * len(rows), attribution)
    panels = figure.subplots(len(_TITLES), 1)
    for axes, (quantity, title) in zip(panels, _TITLES.items()):
        _draw_quantity(axes, attribution, rows[::-1], quantity)
        axes.set_title(title)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left")
    return save_figure(figure, path, attribution)


def _draw_quantity(axes: Axes, attribution: dict, rows: list[str], quantity: str) -> None:
    for twin, offset in (("tf", 0.15), ("pt", -0.15)):
        entries = [e for e in attribution["rows"] if e["framework"] == twin]
        heights = [rows.index(entry["row"]) + offset for entry in entries]
        values = [entry["moved"][quantity] for entry in entries]
        look = dict(marker=MARKERS[twin], ls="", markersize=4, color=COLORS[twin])
        if quantity == "probs":  # never below 0, and over four orders of magnitude: no interval
            for value, height in zip(values, heights):
                axes.plot(value["values"], [height] * len(value["values"]), alpha=0.6, **look)
            continue
        spans = [0 if v["high"] is None else v["high"] - v["mean"] for v in values]
        title = f"{FRAMEWORKS[twin]}, 95 % interval over seeds"
        axes.errorbar([v["mean"] for v in values], heights, xerr=spans, label=title, **look)
    edge = max(map(abs, attribution["floor"][quantity]["values"]))
    low = -edge
    if quantity == "probs":
        axes.set_xscale("log")
        low = min(axes.get_xlim()[0], edge / 10)
        axes.set_xlim(left=low)
    axes.axvspan(low, edge, color=COLORS["floor"], alpha=0.25, lw=0, label="floor, all seeds")
    axes.set_yticks(range(len(rows)), rows)


def _span(value: dict) -> str:
    interval = "" if value["low"] is None else f" ({value['low']:+.4f} to {value['high']:+.4f})"
    return f"{value['mean']:+.4f}{interval}"
