"""Three figures from the records: what was scored, whether twins differ more than seeds, the time.

Baselines stand beside the scores where the caller gives them.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from src.comparison.records import FRAMEWORKS, read_predictions
from src.comparison.style import COLORS, new_figure, save_figure, styled
from src.files import read_json
from src.reproduce.grid import Cell
from src.reproduce.run import is_done
from src.reproduce.table import measure

_MARKS = {"tf": "o", "pt": "s"}
_PARTS = {"frozen blocks, once": "#7A7A7A", "epochs": "#009E73", "all else": "#E69F00"}


def write_figures(
    cells: Sequence[Cell], results: Path, baselines: Mapping[str, float] | None = None
) -> list[Path]:
    """Draw what the records found allow, into `results`.

    Args:
        cells: of the grid.
        results: the folder that holds `grid/`.
        baselines: name -> accuracy over the clean folds.
    Returns:
        the files written: accuracy.png, twins.png, time.png, or fewer.
    """
    done = [cell for cell in cells if is_done(cell, results)]
    if not done:
        return []
    written = [_draw_accuracy(cells, done, results, baselines or {})]
    if pairs := {name: found for name, found in _seed_agreements(done, results).items() if found}:
        written.append(_draw_agreement(pairs, done, results))
    return [*written, _draw_time(done, results)]


def agreements(labels: Mapping[tuple[str, int], np.ndarray]) -> dict[str, list[float]]:
    """Return shares of images on which two runs agree, from {(framework, seed): labels (N,)}."""
    found: dict[str, list[float]] = {"twins, same seed": [], "two seeds of one": []}
    for (one, first), (two, second) in combinations(labels.items(), 2):
        if one[1] == two[1]:
            found["twins, same seed"].append(float((first == second).mean()))
        elif one[0] == two[0]:
            found["two seeds of one"].append(float((first == second).mean()))
    return found


def _seed_agreements(done: Sequence[Cell], results: Path) -> dict[str, list[float]]:
    first_fold = [c for c in done if (c.arm, c.split, c.fold) == ("exact", "clean", 0)]
    return agreements(
        {
            (c.framework, c.seed): read_predictions(
                results / "grid" / f"{c.name}.npz"
            ).probs.argmax(axis=1)
            for c in first_fold
        }
    )


def _figure(height: float, done: Sequence[Cell], results: Path):
    """Return an empty figure with the marks that the records' images and weights demand."""
    return new_figure(height, read_json(results / "grid" / f"{done[0].name}.json"))


def _draw_accuracy(cells, done, results: Path, baselines: Mapping[str, float]) -> Path:
    rows = [row for row in measure(cells, results) if row["cells"]]
    titles = [*dict.fromkeys(row["title"] for row in rows), *baselines]
    with styled():
        figure = _figure(0.9 + 0.42 * len(titles), done, results)
        axes = figure.subplots()
        for row in rows:
            shift = 0.12 if row["framework"] == "pt" else -0.12
            place = titles.index(row["title"]) + shift
            axes.plot(
                row["accuracy"], place, _MARKS[row["framework"]], color=COLORS[row["framework"]]
            )
            axes.annotate(
                f"{row['accuracy']:.1%}",
                (row["accuracy"], place),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        for name, accuracy in baselines.items():
            axes.plot(accuracy, titles.index(name), "D", color=COLORS["floor"])
        for framework in {row["framework"] for row in rows}:
            axes.plot(
                [], [], _MARKS[framework], color=COLORS[framework], label=FRAMEWORKS[framework]
            )
        axes.set_yticks(range(len(titles)), titles)
        axes.invert_yaxis()
        axes.margins(x=0.25)
        axes.set_xlabel("accuracy on test images")
        figure.legend(loc="outside lower center", ncols=2)
        return save_figure(figure, results / "accuracy.png")


def _draw_agreement(pairs: Mapping[str, list[float]], done, results: Path) -> Path:
    with styled():
        figure = _figure(1.6, done, results)
        axes = figure.subplots()
        for place, values in enumerate(pairs.values()):
            axes.plot(values, [place] * len(values), "o", alpha=0.7, color=COLORS["pt"])
        axes.set_yticks(range(len(pairs)), list(pairs))
        axes.set_ylim(len(pairs) - 0.5, -0.5)
        axes.set_xlabel("share of test images labelled alike, first clean fold")
        return save_figure(figure, results / "twins.png")


def _draw_time(done: Sequence[Cell], results: Path) -> Path:
    taken: dict[str, list] = {}
    for cell in done:
        record = read_json(results / "grid" / f"{cell.name}.json")
        filled = sum(stage["seconds"] for stage in record["prefix_cache"].values())
        epochs = sum(record["history"]["epoch_seconds"])
        title = f"{cell.arm}, {FRAMEWORKS[cell.framework]}"
        rest = max(record["seconds"] - filled - epochs, 0)
        taken.setdefault(title, []).append((filled, epochs, rest))
    minutes = {title: np.mean(rows, axis=0) / 60 for title, rows in taken.items()}
    with styled():
        figure = _figure(1.1 + 0.32 * len(minutes), done, results)
        axes = figure.subplots()
        left = np.zeros(len(minutes))
        for part, (name, color) in enumerate(_PARTS.items()):
            widths = np.array([row[part] for row in minutes.values()])
            axes.barh(list(minutes), widths, left=left, color=color, label=name, height=0.6)
            left += widths
        axes.invert_yaxis()
        axes.set_xlabel("minutes, mean of the runs")
        figure.legend(loc="outside lower center", ncols=3)
        return save_figure(figure, results / "time.png")
