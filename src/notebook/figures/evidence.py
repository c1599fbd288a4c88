"""What the records of the results say of a score (03): figures and tables, for either framework."""

import csv
from pathlib import PurePath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from src.common.files import read_json
from src.comparison.baselines import NEIGHBOUR
from src.comparison.report.style import COLORS, MARKERS, new_figure, styled
from src.config import FRAMEWORKS
from src.data.audit.leaks import LEAKS
from src.data.splits.folds import FOLDS
from src.evaluation.calibration import BINS, sorted_means
from src.evaluation.temperature import tempered
from src.records import read_predictions
from src.results.equivalence import COMPARED, MARGINS
from src.results.grid import RESULTS
from src.results.rescore import score_apart
from src.results.tables import points, with_interval


@styled()
def draw_leak() -> Figure:
    """Draw the accuracy on the official test images by what Training holds of them.

    Of block14 alone in both frameworks, and of the nearest neighbour, which can only remember.
    """
    leak = read_json(RESULTS / "table.json")["leak"]
    with (RESULTS / "baselines.csv").open(newline="", encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["split"] == "official"]
    remembers = score_apart({PurePath(row["path"]).name: row[NEIGHBOUR] for row in rows})
    shown = {FRAMEWORKS[key]: leak[key]["apart"]["parts"] for key in FRAMEWORKS}
    shown["nearest neighbour"] = remembers["parts"]
    looks = [(COLORS[key], MARKERS[key]) for key in FRAMEWORKS] + [(COLORS["floor"], "^")]
    parts = LEAKS[:3]  # of the rest there are a handful
    figure = new_figure(2.6, _about())
    axes = figure.subplots()
    for number, ((name, found), (color, marker)) in enumerate(zip(shown.items(), looks)):
        places = np.arange(len(parts)) + 0.22 * (number - 1)
        _intervals(axes, places, [found[part] for part in parts], color, marker, name)
    counts = [shown["nearest neighbour"][part]["count"] for part in parts]
    titles = [f"the {part}\n{count} images" for part, count in zip(parts, counts)]
    axes.set_yticks(range(len(parts)), titles)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_title("Training holds")
    axes.set_xlabel("accuracy on the official split (95 % interval)")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled()
def draw_trust() -> Figure:
    """Draw how often answers are right by how sure they are, and what leaving some out saves.

    Of the fine-tuned network in PyTorch on the five clean folds, each with its own temperature.
    """
    names = [f"tuned-pt-fold{fold}-seed0" for fold in range(FOLDS)]
    records = [read_json(RESULTS / "grid" / f"{name}.json") for name in names]
    folds = [read_predictions(RESULTS / "grid" / f"{name}.npz") for name in names]
    raw = np.concatenate([each.probs for each in folds])
    calibrated = np.concatenate(
        [tempered(f.probs, r["thresholds"]["temperature"]) for f, r in zip(folds, records)]
    )
    labels = np.concatenate([each.labels for each in folds])
    figure = new_figure(2.7, records[0])
    left, right = figure.subplots(1, 2)
    left.plot([0.4, 1], [0.4, 1], ":", color="#000000")
    looks = {"softmax": (raw, COLORS["floor"], "^"), "calibrated": (calibrated, COLORS["pt"], "s")}
    for name, (probs, color, marker) in looks.items():
        sure, hit = probs.max(axis=1), probs.argmax(axis=1) == labels
        order = np.argsort(sure, kind="stable")
        columns = np.sort(sure), sorted_means(sure, hit)
        bins = zip(*([some.mean() for some in np.array_split(each, BINS)] for each in columns))
        left.plot(*zip(*bins), marker=marker, color=color, label=name)
        kept = np.arange(len(order), 0, -1)
        wrong = np.cumsum(~hit[order][::-1])[::-1] / kept
        right.plot(kept / len(order), wrong, color=color)
    left.set(title="Right answers", xlabel="their probability")
    right.set(title="Wrong among those kept", xlabel="answers kept, the surest")
    for axes in (left, right):
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled()
def draw_shortcuts() -> Figure:
    """Draw what the shipped classifier still gets right where a part of the image is taken away."""
    record = read_json(RESULTS / "robustness.json")
    rows = record["shortcuts"]
    figure = new_figure(2.6, record)
    axes = figure.subplots()
    rates = [row["accuracy"] for row in rows]
    _intervals(axes, np.arange(len(rows)), rates, COLORS["pt"], "s", None)
    axes.set_yticks(range(len(rows)), [f"{row['name']}\n{row['count']} images" for row in rows])
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("accuracy (95 % interval)")
    return figure


@styled()
def draw_equivalence() -> Figure:
    """Draw PyTorch minus TensorFlow with its 90 % interval, as it is tested for equivalence."""
    found = read_json(RESULTS / "table.json")["equivalence"]
    rows = {title: found[key] for title, (key, _) in COMPARED.items() if found[key]}
    figure = new_figure(0.8 + 0.35 * len(rows), _about())
    axes = figure.subplots()
    axes.axvspan(-MARGINS[0], MARGINS[0], color="#E3E3E3", label="half a point")
    axes.axvline(0, color="#000000", linewidth=0.8)
    _intervals(axes, np.arange(len(rows)), [*rows.values()], "#000000", "D", None)
    axes.set_yticks(range(len(rows)), [title.replace(", ", ",\n", 1) for title in rows])
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.set_xlabel("PyTorch minus TensorFlow, points (90 % interval)")
    figure.legend(loc="outside lower center")
    return figure


def source_rows() -> list[dict]:
    """Return the accuracy on tumours of a source that training has not seen, as table rows."""
    return [
        {
            "trained on": " and ".join(row["trained"]),
            "tumours of unknown source": sum(row["images"].values()),
            "taken for notumor": row["answers"].get("notumor", 0),
            "right": with_interval(row["held_out"]),
            "right where some of them train": with_interval(row["all_sources"]),
            "change, points": points(row["change"]),
        }
        for row in read_json(RESULTS / "sources.json")["rows"]
    ]


def _about() -> dict:
    """Return what the notices above a figure of the exact arm come from."""
    return read_json(RESULTS / "grid" / "exact-pt-fold0-seed0.json")


def _intervals(
    axes: Axes, places: np.ndarray, rates: list[dict], color: str, marker: str, name: str | None
) -> None:
    """Draw each rate as a point with its interval, from left to right."""
    values = np.array([rate["value"] for rate in rates])
    ends = np.array([[rate["low"], rate["high"]] for rate in rates]).T
    errors = np.abs(ends - values)
    axes.margins(y=0.12)
    axes.errorbar(
        values, places, xerr=errors, fmt=marker, color=color, ecolor=color, capsize=2, label=name
    )
