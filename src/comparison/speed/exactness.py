"""What does exactness cost? Training steps of two configs, taken in turns in one process.

Both run the twin's own `fit`. Only one of them runs at a time, one step each, so that other work
on the machine slows both alike.
"""

import dataclasses
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from src.config import ExperimentConfig
from src.data.dataset import Dataset, open_dataset
from src.experiment import load_twin, starting_weights

WARM_UP = 3  # rounds left out: tracing, memory, first touches of files
# What the exact twin does differently while training; the rest is data, or done once.
TRAINING_ROWS = (
    "bn_epsilon", "bn_momentum", "bn_variance", "pool_padding", "adam_epsilon", "float32_hyper",
    "momentum_schedule", "weight_decay", "class_weights", "clipping", "dropout",
)  # fmt: skip


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
        rounds) and cost_interval, 95 % by bootstrap over rounds.
    Raises:
        InputError: something given is wrong.
    """
    twin = load_twin(framework)
    twin.runtime.configure(config)
    dataset = open_dataset(config, data_dir)
    stock = dataclasses.replace(config, restore_defaults=TRAINING_ROWS)
    times = _take_turns(twin, dataset, (config, stock), rounds + WARM_UP)
    exact, stock = (seconds[WARM_UP:] for seconds in times)
    ratios = exact / stock
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    return {
        "framework": framework,
        "rounds": rounds,
        "exact_seconds": float(np.median(exact)),
        "stock_seconds": float(np.median(stock)),
        "cost": float(np.median(ratios) - 1),
        "cost_interval": [float(q - 1) for q in np.quantile(medians, (0.025, 0.975))],
        "config": config.to_json() | {"init": Path(config.init).name},  # no path of this machine
    }


def _take_turns(
    twin: SimpleNamespace, dataset: Dataset, configs: tuple, rounds: int
) -> list[np.ndarray]:
    """Run `fit` with each config, one step of each in turn; return the seconds, (rounds,) each."""
    turns = [threading.Semaphore(0) for _ in configs]
    seconds = [[] for _ in configs]
    failures = []

    def run(index: int, config: ExperimentConfig) -> None:
        this, other = turns[index], turns[1 - index]
        started = 0.0

        def on_step(*_) -> None:
            nonlocal started
            seconds[index].append(time.perf_counter() - started)
            other.release()
            this.acquire()
            started = time.perf_counter()

        this.acquire()
        try:
            started = time.perf_counter()
            _fit(twin, dataset, config, rounds, on_step)
        except BaseException as error:  # raised again in the thread that waits
            failures.append(error)
        other.release(rounds + 1)  # this one needs no more turns

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in enumerate(configs)]
    for thread in threads:
        thread.start()
    turns[0].release()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [np.array(times) for times in seconds]


def _fit(twin: SimpleNamespace, dataset: Dataset, config: ExperimentConfig, steps: int, on_step):
    """Train for one epoch of `steps` steps of the second stage, on the same few images."""
    images = steps * config.batch_size
    fields = dict(head_epochs=0, finetune_epochs=1, max_images_per_epoch=images)
    config = dataclasses.replace(config, **fields)
    few = dataset.with_counts({"train": images, "val": config.batch_size})
    few = dataclasses.replace(few, config=config)
    model = twin.model.build_model(config, starting_weights(twin, config))
    with tempfile.TemporaryDirectory() as folder:
        twin.train.fit(model, few, config, Path(folder), on_step=on_step)
