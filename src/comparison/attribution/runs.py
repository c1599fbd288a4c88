"""When TensorFlow and PyTorch disagree, which default is the cause? One difference at a time.

The path starts at stock, with each framework's default restored for every difference of
`src.differences`, and settles one difference after the other until the twins are exact. Both
frameworks train at every point of the path, with several seeds. The effect of a difference is the
change between two neighbouring points of one seed. The floor is the exact PyTorch trained again,
with every initial weight changed by one machine epsilon.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from src.common.files import make_folder
from src.comparison.run import train_once
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.differences import DIFFERENCES, STOCK

# Small enough for three seeds within two hours on two CPU cores, with every difference in effect
# that one optimizer allows. 80 px: one side is even, so that `pool_padding` shows. Without
# augmentation most runs share the outputs of their frozen blocks.
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
POINTS = range(len(STOCK) + 1)  # of the path: how many differences are settled


@dataclass(frozen=True)
class Cell:
    """One run: a twin, the differences with their default restored, a seed."""

    framework: str
    restored: tuple[str, ...]
    seed: int
    perturbed: bool = False

    @property
    def folder(self) -> str:
        """The run's folder, relative to the attribution's."""
        name = "floor" if self.perturbed else (*self.restored, "exact")[0]
        return f"{self.framework}-{len(self.restored):02d}-{name}/seed-{self.seed}"


def cell_at(framework: str, settled: int, config: ExperimentConfig, seed: int) -> Cell:
    """Return the run of `framework` after the first `settled` differences.

    Defaults that cannot change this twin in this experiment are left out, so that points of the
    path that train alike share one run.
    """
    needs = {
        "adam_epsilon": config.optimizer != "sgd",
        "momentum_schedule": config.optimizer == "sgd",
        "weight_decay": config.weight_decay > 0,
        "class_weights": config.balance == "class_weights",
        "clipping": config.clip_norm > 0,
        "dropout": config.dropout > 0,
    }
    affected = {row.name for row in DIFFERENCES if framework in row.affects}
    restored = (name for name in STOCK[settled:] if name in affected and needs.get(name, True))
    return Cell(framework, tuple(restored), seed)


def plan(config: ExperimentConfig, seeds: list[int]) -> list[Cell]:
    """Return every run of the attribution, once; one seed after the other."""
    cells = []
    for seed in seeds:
        cells += [cell_at(name, point, config, seed) for name in ("pt", "tf") for point in POINTS]
        cells.append(Cell("pt", (), seed, perturbed=True))
    return list(dict.fromkeys(cells))


def run_cells(
    config: ExperimentConfig, seeds: list[int], out: Path, data_dir: Path | None, workers: int = 0
) -> Iterator[tuple[Cell, int]]:
    """Train the runs that are not finished yet in `out`; yield each with the number left.

    Raises:
        InputError: something given is wrong, or a twin stopped.
    """
    root = open_dataset(config, data_dir).root
    cells = plan(config, seeds)
    for done, cell in enumerate(cells, 1):
        folder = make_folder(out / cell.folder)
        # No other run could use the frozen blocks' outputs of perturbed weights.
        cache = config.feature_cache and not cell.perturbed
        variant = dataclasses.replace(
            config, seed=cell.seed, restore_defaults=cell.restored, feature_cache=cache
        )
        train_once(cell.framework, folder, variant, root, perturbed=cell.perturbed, workers=workers)
        for checkpoint in folder.glob("*.safetensors"):  # 350 MB per run, and there are sixty
            checkpoint.unlink()
        yield cell, len(cells) - done
