r"""What the feature cache saves: the same few epochs with it and without, and the same losses.

    python -m src bench --prefix --init FILE --reinit block14 --image-size 224 \
        --head-learning-rate 0.01 --finetune-learning-rate 0.001 --json FILE

What stands at the start (the file's blocks, the others drawn) is written as one complete file, so
that nothing is redrawn and stage 1 trains the head alone.
"""

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from src.common import hardware
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.comparison.report.tables import MISSING, tiny
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.experiment import load_twin
from src.feature_cache.plan import layers_up_to
from src.records import FRAMEWORKS
from src.xception.blocks import layer_multiply_adds
from src.xception.stages import all_layers
from src.xception.weight_files import write_safetensors
from src.xception.weights import initial_weights

TURNS = 3  # of each kind, one after the other, so that a slow minute of the machine meets both
EPOCHS = 2  # a turn; the first one traces graphs and touches files, and is left out
# Stage -> its epochs of each kind and where it begins; at least so many times cheaper (issue 6).
STAGES = {
    "head": (dict(head_epochs=EPOCHS, finetune_epochs=0), 50),
    "block14": (dict(head_epochs=0, finetune_epochs=EPOCHS, unfreeze_from="block14"), 5),
    "block13": (dict(head_epochs=0, finetune_epochs=EPOCHS, unfreeze_from="block13"), 3),
}
KINDS = ("plain", "cached")
IMAGES = {"train": 128, "val": 32}


def measure_prefix(config: ExperimentConfig, data_dir: Path | None = None) -> dict:
    """Measure both frameworks, each in a process of its own.

    Returns:
        {"frameworks": {"tf" and "pt": {stage: seconds and losses}}, ...} as plain JSON values;
        seconds are those of the turns' last epochs.
    Raises:
        InputError: something given is wrong, or a framework's half stopped.
    """
    found = {}
    config = dataclasses.replace(config, augment="none", patience=0, max_images_per_epoch=0)
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
    weights = initial_weights(config)
    with tempfile.TemporaryDirectory() as folder:
        complete = Path(folder) / "complete.safetensors"
        write_safetensors(complete, weights)
        config = dataclasses.replace(config, init=str(complete), reinit=())
        return {name: _stage(twin, config, data_dir, name, Path(folder)) for name in STAGES}


def prefix_table(measured: dict) -> str:
    """Return what was measured as a Markdown table: medians, and the range of the turns."""
    lines = [
        "| framework | stage | s an epoch without | with | times cheaper | s to fill, once | "
        "losses differ by at most |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for framework, stages in measured["frameworks"].items():
        for name, row in stages.items():
            plain, cached = (row["seconds"][kind] for kind in KINDS)
            fill = row["fill"]
            cells = [
                *(FRAMEWORKS[framework], name, _turns(plain, 1), _turns(cached, 2)),
                f"{float(format(row['times_cheaper'], '.2g')):g}",  # two digits are sure
                f"{fill['seconds']:.1f}" if fill["computed"] else MISSING,
                tiny(row["largest_difference"]),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _stage(twin, config: ExperimentConfig, data_dir: Path | None, name: str, folder: Path) -> dict:
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    losses, fills = {}, []
    for turn in range(TURNS):
        for kind in KINDS:
            here = dataclasses.replace(config, **STAGES[name][0], feature_cache=kind == "cached")
            dataset = open_dataset(here, data_dir)
            few = dataset.with_parts({p: _spread(dataset.parts[p], n) for p, n in IMAGES.items()})
            model = twin.model.build_model(here, initial_weights(here))
            history = twin.train.fit(model, few, here, folder / f"{name}-{kind}-{turn}")
            seconds[kind].append(history.epoch_seconds[-1])
            losses[kind] = history.loss + history.val_loss
            fills += history.feature_cache.values()
    plain, cached = (float(np.median(seconds[kind])) for kind in KINDS)
    return {
        "seconds": seconds,
        "times_cheaper": plain / cached,
        "at_least": STAGES[name][1],
        "by_multiply_adds": _by_multiply_adds(config, fills[0]["block"]),
        "fill": fills[0],
        "losses": losses,
        "largest_difference": float(np.abs(np.subtract(*losses.values())).max()),
    }


def _by_multiply_adds(config: ExperimentConfig, block: str) -> float:
    """Return how many times cheaper skipping all up to `block` is, counting multiply-adds alone.

    A backward pass counts as two forward ones.
    """
    whole, skipped = (
        sum(layer_multiply_adds(layer, config.image_size) for layer in layers)
        for layers in (all_layers(config), layers_up_to(block))
    )
    left = (3 * IMAGES["train"] + IMAGES["val"]) * (whole - skipped)
    return 1 + sum(IMAGES.values()) * skipped / left


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Return `count` rows from all over the part, so that every class is among them."""
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)]


def _turns(seconds: list[float], digits: int) -> str:
    """[18.4, 20.1, 19.3] -> "19.3 (18.4 to 20.1)"."""
    middle, low, high = np.median(seconds), min(seconds), max(seconds)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
