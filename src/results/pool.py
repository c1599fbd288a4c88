"""Read the finished runs of the grid, and join the folds of one seed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.common.files import read_json
from src.data.splits.folds import FOLDS
from src.records import Predictions, read_predictions
from src.results.grid import Cell
from src.results.run import RESULTS, is_done


@dataclass(frozen=True)
class FinishedRun:
    """A finished cell of the grid: its record, and its predictions of the test part."""

    cell: Cell
    record: dict
    predictions: Predictions


def read_grid(cells: Sequence[Cell], results: Path = RESULTS) -> list[FinishedRun]:
    """Read the cells that are done, in their order.

    Raises:
        InputError: a file is damaged.
    """
    files = [(cell, results / "grid" / cell.name) for cell in cells if is_done(cell, results)]
    return [
        FinishedRun(cell, read_json(f"{file}.json"), read_predictions(f"{file}.npz"))
        for cell, file in files
    ]


def select(runs: Sequence[FinishedRun], **values) -> list[FinishedRun]:
    """Return the runs whose cell has these values, such as `arm="exact", fold=0`."""
    return [
        run
        for run in runs
        if all(getattr(run.cell, name) == value for name, value in values.items())
    ]


def columns(predictions: Predictions) -> list[np.ndarray]:
    """Return paths, labels, probs and groups."""
    return [getattr(predictions, field.name) for field in fields(Predictions)]


def pool_folds_per_seed(runs: Sequence[FinishedRun]) -> list[Predictions]:
    """Return the predictions of each seed: its folds joined, seeds never averaged.

    Raises:
        InputError: as `pool`, or two seeds were tested on different images, labels or groups.
    """
    seeds = sorted({run.cell.seed for run in runs})
    pooled = [pool(select(runs, seed=seed)) for seed in seeds]
    for seed, one in zip(seeds, pooled):
        if not _same_images(one, pooled[0]) or not np.array_equal(one.groups, pooled[0].groups):
            raise InputError(
                f"Seeds {seeds[0]} and {seed} of {runs[0].cell.name} were tested on different "
                "images, labels or groups, so they cannot share a row. Run the grid on one dataset."
            )
    return pooled


def check_same_images(one: Predictions, two: Predictions) -> None:
    """Refuse to compare runs that were tested on different images or labels.

    Raises:
        InputError: they were.
    """
    if not _same_images(one, two):
        raise InputError(
            "Two runs of the grid that should be compared were tested on different images: "
            f"{len(one.paths)} from {one.paths[0]} on, and {len(two.paths)} from {two.paths[0]} "
            "on. Run the grid on one dataset."
        )


def _same_images(one: Predictions, two: Predictions) -> bool:
    return np.array_equal(one.paths, two.paths) and np.array_equal(one.labels, two.labels)


def pool(runs: Sequence[FinishedRun]) -> Predictions:
    """Join the predictions of several folds, in the order of the runs.

    Raises:
        InputError: the runs are not one experiment, an image comes twice or (with all folds) is
            missing, or a group is in two folds.
    """
    for run in runs[1:]:
        _check_one_experiment(runs[0], run)
    folds = zip(*(columns(run.predictions) for run in runs))
    pooled = Predictions(*map(np.concatenate, folds))
    names = np.repeat([run.cell.name for run in runs], [len(r.predictions.paths) for r in runs])
    _check_images(runs, pooled, names)
    _check_groups(pooled, names)
    return pooled


def _check_one_experiment(first: FinishedRun, other: FinishedRun) -> None:
    names = f"{first.cell.name} and {other.cell.name}"
    one, two = first.record["config"], other.record["config"]
    differing = {name for name in one | two if one.get(name) != two.get(name)} - {"fold"}
    if differing:
        raise InputError(
            f"{names} are not one experiment; they differ in {', '.join(sorted(differing))}. "
            "Delete the older record and run it again."
        )
    if first.record["weights"]["sha256"] != other.record["weights"]["sha256"]:
        raise InputError(f"{names} did not start from the same weights. Run the older one again.")
    one, two = (run.record["dataset"]["fingerprint"] for run in (first, other))
    if one != two:
        raise InputError(
            f"{names} ran on different images (fingerprints {one[:12]} and {two[:12]}). Run the "
            "grid on one dataset."
        )


def _check_images(runs: Sequence[FinishedRun], pooled: Predictions, names: np.ndarray) -> None:
    paths, counts = np.unique(pooled.paths, return_counts=True)
    repeated = paths[counts > 1]
    if len(repeated):
        raise InputError(
            f"{len(repeated)} images are scored more than once, the first, {repeated[0]}, in "
            f"{' and '.join(names[pooled.paths == repeated[0]])}. Folds must not overlap: run "
            "these cells again on one split."
        )
    whole = sum(runs[0].record["dataset"]["parts"].values())
    if {run.cell.fold for run in runs} == set(range(FOLDS)) and len(paths) != whole:
        raise InputError(
            f"The {FOLDS} folds of {runs[0].cell.name} score {len(paths)} images of {whole}. "
            "Each image must come once: run these cells again on one split."
        )


def _check_groups(pooled: Predictions, names: np.ndarray) -> None:
    pairs = np.unique(np.stack([pooled.groups.astype(str), names]), axis=1)  # (2, pairs)
    groups, counts = np.unique(pairs[0], return_counts=True)
    shared = groups[counts > 1]
    if len(shared):
        raise InputError(
            f"{len(shared)} groups lie in more than one fold, the first, {shared[0]}, in "
            f"{' and '.join(pairs[1][pairs[0] == shared[0]])}: images of one patient would train "
            "and test. Run these cells again on one split."
        )
