"""Three figures of the grid: accuracy, twins against seeds, and curves.

Everything drawn is in `table.json` and `baselines.json`.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.comparison.report.style import (
    COLORS,
    MARKERS,
    TWIN_LINES,
    new_figure,
    save_figure,
    styled,
)
from src.records import FRAMEWORKS
from src.results.headline import headline, pairs_of_runs

_BOTH = "#222222"  # the colour of what belongs to both frameworks
_CURVES = {  # of a record's history -> its title, and how it is drawn
    "val_accuracy": ("validation", "-"),
    "accuracy": ("training", "--"),
}
_RANGE = 0.15  # opacity
_OFFSETS = {"tf": -0.2, "pt": 0.2}  # above and below the line of a row's title


def write_figures(measured: Mapping, baselines: Mapping, results: Path) -> list[Path]:
    """Draw the figures of which a number is known: accuracy, twins and curves (.png).

    Args:
        measured: from `src.results.statistics.measure`.
        baselines: the scores in `baselines.json`.
        results: the folder.
    Returns:
        the files written.
    """
    done = [row for row in measured["rows"] if row["cells"]]
    with styled():
        figures = {"accuracy.png": _draw_accuracy(done, headline(measured, baselines))}
        if lines := _agreement_lines(measured["agreement"]):
            figures["twins.png"] = _draw_agreement(done, lines, measured["agreement"]["images"])
        if done:
            figures["curves.png"] = _draw_curves(done, measured["curves"])
    return [
        save_figure(figure, results / name, [measured, baselines])
        for name, figure in figures.items()
    ]


def _figure(height: float, done: Sequence[Mapping]) -> Figure:
    """Return a figure with the notices that the images and the first weights demand."""
    kind = "phantom" if any(row["kind"] == "phantom" for row in done) else "real"
    config = done[0] if done else {}
    scratch = [row["init"] == "scratch" for row in done]
    if any(scratch) and not all(scratch):
        config = {"reinit": [*config["reinit"], "(in scratch) every block"]}
    return new_figure(height, {"dataset": {"kind": kind}, "config": config})


def _name_lines(axes: Axes, titles: Sequence[str]) -> None:
    axes.set_yticks(range(len(titles)), titles)
    axes.set_ylim(len(titles) - 0.5, -0.5)


def _draw_accuracy(done: Sequence[Mapping], models: Mapping) -> Figure:
    """Draw each model's accuracy on the clean folds and, hollow, on the official split."""
    figure = _figure(1.4 + 0.5 * len(models), [row for row in done if row["init"] != "scratch"])
    axes = figure.subplots()
    _name_lines(axes, [_broken(model) for model in models])
    for line, scores in enumerate(models.values()):
        for framework, (clean, official) in scores.items():
            y = line + (_OFFSETS[framework] if len(scores) > 1 else 0)
            style = {"color": COLORS[framework or "floor"], "fmt": MARKERS.get(framework, "D")}
            rates = [each.get("accuracy") for each in (clean, official)]
            if all(rates):
                ends = [rate["value"] for rate in rates]
                axes.plot(ends, [y, y], color=style["color"], lw=0.8, ls=":")
            for rate, hollow in zip(rates, (False, True)):
                if rate:
                    _draw_rate(axes, rate, y, hollow, **style)
    axes.set_xlim(0, 1.12)  # room for the numbers beside 100 %
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("accuracy on test images, 95 % interval")
    keys = [
        Line2D([], [], ls="", marker=MARKERS[name], color=COLORS[name], label=title)
        for name, title in FRAMEWORKS.items()
    ]
    diamond = {"ls": "", "marker": "D"}
    keys.append(Line2D([], [], label="clean split", color=_BOTH, **diamond))
    keys.append(Line2D([], [], label="official split (leaks)", color=_BOTH, mfc="white", **diamond))
    figure.legend(handles=keys, loc="outside lower center", ncols=2)
    return figure


def _broken(title: str) -> str:
    """Break a title once near its middle, so that a phone has room for the points beside it."""
    spaces = [at for at, letter in enumerate(title) if letter == " "]
    middle = min(spaces, key=lambda at: abs(at - len(title) / 2), default=None)
    return title if middle is None else f"{title[:middle]}\n{title[middle + 1 :]}"


