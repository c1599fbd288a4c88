"""Painting a phantom slice: smooth random fields and soft-edged shapes.

Lengths are in half image widths: x runs right and y down, each from -1 to 1 over the image.
Shapes are signed distances, negative inside, so that a slice can be drawn at any size. Arrays are
(S, S) float32.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.interpolate import CubicSpline

from src.data.augment import generator


class Fields:
    """Smooth random fields that drift from slice to slice of one patient."""

    def __init__(self, seed: int, drift: float, size: int):
        self._random = generator(seed)
        self._mix = np.float32([np.cos(drift), np.sin(drift)])
        self._size = size

    def smooth(self, knots: int) -> np.ndarray:
        """Return the next field: about unit variance, bumps 1/`knots` of the image wide."""
        noise = self._random.standard_normal((2, knots, knots), np.float32)
        coarse = Image.fromarray(self._mix[0] * noise[0] + self._mix[1] * noise[1])
        return np.float32(1.2) * coarse.resize((self._size,) * 2, Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class Picture:
    """An image being painted."""

    x: np.ndarray  # where each pixel lies in the upright head
    y: np.ndarray
    image: np.ndarray  # what is painted so far, changed in place
    values: dict[str, float]  # brightness by tissue
    widths: dict[str, float]  # how much wider than usual this patient has a tissue's shapes
    symmetric: bool  # a shape on the right shows on the left too
    pixel: float  # the width of what counts as one pixel at an edge

    def soft(self, distance: np.ndarray, edge: float = 1.0) -> np.ndarray:
        """Return the mask of a shape: 1 inside, 0 outside, an edge of `edge` pixels."""
        return np.clip(0.5 - distance * np.float32(1 / (edge * self.pixel)), 0, 1)

    def paint(self, mask: np.ndarray, tissue: str | np.ndarray, opacity: float = 1.0) -> None:
        """Blend the brightness of a tissue in where `mask` is 1."""
        value = self.values[tissue] if isinstance(tissue, str) else tissue
        self.image[:] += mask * (value - self.image) * np.float32(opacity)

    def paint_shapes(self, shapes: tuple, clip: np.ndarray, rough: np.ndarray | float = 0) -> None:
        """Paint ellipses inside `clip`, their outlines shifted by `rough`.

        Each is a tissue, an ellipse as in `ellipse`, the pixels of its edge, and its opacity.
        """
        for tissue, x, y, a, b, degrees, edge, opacity in shapes:
            b *= self.widths.get(tissue, 1)
            if tissue == "fissure":  # gray matter lines it
                lining = self.ellipse(x, y, a + 0.02, b + 0.026, degrees)
                self.paint(self.soft(lining, 2) * clip, "gray")
            outside = self.ellipse(x, y, a, b, degrees) + rough
            self.paint(self.soft(outside, edge) * clip, tissue, opacity)

    def ellipse(self, x: float, y: float, a: float, b: float, degrees: float) -> np.ndarray:
        """Return about the signed distance to an ellipse with half axes a and b."""
        c, s = np.float32([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
        dx, dy = (np.abs(self.x) if self.symmetric else self.x) - np.float32(x), self.y - y
        return (np.hypot((c * dx + s * dy) / a, (c * dy - s * dx) / b) - 1) * np.float32(min(a, b))

    def outline(self, centre: tuple[float, float], radii: tuple[float, ...]) -> np.ndarray:
        """Return how far each pixel lies outside a smooth closed curve, away from its centre."""
        dx, dy = self.x - np.float32(centre[0]), self.y - np.float32(centre[1])
        return np.hypot(dx, dy) - closed_curve(radii)(np.arctan2(dy, dx)).astype(np.float32)


def closed_curve(radii: tuple[float, ...]) -> CubicSpline:
    """Return angle (radians) -> radius, through `radii` at even angles from 0 on."""
    angles = np.linspace(0, 2 * np.pi, len(radii) + 1)
    return CubicSpline(angles, (*radii, radii[0]), bc_type="periodic")
