"""Figures of 05_inside_xception: what a separable convolution is and costs, and its numbers."""

from types import SimpleNamespace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from src.comparison.agreement import relative_distance
from src.comparison.report.style import COLORS, WIDTH, new_figure, styled
from src.config import BLOCK_NAMES, FRAMEWORKS, ExperimentConfig
from src.xception.blocks import BACKBONE_LAYERS, block_sides, layer_multiply_adds
from src.xception.weights import Weights

STYLES = {  # of a 3 x 3 convolution -> its parameters, from i to o channels
    "plain": lambda i, o: 9 * i * o,
    "Inception-style": lambda i, o: i * o + 3 * o**2,  # 3 segments, as in Chollet 2017, figure 3
    "separable": lambda i, o: 9 * i + i * o,
}
_CHANNELS = ("#56B4E9", "#E69F00", "#009E73")  # Okabe and Ito's
_MIXED = ("#7A7A7A",) * 3
_HEIGHTS = (2.75, 1.65, 0.55)
_NO_DATA = {"dataset": {"kind": "none"}, "config": {}}  # no images, no training: no notice


@styled(grid=False)
def draw_separable() -> Figure:
    """Draw which channels each output of a plain and of a separable convolution uses."""
    figure = new_figure(4.3, _NO_DATA)
    plain, separable = figure.subplots(2, 1)
    for axes in (plain, separable):
        axes.set(xlim=(0, 10), ylim=(0, 3.4), aspect="equal")
        axes.axis("off")
        _stack(axes, 1.0, _CHANNELS, "input", window=True)
    plain.set_title("Plain: each output sees 3 x 3 pixels of every channel", fontsize=10)
    _stack(plain, 7.6, _MIXED, "output")
    title = "Separable: 3 x 3 pixels within a channel, then channels at one pixel"
    separable.set_title(title, fontsize=10)
    _stack(separable, 4.3, _CHANNELS, "depthwise, 3 x 3")
    _stack(separable, 7.6, _MIXED, "pointwise, 1 x 1")
    for y, color in zip(_HEIGHTS, _CHANNELS):
        _arrow(separable, (2.1, y), (4.2, y), color)
        for z in _HEIGHTS:
            _arrow(plain, (2.1, y), (7.5, z), "#222222")
            _arrow(separable, (5.4, y), (7.5, z), color)
    return figure


