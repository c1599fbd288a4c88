"""The speeds as a table and as a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from src.common import hardware
from src.comparison.bench.cells import FORWARD, MAIN, TRAIN, TWIN
from src.comparison.bench.profile import KINDS
from src.comparison.report.style import COLORS, new_figure, save_figure, styled
from src.records import FRAMEWORKS


def speed_table(measured: Mapping) -> str:
    """Return the table of what was measured, as Markdown; the reference of each ratio first."""
    lines = [
        "| task | px | batch | written as | precision | images/s (range of the turns) | times as "
        "fast as plain | of the roofline | start, build, first step (s) | peak memory, MiB |",
        f"|---|---:|---:|---|---|{'---:|' * 5}",
    ]
    for row in measured["rows"]:
        cells = [row["task"], row["image_size"], row["batch_size"]]
        cells += [_written(row), row["precision"]]
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
    return "\n\n".join(filter(None, ("\n".join(lines), about, _profiles(measured["rows"]))))


def _profiles(rows: Sequence[Mapping]) -> str:
    """Return what takes the time of the rows that were looked into; "" without any."""
    rows = [row for row in rows if "profile" in row]
    if not rows:
        return ""
    lines = [f"| task | written as | precision | {' | '.join(KINDS)} |"]
    lines.append(f"|---|---|---|{'---:|' * len(KINDS)}")
    for row in rows:
        shares = " | ".join(f"{row['profile'][kind]:.0%}" for kind in KINDS)
        lines.append(f"| {row['task']} | {_written(row)} | {row['precision']} | {shares} |")
    about = (
        "What takes the time where 224 px in batches of 16 stay below 60% of the roofline (the "
        "twins left out), as oneDNN reports it for one step; kernels that run side by side count "
        "in full. What is outside oneDNN, such as additions, the optimizer and in PyTorch "
        "BatchNorm and ReLU, moves memory more than it computes."
    )
    return f"{about}\n\n" + "\n".join(lines)


def _written(row: Mapping) -> str:
    written = row["written"].replace(TWIN, "**twin**")
    return f"{FRAMEWORKS[row['framework']]}, {written}"


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


def draw_speeds(measured: Mapping) -> Figure | None:
    """Draw the speeds at 224 px in batches of 16: training and prediction, bar by bar.

    Returns:
        None where there is nothing to draw.
    """
    rows = [row for row in measured["rows"] if "missing" not in row]
    rows = [row for row in rows if (row["image_size"], row["batch_size"]) == MAIN]
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
                f"{FRAMEWORKS[row['framework']]}, {row['written']}"
                f"{', bfloat16' * (row['precision'] == 'bfloat16')}"
                for row in reversed(shown[task])
            ]
            axes.set_yticks(range(len(names)), names)
            axes.set_title(tasks[task])
            axes.grid(False, axis="y")
        panels[-1].set_xlabel("images per second, 224 px, batches of 16")
    return figure


def write_speed_figure(measured: Mapping, path: Path) -> Path | None:
    """Write what `draw_speeds` draws to `path`, and return it; None where there is nothing."""
    figure = draw_speeds(measured)
    return figure and save_figure(figure, path, measured)
