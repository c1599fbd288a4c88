"""Train the cells of the grid that are not finished, each in a separate process.

A cell is finished when its record and its predictions are in the results folder. The record is
written last, and must describe the experiment that the grid declares. A stopped run continues from
its last epoch.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.common.files import make_folder, read_json, write_json
from src.comparison.run import train_once
from src.data.dataset import open_dataset
from src.records import read_run, write_predictions
from src.results.grid import Cell

RESULTS = Path(__file__).resolve().parents[2] / "notebooks" / "results"
_RECORDED = (
    "framework", "config", "dataset", "created", "commit", "hardware", "versions", "weights",
    "history", "feature_cache", "metrics", "images_per_second", "parameters", "peak_memory_mb",
    "seconds",
)  # fmt: skip


def choose(cells: Sequence[Cell], only: Sequence[str] = ()) -> list[Cell]:
    """Return the cells whose name contains any of `only`; by default all but the network's.

    Raises:
        InputError: no cell's name contains one of them.
    """
    if not only:
        return [cell for cell in cells if not cell.needs_network]
    for text in only:
        if not any(text in cell.name for cell in cells):
            raise InputError(
                f"No cell of the grid has {text!r} in its name. `python -m src reproduce --list` "
                "shows their names."
            )
    return [cell for cell in cells if any(text in cell.name for text in only)]


def is_done(cell: Cell, results: Path = RESULTS) -> bool:
    """Say whether the cell's record and predictions are among the results.

    Raises:
        InputError: they belong to another experiment than the grid declares now.
    """
    files = [results / "grid" / f"{cell.name}{suffix}" for suffix in (".json", ".npz")]
    if not all(file.is_file() for file in files):
        return False
    recorded = read_json(files[0])["config"]
    declared = cell.config(recorded["init"]).to_json()
    changed = sorted(name for name in recorded if recorded[name] != declared.get(name))
    if changed:
        raise InputError(
            f"{files[0]} belongs to another experiment than the grid declares: "
            f"{', '.join(changed)} differ. Delete it and {files[1].name}, and run the cell again."
        )
    return True


def run_grid(
    cells: Sequence[Cell],
    out: Path,
    data_dir: Path | None,
    init: str | None,
    results: Path = RESULTS,
) -> Iterator[tuple[Cell, int]]:
    """Train the cells that are not done; yield each with the number of cells left.

    Raises:
        InputError: an argument is wrong, only the phantom set is there, or training failed.
    """
    left = [cell for cell in cells if not is_done(cell, results)]
    for done, cell in enumerate(left, 1):
        config = cell.config(init)
        folder = make_folder(out / cell.name)
        dataset = open_dataset(config, data_dir)
        if dataset.kind == "phantom" and results == RESULTS:
            raise InputError(
                "The grid needs the real images, and none are found. Name their folder with --data."
            )
        train_once(cell.framework, folder, config, dataset.root)
        save_run(cell, folder, results / "grid")
        for checkpoint in folder.glob("*.safetensors"):  # a run is 350 MB
            checkpoint.unlink()
        yield cell, len(left) - done


def list_cells(cells: Sequence[Cell], results: Path = RESULTS) -> str:
    """Return a line for each cell: done, or the minutes that such runs took so far."""
    done = {cell for cell in cells if is_done(cell, results)}
    minutes: dict[tuple, list[float]] = {}
    for cell in done:
        seconds = read_json(results / "grid" / f"{cell.name}.json")["seconds"]
        minutes.setdefault((cell.arm, cell.framework), []).append(seconds / 60)
    lines = []
    for cell in cells:
        known = minutes.get((cell.arm, cell.framework))
        if cell in done:
            state = "done"
        elif cell.needs_network:
            state = f"not run here: python -m src reproduce --only {cell.arm}"
        else:
            state = f"about {np.mean(known):.0f} min" if known else "not timed yet"
        lines.append(f"{cell.name:32}  {state}")
    return "\n".join(lines)


def save_run(cell: Cell, folder: Path, grid: Path) -> None:
    """Copy the record and the test predictions of a finished run into the grid's folder."""
    run = read_run(folder)
    test = run.predictions
    make_folder(grid)
    write_predictions(grid / f"{cell.name}.npz", test.paths, test.labels, test.probs, test.groups)
    config = run.record["config"]
    init = Path(config["init"]).name  # no path of this machine
    record = {name: run.record[name] for name in _RECORDED} | {"config": config | {"init": init}}
    record |= {name: getattr(cell, name) for name in ("arm", "split", "fold", "seed", "name")}
    record |= dict(init=init, reinit=config["reinit"], restore_defaults=config["restore_defaults"])
    write_json(grid / f"{cell.name}.json", record)
