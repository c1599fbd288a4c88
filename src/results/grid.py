"""The published runs as data, the most important first, and the training of those not done.

A cell of this grid is done when its record and its predictions are in the results folder. The
record is written last, and must describe the experiment that the cell declares.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src.common.errors import InputError
from src.common.files import make_folder, read_json, write_json
from src.comparison.run import train_once
from src.config import PRESETS, ExperimentConfig, with_defaults
from src.data.dataset import open_dataset
from src.data.splits.folds import FOLDS
from src.differences import STOCK
from src.records import read_run, write_predictions
from src.results.cluster import run_all

if TYPE_CHECKING:
    from distributed import Client

RESULTS = Path(__file__).resolve().parents[2] / "notebooks" / "results"
_RECORDED = (
    "framework", "config", "dataset", "created", "commit", "hardware", "versions", "weights",
    "history", "feature_cache", "metrics", "thresholds", "speed", "parameters", "peak_memory_mb",
    "seconds", "images_per_second",  # the last as older versions recorded it
)  # fmt: skip
PLACE = ("arm", "split", "fold", "seed", "perturbed")  # of a cell and of its record

# The weights file used so far lacks block14. It is randomly initialised, so it trains from the
# start, on cached outputs of block13. Learning rate and epochs were chosen on the validation images
# of fold 0 (notebooks/results/first_build/recipes.json).
RECIPE = dict(
    image_size=224,
    augment="none",
    feature_cache=True,
    reinit=("block14",),
    unfreeze_from="block14",
    head_epochs=0,
    finetune_epochs=3,
    finetune_learning_rate=1e-3,
    schedule="cosine",
    patience=0,
)
FROM_BLOCK13 = RECIPE | dict(
    unfreeze_from="block13",
    head_epochs=3,
    head_learning_rate=1e-3,
    finetune_epochs=2,
    finetune_learning_rate=1e-4,
)
SCRATCH = dict(
    image_size=71, init="scratch", head_epochs=0, finetune_epochs=4, finetune_learning_rate=1e-3,
    unfreeze_from="block1", batch_norm="update", max_images_per_epoch=1024, patience=0,
)  # fmt: skip
# The whole network; block14 as above. bfloat16, as the search trains it.
TUNED = PRESETS["tuned"] | dict(reinit=("block14",), precision="bfloat16")
# Trial `side-224-all`. It came when `tuned` had trained.
TUNED_WHOLE = TUNED | dict(unfreeze_from="block1", finetune_learning_rate=4e-4)
# `tuned` in small and in float32: do deep twins agree as often as rounding lets them?
TUNED_SMALL = TUNED | dict(image_size=96, precision="float32", max_images_per_epoch=1024)


@dataclass(frozen=True)
class Cell:
    """One run of the grid; `PLACE` names the fields that say which of its arm."""

    arm: str
    framework: str
    split: str = "clean"
    fold: int = 0
    seed: int = 0
    perturbed: bool = False  # every initial weight changed by one machine epsilon
    fields: dict = field(default_factory=dict)  # of the config; the three above are added

    @property
    def name(self) -> str:
        """The name of the run's folder and of its files in `notebooks/results/grid`."""
        fold = f"fold{self.fold}"
        part = {"clean": fold, "patient": f"patient-{fold}"}.get(self.split, self.split)
        perturbed = "-perturbed" * self.perturbed
        return f"{self.arm}-{self.framework}-{part}-seed{self.seed}{perturbed}"

    def config(self, init: str | None) -> ExperimentConfig:
        """Return the experiment; `init` is the weights file for arms that do not set one."""
        fields = ({"init": init} if init else {}) | self.fields
        return ExperimentConfig(
            **fields | {"split": self.split, "fold": self.fold, "seed": self.seed}
        )


def declared_grid() -> list[Cell]:
    """Return every run of the grid, the most important first."""
    folds, official = [{"fold": k} for k in range(FOLDS)], [{"split": "official", "fold": -1}]
    exact = [*folds, {"seed": 1}, {"seed": 2}, *official]
    runs = [("exact", RECIPE, where) for where in exact]
    runs += [("stock", RECIPE | {"restore_defaults": STOCK}, where) for where in folds]
    runs += [("block13", FROM_BLOCK13, {}), ("scratch", SCRATCH, {})]
    cells = [
        Cell(arm, framework, fields=fields, **where)
        for arm, fields, where in runs
        for framework in ("tf", "pt")
    ]
    # How often PyTorch agrees with itself, to hold the agreement of the frameworks against.
    floors = [("exact", RECIPE), ("scratch", SCRATCH)]
    cells += [Cell(arm, "pt", perturbed=True, fields=fields) for arm, fields in floors]
    # figshare's slices, one image each, by patient: what careful papers report.
    patients = [{"split": "patient"} | where for where in folds]
    tuned = [("pt", where) for where in folds + official + patients]
    tuned += [("tf", where) for where in folds + official]
    cells += [Cell("tuned", name, fields=TUNED, **where) for name, where in tuned]
    cells += [Cell("whole", "pt", fields=TUNED_WHOLE, **where) for where in folds]
    small = [("tf", False), ("pt", False), ("pt", True)]
    return cells + [
        Cell("small", name, perturbed=perturbed, fields=TUNED_SMALL) for name, perturbed in small
    ]