def _draw_rate(axes: Axes, rate: Mapping, y: float, hollow: bool, **style: str) -> None:
    """Draw one value with its interval, if it has one; write it beside, that of hollow right."""
    value = rate["value"]
    low, high = (value if rate[end] is None else rate[end] for end in ("low", "high"))
    # An interval need not hold the value itself, though it almost always does.
    error = [[max(value - low, 0)], [max(high - value, 0)]]
    face = "white" if hollow else style["color"]
    axes.errorbar(value, y, xerr=error, markerfacecolor=face, ms=5, lw=1.4, **style)
    end, shift, side = (max(high, value), 6, "left") if hollow else (min(low, value), -6, "right")
    beside = {"xytext": (shift, 0), "textcoords": "offset points", "ha": side, "va": "center"}
    axes.annotate(f"{100 * value:.1f}", (end, y), fontsize=9, **beside)


def _agreement_lines(agreement: Mapping) -> dict[str, list]:
    """Return title -> (share, style) of each pair of runs of that kind, if there is any."""
    looks = {  # of a pair -> its line's title, label, marker and colour
        "twins": ("{} twins", "PyTorch and TensorFlow", "D", _BOTH),
        "itself": ("{} PyTorch\nand itself", "PyTorch, perturbed start", "P", COLORS["floor"]),
    }
    for name, title in FRAMEWORKS.items():
        looks[name] = "{},\ntwo seeds", f"{title}, two seeds", MARKERS[name], COLORS[name]
    lines: dict[str, list] = {}
    for (arm, pair), shares in pairs_of_runs(agreement).items():
        title, *look = looks[pair]
        style = dict(zip(("label", "marker", "color"), look))
        known = [(share, style) for share in shares if share is not None]
        lines.setdefault(title.format(arm), []).extend(known)
    return {title: pairs for title, pairs in lines.items() if pairs}


def _draw_agreement(done: Sequence[Mapping], lines: Mapping, images: int) -> Figure:
    """Draw each pair's agreement on the first fold; pairs of one kind share a line."""
    figure = _figure(1.3 + 0.5 * len(lines), done)
    axes = figure.subplots()
    _name_lines(axes, list(lines))
    for y, shares in enumerate(lines.values()):
        for k, (share, style) in enumerate(shares):
            offset = 0.6 * ((k + 0.5) / len(shares) - 0.5)
            axes.plot(share, y + offset, ls="", ms=5, **style)
    axes.margins(x=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlim(right=min(axes.get_xlim()[1], 1.01))
    axes.set_xlabel(f"same class, share of the first fold's {images:,} images")
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles))
    figure.legend(once.values(), once, loc="outside lower center", ncols=2)
    return figure


def _draw_curves(done: Sequence[Mapping], curves: Mapping) -> Figure:
    """Draw an arm in a panel: validation solid, training dashed; of several runs mean and range."""
    curves = {title: of_arm for title, of_arm in curves.items() if of_arm}
    rows = -(-len(curves) // 2)
    figure = _figure(0.7 + 1.9 * rows, done)
    panels = figure.subplots(rows, 2, sharey=True, squeeze=False).ravel()
    for axes, (title, of_arm) in zip(panels, curves.items()):
        axes.set_title(title.replace(", ", ",\n", 1).removesuffix(" pooled"), fontsize=10)
        for name, runs in of_arm.items():
            for kind, (_, dashes) in _CURVES.items():
                accuracies = np.array([*zip_longest(*runs[kind], fillvalue=np.nan)])
                epochs = range(1, len(accuracies) + 1)
                style = {"color": COLORS[name], "ls": dashes, **TWIN_LINES[name]}
                axes.plot(epochs, np.nanmean(accuracies, axis=1), **style)
                ends = np.nanmin(accuracies, axis=1), np.nanmax(accuracies, axis=1)
                axes.fill_between(epochs, *ends, color=COLORS[name], alpha=_RANGE, lw=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("epoch")
    for axes in panels[len(curves) :]:
        axes.remove()
    figure.supylabel("accuracy", fontsize=10)
    keys = [
        Line2D([], [], color=COLORS[name], label=title, **TWIN_LINES[name])
        for name, title in FRAMEWORKS.items()
    ]
    keys += [Line2D([], [], color=_BOTH, ls=ls, label=title) for title, ls in _CURVES.values()]
    keys.append(Patch(color=_BOTH, alpha=_RANGE, lw=0, label="lowest to highest run"))
    figure.legend(handles=keys, loc="outside lower center", ncols=2)
    return figure
