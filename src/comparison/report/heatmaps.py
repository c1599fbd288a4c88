"""Heat maps over images: the image stays gray and readable, the map lies transparent on it."""

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from src.comparison.report.style import WIDTH, new_figure, styled
from src.evaluation.localisation import STRONGEST, enlarge

# Purple to yellow: brighter as it gets stronger, so colour-blind readers see the same order.
MAP = matplotlib.colormaps["plasma"]


@dataclass(frozen=True)
class Overlay:
    """One panel: an image with its heat map and box."""

    image: np.ndarray  # (S, S) uint8, gray
    title: str
    map: np.ndarray | None = None  # (s, s) of a block or (S, S), not negative
    box: np.ndarray | None = None  # (4,) centre x, centre y, width, height, as shares of the image


@styled(grid=False)
def draw_overlays(panels: list[Overlay], about: dict, columns: int = 3) -> Figure:
    """Draw images with their heat maps, row by row, and a colour bar.

    Each map is divided by its maximum: colours compare points of one image, never two images.
    `about` has `dataset` and `config`, for the notices above the figure.
    """
    rows = -(-len(panels) // columns)
    mapped = any(panel.map is not None for panel in panels)
    lines = max(panel.title.count("\n") + 1 for panel in panels)
    height = rows * (WIDTH / columns + 0.12 + 0.16 * lines) + (0.5 if mapped else 0)
    figure = new_figure(height, about)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, panel in zip(grid.flat, panels):
        _draw_panel(axes, panel)
    if mapped:
        _draw_bar(figure, grid)
    return figure


def _draw_panel(axes: Axes, panel: Overlay) -> None:
    side = len(panel.image)
    axes.imshow(panel.image, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
    if panel.map is not None:
        strength = panel.map if len(panel.map) == side else enlarge(panel.map[None], side, side)[0]
        strength = strength / (strength.max() or 1)
        axes.imshow(MAP(strength), alpha=STRONGEST * strength)
    if panel.box is not None:
        x, y, width, height = np.asarray(panel.box) * side
        corner = (x - width / 2 - 0.5, y - height / 2 - 0.5)
        for color, line in (("black", "-"), ("white", "--")):  # legible on dark and on bright
            axes.add_patch(Rectangle(corner, width, height, fill=False, ec=color, ls=line, lw=1.6))
    axes.set_title(panel.title, fontsize=9, loc="left", parse_math=False)


def _draw_bar(figure: Figure, grid: np.ndarray) -> None:
    # The colours on middle gray, at the opacity that they have in the panels.
    strength = np.linspace(0, 1, 256)
    opacity = STRONGEST * strength[:, None]
    colors = opacity * MAP(strength)[:, :3] + (1 - opacity) * 0.4
    shown = ScalarMappable(Normalize(0, 1), ListedColormap(colors))
    bar = figure.colorbar(shown, ax=grid, orientation="horizontal", fraction=0.04, aspect=40)
    bar.set_label("share of the map's own maximum", fontsize=9)
    bar.ax.tick_params(labelsize=9)
