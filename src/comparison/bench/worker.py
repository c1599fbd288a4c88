"""One row of the table, in a process of its own."""

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np
import psutil

from src.common import hardware
from src.common.clock import Clock
from src.common.progress import no_bars
from src.comparison.bench.cells import FORWARD, INPUT, TWIN, Cell
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.experiment import load_twin
from src.xception.weights import initial_weights


def write_machine(
    framework: str, _config: ExperimentConfig, _data_dir: Path, output: BinaryIO
) -> None:
    """Write, as JSON, the GPU's name (or null), and what PyTorch's `machine_speeds` measures."""
    runtime = load_twin(framework).runtime
    output.write(json.dumps({"gpu": runtime.gpu_name()} | runtime.machine_speeds()).encode())


def write_speed(
    framework: str, config: ExperimentConfig, data_dir: Path, output: BinaryIO, *, cell: dict
) -> None:
    """Write, as JSON, the steady speed of a cell in images per second, and what came before.

    Start is the time from the process's start until the framework is loaded; build makes the
    network and, for a twin, opens the images; the first step traces or compiles. All in seconds.
    """
    cell = Cell(**cell)
    is_twin = cell.written == TWIN
    loaded = load_twin(framework) if is_twin else load_plain(framework)
    start = time.time() - psutil.Process().create_time()
    began, clock = time.perf_counter(), Clock()
    with no_bars():
        if is_twin:
            run = _twin_run(loaded, cell, config, data_dir)
        else:
            run = _plain_run(loaded, cell, config.max_images_per_epoch // cell.batch_size)
        build = time.perf_counter() - began
        run(clock)
    speed = float(np.median([images / seconds for images, seconds in clock.turns]))
    told = {"speed": speed, "start": start, "build": build, "first_step": clock.first_step_seconds}
    output.write(json.dumps(told | {"peak_memory_mb": hardware.peak_memory_mb()}).encode())


def load_plain(framework: str) -> ModuleType:
    """Import `plain.py` as a file of its own: without what the twins' packages set on import."""
    file = Path(__file__).parents[2] / framework / "plain.py"
    spec = importlib.util.spec_from_file_location(f"{framework}_plain", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _plain_run(plain: ModuleType, cell: Cell, steps: int) -> Callable[[Clock], None]:
    step = plain.make_step(*cell.plain)

    def run(clock: Clock) -> None:
        clock.start_pass(steps)
        for _ in range(steps):
            step()
            clock.step(cell.batch_size)
            if clock.is_due():
                clock.end_turn()

    return run


def _twin_run(
    twin, cell: Cell, config: ExperimentConfig, data_dir: Path
) -> Callable[[Clock], None]:
    twin.runtime.configure(config)
    images, few = config.max_images_per_epoch, cell.batch_size
    dataset = open_dataset(config, data_dir)
    dataset = dataset.with_counts({"train": images, "val": few, "test": images})
    if cell.task == INPUT:
        loader = twin.data.make_loader(dataset.batches("train", training=True))

        def run(clock: Clock) -> None:
            loader.set_epoch(0)
            clock.start_pass(len(loader))
            for _ in loader:
                clock.step(cell.batch_size)
                clock.end_turn()  # most take less than a turn of other clocks

        return run
    model = twin.model.build_model(config, initial_weights(config))

    def train(clock: Clock) -> None:
        with tempfile.TemporaryDirectory() as folder:
            history = twin.train.fit(model, dataset, config, Path(folder))
        clock.turns, clock.first_step_seconds = (
            history.clock.turns, history.clock.first_step_seconds,
        )  # fmt: skip

    def forward(clock: Clock) -> None:
        twin.predict.predict_logits(model, twin.data.make_loader(dataset.batches("test")), clock)

    return forward if cell.task == FORWARD else train
