"""Figures of 05_inside_xception: what a separable convolution is, and what it costs."""

from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from src.comparison.agreement import relative_distance
from src.comparison.report.style import COLORS, WIDTH, new_figure, styled
from src.config import BLOCK_NAMES, ExperimentConfig
from src.xception.blocks import BACKBONE_LAYERS, Layer, block_sides, layer_multiply_adds
from src.xception.weights import Weights

_CHANNELS = ("#56B4E9", "#E69F00", "#009E73")  # Okabe and Ito's
_MIXED = "#7A7A7A"
_REAL = {"dataset": {"kind": "none"}, "config": {}}  # nothing to mark: no images, no training


def draw_separable() -> Figure:
    """Draw plain and depthwise separable convolution: which channels each output looks at."""
    with styled(grid=False):
        figure = new_figure(4.3, _REAL)
        plain, separable = figure.subplots(2, 1)
        for axes in (plain, separable):
            axes.set_xlim(0, 10)
            axes.set_ylim(0, 3.4)
            axes.set_aspect("equal")
            axes.axis("off")
        plain.set_title("Plain: each output sees 3 x 3 pixels of every channel", fontsize=10)
        _stack(plain, 1.0, _CHANNELS, "input", window=True)
        _stack(plain, 7.6, (_MIXED,) * 3, "output")
        for y in _HEIGHTS:
            for z in _HEIGHTS:
                _arrow(plain, 2.1, y, 7.5, z, "#222222")
        separable.set_title(
            "Separable: 3 x 3 pixels within a channel, then channels at one pixel", fontsize=10
        )
        _stack(separable, 1.0, _CHANNELS, "input", window=True)
        _stack(separable, 4.3, _CHANNELS, "depthwise, 3 x 3")
        _stack(separable, 7.6, (_MIXED,) * 3, "pointwise, 1 x 1")
        for y, color in zip(_HEIGHTS, _CHANNELS):
            _arrow(separable, 2.1, y, 4.2, y, color)
            for z in _HEIGHTS:
                _arrow(separable, 5.4, y, 7.5, z, color)
        return figure


def draw_costs(image_size: int) -> Figure:
    """Draw what the 34 separable convolutions cost, and would cost if built in other ways."""
    rows = compare_styles(image_size)
    columns = (("parameters", 1e6, "million numbers"), ("multiply_adds", 1e9, "billion"))
    titles = ("Numbers in the kernels", f"Multiply-adds at {image_size} px")
    with styled(grid=False):
        figure = new_figure(2.2, _REAL)
        for axes, (key, unit, name), title in zip(
            figure.subplots(1, 2, sharey=True), columns, titles
        ):
            values = [row[key] / unit for row in rows]
            colors = [COLORS["floor"], COLORS["floor"], COLORS["pt"]]
            bars = axes.barh([row["style"] for row in rows], values, color=colors, height=0.6)
            axes.bar_label(bars, [f"{value:,.1f}" for value in values], padding=3)
            axes.set_xlim(0, 1.3 * max(values))
            axes.set_title(title, fontsize=10)
            axes.set_xlabel(name)
            axes.invert_yaxis()
            axes.tick_params(left=False)
        return figure


def block_rows(image_size: int) -> list[dict]:
    """Return what each block holds, costs and gives, as table rows."""
    sides = block_sides(image_size)
    rows = []
    for block in BLOCK_NAMES:
        layers = [layer for layer in BACKBONE_LAYERS if layer.block == block]
        out = [layer for layer in layers if layer.kind != "bn" and "residual" not in layer.name][-1]
        adds = sum(layer_multiply_adds(layer, image_size) for layer in layers)
        kinds = [layer.kind for layer in layers]
        rows.append(
            {
                "block": block,
                "convolutions": f"{kinds.count('sepconv')} separable, {kinds.count('conv')} plain",
                "numbers": sum(layer.parameters() for layer in layers),
                "million multiply-adds": f"{adds / 1e6:,.1f}",
                "gives": f"{sides[block]} x {sides[block]} x {out.outputs}",
            }
        )
    return rows


