"""Steady speeds of every row, in turns.

Each cell runs in a process of its own, once in each turn, right after those that it is compared
with; so other work on the machine slows them alike. What comes before the steady steps (start of
the process, building, tracing or compiling) is told apart.
"""

import contextlib
import dataclasses
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from src.common import hardware
from src.common.clock import spread
from src.common.errors import InputError
from src.comparison.bench.cells import (
    EXPERIMENT,
    FORWARD,
    TRAIN,
    TWIN,
    Cell,
    cell_config,
    shuffled,
)
from src.comparison.bench.profile import write_profile
from src.comparison.bench.worker import write_machine, write_speed
from src.comparison.process import run_twin
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.records import measurement
from src.xception.blocks import layer_multiply_adds
from src.xception.stages import all_layers

STEADY = {"cpu": 6, "gpu": 200}  # steps that count, in each turn
LOW = 0.6  # share of the roofline below which a row is explained
_PASSES = {TRAIN: 3, FORWARD: 1}  # a backward pass costs about two forward ones


def measure_speeds(
    cells: Sequence[Cell], turns: int, data_dir: Path | None = None, log: Callable = print
) -> dict:
    """Run every cell once in each turn, in another order each time.

    Ctrl-C ends it with what was measured so far.

    Args:
        cells: which.
        turns: how many.
        data_dir: the twins' images; see `open_dataset`.
        log: gets a line for each run.
    Returns:
        rows: for each cell its fields, `turns`, `images_per_second` (median over turns; `low` and
        `high` their range), `ratio` to its reference's speed (the same three, turn by turn) and
        `roofline` (share of what `least_seconds` allows); `profile` of the main plain rows on a CPU
        whose share is below LOW (see `write_profile`); start, build and first step in
        seconds and peak memory in MiB (medians). Or `missing`: why it did not run. machine: the
        speeds that `write_machine` measured before. And what `measurement` adds.
    Raises:
        InputError: something given is wrong.
    """
    dataset = open_dataset(EXPERIMENT, data_dir)
    config, order = dataset.config, random.Random(0)
    machine = json.loads(run_twin(write_machine, "pt", config, dataset.root))
    gpu = machine.pop("gpu")
    missing = {cell: hardware.missing_arithmetic(cell.precision, gpu) for cell in cells}
    runs = {cell: [] for cell in cells}
    whole = False
    try:
        for turn in range(turns):
            for cell in shuffled(cells, order):
                if missing[cell]:
                    continue
                fields = cell_config(cell, config, STEADY["gpu" if gpu else "cpu"])
                given = (write_speed, cell.framework, fields, dataset.root)
                try:
                    told = json.loads(run_twin(*given, quiet=True, cell=dataclasses.asdict(cell)))
                except InputError as error:
                    missing[cell] = f"It failed: {error}"
                    continue
                runs[cell].append(told)
                log(f"turn {turn + 1}/{turns}  {cell.name}: {told['speed']:.1f} images/s")
        whole = True
    except KeyboardInterrupt:
        if not any(runs.values()):
            raise
        log("Stopped: the record holds what was measured so far.")
    rows = [_row(cell, runs, missing[cell], machine) for cell in cells]
    if whole and not gpu:
        _explain(cells, rows, config, dataset.root)
    record = measurement(config, dataset.describe(), rows=rows, machine=machine)
    return record | {"hardware": hardware.describe(gpu)}


def _explain(cells: Sequence[Cell], rows: Sequence[dict], config, data_dir: Path) -> None:
    """Give `profile` to the main plain rows whose share of the roofline is below LOW."""
    with contextlib.suppress(KeyboardInterrupt, InputError):  # the speeds are what counts
        for cell, row in zip(cells, rows):
            if cell.is_main and cell.written != TWIN and row.get("roofline", 1) < LOW:
                given = (write_profile, cell.framework, config, data_dir)
                written = run_twin(*given, quiet=True, cell=dataclasses.asdict(cell))
                if shares := json.loads(written):
                    row["profile"] = shares


def _row(cell: Cell, runs: Mapping[Cell, list], missing: str | None, peaks: Mapping) -> dict:
    row, done = dataclasses.asdict(cell), runs[cell]
    if missing or not done:
        return row | {"missing": missing or "It did not run."}
    speeds, reference = ([run["speed"] for run in runs.get(c, ())] for c in (cell, cell.reference))
    row |= spread(speeds, "images_per_second")
    row["turns"] = len(done)
    if cell != cell.reference and reference:  # of the turns that both had
        row |= {"ratio": spread([a / b for a, b in zip(speeds, reference)])}
    for name in ("start", "build", "first_step", "peak_memory_mb"):
        row[name] = float(np.median([run[name] for run in done]))
    if cell.task in _PASSES:
        row["roofline"] = row["images_per_second"] * least_seconds(cell, peaks)
    return row


def least_seconds(cell: Cell, peaks: Mapping[str, float]) -> float:
    """Return the seconds that the roofline gives for an image on a machine with these peaks.

    Each convolution takes the longer of its arithmetic at the speed of a large matrix product and
    its maps' way through the memory; BatchNorm, activations and additions are taken to be free.
    (Maps that stay in a cache may beat it.)
    Source: Williams, Waterman and Patterson 2009, doi:10.1145/1498765.1498785 (roofline).
    """
    flops = peaks[f"{cell.precision}_flops"]
    size = 2 if cell.precision == "bfloat16" else 4  # bytes of a number
    total = 0.0
    for layer in all_layers(ExperimentConfig(image_size=cell.image_size)):
        if layer.kind == "bn" or layer.block == "head":
            continue
        kernels = layer.shapes().values()
        pixels = layer_multiply_adds(layer, cell.image_size) / sum(map(math.prod, kernels))
        for kernel in kernels:  # of a separable convolution two, one by one
            inputs, outputs = kernel[2:]  # a depthwise one says 1 and has as many as inputs
            channels = inputs + (outputs if outputs > 1 else inputs)
            arithmetic = 2 * pixels * math.prod(kernel) / flops
            traffic = size * pixels * channels / peaks["bytes_per_second"]
            total += max(arithmetic, traffic)
    return total * _PASSES[cell.task]
