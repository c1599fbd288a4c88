"""The README's table, from the records and predictions in `notebooks/results/grid`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.comparison.records import FRAMEWORKS, read_predictions
from src.evaluation.metrics import score
from src.files import atomic_write, read_json, write_json
from src.reproduce.grid import Cell
from src.reproduce.run import RESULTS, is_done

BEGIN, END = "<!-- results: python -m src reproduce -->", "<!-- /results -->"
# Row of the table -> whether a cell belongs to it.
_ROWS = {
    "exact, five clean folds pooled": lambda c: (
        c.arm == "exact" and c.split == "clean" and c.seed == 0
    ),
    "exact, first fold, all seeds": lambda c: (
        c.arm == "exact" and c.split == "clean" and c.fold == 0
    ),
    "exact, official split (leaks)": lambda c: c.split == "official",
    "stock, first fold": lambda c: c.arm == "stock",
    "from block13, first fold": lambda c: c.arm == "block13",
    "scratch, small, first fold": lambda c: c.arm == "scratch",
    "complete ImageNet file, first fold": lambda c: c.arm == "imagenet",
}


def measure(cells: Sequence[Cell], results: Path = RESULTS) -> list[dict]:
    """Return a row for each arm and framework, over the cells that are done."""
    rows = []
    for title, belongs in _ROWS.items():
        for framework in FRAMEWORKS:
            wanted = [c for c in cells if c.framework == framework and belongs(c)]
            done = [c for c in wanted if is_done(c, results)]
            if not wanted:
                continue
            row = {"title": title, "framework": framework, "wanted": len(wanted)}
            row |= {"cells": [c.name for c in done], "arm": wanted[0].arm}
            if done:
                row |= _scores(done, results / "grid")
            rows.append(row)
    return rows


def as_markdown(rows: list[dict]) -> str:
    """Return `measure`'s rows as the README shows them; one sentence while nothing was run."""
    if not any(row["cells"] for row in rows):
        return "No run of the grid is recorded yet."
    lines = [
        "| | framework | runs | weights | accuracy | balanced | macro F1 | min a run | images/s |",
        "|---|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        start = f"| {row['title']} | {FRAMEWORKS[row['framework']]}"
        if not row["cells"]:
            why = f"not run here: `python -m src reproduce --only {row['arm']}`"
            lines.append(f"{start} | 0 of {row['wanted']} | {why} | | | | | |")
            continue
        lines.append(
            f"{start} | {len(row['cells'])} of {row['wanted']} | {row['weights']} "
            f"| {row['accuracy']:.1%} | {row['balanced_accuracy']:.1%} | {row['macro_f1']:.3f} "
            f"| {row['minutes']:.0f} | {row['images_per_second']:.0f} |"
        )
    return "\n".join(lines)


def write_table(cells: Sequence[Cell], readme: Path, results: Path = RESULTS) -> list[dict]:
    """Write `table.json`, and the README's table between its markers."""
    rows = measure(cells, results)
    write_json(results / "table.json", rows)
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    with atomic_write(readme) as temporary:
        temporary.write_text(
            f"{before}{BEGIN}\n{as_markdown(rows)}\n{END}{after}", encoding="utf-8"
        )
    return rows


def _scores(done: Sequence[Cell], grid: Path) -> dict:
    """Score the pooled predictions of `done`; times are means over its runs."""
    records = [read_json(grid / f"{cell.name}.json") for cell in done]
    kept = [read_predictions(grid / f"{cell.name}.npz") for cell in done]
    labels = np.concatenate([each.labels for each in kept])
    pooled = score(labels, np.concatenate([each.probs for each in kept]))
    first = records[0]
    drawn = f", {' and '.join(first['redraw'])} from a random draw" if first["redraw"] else ""
    return {
        "images": len(labels),
        "kind": first["dataset"]["kind"],
        "weights": f"{first['init']}{drawn}",
        "accuracy": pooled["accuracy"],
        "balanced_accuracy": pooled["balanced_accuracy"],
        "macro_f1": pooled["macro_f1"],
        "accuracies": [record["metrics"]["test"]["accuracy"] for record in records],
        "minutes": float(np.mean([record["seconds"] for record in records])) / 60,
        "images_per_second": float(np.mean([r["images_per_second"]["train"] for r in records])),
        "peak_memory_mb": max(record["peak_memory_mb"] for record in records),
    }
