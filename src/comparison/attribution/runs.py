"""When TensorFlow and PyTorch disagree, which default is the cause? One difference at a time.

The path starts at stock, with each framework's default restored for every difference of
`src.differences`, and settles one difference after the other until the twins are exact. Both
frameworks train at every point of the path, with several seeds. The effect of a difference is the
change between two neighbouring points of one seed. The floor is the exact PyTorch trained again,
with every initial weight changed by one machine epsilon.
"""

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.common.files import make_folder
from src.comparison.run import train_once
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.differences import DIFFERENCES, STOCK
from src.evaluation.intervals import fold_interval
from src.records import Run, measurement, read_run

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
QUANTITIES = ("log_loss", "accuracy", "probs")


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
        # No other run could use the frozen blocks' outputs of perturbed weights. With augmentation
        # the cache also limits the views, and both runs must see the same images.
        cache = config.feature_cache and not (cell.perturbed and config.augment == "none")
        variant = dataclasses.replace(
            config, seed=cell.seed, restore_defaults=cell.restored, feature_cache=cache
        )
        train_once(cell.framework, folder, variant, root, perturbed=cell.perturbed, workers=workers)
        for checkpoint in folder.glob("*.safetensors"):  # 350 MB per run, and there are sixty
            checkpoint.unlink()
        yield cell, len(cells) - done


def measure_attribution(config: ExperimentConfig, seeds: list[int], out: Path) -> dict:
    """Read the runs in `out` and return what each difference changes on the test part.

    Quantities are log_loss and accuracy, as signed changes, and probs, the mean absolute change of
    the probabilities. Each is {"mean", "low", "high", "values"}, with one value per seed and
    a t interval over the seeds, which includes the noise between them.

    Returns:
        rows [{row, framework, moved: {quantity: ...}}]: exact setting minus default;
        gaps [{settled, gap: {quantity: ...}}]: TensorFlow minus PyTorch, along the path;
        floor {quantity: ...}: perturbed PyTorch minus PyTorch; seeds; and what `measurement` adds.
    Raises:
        InputError: a run is missing.
    """
    read = functools.cache(lambda cell: read_run(out / cell.folder))

    def at(framework: str, settled: int) -> list[Cell]:
        return [cell_at(framework, settled, config, seed) for seed in seeds]

    def change(cells: list[Cell], references: list[Cell]) -> dict:
        changes = [_change(*map(read, pair)) for pair in zip(cells, references)]
        return {name: interval([each[name] for each in changes]) for name in QUANTITIES}

    exact = at("pt", len(STOCK))
    return measurement(
        config,
        read(exact[0]).record["dataset"],
        rows=[
            {"row": name, "framework": twin, "moved": change(at(twin, n + 1), at(twin, n))}
            for n, name in enumerate(STOCK)
            for twin in ("tf", "pt")
            if at(twin, n + 1) != at(twin, n)
        ],
        gaps=[
            {"settled": name, "gap": change(at("tf", n), at("pt", n))}
            for n, name in enumerate([None, *STOCK])
        ],
        floor=change([Cell("pt", (), seed, perturbed=True) for seed in seeds], exact),
        seeds=seeds,
    )


def interval(values: list[float]) -> dict:
    """Return the mean of `values` and its t interval; a single value has no interval."""
    bounds = fold_interval(values, 0.0) if len(values) > 1 else {"low": None, "high": None}
    mean, low, high = float(np.mean(values)), bounds["low"], bounds["high"]
    return {"mean": mean, "low": low, "high": high, "values": values}


def _change(run: Run, reference: Run) -> dict[str, float]:
    score, reference_score = (each.record["metrics"]["test"] for each in (run, reference))
    changes = {name: score[name] - reference_score[name] for name in ("log_loss", "accuracy")}
    probs = np.abs(run.predictions.probs.astype(np.float64) - reference.predictions.probs)
    return changes | {"probs": float(probs.mean())}
