"""Read the finished runs of the grid, and join the folds of one seed."""

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
    return [run for run in runs if run.cell.has(**values)]


def pool_folds_per_seed(runs: Sequence[FinishedRun]) -> list[Predictions]:
    """Return the predictions of each seed: its folds joined, seeds never averaged.

    Raises:
        InputError: as `pool`, or two seeds were tested on different images, labels or groups.
    """
    seeds = sorted({run.cell.seed for run in runs})
    pooled = [pool(select(runs, seed=seed)) for seed in seeds]
    for each in pooled:
        check_same_images(pooled[0], each, ("paths", "labels", "groups"))
    return pooled


def check_same_images(
    one: Predictions, two: Predictions, columns: Sequence[str] = ("paths", "labels")
) -> None:
    """Refuse to compare runs that were tested on different images.

    Raises:
        InputError: these columns of theirs differ.
    """
    pairs = {name: (getattr(one, name), getattr(two, name)) for name in columns}
    differing = [name for name, pair in pairs.items() if not np.array_equal(*pair)]
    if differing:
        raise InputError(
            "Two runs of the grid that should be compared were tested on different images "
            f"({len(one.paths)} from {one.paths[0]} on, and {len(two.paths)} from {two.paths[0]} "
            f"on): their {' and '.join(differing)} differ. Run the grid on one dataset."
        )


def pool(runs: Sequence[FinishedRun]) -> Predictions:
    """Join the predictions of several folds, in the order of the runs.

    Raises:
        InputError: the runs are not one experiment, an image or a group is in two folds, or all
            folds together lack an image.
    """
    _check_one_experiment(runs)
    columns = zip(*(vars(run.predictions).values() for run in runs))
    pooled = Predictions(*map(np.concatenate, columns))
    names = np.repeat([run.cell.name for run in runs], [len(r.predictions.paths) for r in runs])
    _check_one_fold("images", pooled.paths, names)
    _check_one_fold("groups", pooled.groups, names)
    whole = sum(runs[0].record["dataset"]["parts"].values())
    if len(runs) == FOLDS and len(pooled.paths) != whole:
        raise InputError(
            f"The folds of {runs[0].cell.name} score {len(pooled.paths)} images of {whole}. Each "
            "image must come once: run these cells again on one split."
        )
    return pooled


def _check_one_experiment(runs: Sequence[FinishedRun]) -> None:
    experiments = [
        run.record["config"]
        | {"fold": None, "initial weights": run.record["weights"]["sha256"]}
        | {"dataset fingerprint": run.record["dataset"]["fingerprint"]}
        for run in runs
    ]
    first = experiments[0]
    for run, other in zip(runs, experiments):
        differing = sorted(name for name in first | other if first.get(name) != other.get(name))
        if differing:
            raise InputError(
                f"{runs[0].cell.name} and {run.cell.name} are not one experiment; they differ in "
                f"{', '.join(differing)}. Delete the older record and run it again."
            )


def _check_one_fold(what: str, values: np.ndarray, names: np.ndarray) -> None:
    folds: dict[object, set] = {}
    for value, name in zip(values.tolist(), names.tolist()):
        folds.setdefault(value, set()).add(name)
    shared = [value for value in folds if len(folds[value]) > 1]
    if shared:
        raise InputError(
            f"{len(shared)} {what} lie in more than one fold, the first, {shared[0]}, in "
            f"{' and '.join(sorted(folds[shared[0]]))}: what is tested would be trained on. Run "
            "these cells again on one split."
        )
