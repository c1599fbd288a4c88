"""A heat map drawn over its image: the image stays gray and readable, the map lies on it."""

import contextlib
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from src.common.files import only_file
from src.evaluation.localisation import STRONGEST

# Purple to yellow: brighter as it gets stronger, so colour-blind readers see the same order.
# Source: matplotlib's "plasma" at equal steps, as src/comparison/report/heatmaps.py draws it.
_COLOURS = ((13, 8, 135), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33))
SIDE = 512  # px, at least: what a person can look at
_MARK = "heat map by brain-tumor-xception"  # in a PNG's text, which lies before its pixels


def draw_overlay(pixels: np.ndarray, heatmap: np.ndarray) -> Image.Image:
    """Return a picture of a gray image and its heat map.

    Args:
        pixels: (S, S) uint8.
        heatmap: (S, S) float32 in [0, 1].
    Returns:
        RGB, a square of S or `SIDE` px, whichever is more.
    """
    opacity = STRONGEST * heatmap[..., None]
    mixed = opacity * _coloured(heatmap) + (1 - opacity) * pixels[..., None]
    side = max(SIDE, len(pixels))
    picture = Image.fromarray(np.rint(mixed).astype(np.uint8))
    return picture.resize((side, side), Image.Resampling.BICUBIC)


def save_overlay(path: Path, pixels: np.ndarray, heatmap: np.ndarray) -> None:
    """Write `draw_overlay` as a PNG that `is_heat_map` knows again."""
    text = PngInfo()
    text.add_text("Description", _MARK)
    draw_overlay(pixels, heatmap).save(path, pnginfo=text)


def is_heat_map(path: Path) -> bool:
    """Tell whether a file was written by `save_overlay`."""
    with contextlib.suppress(OSError), only_file(path).open("rb") as file:
        return _MARK.encode() in file.read(128)
    return False


def heat_layer(heatmap: np.ndarray) -> Image.Image:
    """Return the coloured map alone, RGBA (S, S), to lie on its image with `STRONGEST` opacity.

    Args:
        heatmap: (S, S) float32 in [0, 1]; where it is 0, the layer is transparent.
    """
    layer = np.concatenate([_coloured(heatmap), 255 * heatmap[..., None]], axis=-1)
    return Image.fromarray(np.rint(layer).astype(np.uint8))


def _coloured(heatmap: np.ndarray) -> np.ndarray:
    """Return (S, S, 3) float64, 0 to 255."""
    steps = np.linspace(0, 1, len(_COLOURS))
    return np.stack([np.interp(heatmap, steps, channel) for channel in zip(*_COLOURS)], axis=-1)
