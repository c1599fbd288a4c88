"""The rows of the table of speeds, as data."""

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass

from src.common.clock import WARM_UP
from src.config import ExperimentConfig

TRAIN, BLOCK13, FORWARD, INPUT = "train", "train from block13", "forward", "input alone"
TWIN, PLAIN = "twin", "plain"  # how a cell is written; PLAIN may have a variant
MAIN = 224, 16  # px and batch size of the rows that everybody looks for
# Nothing random, which would train from block1 on; and no score is told.
EXPERIMENT = ExperimentConfig(init="pretrained", allow_seen_test=True)


@dataclass(frozen=True)
class Cell:
    """One row of the table."""

    framework: str
    task: str = TRAIN
    written: str = PLAIN  # TWIN, PLAIN, or a variant of it that `src.{tf,pt}.plain` knows
    precision: str = "float32"
    image_size: int = 224  # px
    batch_size: int = 16

    @property
    def name(self) -> str:
        return " ".join(map(str, dataclasses.astuple(self)))

    @property
    def is_main(self) -> bool:
        """Whether it is one of the rows that everybody looks for."""
        return (self.image_size, self.batch_size) == MAIN and self.task in (TRAIN, FORWARD)

    @property
    def plain(self) -> tuple[str, int, int, str, str]:
        """What `src.{tf,pt}.plain.make_step` takes."""
        variant = "" if self.written == PLAIN else self.written
        precision = "bfloat16" if self.precision == "bfloat16" else ""
        return self.task, self.image_size, self.batch_size, variant, precision

    @property
    def reference(self) -> "Cell":
        """The cell that this one is compared with: its framework's plain form, in float32."""
        return dataclasses.replace(self, written=PLAIN, precision="float32")


def declared_cells() -> list[Cell]:
    """Return every cell of the table, at most 40; those compared with each other side by side."""
    ways = {
        "pt": [PLAIN, "channels_last", "torch.compile", TWIN],
        "tf": [PLAIN, "XLA", TWIN],
    }
    cells = []
    for task in (TRAIN, FORWARD):
        for framework in ("pt", "tf"):
            cells += [Cell(framework, task, written) for written in ways[framework]]
            cells += [Cell(framework, task, w, "bfloat16") for w in (PLAIN, TWIN)]
    elsewhere = [
        dict(task=TRAIN, image_size=150),
        dict(task=FORWARD, image_size=299),
        dict(task=FORWARD, batch_size=1),
        dict(task=BLOCK13),
    ]
    for where in elsewhere:
        cells += [Cell(f, written=w, **where) for f in ("pt", "tf") for w in (PLAIN, TWIN)]
    return cells + [Cell(framework, INPUT, TWIN) for framework in ("pt", "tf")]


def shuffled(cells: Sequence[Cell], order: random.Random) -> list[Cell]:
    """Return the cells in a new order; those that are compared with each other stay together."""
    kinds = {}
    for cell in order.sample(list(cells), len(cells)):
        kinds.setdefault((cell.task, cell.image_size, cell.batch_size), []).append(cell)
    kinds = list(kinds.values())
    order.shuffle(kinds)
    return [cell for kind in kinds for cell in kind]


def cell_config(cell: Cell, config: ExperimentConfig, steady: int) -> ExperimentConfig:
    """Return the experiment of a cell, with as many images as its steps take.

    Args:
        config: EXPERIMENT, with the classes of the folder.
        steady: steps that count.
    """
    images = (WARM_UP + steady + 1) * cell.batch_size  # the clock leaves the last step out
    return dataclasses.replace(
        config,
        image_size=cell.image_size,
        batch_size=cell.batch_size,
        precision=cell.precision,
        head_epochs=0,
        finetune_epochs=1,
        unfreeze_from="block13" if cell.task == BLOCK13 else "block1",
        batch_norm="update",  # as plain training does
        feature_cache=False,
        max_images_per_epoch=images,
    )