def same_numbers(
    twins: dict[str, SimpleNamespace],
    config: ExperimentConfig,
    weights: Weights,
    images: np.ndarray,
) -> dict[str, dict]:
    """Give both networks the same weights and images, and keep what every block gives.

    Args:
        twins: from `both_twins`.
        config: the experiment.
        weights: given to both.
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


def draw_layer(outputs: dict[str, dict], block: str, about: dict, image: int = 0) -> Figure:
    """Draw the strongest channels of one block in both frameworks, and their difference.

    Args:
        outputs: from `same_numbers`.
        block: whose.
        about: has `dataset` and `config`, for the marks.
        image: which of the images.
    """
    ours, reference = outputs["pt"][block][image], outputs["tf"][block][image]
    channels = np.argsort(-reference.std(axis=(0, 1)), kind="stable")[:4]
    lines = (
        ("TensorFlow", reference, "cividis"),
        ("PyTorch", ours, "cividis"),
        ("difference", np.abs(ours - reference), "gray"),
    )
    with styled(grid=False):
        figure = new_figure(3 * (WIDTH / 4.6) + 0.7, about)
        grid = figure.subplots(3, 4)
        for row, (name, maps, colors) in zip(grid, lines):
            for axes, channel in zip(row, channels):
                shown = maps[..., channel]
                low, high = reference[..., channel].min(), reference[..., channel].max()
                limits = (0, high - low) if name == "difference" else (low, high)
                axes.imshow(shown, cmap=colors, vmin=limits[0], vmax=limits[1])
                axes.set_xticks([])
                axes.set_yticks([])
            row[0].set_ylabel(name, fontsize=9)
        for axes, channel in zip(grid[0], channels):
            axes.set_title(f"channel {channel}", fontsize=9)
        largest = max(np.abs(ours - reference)[..., channel].max() for channel in channels)
        span = max(np.ptp(reference[..., channel]) for channel in channels)
        figure.supxlabel(
            f"{block}; largest difference {largest:.1e}, values span up to {span:.2g}", fontsize=9
        )
        return figure


_HEIGHTS = (2.75, 1.65, 0.55)


def _stack(axes, left: float, colors: tuple[str, ...], name: str, window: bool = False) -> None:
    for y, color in zip(_HEIGHTS, colors):
        axes.add_patch(Rectangle((left, y - 0.42), 1.0, 0.84, fc=color, ec="#222222", lw=0.8))
        if window:
            axes.add_patch(
                Rectangle((left + 0.35, y - 0.2), 0.4, 0.4, fill=False, ec="#000000", lw=1.6)
            )
    axes.text(left + 0.5, -0.05, name, ha="center", va="top", fontsize=9)


def _arrow(axes, x: float, y: float, to_x: float, to_y: float, color: str) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 7, "lw": 1.1, "color": color}
    axes.add_patch(FancyArrowPatch((x, y), (to_x, to_y), shrinkA=0, shrinkB=0, **style))


SEGMENTS = 3  # as in the paper's figure 3
STYLES = ("plain", "Inception-style", "separable")


def kernel_numbers(layer: Layer, style: str) -> int:
    """Return how many numbers the kernels of a separable `layer` hold when built as one of STYLES.

    Raises:
        ValueError: the layer is not separable, or no such style.
    """
    if layer.kind != "sepconv" or style not in STYLES:
        raise ValueError(
            f"Expected a sepconv and one of {STYLES}. Received: {layer.kind}, {style}."
        )
    square = layer.kernel**2
    if style == "plain":
        return square * layer.inputs * layer.outputs
    across = layer.inputs * layer.outputs  # the 1x1 convolution
    if style == "separable":
        return square * layer.inputs + across
    return across + square * layer.outputs**2 // SEGMENTS


def compare_styles(image_size: int) -> list[dict]:
    """Return, for each of STYLES, what all 34 separable convolutions would cost.

    Returns:
        [{"style", "parameters", "multiply_adds"}]; multiply-adds for one image of `image_size` px.
    """
    layers = [layer for layer in BACKBONE_LAYERS if layer.kind == "sepconv"]
    rows = []
    for style in STYLES:
        numbers = [kernel_numbers(layer, style) for layer in layers]
        pixels = [
            layer_multiply_adds(layer, image_size) // kernel_numbers(layer, "separable")
            for layer in layers
        ]
        adds = sum(count * area for count, area in zip(numbers, pixels))
        rows.append({"style": style, "parameters": sum(numbers), "multiply_adds": adds})
    return rows
