"""From the records and predictions in `notebooks/results/grid` to the numbers of the README."""

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
from src.results.pool import FinishedRun, pool, pool_folds_per_seed, read_grid, select
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


def measure(cells: Sequence[Cell], results: Path = RESULTS) -> dict:
    """Return all that the README says of the grid, from the cells that are done.

    Args:
        cells: of the grid.
        results: the folder that holds `grid/`, and `baselines.csv` where the probe was measured.
    Returns:
        rows: a dict for each arm and framework; without runs it has title, framework, arm, wanted
        and cells alone. And what `src.results.statistics.find` returns.

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


def _about(runs: Sequence[FinishedRun]) -> dict:
    first = runs[0].record
    return {
        "kind": first["dataset"]["kind"],
        "init": first["init"],
        "reinit": first["reinit"],
        "image_size": first["config"]["image_size"],
        "unfreeze_from": first["config"]["unfreeze_from"],
    }


def _scores(runs: Sequence[FinishedRun]) -> dict:
    """Score what each seed says: values are means over seeds, so no seeds form an ensemble."""
    trials = pool_folds_per_seed(runs)
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


_Probe = Mapping[tuple[int, str], tuple[int, int]]  # (fold, path) -> truth, the probe's class


def find(runs: Sequence[FinishedRun], results: Path) -> dict:
    """Return every finding.

    Args:
        runs: the finished cells of the grid.
        results: the folder that may hold `baselines.csv`.
    Returns:
        against_probe: {"tf", "pt"} -> exact twin less linear probe, over the five folds.
        agreement: what twins and seeds agree on, see `_agreement`.
        leak: {"tf", "pt"} -> see `_leak`.
        defaults: {"tf", "pt"} -> stock less exact on the first fold, and `agreement` of the stock
        and of the exact pair.
        speed: see `src.results.statistics.speed`.
        Differences are those of `paired_difference`, with how many `images` they rest on.

    Raises:
        InputError: records do not fit together.
    """
    probe = _read_probe(results / "baselines.csv")
    return {
        "against_probe": {name: _against_probe(_folds(runs, name), probe) for name in FRAMEWORKS},
        "agreement": _agreement(runs),
        "leak": {name: _leak(runs, name) for name in FRAMEWORKS},
        "defaults": _defaults(runs),
        "speed": speed(runs),
    }


def agreements(runs: Sequence[FinishedRun]) -> dict:
    """Return shares of images to which two runs give the same class.

    Args:
        runs: of both frameworks and several seeds, on the same images.
    Returns:
        twins: [share, ...] of pairs with one seed; seeds: {"tf", "pt"} -> [share, ...] of pairs of
        one framework.
    """
    found = {"twins": [], "seeds": {name: [] for name in FRAMEWORKS}}
    for one, two in combinations(runs, 2):
        if one.cell.seed == two.cell.seed:
            found["twins"].append(_alike(one.predictions, two.predictions))
        elif one.cell.framework == two.cell.framework:
            found["seeds"][one.cell.framework].append(_alike(one.predictions, two.predictions))
    return found


def _folds(runs: Sequence[FinishedRun], framework: str) -> list[FinishedRun]:
    """Return the exact runs of all five folds, or none."""
    found = select(runs, arm="exact", framework=framework, split="clean", seed=0)
    return found if len(found) == FOLDS else []


def _first_fold(runs: Sequence[FinishedRun], arm: str, **wanted) -> list[FinishedRun]:
    return select(runs, arm=arm, split="clean", fold=0, **wanted)


def _agreement(runs: Sequence[FinishedRun]) -> dict | None:
    """Return agreement on the first fold, and over all five; None while there is no pair.

    Returns:
        images, twins, seeds: on the first fold, see `agreements`.
        five_folds: share of all images that both frameworks give the same class, or None.
        difference: accuracy of PyTorch less TensorFlow over the five folds, or None.
    """
    first = _first_fold(runs, "exact")
    shares = agreements(first)
    if not shares["twins"] and not any(shares["seeds"].values()):
        return None
    both = [_folds(runs, name) for name in FRAMEWORKS]
    found = {"images": len(first[0].predictions.paths), **shares}
    if not all(both):
        return found | {"five_folds": None, "difference": None}
    tf, pt = (pool(folds) for folds in both)
    return found | {"five_folds": _alike(tf, pt), "difference": _difference(pt, tf)}


def _against_probe(folds: Sequence[FinishedRun], probe: _Probe) -> dict | None:
    if not folds or not probe:
        return None
    kept = pool(folds)
    said = []
    for run in folds:
        known = {path: both for (fold, path), both in probe.items() if fold == run.cell.fold}
        ours = dict(zip(run.predictions.paths.tolist(), run.predictions.labels.tolist()))
        if ours != {path: truth for path, (truth, _) in known.items()}:
            raise InputError(
                f"baselines.csv holds other images or labels of fold {run.cell.fold} than "
                f"{run.cell.name}. Measure the baselines again: python -m src baselines."
            )
        said += [known[path][1] for path in run.predictions.paths.tolist()]
    found = paired_difference(kept.labels, _classes(kept), np.array(said), kept.groups)
    return {"images": len(said), **found}


def _leak(runs: Sequence[FinishedRun], framework: str) -> dict | None:
    """Return what the official split flatters; None until it and all five folds are run.

    Returns:
        official, clean, difference: accuracies, each on the test images of its split.
        same_images: official less clean on the images of the official test part alone.
    """
    folds = _folds(runs, framework)
    official = select(runs, arm="exact", framework=framework, split="official", seed=0)
    if not folds or not official:
        return None
    leaking, clean = official[0].predictions, pool(folds)
    rates = [float((_classes(p) == p.labels).mean()) for p in (leaking, clean)]
    # Four images are in no fold, as figshare contradicts their label.
    _, of_official, of_clean = np.intersect1d(leaking.paths, clean.paths, return_indices=True)
    same = None
    if len(of_clean):
        same = _difference(_take(leaking, of_official), _take(clean, of_clean))
    difference = rates[0] - rates[1]
    return dict(official=rates[0], clean=rates[1], difference=difference, same_images=same)


def _defaults(runs: Sequence[FinishedRun]) -> dict:
    pairs = {
        arm: [_first_fold(runs, arm, framework=name, seed=0) for name in FRAMEWORKS]
        for arm in ("stock", "exact")
    }
    found: dict = {}
    for name, stock, exact in zip(FRAMEWORKS, pairs["stock"], pairs["exact"]):
        both = bool(stock and exact)
        found[name] = _difference(stock[0].predictions, exact[0].predictions) if both else None
    if not all(one for pair in pairs.values() for one in pair):
        return found | {"agreement": None}
    shares = {arm: _alike(tf[0].predictions, pt[0].predictions) for arm, (tf, pt) in pairs.items()}
    return found | {"agreement": shares}


def _read_probe(path: Path) -> dict[tuple[int, str], tuple[int, int]]:
    """Read truth and the linear probe's class of each image of the clean folds; {} if no file."""
    if not path.is_file():
        return {}
    number = {name: k for k, name in enumerate(CLASS_NAMES)}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                (int(row["split"].removeprefix("fold ")), row["path"]): (
                    number[row["label"]],
                    number[row[PROBE]],
                )
                for row in csv.DictReader(file)
                if row["split"].startswith("fold ")
            }
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not what `python -m src baselines --json` writes beside its record: {error}"
        ) from error