@styled(grid=False)
def draw_costs(image_size: int) -> Figure:
    """Draw what the separable convolutions cost, and what they would cost in other styles.

    Multiply-adds are those of one image of `image_size` px.
    """
    layers = [layer for layer in BACKBONE_LAYERS if layer.kind == "sepconv"]
    pixels = [layer_multiply_adds(layer, image_size) // layer.parameters() for layer in layers]
    parameters = np.array(
        [[count(layer.inputs, layer.outputs) for layer in layers] for count in STYLES.values()]
    )
    panels = (
        ("Parameters", parameters.sum(axis=1) / 1e6, "millions"),
        (f"Multiply-adds at {image_size} px", parameters @ pixels / 1e9, "billions"),
    )
    figure = new_figure(2.2, _NO_DATA)
    for axes, (title, values, unit) in zip(figure.subplots(1, 2, sharey=True), panels):
        colors = [COLORS["floor"], COLORS["floor"], COLORS["pt"]]
        bars = axes.barh(list(STYLES), values, color=colors, height=0.6)
        axes.bar_label(bars, [f"{value:,.1f}" for value in values], padding=3)
        axes.set_title(title, fontsize=10)
        axes.set(xlim=(0, 1.3 * max(values)), xlabel=unit)
        axes.tick_params(left=False)
    axes.invert_yaxis()
    return figure


def block_rows(image_size: int) -> list[dict]:
    """Return the convolutions, parameters, cost and output of each block, as table rows."""
    sides = block_sides(image_size)
    table = []
    for block in BLOCK_NAMES:
        layers = [layer for layer in BACKBONE_LAYERS if layer.block == block]
        last = [layer for layer in layers if "conv" in layer.kind and "residual" not in layer.name]
        adds = sum(layer_multiply_adds(layer, image_size) for layer in layers)
        kinds = [layer.kind for layer in layers]
        table.append(
            {
                "block": block,
                "convolutions": f"{kinds.count('sepconv')} separable, {kinds.count('conv')} plain",
                "parameters": sum(layer.parameters() for layer in layers),
                "million multiply-adds": f"{adds / 1e6:,.1f}",
                "output": f"{sides[block]} x {sides[block]} x {last[-1].outputs}",
            }
        )
    return table


def same_numbers(
    twins: dict[str, SimpleNamespace],
    config: ExperimentConfig,
    weights: Weights,
    images: np.ndarray,
) -> dict[str, dict]:
    """Give both twins the same weights and images; return the output of every block.

    Args:
        images: (N, S, S, 3) float32 in [-1, 1].
    Returns:
        framework -> block -> (N, s, s, C).
    """
    outputs = {}
    for name, twin in twins.items():
        model = twin.model.build_model(config, weights)
        outputs[name] = {
            block: twin.model.block_output(model, images, block) for block in BLOCK_NAMES
        }
    return outputs


def distance_rows(outputs: dict[str, dict]) -> list[dict]:
    """Return the relative distance of the frameworks after each block, as table rows."""
    return [
        {
            "block": block,
            "shape, both": " x ".join(map(str, outputs["tf"][block].shape)),
            "first number, TensorFlow": f"{outputs['tf'][block].ravel()[0]:.7f}",
            "first number, PyTorch": f"{outputs['pt'][block].ravel()[0]:.7f}",
            "relative distance": f"{relative_distance(outputs['pt'][block], maps):.1e}",
        }
        for block, maps in outputs["tf"].items()
    ]


@styled(grid=False)
def draw_layer(outputs: dict[str, dict], block: str, about: dict) -> Figure:
    """Draw the first image's four most varied channels after one block, and their difference.

    `outputs` is from `same_numbers`; `about` has `dataset` and `config`, for the notices above.
    """
    tf, pt = (outputs[name][block][0] for name in FRAMEWORKS)  # (s, s, C)
    channels = np.argsort(-tf.std(axis=(0, 1)), kind="stable")[:4]
    tf, pt = tf[..., channels], pt[..., channels]
    difference, low, high = np.abs(pt - tf), tf.min(axis=(0, 1)), tf.max(axis=(0, 1))
    rows = {
        "TensorFlow": (tf, "cividis", low, high),
        "PyTorch": (pt, "cividis", low, high),
        "difference": (difference, "gray", 0 * low, high - low),
    }
    figure = new_figure(3 * (WIDTH / 4.6) + 0.7, about)
    grid = figure.subplots(3, 4, subplot_kw={"xticks": [], "yticks": []})
    for line, (name, (maps, colors, lowest, highest)) in zip(grid, rows.items()):
        for k, axes in enumerate(line):
            axes.imshow(maps[..., k], cmap=colors, vmin=lowest[k], vmax=highest[k])
        line[0].set_ylabel(name, fontsize=9)
    for axes, channel in zip(grid[0], channels):
        axes.set_title(f"channel {channel}", fontsize=9)
    largest, span = difference.max(), (high - low).max()
    text = f"{block}; largest difference {largest:.1e}, values span up to {span:.2g}"
    figure.supxlabel(text, fontsize=9)
    return figure


def _stack(axes: Axes, left: float, colors: tuple, name: str, window: bool = False) -> None:
    for y, color in zip(_HEIGHTS, colors):
        axes.add_patch(Rectangle((left, y - 0.42), 1.0, 0.84, fc=color, ec="#222222", lw=0.8))
        if window:
            corner = (left + 0.35, y - 0.2)
            axes.add_patch(Rectangle(corner, 0.4, 0.4, fill=False, ec="#000000", lw=1.6))
    axes.text(left + 0.5, -0.05, name, ha="center", va="top", fontsize=9)


def _arrow(axes: Axes, start: tuple, end: tuple, color: str) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 7, "lw": 1.1, "color": color}
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))
