"""The grid as data: the runs behind every table of results, the most important ones first."""

from dataclasses import dataclass, field

from src.config import ExperimentConfig
from src.data.splits.folds import FOLDS
from src.differences import STOCK

# The weights file used so far lacks block14. It is randomly initialised, so it trains from the
# start, on cached outputs of block13. Learning rate and epochs were chosen on the validation images
# of fold 0 (notebooks/results/recipes.json).
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
_COMPLETE = RECIPE | dict(init="imagenet", reinit=(), unfreeze_from="block13", head_epochs=3)


@dataclass(frozen=True)
class Cell:
    """One run: an arm, a framework, a split, a fold, a seed."""

    arm: str
    framework: str
    split: str = "clean"
    fold: int = 0
    seed: int = 0
    fields: dict = field(default_factory=dict, hash=False, compare=False)
    needs_network: bool = False  # its weights have to be downloaded

    @property
    def name(self) -> str:
        """The name of the run's folder and of its files in `notebooks/results/grid`."""
        part = f"fold{self.fold}" if self.split == "clean" else self.split
        return f"{self.arm}-{self.framework}-{part}-seed{self.seed}"

    def has(self, **values) -> bool:
        """Say whether the cell has these values, such as `arm="exact", fold=0`."""
        return all(getattr(self, name) == value for name, value in values.items())

    def config(self, init: str | None) -> ExperimentConfig:
        """Return the experiment; `init` is the weights file for arms that do not set one."""
        fields = ({"init": init} if init else {}) | self.fields
        return ExperimentConfig(
            **fields | {"split": self.split, "fold": self.fold, "seed": self.seed}
        )


def declared_grid() -> list[Cell]:
    """Return every run of the grid, the most important first."""
    exact = [{"fold": k} for k in range(FOLDS)] + [{"seed": 1}, {"seed": 2}]
    exact += [{"split": "official", "fold": -1}]
    runs = [("exact", RECIPE, where) for where in exact]
    runs += [("stock", RECIPE | {"restore_defaults": STOCK}, {})]
    runs += [("block13", FROM_BLOCK13, {}), ("scratch", SCRATCH, {})]
    runs += [("imagenet", _COMPLETE, {"needs_network": True})]
    return [
        Cell(arm, framework, fields=fields, **where)
        for arm, fields, where in runs
        for framework in ("tf", "pt")
    ]