def _difference(a: Predictions, b: Predictions) -> dict:
    """Return the paired difference of `a` less `b`, in the groups of `b`."""
    _check_same_images(a, b)
    return {
        "images": len(a.labels),
        **paired_difference(a.labels, _classes(a), _classes(b), b.groups),
    }


def _alike(one: Predictions, two: Predictions) -> float:
    _check_same_images(one, two)
    return float((_classes(one) == _classes(two)).mean())


def _check_same_images(one: Predictions, two: Predictions) -> None:
    if not np.array_equal(one.paths, two.paths) or not np.array_equal(one.labels, two.labels):
        raise InputError(
            "Two runs of the grid that are to be compared were tested on different images: "
            f"{len(one.paths)} from {one.paths[0]} on, and {len(two.paths)} from {two.paths[0]} "
            "on. Run the grid on one dataset."
        )


def _classes(predictions: Predictions) -> np.ndarray:
    return predictions.probs.argmax(axis=1)


def _take(predictions: Predictions, rows: np.ndarray) -> Predictions:
    names = ("paths", "labels", "probs", "groups")
    return Predictions(*(getattr(predictions, name)[rows] for name in names))


def costs(runs: Sequence[FinishedRun]) -> dict:
    """Return means over the runs: minutes, epoch_minutes, images_per_second (in training).

    And the largest peak_memory_mb (MiB), `hardware`, the machines, and `cached`, whether frozen
    blocks came from the cache. Minutes leave out the
    filling of the cache of frozen blocks: whichever run came first did it for all of them.
    """
    records = [run.record for run in runs]
    epochs = [sum(record["history"]["epoch_seconds"]) for record in records]
    return {
        "minutes": float(np.mean([r["seconds"] - _filling(r) for r in records])) / 60,
        "epoch_minutes": float(np.mean(epochs)) / 60,
        "images_per_second": float(np.mean([r["images_per_second"]["train"] for r in records])),
        "peak_memory_mb": max(record["peak_memory_mb"] for record in records),
        "cached": all(record["feature_cache"] for record in records),
        "hardware": list(dict.fromkeys(_machine(record) for record in records)),
    }


