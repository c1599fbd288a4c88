"""Train the cells of the grid that are not finished, each in a process of its own.

A cell is finished when its record and its predictions lie in the results folder; the record is
written last, and must be of the experiment that the grid declares. A run that was stopped goes on
from its last epoch.
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
_KEPT = (
    "framework", "config", "dataset", "created", "commit", "hardware", "versions", "weights",
    "history", "feature_cache", "metrics", "images_per_second", "parameters", "peak_memory_mb",
    "seconds",
)  # fmt: skip


def choose(cells: Sequence[Cell], only: Sequence[str] = ()) -> list[Cell]:
    """Return the cells whose name holds one of the words `only`; without words, what can run here.

    Raises:
        InputError: a word fits no cell.
    """
    for word in only:
        if not any(word in cell.name for cell in cells):
            raise InputError(
                f"No cell of the grid has {word!r} in its name. `python -m src reproduce --list` "
                "shows their names."
            )
    if not only:
        return [cell for cell in cells if not cell.needs_network]
    return [cell for cell in cells if any(word in cell.name for word in only)]


def is_done(cell: Cell, results: Path = RESULTS) -> bool:
    """Say whether the cell's record and predictions are among the results.

    Raises:
        InputError: they are of another experiment than the grid now declares for the cell.
    """
    files = [results / "grid" / f"{cell.name}{suffix}" for suffix in (".json", ".npz")]
    if not all(file.is_file() for file in files):
        return False
    kept = read_json(files[0])["config"]
    declared = cell.config(kept["init"]).to_json()
    found = sorted(name for name in kept if kept[name] != declared.get(name))
    if found:
        raise InputError(
            f"{files[0]} is of another experiment than the grid declares: {', '.join(found)} "
            f"differ. Delete it and {files[1].name}, and run the cell again."
        )
    return True


def run_grid(
    cells: Sequence[Cell],
    out: Path,
    data_dir: Path | None,
    init: str | None,
    results: Path = RESULTS,
) -> Iterator[tuple[Cell, int]]:
    """Train what is not done yet; yield each cell with how many are left.

    Raises:
        InputError: something given is wrong, or a twin stopped.
    """
    left = [cell for cell in cells if not is_done(cell, results)]
    for done, cell in enumerate(left, 1):
        config = cell.config(init)
        folder = make_folder(out / cell.name)
        write_json(folder / "cell.json", config.to_json())
        dataset = open_dataset(config, data_dir)
        if dataset.kind == "phantom" and results == RESULTS:
            raise InputError(
                "The README's grid is run on the real images, and none are found. Name their "
                "folder with --data."
            )
        options = ["--config", str(folder / "cell.json"), "--data", str(dataset.root)]
        train_once(cell.framework, folder, config, options)
        save_run(cell, folder, results / "grid")
        for checkpoint in folder.glob("*.safetensors"):  # a run is 350 MB
            checkpoint.unlink()
        yield cell, len(left) - done


def list_cells(cells: Sequence[Cell], results: Path = RESULTS) -> str:
    """Return the cells with what is done, and how long the rest takes by what was measured."""
    taken: dict[tuple, list[float]] = {}
    for cell in cells:
        if is_done(cell, results):
            seconds = read_json(results / "grid" / f"{cell.name}.json")["seconds"]
            taken.setdefault((cell.arm, cell.framework), []).append(seconds)
    lines, total, unknown = [], 0.0, 0
    for cell in cells:
        known = taken.get((cell.arm, cell.framework))
        if is_done(cell, results):
            state = "done"
        elif cell.needs_network:
            state = f"not run here: python -m src reproduce --only {cell.arm}"
        elif known:
            state, total = f"about {np.mean(known) / 60:.0f} min", total + np.mean(known)
        else:
            state, unknown = "not timed yet", unknown + 1
        lines.append(f"{cell.name:32}  {state}")
    lines.append(f"Left: about {total / 60:.0f} min, and {unknown} cells not timed yet.")
    return "\n".join(lines)


def save_run(cell: Cell, folder: Path, grid: Path) -> None:
    """Copy the record and the test predictions; which fold these are stands in the record."""
    run = read_run(folder)
    kept = run.predictions
    make_folder(grid)
    write_predictions(grid / f"{cell.name}.npz", kept.paths, kept.labels, kept.probs, kept.groups)
    about = dict(arm=cell.arm, split=cell.split, fold=cell.fold, seed=cell.seed)
    about |= dict(name=cell.name, init=Path(run.record["config"]["init"]).name)
    about |= {key: run.record["config"][key] for key in ("reinit", "restore_defaults")}
    record = {name: run.record[name] for name in _KEPT}
    record["config"] = record["config"] | {"init": about["init"]}  # no path of this machine
    write_json(grid / f"{cell.name}.json", record | about)
