r"""What the feature cache saves: the same few epochs without it and with it, and the same losses.

    python -m src bench feature-cache --init FILE --reinit block14 --image-size 224 \
        --head-learning-rate 0.01 --finetune-learning-rate 0.001 --json FILE

The initial weights (the file's blocks and the randomly initialised ones) are written as one
complete file, so that no block needs to train in stage 1 and only the head does.
"""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from src.common import hardware
from src.comparison.process import run_twin
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

TURNS = 3  # of each kind, alternating, so that a slow minute of the machine affects both
EPOCHS = 2  # per turn; the first one traces graphs and touches files, and is not counted
# Stage -> its fields of the config, and the smallest factor that it must be faster by.
STAGES = {
    "head": (dict(head_epochs=EPOCHS, finetune_epochs=0), 50),
    "block14": (dict(head_epochs=0, finetune_epochs=EPOCHS, unfreeze_from="block14"), 5),
    "block13": (dict(head_epochs=0, finetune_epochs=EPOCHS, unfreeze_from="block13"), 3),
}
KINDS = ("plain", "cached")
IMAGES = {"train": 128, "val": 32}


def measure_feature_cache(config: ExperimentConfig, data_dir: Path | None = None) -> dict:
    """Measure both frameworks, each in a process of its own.

    Returns:
        {"frameworks": {"tf" and "pt": {stage: seconds and losses}}, ...} as plain JSON values;
        seconds are those of the turns' last epochs.
    Raises:
        InputError: something given is wrong, or a twin stopped.
    """
    config = dataclasses.replace(config, augment="none", patience=0, max_images_per_epoch=0)
    costs = {name: run_twin(write_stage_costs, name, config, data_dir) for name in FRAMEWORKS}
    return {
        "frameworks": {framework: json.loads(text) for framework, text in costs.items()},
        "images": IMAGES,
        "config": config.to_json() | {"init": Path(config.init).name},  # no path of this machine
        "hardware": hardware.describe(None),
        "commit": hardware.commit(),
    }


def write_stage_costs(
    framework: str, config: ExperimentConfig, data_dir: Path | None, output: BinaryIO
) -> None:
    """Measure each of `STAGES`, without the cache and with it; write JSON to `output`."""
    twin = load_twin(framework)
    twin.runtime.configure(config)
    with tempfile.TemporaryDirectory() as folder:
        complete = Path(folder) / "complete.safetensors"
        write_safetensors(complete, initial_weights(config))
        config = dataclasses.replace(config, init=str(complete), reinit=())
        costs = {name: _stage(twin, config, data_dir, name, Path(folder)) for name in STAGES}
    output.write(json.dumps(costs).encode())


def feature_cache_table(measured: dict) -> str:
    """Return what was measured as a Markdown table: medians, and the range of the turns."""

    def turns(seconds: list[float], digits: int) -> str:
        median, low, high = (f"{f(seconds):.{digits}f}" for f in (np.median, min, max))
        return f"{median} ({low} to {high})"

    lines = [
        "| framework | trains | seconds per epoch without | with | times faster | seconds to fill, "
        "once | largest difference of losses |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for framework, stages in measured["frameworks"].items():
        for name, row in stages.items():
            fill = row["fill"]
            cells = [
                FRAMEWORKS[framework],
                name,
                turns(row["seconds"]["plain"], 1),
                turns(row["seconds"]["cached"], 2),
                f"{float(format(row['times_cheaper'], '.2g')):g}",  # only two digits are certain
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
            variant = dataclasses.replace(config, **STAGES[name][0], feature_cache=kind == "cached")
            few = open_dataset(variant, data_dir).with_counts(IMAGES)
            model = twin.model.build_model(variant, initial_weights(variant))
            history = twin.train.fit(model, few, variant, folder / f"{name}-{kind}-{turn}")
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
    """Return the speed-up of skipping all up to `block`, if a backward pass counts as two."""
    whole, skipped = (
        sum(layer_multiply_adds(layer, config.image_size) for layer in layers)
        for layers in (all_layers(config), layers_up_to(block))
    )
    remaining = (3 * IMAGES["train"] + IMAGES["val"]) * (whole - skipped)
    return 1 + sum(IMAGES.values()) * skipped / remaining
