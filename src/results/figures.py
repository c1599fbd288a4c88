"""Three figures of the grid's numbers: what was scored, twins against seeds, where the time goes.

Everything drawn is in `table.json` and `baselines.json`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.comparison.baselines import BASELINES
from src.comparison.report.style import COLORS, new_figure, save_figure, styled
from src.records import FRAMEWORKS
from src.results.statistics import OFFICIAL, told

_MARKS = {"tf": "o", "pt": "s"}
_EITHER = "#222222"  # what belongs to both frameworks
_EPOCHS, _REST = "#009E73", "#E69F00"
_SHIFTS = {"tf": -0.2, "pt": 0.2}  # rows: above and below the title's line


def write_figures(measured: Mapping, baselines: Mapping | None, results: Path) -> list[Path]:
    """Draw what the numbers found allow, into `results`.

    Args:
        measured: from `src.results.statistics.measure`.
        baselines: the scores in `baselines.json`, if it is there.
        results: the folder.
    Returns:
        the files written: accuracy.png, twins.png, time.png, or fewer.
    """
    done = [row for row in measured["rows"] if row["cells"]]
    if not done:
        return []
    drawn = {"accuracy.png": _draw_accuracy(done, baselines)}
    if measured["agreement"]:
        drawn["twins.png"] = _draw_agreement(done, measured)
    drawn["time.png"] = _draw_time(done, measured["speed"])
    return [
        save_figure(figure, results / name, [measured, baselines]) for name, figure in drawn.items()
    ]


def _figure(height: float, done: Sequence[Mapping]) -> Figure:
    """Return an empty figure with the marks that the rows' images, and first weights, demand."""
    config = {"init": done[0]["init"], "reinit": done[0]["reinit"]}
    kind = "phantom" if any(row["kind"] == "phantom" for row in done) else "real"
    return new_figure(height, {"dataset": {"kind": kind}, "config": config})


