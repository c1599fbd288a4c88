"""When TensorFlow and PyTorch disagree, which default did it? From stock to exact, row by row.

The path begins with every row of the ledger at each framework's own default and settles one row
after the other, in the ledger's order, until the twins are exact. Each place on the path is trained
in both frameworks with several seeds. What a row moves is the difference between two neighbours of
the same seed; what is mere chaos is seen by training the exact PyTorch again, one epsilon off.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from src.common.files import make_folder, write_json
from src.comparison.run import train_once
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.differences import DIFFERENCES, STOCK
from src.records import Predictions, read_run

# Small enough for three seeds within two hours on two CPU cores, with every row in play that one
# optimizer allows. 80 px: an even side comes up, so that `pool_padding` shows. Without augmentation
# most runs share the outputs of their frozen blocks.
ATTRIBUTION = dict(
    image_size=80,
    max_images_per_epoch=512,
    head_epochs=1,
    finetune_epochs=2,
    batch_norm="update",
    augment="none",
    feature_cache=True,
    optimizer="adam",
    weight_decay=4e-3,
    clip_norm=1.0,
)
FLOOR = "floor"
_TWINS = {row.name: row.affects for row in DIFFERENCES}


@dataclass(frozen=True)
class Cell:
    """One run: a twin, the rows that stand at its framework's own default, a seed."""

    framework: str
    rows: tuple[str, ...]
    seed: int
    perturbed: bool = False

    @property
    def folder(self) -> str:
        """Where the run goes, below the attribution's own folder."""
        place = FLOOR if self.perturbed else (self.rows[0] if self.rows else "exact")
        return f"{self.framework}-{len(self.rows):02d}-{place}/seed-{self.seed}"


def path_to_exact() -> list[tuple[str, ...]]:
    """Return the rows still at each framework's own default, place by place; the last has none."""
    return [STOCK[settled:] for settled in range(len(STOCK) + 1)]


def cell_at(framework: str, rows: tuple[str, ...], config: ExperimentConfig, seed: int) -> Cell:
    """Return the run that shows `framework` with `rows` at their defaults.

    Rows that cannot move this twin in this experiment are left out, so that places on the path
    that train alike share one run.
    """
    moving = tuple(row for row in rows if _can_move(row, framework, config))
    return Cell(framework, moving, seed)


def plan(config: ExperimentConfig, seeds: list[int]) -> list[Cell]:
    """Return every run of the attribution, once; whole seeds one after the other."""
    cells = []
    for seed in seeds:
        for framework in ("pt", "tf"):
            cells += [cell_at(framework, rows, config, seed) for rows in path_to_exact()]
        cells.append(Cell("pt", (), seed, perturbed=True))
    return list(dict.fromkeys(cells))


def run_cells(
    config: ExperimentConfig, seeds: list[int], out: Path, data_dir: Path | None, workers: int = 0
) -> Iterator[tuple[Cell, int]]:
    """Train what is not finished yet below `out`; yield each run with how many are left.

    Raises:
        InputError: something given is wrong, or a twin stopped.
    """
    root = open_dataset(config, data_dir).root
    cells = plan(config, seeds)
    for done, cell in enumerate(cells, 1):
        folder = make_folder(out / cell.folder)
        # One epsilon off, the frozen blocks' outputs would be of use to no other run.
        cache = config.feature_cache and not cell.perturbed
        here = dataclasses.replace(
            config, seed=cell.seed, restore_defaults=cell.rows, feature_cache=cache
        )
        write_json(folder / "cell.json", here.to_json())
        options = ["--config", str(folder / "cell.json"), "--workers", str(workers)]
        options += ["--data", str(root)] + ["--perturbed"] * cell.perturbed
        train_once(cell.framework, folder, here, options)
        for checkpoint in folder.glob("*.safetensors"):  # a run is 350 MB, and there are sixty
            checkpoint.unlink()
        yield cell, len(cells) - done


def read_cell(out: Path, cell: Cell) -> tuple[dict, Predictions]:
    """Return a finished run's scores on the test part and its predictions there.

    Raises:
        InputError: it is not there or damaged.
    """
    run = read_run(out / cell.folder)
    return run.record["metrics"]["test"], run.predictions


def _can_move(row: str, framework: str, config: ExperimentConfig) -> bool:
    """Say whether `row` put back can change this twin's arithmetic in this experiment at all."""
    needs = {
        "adam_epsilon": config.optimizer != "sgd",
        "momentum_schedule": config.optimizer == "sgd",
        "weight_decay": config.weight_decay > 0,
        "class_weights": config.balance == "class_weights",
        "clipping": config.clip_norm > 0,
        "dropout": config.dropout > 0,
    }
    return framework in _TWINS[row] and needs.get(row, True)
