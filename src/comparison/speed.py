"""What exactness costs and what the feature cache saves, in seconds, measured in turns.

Exactness: training steps of two configs in one process, one step each. Feature cache: the same few
epochs without it and with it, and their losses, which must be equal. Only one kind runs at a time,
so that other work on the machine slows both alike.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from src.common.clock import WARM_UP
from src.common.errors import InputError
from src.comparison.process import run_twin
from src.comparison.report.tables import MISSING, tiny
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.experiment import load_twin, starting_weights
from src.feature_cache.plan import layers_up_to
from src.records import FRAMEWORKS, measurement
from src.training.history import History
from src.xception.blocks import layer_multiply_adds
from src.xception.stages import all_layers
from src.xception.weight_files import write_safetensors
from src.xception.weights import initial_weights

# What the exact twin does differently while training; the rest is data, or done once.
TRAINING_ROWS = (
    "bn_epsilon", "bn_momentum", "bn_variance", "pool_padding", "adam_epsilon", "float32_hyper",
    "momentum_schedule", "weight_decay", "class_weights", "clipping", "dropout",
)  # fmt: skip

TURNS = 3  # of each kind
EPOCHS = 2  # per turn; the first one traces graphs and touches files, and is not counted
STAGES = {  # that are measured with the feature cache -> fields of the config
    "head": dict(head_epochs=EPOCHS, finetune_epochs=0),
    "block14": dict(head_epochs=0, finetune_epochs=EPOCHS, unfreeze_from="block14"),
    "block13": dict(head_epochs=0, finetune_epochs=EPOCHS, unfreeze_from="block13"),
}
IMAGES = {"train": 128, "val": 32}


def measure_cost(
    framework: str, config: ExperimentConfig, data_dir: Path | None = None, rounds: int = 20
) -> dict:
    """Time the exact twin's training step and its framework's stock one.

    Args:
        framework: "tf" or "pt".
        config: the experiment; its second stage is measured.
        data_dir: where the images are; see `open_dataset`.
        rounds: steps of each that count.
    Returns:
        exact_seconds and stock_seconds (medians), cost (median of exact / stock - 1 over the
        rounds) and cost_interval, 95 % by bootstrap over rounds; and what `measurement` adds.
    Raises:
        InputError: something given is wrong.
    """
    dataset = open_dataset(config, data_dir)
    config = dataset.config  # with the classes of the folder
    twin = load_twin(framework)
    twin.runtime.configure(config)
    images = (rounds + WARM_UP) * config.batch_size
    counts = {"train": images, "val": config.batch_size}
    exact = replace(config, head_epochs=0, finetune_epochs=1, max_images_per_epoch=images)
    stock = replace(exact, restore_defaults=TRAINING_ROWS)
    fits = [partial(_fit, twin, variant, data_dir, counts) for variant in (exact, stock)]
    exact, stock = (seconds[WARM_UP:] for seconds in take_turns(fits, rounds + WARM_UP))
    ratios = exact / stock
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    return measurement(
        config,
        dataset.describe(),
        framework=framework,
        rounds=rounds,
        exact_seconds=float(np.median(exact)),
        stock_seconds=float(np.median(stock)),
        cost=float(np.median(ratios) - 1),
        cost_interval=[float(q - 1) for q in np.quantile(medians, (0.025, 0.975))],
    )


def take_turns(fits: list[Callable], rounds: int) -> list[np.ndarray]:
    """Run two functions in turns; each gets `on_step`, which it calls after each of its steps.

    Returns:
        the seconds of each one's steps, (rounds,) twice.
    """
    turns = [threading.Semaphore(1), threading.Semaphore(0)]
    seconds, failures = ([], []), []

    def run(index: int) -> None:
        this, other = turns[index], turns[1 - index]

        def on_step(*_) -> None:
            seconds[index].append(time.perf_counter() - started[index])
            other.release()
            wait()

        def wait() -> None:
            this.acquire()
            started[index] = time.perf_counter()

        wait()
        try:
            fits[index](on_step=on_step)
        except BaseException as error:  # raised again in the thread that waits
            failures.append(error)
        other.release(rounds + 1)  # this one needs no more turns

    started = [0.0, 0.0]
    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [np.array(times) for times in seconds]


def measure_feature_cache(config: ExperimentConfig, data_dir: Path | None = None) -> dict:
    """Measure both frameworks, each in a process of its own.

    Returns:
        {"frameworks": {"tf" and "pt": {stage: seconds of last epochs, and losses}}, "images"}, and
        what `measurement` adds.
    Raises:
        InputError: something given is wrong, or a twin stopped.
    """
    if "bn_frozen_mode" in config.restore_defaults:
        raise InputError(
            "With bn_frozen_mode restored PyTorch has no outputs to keep: its frozen BatchNorm "
            "follows each batch. Leave bn_frozen_mode out of --restore-defaults."
        )
    config = replace(config, augment="none", patience=0, max_images_per_epoch=0)
    dataset = open_dataset(config, data_dir)
    config = dataset.config  # with the classes of the folder
    costs = {name: run_twin(write_stage_costs, name, config, data_dir) for name in FRAMEWORKS}
    frameworks = {framework: json.loads(text) for framework, text in costs.items()}
    return measurement(config, dataset.describe(), frameworks=frameworks, images=IMAGES)


def write_stage_costs(
    framework: str, config: ExperimentConfig, data_dir: Path | None, output: BinaryIO
) -> None:
    """Measure each of `STAGES`, without the cache and with it; write JSON to `output`.

    All initial weights come from one complete file, so that no block needs to train in stage 1 and
    only the head does.
    """
    twin = load_twin(framework)
    twin.runtime.configure(config)
    with tempfile.TemporaryDirectory() as folder:
        complete = Path(folder) / "complete.safetensors"
        write_safetensors(complete, initial_weights(config))
        config = replace(config, init=str(complete), reinit=())
        stages = {name: replace(config, **fields) for name, fields in STAGES.items()}
        costs = {name: _stage_costs(twin, stages[name], data_dir) for name in STAGES}
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


def _fit(twin, config: ExperimentConfig, data_dir: Path | None, counts: dict, **options) -> History:
    """Train a new model of `twin` on `counts` images of each part, and forget it."""
    few = open_dataset(config, data_dir).with_counts(counts)
    model = twin.model.build_model(config, starting_weights(twin, config))
    with tempfile.TemporaryDirectory() as folder:
        return twin.train.fit(model, few, config, Path(folder), **options)


def _stage_costs(twin, config: ExperimentConfig, data_dir: Path | None) -> dict:
    seconds, losses, fills = {"plain": [], "cached": []}, {}, []
    for _ in range(TURNS):
        for kind in seconds:
            variant = replace(config, feature_cache=kind == "cached")
            history = _fit(twin, variant, data_dir, IMAGES)
            seconds[kind].append(history.epoch_seconds[-1])
            losses[kind] = history.loss + history.val_loss
            fills += history.feature_cache.values()
    return {
        "seconds": seconds,
        "times_cheaper": float(np.median(seconds["plain"]) / np.median(seconds["cached"])),
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
