"""From the records and predictions in `notebooks/results/grid` to the numbers of the README."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.config import CLASS_NAMES
from src.evaluation.intervals import group_intervals
from src.records import FRAMEWORKS
from src.reproduce.costs import costs
from src.reproduce.findings import find
from src.reproduce.grid import Cell
from src.reproduce.pool import Kept, one_a_seed, read_grid
from src.reproduce.run import RESULTS

POOLED = "exact, five clean folds pooled"
OFFICIAL = "exact, official split (leaks)"
# Row of the table -> whether a cell belongs to it.
ROWS = {
    POOLED: lambda c: c.arm == "exact" and c.split == "clean" and c.seed == 0,
    "exact, first fold, all seeds": lambda c: (
        c.arm == "exact" and c.split == "clean" and c.fold == 0
    ),
    OFFICIAL: lambda c: c.arm == "exact" and c.split == "official",
    "stock, first fold": lambda c: c.arm == "stock",
    "from block13, first fold": lambda c: c.arm == "block13",
    "scratch, small, first fold": lambda c: c.arm == "scratch",
    "complete ImageNet file, first fold": lambda c: c.arm == "imagenet",
}


def measure(cells: Sequence[Cell], results: Path = RESULTS) -> dict:
    """Return all that the README says of the grid, from the cells that are done.

    Args:
        cells: of the grid.
        results: the folder that holds `grid/`, and `baselines.csv` where the probe was measured.
    Returns:
        rows: a dict for each arm and framework; without runs it has title, framework, arm, wanted
        and cells alone. And what `src.reproduce.findings.find` returns.

    Raises:
        InputError: a record is damaged, or records do not fit together.
    """
    runs = read_grid(cells, results)
    rows = []
    for title, belongs in ROWS.items():
        for framework in FRAMEWORKS:
            wanted = [c for c in cells if c.framework == framework and belongs(c)]
            if not wanted:
                continue
            done = [run for run in runs if run.cell in wanted]
            row = {"title": title, "framework": framework, "arm": wanted[0].arm}
            row |= {"wanted": len(wanted), "cells": [run.cell.name for run in done]}
            rows.append(row | (_about(done) | _scores(done) | costs(done) if done else {}))
    return {"rows": rows} | find(runs, results)


def _about(runs: Sequence[Kept]) -> dict:
    first = runs[0].record
    return {
        "kind": first["dataset"]["kind"],
        "init": first["init"],
        "redraw": first["redraw"],
        "image_size": first["config"]["image_size"],
        "unfreeze_from": first["config"]["unfreeze_from"],
    }


def _scores(runs: Sequence[Kept]) -> dict:
    """Score what each seed says: values are means over seeds, so no seeds form an ensemble."""
    trials = one_a_seed(runs)
    labels, groups = trials[0].labels, trials[0].groups
    return {
        "seeds": len(trials),
        "images": len(labels),
        "groups": len(np.unique(groups)),
        "support": {name: int((labels == k).sum()) for k, name in enumerate(CLASS_NAMES)},
        "class_groups": {
            name: len(np.unique(groups[labels == k])) for k, name in enumerate(CLASS_NAMES)
        },
        **group_intervals(labels, [trial.probs for trial in trials], groups),
        "accuracies": [run.record["metrics"]["test"]["accuracy"] for run in runs],
    }


def told(title: str, rows: Sequence[dict]) -> str:
    """Return a row's title, with how many of its runs there are while some are missing."""
    runs = [(len(row["cells"]), row["wanted"]) for row in rows if row["title"] == title]
    done, wanted = min(runs)
    return title if done in (0, wanted) else f"{title}: so far {done} of {wanted}"