def speed(runs: Sequence[FinishedRun]) -> dict | None:
    """Return what each arm cost in each framework; None without runs.

    Returns:
        arms: arm -> {"tf", "pt"} -> `costs` with `runs`, or None; and `ratio`, PyTorch's images
        per second by TensorFlow's, over the cells that both ran on one kind of machine and from
        the same cached blocks (stock PyTorch has none); else None.
        filling_minutes: of all runs together, for the outputs of frozen blocks.
    """
    if not runs:
        return None
    arms: dict[str, dict] = {}
    for arm in dict.fromkeys(run.cell.arm for run in runs):
        found = {name: select(runs, arm=arm, framework=name) for name in FRAMEWORKS}
        arms[arm] = {
            name: {"runs": len(some), **costs(some)} if some else None
            for name, some in found.items()
        }
        arms[arm]["ratio"] = _ratio(found["tf"], found["pt"])
    return {"arms": arms, "filling_minutes": sum(_filling(run.record) for run in runs) / 60}


def _ratio(tf: Sequence[FinishedRun], pt: Sequence[FinishedRun]) -> float | None:
    speeds = [
        {_conditions(run): run.record["images_per_second"]["train"] for run in runs}
        for runs in (tf, pt)
    ]
    both = [place for place in speeds[0] if place in speeds[1]]
    of_tf, of_pt = (sum(of_twin[place] for place in both) for of_twin in speeds)
    return of_pt / of_tf if of_tf else None


def _conditions(run: FinishedRun) -> tuple:
    """Return what two speeds must have in common to be compared."""
    cached = tuple(stage["block"] for stage in run.record["feature_cache"].values())
    return run.cell.split, run.cell.fold, run.cell.seed, _machine(run.record), cached


def _filling(record: dict) -> float:
    """Return the seconds that a run spent on outputs of frozen blocks."""
    return sum(stage["seconds"] for stage in record["feature_cache"].values())


def _machine(record: dict) -> str:
    """Return the machine in words: its GPU if it has one, else CPU, cores and memory."""
    found = record["hardware"]
    if found["gpu"]:
        return found["gpu"]
    cores = "1 core" if found["cores"] == 1 else f"{found['cores']} cores"
    return f"{found['cpu']}, {cores}, {found['memory_gb']:.0f} GiB, no GPU"
