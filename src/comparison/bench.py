"""How fast are both frameworks, as people write them and as the twins? Steady speeds, in turns.

Each cell of the table runs in a process of its own, once in each turn, right after those that it is
compared with; so other work on the machine slows them alike. What comes before the steady
steps (start of the process, building, tracing or compiling) is told apart.
"""

import dataclasses
import json
import math
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil

from src.common import hardware
from src.common.clock import WARM_UP, Clock
from src.common.errors import InputError
from src.common.progress import no_bars
from src.comparison.process import run_twin
from src.comparison.report.style import COLORS, new_figure, save_figure, styled
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.experiment import load_twin
from src.records import FRAMEWORKS, measurement
from src.xception.blocks import layer_multiply_adds
from src.xception.stages import all_layers
from src.xception.weights import initial_weights

STEADY = {"cpu": 6, "gpu": 200}  # steps that count, in each turn
TRAIN, BLOCK13, FORWARD, INPUT = "train", "train from block13", "forward", "input alone"
TWIN, PLAIN = "twin", "stock"  # how a cell is written; PLAIN may have a variant
_PASSES = {TRAIN: 3, FORWARD: 1}  # a backward pass costs about two forward ones


@dataclass(frozen=True)
class Cell:
    """One row of the table."""

    framework: str
    task: str = TRAIN
    written: str = PLAIN  # TWIN, PLAIN, or a variant of it that `src.{tf,pt}.stock` knows
    precision: str = "float32"
    image_size: int = 224  # px
    batch_size: int = 16

    @property
    def name(self) -> str:
        return " ".join(map(str, dataclasses.astuple(self)))

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
        `roofline` (share of what `least_seconds` allows); start, build and first step in
        seconds and peak memory in MiB (medians). Or `missing`: why it did not run. machine: what
        `write_machine` measured, medians. And what `measurement` adds.
    Raises:
        InputError: something given is wrong.
    """
    # Nothing random, which would train from block1 on; and no score is told.
    config = ExperimentConfig(init="pretrained", allow_seen_test=True)
    dataset = open_dataset(config, data_dir)
    config, order = dataset.config, random.Random(0)
    gpu = run_twin(write_gpu, "pt", config, dataset.root).decode() or None
    runs, machine = {cell: [] for cell in cells}, []
    missing = {cell: hardware.missing_arithmetic(cell.precision, gpu) for cell in cells}
    try:
        for turn in range(turns):
            machine.append(json.loads(run_twin(write_machine, "pt", config, dataset.root)))
            for cell in _shuffled(cells, order):
                if missing[cell]:
                    continue
                try:
                    fields = _config(cell, config, STEADY["gpu" if gpu else "cpu"])
                    given = (write_speed, cell.framework, fields, dataset.root)
                    told = run_twin(*given, quiet=True, cell=dataclasses.asdict(cell))
                except InputError as error:
                    missing[cell] = f"It failed: {error}"
                    continue
                runs[cell].append(json.loads(told))
                done = f"turn {turn + 1}/{turns}  {cell.name}"
                log(f"{done}: {runs[cell][-1]['speed']:.1f} images/s")
    except KeyboardInterrupt:
        if not any(runs.values()):
            raise
        log("Stopped: the record holds what was measured so far.")
    peaks = {name: float(np.median([each[name] for each in machine])) for name in machine[0]}
    rows = [_row(cell, runs, missing[cell], peaks) for cell in cells]
    record = measurement(config, dataset.describe(), rows=rows, machine=peaks, turns=turns)
    return record | {"hardware": hardware.describe(gpu)}


def _shuffled(cells: Sequence[Cell], order: random.Random) -> list[Cell]:
    """Return the cells in a new order; those that are compared with each other stay together."""
    kinds = {}
    for cell in order.sample(list(cells), len(cells)):
        kinds.setdefault((cell.task, cell.image_size, cell.batch_size), []).append(cell)
    kinds = list(kinds.values())
    order.shuffle(kinds)
    return [cell for kind in kinds for cell in kind]


def _config(cell: Cell, config: ExperimentConfig, steady: int) -> ExperimentConfig:
    """Return the experiment of a cell, with as many images as its steps take."""
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


def _row(cell: Cell, runs: Mapping[Cell, list], missing: str | None, peaks: Mapping) -> dict:
    row, done = dataclasses.asdict(cell), runs[cell]
    if missing or not done:
        return row | {"missing": missing or "It did not run."}
    speeds, reference = ([run["speed"] for run in runs.get(c, ())] for c in (cell, cell.reference))
    row |= _spread("images_per_second", speeds)
    row["turns"] = len(done)
    if cell != cell.reference and reference:  # of the turns that both had
        row |= {"ratio": _spread("value", [a / b for a, b in zip(speeds, reference)])}
    for name in ("start", "build", "first_step", "peak_memory_mb"):
        row[name] = float(np.median([run[name] for run in done]))
    if cell.task in _PASSES:
        row["roofline"] = row["images_per_second"] * least_seconds(cell, peaks)
    return row


def _spread(name: str, values: Sequence[float]) -> dict:
    return {name: float(np.median(values)), "low": min(values), "high": max(values)}


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
        shapes = layer.shapes().values()
        side2 = layer_multiply_adds(layer, cell.image_size) / sum(map(math.prod, shapes))
        for kernel in layer.shapes().values():  # of a separable convolution two, one by one
            inputs, outputs = kernel[2:]  # a depthwise one says 1 and has as many as inputs
            channels = inputs + (outputs if outputs > 1 else inputs)
            arithmetic = 2 * side2 * math.prod(kernel) / flops
            traffic = size * side2 * channels / peaks["bytes_per_second"]
            total += max(arithmetic, traffic)
    return total * _PASSES[cell.task]


def write_gpu(_framework: str, _config: ExperimentConfig, _data: Path, output: BinaryIO) -> None:
    """Write the name of the GPU that PyTorch would use."""
    output.write((load_twin("pt").runtime.gpu_name() or "").encode())


def write_machine(_framework: str, _config: ExperimentConfig, _data: Path, output: BinaryIO):
    """Write how fast this machine multiplies large matrices and copies memory, as JSON."""
    output.write(json.dumps(load_twin("pt").runtime.machine_speeds()).encode())


def write_speed(
    framework: str, config: ExperimentConfig, data_dir: Path, output: BinaryIO, *, cell: dict
) -> None:
    """Write, as JSON, the steady speed of a cell in images per second, and what came before.

    Start is the time from the process's start until the framework is loaded; build makes the
    network and, for a twin, opens the images; the first step traces or compiles. All in seconds.
    """
    cell = Cell(**cell)
    twin = load_twin(framework)
    start = time.time() - psutil.Process().create_time()
    began, clock = time.perf_counter(), Clock()
    with no_bars():
        if cell.written == TWIN:
            run = _twin_run(twin, cell, config, data_dir)
        else:
            run = _stock_run(twin, cell, config.max_images_per_epoch // cell.batch_size)
        build = time.perf_counter() - began
        run(clock)
    speed = float(np.median([images / seconds for images, seconds in clock.turns]))
    told = {"speed": speed, "start": start, "build": build, "first_step": clock.first_step_seconds}
    output.write(json.dumps(told | {"peak_memory_mb": hardware.peak_memory_mb()}).encode())


def _stock_run(twin, cell: Cell, steps: int) -> Callable[[Clock], None]:
    about = cell.task, cell.image_size, cell.batch_size
    variant = "" if cell.written == PLAIN else cell.written
    precision = "bfloat16" if cell.precision == "bfloat16" else ""
    step = twin.stock.make_step(*about, variant, precision)

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


def speed_table(measured: Mapping) -> str:
    """Return the table of what was measured, as Markdown; the reference of each ratio first."""
    lines = [
        "| task | px | batch | written as | precision | images/s (range of the turns) | times as "
        "fast as plain | of the roofline | start, build, first step (s) | peak memory, MiB |",
        f"|---|---:|---:|---|---|{'---:|' * 5}",
    ]
    for row in measured["rows"]:
        written = row["written"].replace(PLAIN, "plain").replace(TWIN, "**twin**")
        cells = [row["task"], row["image_size"], row["batch_size"]]
        cells += [f"{FRAMEWORKS[row['framework']]}, {written}", row["precision"]]
        if "missing" in row:
            cells += [row["missing"], *[""] * 4]
        else:
            cells += [_range(row, "images_per_second", ".1f"), _range(row.get("ratio"), "value")]
            cells += [f"{row['roofline']:.0%}" if "roofline" in row else ""]
            cells += [", ".join(f"{row[name]:.1f}" for name in ("start", "build", "first_step"))]
            cells += [f"{row['peak_memory_mb']:,.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    machine = {name: each / 1e9 for name, each in measured["machine"].items()}
    about = (
        f"Medians of {_turns(measured['rows'])} turns on {hardware.name(measured['hardware'])}. "
        f"Large matrix products reach {machine['float32_flops']:.0f} GFLOP/s in float32 and "
        f"{machine['bfloat16_flops']:.0f} in bfloat16 there; memory moves "
        f"{machine['bytes_per_second']:.0f} GB/s."
    )
    return "\n".join(lines) + f"\n\n{about}"


def _turns(rows: Sequence[Mapping]) -> str:
    """Return how often the rows were measured: "3", or "2 to 3" where it was stopped."""
    counts = sorted({row["turns"] for row in rows if "turns" in row})
    return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else "0"


def _range(row: Mapping | None, name: str = "value", spec: str = ".2f") -> str:
    if not row:
        return ""
    if row["low"] == row["high"]:  # of one turn
        return f"{row[name]:{spec}}"
    return f"{row[name]:{spec}} ({row['low']:{spec}} to {row['high']:{spec}})"


def write_speed_figure(measured: Mapping, path: Path) -> Path | None:
    """Draw the speeds at 224 px in batches of 16: training and prediction, bar by bar.

    Returns:
        `path`, or None where there is nothing to draw.
    """
    rows = [row for row in measured["rows"] if "missing" not in row]
    rows = [row for row in rows if (row["image_size"], row["batch_size"]) == (224, 16)]
    tasks = {TRAIN: "training, the whole network", FORWARD: "prediction"}
    shown = {task: [row for row in rows if row["task"] == task] for task in tasks}
    shown = {task: some for task, some in shown.items() if some}
    if not shown:
        return None
    with styled():
        # Without notices: a speed is the same on any images and with any weights.
        about = {"dataset": {"kind": "real"}, "config": {}}
        figure = new_figure(0.26 * sum(map(len, shown.values())) + 1.1, about)
        ratios = [len(each) for each in shown.values()]
        panels = figure.subplots(len(shown), squeeze=False, height_ratios=ratios).ravel()
        for axes, task in zip(panels, shown):
            for y, row in enumerate(reversed(shown[task])):
                value = row["images_per_second"]
                error = [[value - row["low"]], [row["high"] - value]]
                style = {"hatch": "//", "fill": False} if row["written"] != TWIN else {}
                color = COLORS[row["framework"]]
                axes.barh(y, value, color=color, edgecolor=color, xerr=error, **style)
            names = [
                f"{FRAMEWORKS[row['framework']]}, {row['written'].replace(PLAIN, 'plain')}"
                f"{', bfloat16' * (row['precision'] == 'bfloat16')}"
                for row in reversed(shown[task])
            ]
            axes.set_yticks(range(len(names)), names)
            axes.set_title(tasks[task])
            axes.grid(False, axis="y")
        panels[-1].set_xlabel("images per second, 224 px, batches of 16")
        return save_figure(figure, path, measured)
