"""The runs of the grid that are done: read them, choose some, join folds, compare two."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.data.splits.folds import FOLDS, SELECTION
from src.evaluation.intervals import CONFIDENCE, paired_difference
from src.records import (
    FRAMEWORKS,
    Predictions,
    Run,
    experiment_differences,
    image_differences,
    read_predictions,
)
from src.results.grid import RESULTS, Cell, finished_record


def read_grid(cells: Sequence[Cell], results: Path = RESULTS) -> list[Run]:
    """Read the cells that are done, in their order.

    Raises:
        InputError: a file is damaged, or of another experiment than the grid declares.
    """
    folder = results / "grid"
    return [
        Run(folder, record, read_predictions(folder / f"{cell.name}.npz"))
        for cell in cells
        if (record := finished_record(cell, results))
    ]


def select(runs: Sequence[Run], **values) -> list[Run]:
    """Return the runs whose record has these values, such as `arm="exact", fold=0`."""
    values = {"perturbed": False} | values
    return [run for run in runs if values.items() <= run.record.items()]


def pair(runs: Sequence[Run], **values) -> dict[str, Predictions | None]:
    """Return each framework's predictions in the run that has these values, if it is done."""
    done = {run.framework: run.predictions for run in select(runs, **values)}
    return {name: done.get(name) for name in FRAMEWORKS}


def pool(runs: Sequence[Run]) -> Predictions:
    """Join the predictions of several folds, in the order of the runs.

    Raises:
        InputError: the runs are not one experiment, an image or a group is in two folds, or all
            folds together lack an image that is not set aside.
    """
    first = runs[0].record
    for run in runs[1:]:
        other = run.record | {"config": run.record["config"] | {"fold": first["config"]["fold"]}}
        if differences := experiment_differences(first, other):
            raise InputError(
                f"{first['name']} and {other['name']} are not one experiment; they differ in "
                f"{'; '.join(differences)}. Delete the older record and run it again."
            )
    for what in ("paths", "groups"):
        _check_one_fold(what, runs)
    pooled = Predictions(*map(np.concatenate, zip(*(vars(r.predictions).values() for r in runs))))
    dataset = first["dataset"]
    whole = sum(dataset["parts"].values()) - dataset["aside"].get(SELECTION, 0)
    if len(runs) == FOLDS and len(pooled.paths) != whole:
        raise InputError(
            f"The folds of {first['name']} score {len(pooled.paths)} images of {whole}. Each "
            "image must come once: run these cells again on one split."
        )
    return pooled


def _check_one_fold(what: str, runs: Sequence[Run]) -> None:
    name_of: dict[object, str] = {}
    for run in runs:
        name = run.record["name"]
        for value in getattr(run.predictions, what).tolist():
            if (other := name_of.setdefault(value, name)) != name:
                raise InputError(
                    f"The {what} of two folds overlap: {value} is in {other} and {name}, so what "
                    "is tested would be trained on. Run these cells again on one split."
                )


def check_same_images(first: Predictions, second: Predictions, *columns: str) -> None:
    """Check that two runs were tested on the same images.

    Raises:
        InputError: a column, such as "paths", differs.
    """
    if differences := image_differences(first, second, columns):
        raise InputError(
            "Two runs of the grid that should be compared were tested on different images: "
            f"{differences[0]} differs. Run the grid on one dataset."
        )


def difference(
    a: Predictions | None, b: Predictions | None, confidence: float = CONFIDENCE
) -> dict | None:
    """Return the accuracy of `a` minus that of `b`, image by image, in the groups of `b`."""
    if a is None or b is None:
        return None
    check_same_images(a, b, "paths", "labels")
    classes = (each.probs.argmax(axis=1) for each in (a, b))
    gain = paired_difference(a.labels, *classes, b.groups, confidence=confidence)
    return {"images": len(a.labels), **gain}


def overlap(folds: Sequence[Run]) -> float:
    """Return `test_per_train` of `fold_interval`: its mean over folds."""
    parts = [run.record["dataset"]["parts"] for run in folds]
    return float(np.mean([part["test"] / part["train"] for part in parts]))
