"""How the frameworks differ, as data: the rows of differences.csv.

Each row holds a framework's default and what the exact twins do. Files, image order and learning
rates are always shared.
"""

import csv
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One difference between the frameworks."""

    name: str
    keras: str  # default of Keras or TensorFlow
    torch: str  # default of PyTorch or timm
    exact: str  # what the exact twins do
    source: str  # where the code does it
    affects: tuple[str, ...]  # the twins that a restored default changes; none: always settled


def _read(path: Path) -> tuple[Row, ...]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(Row(**row | {"affects": tuple(row["affects"].split())}) for row in rows)


DIFFERENCES = _read(Path(__file__).with_suffix(".csv"))
# What `ExperimentConfig.restore_defaults` may name. With none the twins are exact, with all
# (`STOCK`) they are what people usually write, and a single one is a fault that
# `python -m src parity --fault ROW` must catch.
RESTORABLE = STOCK = tuple(row.name for row in DIFFERENCES if row.affects)
