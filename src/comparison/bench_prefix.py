"""What the prefix cache saves: the same few epochs with it and without, and the same losses.

    python -m src bench --prefix --init FILE --redraw block14 --image-size 224 --json FILE

What stands at the start (the file's blocks, the others drawn) is written as one complete file, so
that nothing is redrawn and stage 1 trains the head alone.
"""

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from src import hardware
from src.comparison.records import FRAMEWORKS
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.errors import InputError
from src.experiment import load_twin
from src.files import read_json, write_json
from src.xception.readers import write_safetensors
from src.xception.weights import initial_weights

EPOCHS = 4
# Stage -> its epochs of each kind and where it begins; at least so many times cheaper (issue 6).
STAGES = {
    "head": (dict(head_epochs=EPOCHS, finetune_epochs=0), 50),
    "block14": (dict(head_epochs=0, finetune_epochs=EPOCHS, unfreeze_from="block14"), 5),
    "block13": (dict(head_epochs=0, finetune_epochs=EPOCHS, unfreeze_from="block13"), 3),
}
IMAGES = {"train": 256, "val": 64}


def measure_prefix(config: ExperimentConfig, data_dir: Path | None = None) -> dict:
    """Measure both frameworks, each in a process of its own.

    Returns:
        {"frameworks": {"tf" and "pt": {stage: seconds and losses}}, ...} as plain JSON values.
    Raises:
        InputError: something given is wrong, or a framework's half stopped.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "config.json"
        write_json(given, config.to_json())
        for framework in ("tf", "pt"):
            out = Path(folder) / f"{framework}.json"
            command = [sys.executable, "-m", "src", "bench", "--prefix-half"]
            command += ["--framework", framework, "--config", str(given), "--json", str(out)]
            command += ["--data", str(data_dir)] if data_dir else []
            if subprocess.run(command).returncode:
                raise InputError(f"The {framework} half stopped; its message stands above.")
            found[framework] = read_json(out)
    return {
        "frameworks": found,
        "images": IMAGES,
        "config": config.to_json() | {"init": Path(config.init).name},  # no path of this machine
        "hardware": hardware.describe(None),
        "commit": hardware.commit(),
    }


def measure_half(framework: str, config: ExperimentConfig, data_dir: Path | None) -> dict:
    """Measure each of `STAGES` in one framework, with the cache and without."""
    twin = load_twin(framework)
    twin.runtime.configure(config)
    config = dataclasses.replace(config, augment="none", patience=0, epoch_images=0)
    weights = initial_weights(config)
    with tempfile.TemporaryDirectory() as folder:
        complete = Path(folder) / "complete.safetensors"
        write_safetensors(complete, weights)
        config = dataclasses.replace(config, init=str(complete), redraw=())
        return {name: _stage(twin, config, data_dir, name, Path(folder)) for name in STAGES}


def prefix_table(measured: dict) -> str:
    """Return what was measured as a Markdown table."""
    lines = [
        "| framework | stage | s an epoch without | with | times cheaper | s to fill, once | "
        "losses differ by at most |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for framework, stages in measured["frameworks"].items():
        for name, row in stages.items():
            lines.append(
                f"| {FRAMEWORKS[framework]} | {name} | {row['plain_seconds']:.2f} "
                f"| {row['cached_seconds']:.3f} | {row['times_cheaper']:.1f} "
                f"| {row['fill']['seconds']:.1f} | {_difference(row['largest_difference'])} |"
            )
    return "\n".join(lines)


def _stage(twin, config: ExperimentConfig, data_dir: Path | None, name: str, folder: Path) -> dict:
    epochs = {}
    for kind in ("plain", "cached"):
        here = dataclasses.replace(config, **STAGES[name][0], prefix_cache=kind == "cached")
        dataset = open_dataset(here, data_dir)
        few = dataset.with_parts({p: _spread(dataset.parts[p], n) for p, n in IMAGES.items()})
        model = twin.model.build_model(here, initial_weights(here))
        epochs[kind] = twin.train.fit(model, few, here, folder / f"{name}-{kind}")
    plain, cached = epochs["plain"], epochs["cached"]
    losses = [np.array(each.loss + each.val_loss) for each in (plain, cached)]
    # The first epoch traces graphs and touches files; it is left out of both.
    seconds = [float(np.median(each.epoch_seconds[1:])) for each in (plain, cached)]
    return {
        "plain_seconds": seconds[0],
        "cached_seconds": seconds[1],
        "times_cheaper": seconds[0] / seconds[1],
        "at_least": STAGES[name][1],
        "fill": next(iter(cached.prefix.values())),
        "losses": [each.tolist() for each in losses],
        "largest_difference": float(np.abs(losses[0] - losses[1]).max()),
    }


def _difference(value: float) -> str:
    return f"{value:.0e}" if value else "0"


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Return `count` rows from all over the part, so that every class is among them."""
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)]
