"""From the records and predictions in `notebooks/results/grid` to every number in `table.json`."""

import csv
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.comparison.baselines import PROBE
from src.config import CLASS_NAMES
from src.data.splits.folds import FOLDS
from src.evaluation.intervals import group_intervals, paired_difference
from src.records import FRAMEWORKS, Predictions
from src.results.grid import Cell
from src.results.pool import (
    FinishedRun,
    check_same_images,
    columns,
    pool,
    pool_folds_per_seed,
    read_grid,
    select,
)
from src.results.run import RESULTS

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
_Probe = Mapping[tuple[int, str], tuple[int, int]]  # (fold, path) -> true class, the probe's class


def measure(cells: Sequence[Cell], results: Path = RESULTS) -> dict:
    """Return every number of the results, from the cells that are done.

    Args:
        cells: of the grid.
        results: the folder with `grid/`, and with `baselines.csv` once the probe was measured.
    Returns:
        rows: one for each title of ROWS and framework: scores and costs, unless no cell is done.
        against_probe: {"tf", "pt"} -> exact twin minus linear probe, over the five folds.
        agreement, leak ({"tf", "pt"} -> official minus clean), speed: see the functions below.
        defaults: {"tf", "pt"} -> stock minus exact on the first fold; and `agreement`, the shares
        of images that the stock pair and the exact pair put into the same class.
        Differences are those of `paired_difference`, with the number of `images` behind them;
        None until their runs are done.

    Raises:
        InputError: a record is damaged, or records do not fit together.
    """
    runs = read_grid(cells, results)
    probe = _read_probe(results / "baselines.csv")
    return {
        "rows": [
            _row(title, framework, cells, runs)
            for title, belongs in ROWS.items()
            for framework in FRAMEWORKS
            if any(belongs(cell) and cell.framework == framework for cell in cells)
        ],
        "against_probe": {name: _against_probe(_folds(runs, name), probe) for name in FRAMEWORKS},
        "agreement": _agreement(runs),
        "leak": {name: _leak(runs, name) for name in FRAMEWORKS},
        "defaults": _defaults(runs),
        "speed": _speed(runs),
    }


def _row(title: str, framework: str, cells: Sequence[Cell], runs: Sequence[FinishedRun]) -> dict:
    wanted = [cell for cell in cells if cell.framework == framework and ROWS[title](cell)]
    done = [run for run in runs if run.cell in wanted]
    row = {"title": title, "framework": framework, "arm": wanted[0].arm}
    row |= {"wanted": len(wanted), "cells": [run.cell.name for run in done]}
    if not done:
        return row
    first = done[0].record
    row |= {"kind": first["dataset"]["kind"], "init": first["init"], "reinit": first["reinit"]}
    row |= {name: first["config"][name] for name in ("image_size", "unfreeze_from")}
    return row | _scores(done) | _costs(done)


def _scores(runs: Sequence[FinishedRun]) -> dict:
    """Score each seed by itself: values are means over seeds, never of an ensemble."""
    seeds = pool_folds_per_seed(runs)
    labels, groups = seeds[0].labels, seeds[0].groups
    of_class = {name: labels == k for k, name in enumerate(CLASS_NAMES)}
    return {
        "seeds": len(seeds),
        "images": len(labels),
        "groups": len(np.unique(groups)),
        "support": {name: int(chosen.sum()) for name, chosen in of_class.items()},
        "class_groups": {name: len(np.unique(groups[chosen])) for name, chosen in of_class.items()},
        **group_intervals(labels, [seed.probs for seed in seeds], groups),
        "accuracies": [run.record["metrics"]["test"]["accuracy"] for run in runs],
    }


def _folds(runs: Sequence[FinishedRun], framework: str) -> list[FinishedRun]:
    """Return the exact runs of all five folds, or none."""
    folds = select(runs, arm="exact", framework=framework, split="clean", seed=0)
    return folds if len(folds) == FOLDS else []