def _draw_accuracy(done: Sequence[Mapping], baselines: Mapping | None) -> Figure:
    """Draw rows and baselines with their intervals; hollow marks are of the official split."""
    titles = list(dict.fromkeys(row["title"] for row in done))
    names = [*(told(title, done) for title in titles), *(BASELINES if baselines else ())]
    with styled():
        figure = _figure(1.3 + 0.46 * len(names), done)
        axes = figure.subplots()
        for row in done:
            framework = row["framework"]
            look = {"fmt": _MARKS[framework], "color": COLORS[framework]}
            place = titles.index(row["title"]) + _SHIFTS[framework]
            _draw_rate(axes, row["accuracy"], place, row["title"] == OFFICIAL, **look)
        for place, name in enumerate(BASELINES if baselines else (), len(titles)):
            for cut, shift in (("pooled", _SHIFTS["tf"]), ("official", _SHIFTS["pt"])):
                rate, hollow = baselines[cut][name]["accuracy"], cut == "official"
                _draw_rate(axes, rate, place + shift, hollow, fmt="D", color=COLORS["floor"])
        if baselines:
            axes.axhline(len(titles) - 0.5, color="#555555", lw=0.8)
        axes.set_yticks(range(len(names)), [_two_lines(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, 1.16)  # room for the figures beside 100 %
        axes.set_xticks(np.arange(0, 1.01, 0.2))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("accuracy on test images, 95 % interval")
        figure.legend(
            handles=_accuracy_keys(baselines is not None), loc="outside lower center", ncols=2
        )
        return figure


def _draw_rate(axes: Axes, rate: Mapping, place: float, hollow: bool, **look: str) -> None:
    """Draw one value with its interval, if it has one, and write it to the right of both."""
    value = rate["value"]
    low, high = (value if rate[end] is None else rate[end] for end in ("low", "high"))
    axes.errorbar(
        value,
        place,
        # A percentile interval need not hold the value itself, though it all but always does.
        xerr=[[max(value - low, 0)], [max(high - value, 0)]],
        markerfacecolor="white" if hollow else look["color"],
        ms=5,
        lw=1.4,
        **look,
    )
    axes.annotate(
        f"{100 * value:.1f}",
        (max(high, value), place),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
    )


def _accuracy_keys(with_baselines: bool) -> list[Line2D]:
    keys = [
        Line2D([], [], ls="", marker=_MARKS[name], color=COLORS[name], label=title)
        for name, title in FRAMEWORKS.items()
    ]
    grey = {"ls": "", "marker": "D", "color": COLORS["floor"]}
    if with_baselines:
        keys.append(Line2D([], [], label="baseline", **grey))
    hollow = "hollow: official split"
    return [*keys, Line2D([], [], **{**grey, "color": _EITHER}, mfc="white", label=hollow)]


def _draw_agreement(done: Sequence[Mapping], measured: Mapping) -> Figure:
    """Draw each pair's agreement on the first fold; pairs of one kind lie side by side."""
    found, defaults = measured["agreement"], measured["defaults"]["agreement"]
    lines = {"exact twins,\none seed": [("PyTorch and TensorFlow", "D", _EITHER, found["twins"])]}
    lines["two seeds,\none framework"] = [
        (f"{title}, two seeds", _MARKS[name], COLORS[name], found["seeds"][name])
        for name, title in FRAMEWORKS.items()
    ]
    if defaults:
        stock = [defaults["stock"]]
        lines["stock twins,\none seed"] = [("PyTorch and TensorFlow", "D", _EITHER, stock)]
    lines = {title: kinds for title, kinds in lines.items() if any(kind[3] for kind in kinds)}
    with styled():
        figure = _figure(1.1 + 0.6 * len(lines), done)
        axes = figure.subplots()
        for place, kinds in enumerate(lines.values()):
            shares = [(share, *kind[:3]) for kind in kinds for share in kind[3]]
            for step, (share, label, mark, color) in enumerate(shares):
                shift = 0.6 * ((step + 0.5) / len(shares) - 0.5)
                axes.plot(share, place + shift, mark, color=color, ms=5, label=label)
        axes.set_yticks(range(len(lines)), list(lines))
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.margins(x=0.1)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlim(right=min(axes.get_xlim()[1], 1.01))
        axes.set_xlabel(f"same class, share of the first fold's {found['images']:,} images")
        handles, labels = axes.get_legend_handles_labels()
        once = dict(zip(labels, handles))
        figure.legend(once.values(), once, loc="outside lower center", ncols=2)
        return figure


def _draw_time(done: Sequence[Mapping], speed: Mapping) -> Figure:
    """Draw a bar a run, mean of its arm and framework, and one for what all runs share."""
    bars = [
        (f"{arm}, {name}", costs[key]["epoch_minutes"], costs[key]["minutes"])
        for arm, costs in speed["arms"].items()
        for key, name in FRAMEWORKS.items()
        if costs[key]
    ]
    titles = [title for title, _, _ in bars]
    epochs = [epoch for _, epoch, _ in bars]
    rest = [max(whole - epoch, 0) for _, epoch, whole in bars]
    with styled():
        figure = _figure(1.3 + 0.32 * (len(bars) + 1), done)
        axes = figure.subplots()
        axes.barh(titles, epochs, color=_EPOCHS, height=0.6, label="epochs")
        axes.barh(titles, rest, left=epochs, color=_REST, height=0.6, label="all else of a run")
        ends = [epoch + more for epoch, more in zip(epochs, rest)]
        if filling := speed["filling_minutes"]:
            titles = [*titles, "filling the cache"]
            ends = [*ends, filling]
            axes.barh(
                titles[-1], filling, color=COLORS["floor"], height=0.6, label="sum of all runs"
            )
        for title, end in zip(titles, ends):
            axes.annotate(
                f"{end:.1f}", (end, title), (4, 0), textcoords="offset points", va="center"
            )
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12)
        axes.set_xlabel("minutes (of a run: mean)")
        figure.legend(loc="outside lower center", ncols=3)
        return figure


def _two_lines(name: str) -> str:
    """Break a title at its marks, so that a phone has room for the points beside it."""
    return name.replace(", ", ",\n", 1).replace(": ", ",\n", 1)
