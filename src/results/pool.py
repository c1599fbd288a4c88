"""What the grid left on disk, read back, and the folds of one seed put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.common.files import read_json
from src.data.splits.folds import FOLDS
from src.records import Predictions, read_predictions
from src.results.grid import Cell
from src.results.run import RESULTS, is_done

_DIFFERS = ("fold",)  # what may differ between the configs of runs that are pooled


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
    grid = results / "grid"
    return [
        FinishedRun(
            cell,
            read_json(grid / f"{cell.name}.json"),
            read_predictions(grid / f"{cell.name}.npz"),
        )
        for cell in cells
        if is_done(cell, results)
    ]


def select(runs: Sequence[FinishedRun], **wanted) -> list[FinishedRun]:
    """Return the runs whose cell has these values, such as `arm="exact", fold=0`."""
    return [
        run
        for run in runs
        if all(getattr(run.cell, name) == value for name, value in wanted.items())
    ]


def pool_folds_per_seed(runs: Sequence[FinishedRun]) -> list[Predictions]:
    """Return what each seed says of the images: its folds pooled, seeds never averaged.

    Raises:
        InputError: as `pool`, or two seeds were tested on different images, labels or groups.
    """
    seeds = sorted({run.cell.seed for run in runs})
    trials = [pool(select(runs, seed=seed)) for seed in seeds]
    for seed, trial in zip(seeds, trials):
        names = ("paths", "labels", "groups")
        if any(not np.array_equal(getattr(trial, n), getattr(trials[0], n)) for n in names):
            raise InputError(
                f"Seeds {seeds[0]} and {seed} of {runs[0].cell.name} were tested on different "
                "images, labels or groups, so they cannot share a row. Run the grid on one dataset."
            )
    return trials


def pool(runs: Sequence[FinishedRun]) -> Predictions:
    """Put together the predictions of several folds, in the order of the runs.

    Raises:
        InputError: the runs are not one experiment, an image comes twice or (with all folds) is
            missing, or a group is in two folds.
    """
    _check_one_experiment(runs)
    pooled = Predictions(
        *(
            np.concatenate([getattr(run.predictions, name) for run in runs])
            for name in ("paths", "labels", "probs", "groups")
        )
    )
    owners = np.repeat(np.arange(len(runs)), [len(run.predictions.paths) for run in runs])
    _check_images(runs, pooled, owners)
    _check_groups(runs, pooled, owners)
    return pooled


def _check_one_experiment(runs: Sequence[FinishedRun]) -> None:
    first = runs[0]
    for run in runs[1:]:
        one, two = first.record["config"], run.record["config"]
        names = sorted((set(one) | set(two)) - set(_DIFFERS))
        found = [name for name in names if one.get(name) != two.get(name)]
        if found:
            raise InputError(
                f"{first.cell.name} and {run.cell.name} are not one experiment; they differ in "
                f"{', '.join(found)}. Delete the older record and run it again."
            )
        if first.record["weights"]["sha256"] != run.record["weights"]["sha256"]:
            raise InputError(
                f"{first.cell.name} and {run.cell.name} did not start from the same weights. Run "
                "the older one again."
            )
        one, two = (each.record["dataset"]["fingerprint"] for each in (first, run))
        if one != two:
            raise InputError(
                f"{first.cell.name} and {run.cell.name} ran on different images (fingerprints "
                f"{one[:12]} and {two[:12]}). Run the grid on one dataset."
            )


def _check_images(runs: Sequence[FinishedRun], pooled: Predictions, owners: np.ndarray) -> None:
    paths, counts = np.unique(pooled.paths, return_counts=True)
    twice = np.flatnonzero(counts > 1)
    if len(twice):
        path = paths[twice[0]]
        names = [runs[owner].cell.name for owner in owners[pooled.paths == path]]
        raise InputError(
            f"{len(twice)} images are scored more than once, the first, {path}, in "
            f"{' and '.join(names)}. Folds must not overlap: run these cells again on one split."
        )
    if {run.cell.fold for run in runs} == set(range(FOLDS)):
        whole = sum(runs[0].record["dataset"]["parts"].values())
        if len(paths) != whole:
            raise InputError(
                f"The {FOLDS} folds of {runs[0].cell.name} score {len(paths)} images of {whole}. "
                "Each image must come once: run these cells again on one split."
            )


def _check_groups(runs: Sequence[FinishedRun], pooled: Predictions, owners: np.ndarray) -> None:
    pairs = np.unique(np.stack([pooled.groups, owners]), axis=1)  # (2, one a group and run)
    groups, counts = np.unique(pairs[0], return_counts=True)
    split = groups[counts > 1]
    if len(split):
        names = [runs[owner].cell.name for owner in pairs[1][pairs[0] == split[0]]]
        raise InputError(
            f"{len(split)} groups lie in more than one fold, the first, {split[0]}, in "
            f"{' and '.join(names)}: images of one patient would train and test. Run these cells "
            "again on one split."
        )
