"""What the runs took: minutes, images per second, memory, and on which machine."""

from collections.abc import Sequence

import numpy as np

from src.records import FRAMEWORKS
from src.reproduce.pool import Kept, select


def costs(runs: Sequence[Kept]) -> dict:
    """Return means over the runs: minutes, epoch_minutes, images_per_second (in training).

    And the largest peak_memory_mb (MiB), `hardware`, the machines, and `cached`, whether frozen
    blocks came from the cache. Minutes leave out the
    filling of the cache of frozen blocks: whichever run came first did it for all of them.
    """
    records = [run.record for run in runs]
    epochs = [sum(record["history"]["epoch_seconds"]) for record in records]
    return {
        "minutes": float(np.mean([r["seconds"] - _filling(r) for r in records])) / 60,
        "epoch_minutes": float(np.mean(epochs)) / 60,
        "images_per_second": float(np.mean([r["images_per_second"]["train"] for r in records])),
        "peak_memory_mb": max(record["peak_memory_mb"] for record in records),
        "cached": all(record["prefix_cache"] for record in records),
        "hardware": list(dict.fromkeys(_machine(record) for record in records)),
    }


def speed(runs: Sequence[Kept]) -> dict | None:
    """Return what each arm cost in each framework; None without runs.

    Returns:
        arms: arm -> {"tf", "pt"} -> `costs` with `runs`, or None; and `ratio`, PyTorch's images
        per second by TensorFlow's, over the cells that both ran on one kind of machine and from
        the same cached blocks (stock PyTorch has none); else None.
        filling_minutes: of all runs together, for the outputs of frozen blocks.
    """
    if not runs:
        return None
    arms: dict[str, dict] = {}
    for arm in dict.fromkeys(run.cell.arm for run in runs):
        found = {name: select(runs, arm=arm, framework=name) for name in FRAMEWORKS}
        arms[arm] = {
            name: {"runs": len(some), **costs(some)} if some else None
            for name, some in found.items()
        }
        arms[arm]["ratio"] = _ratio(found["tf"], found["pt"])
    return {"arms": arms, "filling_minutes": sum(_filling(run.record) for run in runs) / 60}


def _ratio(tf: Sequence[Kept], pt: Sequence[Kept]) -> float | None:
    speeds = [
        {_conditions(run): run.record["images_per_second"]["train"] for run in runs}
        for runs in (tf, pt)
    ]
    both = [place for place in speeds[0] if place in speeds[1]]
    of_tf, of_pt = (sum(of_twin[place] for place in both) for of_twin in speeds)
    return of_pt / of_tf if of_tf else None


def _conditions(run: Kept) -> tuple:
    """Return what two speeds must have in common to be compared."""
    cached = tuple(stage["block"] for stage in run.record["prefix_cache"].values())
    return run.cell.split, run.cell.fold, run.cell.seed, _machine(run.record), cached


def _filling(record: dict) -> float:
    """Return the seconds that a run spent on outputs of frozen blocks."""
    return sum(stage["seconds"] for stage in record["prefix_cache"].values())


def _machine(record: dict) -> str:
    """Return the machine in words: its GPU if it has one, else CPU, cores and memory."""
    found = record["hardware"]
    if found["gpu"]:
        return found["gpu"]
    cores = "1 core" if found["cores"] == 1 else f"{found['cores']} cores"
    return f"{found['cpu']}, {cores}, {found['memory_gb']:.0f} GiB, no GPU"