def _agreement(runs: Sequence[FinishedRun]) -> dict | None:
    """Return the shares of images that two exact runs put into the same class.

    Returns:
        images: of the first fold. twins: [share, ...] there, one for each seed. seeds: {"tf",
        "pt"} -> [share, ...], one for each pair of seeds. five_folds: share over all images, or
        None. difference: accuracy of PyTorch minus TensorFlow over the five folds, or None.
        None while there is no pair.
    """
    first = select(runs, arm="exact", split="clean", fold=0)
    twins, seeds = [], {name: [] for name in FRAMEWORKS}
    for one, two in combinations(first, 2):
        if one.cell.seed == two.cell.seed:
            twins.append(_same_class(one.predictions, two.predictions))
        elif one.cell.framework == two.cell.framework:
            seeds[one.cell.framework].append(_same_class(one.predictions, two.predictions))
    if not twins and not any(seeds.values()):
        return None
    five_folds = difference = None
    folds = [_folds(runs, name) for name in FRAMEWORKS]
    if all(folds):
        tf, pt = map(pool, folds)
        five_folds, difference = _same_class(tf, pt), _difference(pt, tf)
    images = len(first[0].predictions.paths)
    return dict(
        images=images, twins=twins, seeds=seeds, five_folds=five_folds, difference=difference
    )


def _against_probe(folds: Sequence[FinishedRun], probe: _Probe) -> dict | None:
    if not folds or not probe:
        return None
    pooled = pool(folds)
    keys = [(run.cell.fold, path) for run in folds for path in run.predictions.paths.tolist()]
    if dict(zip(keys, pooled.labels.tolist())) != {key: truth for key, (truth, _) in probe.items()}:
        raise InputError(
            f"baselines.csv holds other images or labels than {folds[0].cell.name} and the other "
            "folds. Measure the baselines again: python -m src baselines."
        )
    of_probe = np.array([probe[key][1] for key in keys])
    difference = paired_difference(pooled.labels, _classes(pooled), of_probe, pooled.groups)
    return {"images": len(keys), **difference}


def _leak(runs: Sequence[FinishedRun], framework: str) -> dict | None:
    """Return by how much the official split flatters; None until it and all five folds are run.

    Returns:
        official, clean, difference: accuracies, each on the test images of its split.
        same_images: official minus clean on the images of the official test part alone.
    """
    folds = _folds(runs, framework)
    official = _predictions(runs, arm="exact", framework=framework, split="official", seed=0)
    if not folds or not official:
        return None
    clean = pool(folds)
    rates = [float((_classes(each) == each.labels).mean()) for each in (official, clean)]
    # Four images are in no fold, because figshare contradicts their label.
    _, in_official, in_clean = np.intersect1d(official.paths, clean.paths, return_indices=True)
    same = None
    if len(in_clean):
        same = _difference(_take(official, in_official), _take(clean, in_clean))
    official_rate, clean_rate = rates
    difference = official_rate - clean_rate
    return dict(official=official_rate, clean=clean_rate, difference=difference, same_images=same)


def _defaults(runs: Sequence[FinishedRun]) -> dict:
    first = {"split": "clean", "fold": 0, "seed": 0}
    stock, exact = (
        {name: _predictions(runs, arm=arm, framework=name, **first) for name in FRAMEWORKS}
        for arm in ("stock", "exact")
    )
    differences = {
        name: _difference(stock[name], exact[name]) if stock[name] and exact[name] else None
        for name in FRAMEWORKS
    }
    agreement = None
    if all(differences.values()):
        agreement = {"stock": _same_class(**stock), "exact": _same_class(**exact)}
    return differences | {"agreement": agreement}


def _predictions(runs: Sequence[FinishedRun], **values) -> Predictions | None:
    """Return the test predictions of the one run whose cell has these values, if it is done."""
    chosen = select(runs, **values)
    return chosen[0].predictions if chosen else None