def choose(cells: Sequence[Cell], only: Sequence[str] = ()) -> list[Cell]:
    """Return the cells whose name contains any of `only`; by default all.

    Raises:
        InputError: no cell's name contains one of them.
    """
    for text in only:
        if not any(text in cell.name for cell in cells):
            raise InputError(
                f"No cell of the grid has {text!r} in its name. `python -m src reproduce --list` "
                "shows their names."
            )
    return [cell for cell in cells if not only or any(text in cell.name for text in only)]


def finished_record(cell: Cell, results: Path = RESULTS) -> dict | None:
    """Return the cell's record, or None unless it is among the results with its predictions.

    Raises:
        InputError: it is damaged, or of another experiment than the grid declares now.
    """
    files = [results / "grid" / f"{cell.name}{suffix}" for suffix in (".json", ".npz")]
    if not all(file.is_file() for file in files):
        return None
    record = read_json(files[0])
    recorded = with_defaults(record["config"])
    declared = cell.config(recorded["init"]).to_json()
    changed = sorted(name for name in recorded if recorded[name] != declared.get(name))
    if changed:
        raise InputError(
            f"{files[0]} belongs to another experiment than the grid declares: "
            f"{', '.join(changed)} differ. Delete it and {files[1].name}, and run the cell again."
        )
    return record


def run_grid(
    cells: Sequence[Cell],
    out: Path,
    data_dir: Path | None,
    init: str | None,
    results: Path = RESULTS,
    client: "Client | None" = None,
) -> Iterator[tuple[Cell, int]]:
    """Train the cells that are not done; yield each with the number of cells left.

    Each trains in a separate process; a stopped run continues from its last checkpoint. With a
    `client`, Dask's workers train, each a cell at a time.

    Raises:
        InputError: an argument is wrong, only the phantom set is there, or training failed.
    """
    left = [cell for cell in cells if not finished_record(cell, results)]
    run = partial(run_cell, out=out, data_dir=data_dir, init=init, results=results)
    for done, cell in enumerate(run_all(run, left, client), 1):
        yield cell, len(left) - done


def run_cell(
    cell: Cell, out: Path, data_dir: Path | None, init: str | None, results: Path = RESULTS
) -> None:
    """Train a cell and write its record, or find that another command has done so.

    Arguments and errors are those of `run_grid`.
    """
    if finished_record(cell, results):
        return
    config = cell.config(init)
    folder = make_folder(out / cell.name)
    dataset = open_dataset(config, data_dir)
    if dataset.kind == "phantom" and results == RESULTS:
        raise InputError(
            "The grid needs the real images, and none are found. Name their folder with --data."
        )
    how = {"perturbed": cell.perturbed, "thresholds": True}
    train_once(cell.framework, folder, config, dataset.root, **how)
    _save_run(cell, folder, make_folder(results / "grid") / cell.name)
    for checkpoint in folder.glob("*.safetensors"):  # a run is 350 MB
        checkpoint.unlink()


def _save_run(cell: Cell, folder: Path, saved: Path) -> None:
    """Copy the test predictions and the record of a finished run to `saved`.npz and .json."""
    run = read_run(folder)
    write_predictions(saved.with_suffix(".npz"), **vars(run.predictions))
    config = run.record["config"]
    init = Path(config["init"]).name  # no path of this machine
    record = {name: run.record[name] for name in _RECORDED if name in run.record}
    record |= {"config": config | {"init": init}}
    record |= {name: getattr(cell, name) for name in (*PLACE, "name")}
    record |= dict(init=init, reinit=config["reinit"], restore_defaults=config["restore_defaults"])
    write_json(saved.with_suffix(".json"), record)


def list_cells(cells: Sequence[Cell], results: Path = RESULTS) -> str:
    """Return a line for each cell: done, or the minutes that such runs took so far on CPU."""
    records = {cell.name: finished_record(cell, results) for cell in cells}
    done = [record for record in records.values() if record and not record["hardware"]["gpu"]]
    lines = []
    for cell in cells:
        kind = {"arm": cell.arm, "framework": cell.framework}
        seconds = [each["seconds"] for each in done if kind.items() <= each.items()]
        if records[cell.name]:
            state = "done"
        else:
            state = f"about {np.mean(seconds) / 60:.0f} min" if seconds else "not timed yet"
        lines.append(f"{cell.name:36}  {state}")
    return "\n".join(lines)
