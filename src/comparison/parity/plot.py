"""The figure of a parity run: gap and floor after every step."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from src.comparison.report.style import GAP_AND_FLOOR, new_figure, save_figure, styled


def draw_parity(parity: dict) -> Figure:
    """Draw gap and floor by step, on log axes, for weights and for BatchNorm statistics.

    Args:
        parity: from `src.comparison.parity.measure.measure_parity`.
    """
    config = parity["config"]
    with styled():
        figure = new_figure(5.9, parity)
        weights, moving = figure.subplots(2, 1, sharex=True)
        _draw_lines(weights, parity["steps"], "")
        weights.set_title("Trained weights")
        _draw_lines(moving, parity["steps"], "bn_")
        moving.set_title("BatchNorm moving statistics")
        moving.set_xlabel(
            f"step ({config['optimizer']}, {config['precision']}, {config['image_size']} px, "
            f"batch {config['batch_size']})"
        )
        moving.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        figure.supylabel("relative distance", fontsize=10)
        handles, labels = weights.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left")
        return figure


def write_parity_plot(parity: dict, path: Path) -> Path:
    """Draw the figure as PNG and return `path`."""
    return save_figure(draw_parity(parity), path)


def _draw_lines(axes: Axes, steps: list[dict], prefix: str) -> None:
    axes.set_yscale("log")
    for name, style in GAP_AND_FLOOR.items():
        # A log axis cannot show a distance of exactly zero; there the line has a hole.
        values = [step[prefix + name] or float("nan") for step in steps]
        axes.plot([step["step"] for step in steps], values, markersize=3.5, **style)