def _read_probe(path: Path) -> _Probe:
    """Read truth and the linear probe's class of each image of the clean folds; {} if no file."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                (int(row["split"].removeprefix("fold ")), row["path"]): (
                    CLASS_NAMES.index(row["label"]),
                    CLASS_NAMES.index(row[PROBE]),
                )
                for row in csv.DictReader(file)
                if row["split"].startswith("fold ")
            }
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not what `python -m src baselines --json` writes beside its record: {error}"
        ) from error


def _difference(a: Predictions, b: Predictions) -> dict:
    """Return the accuracy of `a` minus that of `b`, image by image, in the groups of `b`."""
    check_same_images(a, b)
    difference = paired_difference(a.labels, _classes(a), _classes(b), b.groups)
    return {"images": len(a.labels), **difference}


def _same_class(tf: Predictions, pt: Predictions) -> float:
    check_same_images(tf, pt)
    return float((_classes(tf) == _classes(pt)).mean())


def _classes(predictions: Predictions) -> np.ndarray:
    return predictions.probs.argmax(axis=1)


def _take(predictions: Predictions, rows: np.ndarray) -> Predictions:
    return Predictions(*(column[rows] for column in columns(predictions)))


def _costs(runs: Sequence[FinishedRun]) -> dict:
    """Return what runs cost.

    Returns:
        minutes, epoch_minutes, images_per_second (in training): means over the runs.
        peak_memory_mb: the largest, MiB. hardware: the machines. cached: whether frozen blocks came
        from the cache in all of them. Minutes leave out filling that cache, as the first run does
        it for all.
    """
    records = [run.record for run in runs]
    epochs = [sum(record["history"]["epoch_seconds"]) for record in records]
    return {
        "minutes": float(np.mean([r["seconds"] - _filling_seconds(r) for r in records])) / 60,
        "epoch_minutes": float(np.mean(epochs)) / 60,
        "images_per_second": float(np.mean([r["images_per_second"]["train"] for r in records])),
        "peak_memory_mb": max(record["peak_memory_mb"] for record in records),
        "cached": all(record["feature_cache"] for record in records),
        "hardware": list(dict.fromkeys(map(_machine, records))),
    }


def _speed(runs: Sequence[FinishedRun]) -> dict | None:
    """Return what each arm cost in each framework; None without runs.

    Returns:
        arms: arm -> {"tf", "pt"} -> `_costs` with the number of `runs`, or None; and `ratio`, see
        `_speed_ratio`. filling_minutes: of all runs together, for the outputs of frozen blocks.
    """
    if not runs:
        return None
    arms: dict[str, dict] = {}
    for arm in dict.fromkeys(run.cell.arm for run in runs):
        of_arm = {name: select(runs, arm=arm, framework=name) for name in FRAMEWORKS}
        arms[arm] = {
            name: {"runs": len(some), **_costs(some)} if some else None
            for name, some in of_arm.items()
        }
        arms[arm]["ratio"] = _speed_ratio(**of_arm)
    filling = sum(_filling_seconds(run.record) for run in runs) / 60
    return {"arms": arms, "filling_minutes": filling}


def _speed_ratio(tf: Sequence[FinishedRun], pt: Sequence[FinishedRun]) -> float | None:
    """Return PyTorch's images per second divided by TensorFlow's.

    Only over cells that both ran on one kind of machine and from the same cached block (stock
    PyTorch has no cache); None if there are none.
    """
    of_tf, of_pt = (
        {_conditions(run): run.record["images_per_second"]["train"] for run in runs}
        for runs in (tf, pt)
    )
    both = [conditions for conditions in of_tf if conditions in of_pt]
    if not both:
        return None
    return sum(map(of_pt.get, both)) / sum(map(of_tf.get, both))


def _conditions(run: FinishedRun) -> tuple:
    """Return what two speeds must have in common to be compared."""
    cached = tuple(stage["block"] for stage in run.record["feature_cache"].values())
    return run.cell.split, run.cell.fold, run.cell.seed, _machine(run.record), cached


def _filling_seconds(record: dict) -> float:
    """Return the seconds that a run spent on computing outputs of frozen blocks."""
    return sum(stage["seconds"] for stage in record["feature_cache"].values())


def _machine(record: dict) -> str:
    """Describe the machine: its GPU if it has one, else CPU, cores and memory."""
    hardware = record["hardware"]
    if hardware["gpu"]:
        return hardware["gpu"]
    cores = "1 core" if hardware["cores"] == 1 else f"{hardware['cores']} cores"
    return f"{hardware['cpu']}, {cores}, {hardware['memory_gb']:.0f} GiB, no GPU"
