"""The figure of a parity run: gap and floor after every step."""

from pathlib import Path

from src.comparison.report.plots import number_axis
from src.comparison.report.style import GAP_AND_FLOOR, new_figure, save_figure, styled


@styled()
def write_parity_plot(parity: dict, path: Path) -> Path:
    """Draw gap and floor of a parity record, of weights and of BatchNorm, as PNG; return `path`."""
    config, steps = parity["config"], parity["steps"]
    figure = new_figure(5.9, parity)
    weights, moving = figure.subplots(2, 1, sharex=True)
    weights.set_title("Trained weights")
    moving.set_title("BatchNorm moving statistics")
    for axes, prefix in ((weights, ""), (moving, "bn_")):
        axes.set_yscale("log")
        for name, style in GAP_AND_FLOOR.items():
            # A log axis cannot show a distance of exactly zero; there the line has a hole.
            values = [step[prefix + name] or float("nan") for step in steps]
            axes.plot([step["step"] for step in steps], values, markersize=3.5, **style)
    moving.set_xlabel(
        f"step ({config['optimizer']}, {config['precision']}, {config['image_size']} px, "
        f"batch {config['batch_size']})"
    )
    number_axis(moving)
    figure.supylabel("relative distance", fontsize=10)
    figure.legend(*weights.get_legend_handles_labels(), loc="outside lower left")
    return save_figure(figure, path)
