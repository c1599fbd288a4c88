"""Painting a phantom slice: smooth random fields and soft-edged shapes.

Lengths are in half image widths: x runs right and y down, each from -1 to 1 over the image.
Shapes are signed distances, negative inside, so that a slice can be drawn at any size. Arrays are
(S, S) float32.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

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
        return np.float32(1.2) * np.asarray(
            coarse.resize((self._size,) * 2, Image.Resampling.BICUBIC)
        )


@dataclass(frozen=True)
class Picture:
    """An image being painted."""

    x: np.ndarray  # where each pixel lies in the upright head
    y: np.ndarray
    image: np.ndarray  # what is painted so far, changed in place
    clip: np.ndarray  # paint stays where this is 1
    values: dict[str, float]  # brightness by tissue
    pixel: float  # the width of what counts as one pixel at an edge

    def clipped(self, mask: np.ndarray) -> "Picture":
        """Return the same picture with paint held inside `mask`."""
        return replace(self, clip=mask)

    def both_sides(self) -> "Picture":
        """Return the same picture, in which a shape on the right shows on the left too."""
        return replace(self, x=np.abs(self.x))

    def soft(self, distance: np.ndarray, edge: float = 1.0) -> np.ndarray:
        """Return the mask of a shape: 1 inside, 0 outside, an edge of `edge` pixels."""
        return np.clip(0.5 - distance * np.float32(1 / (edge * self.pixel)), 0, 1)

    def paint(self, mask: np.ndarray, tissue: str | np.ndarray, opacity: float = 1.0) -> None:
        """Blend a tissue's brightness in where `mask` and the clip are 1."""
        value = self.values[tissue] if isinstance(tissue, str) else tissue
        self.image[:] += mask * self.clip * (value - self.image) * np.float32(opacity)

    def blob(self, tissue: str, *ellipse: float, edge=1.0, opacity=1.0, rough=0.0) -> None:
        """Paint an ellipse (see `ellipse`); `rough`, (S, S), is added to its distance."""
        self.paint(self.soft(self.ellipse(*ellipse) + rough, edge), tissue, opacity)

    def stroke(self, tissue: str, points, radii, edge=1.0, opacity=1.0) -> None:
        """Paint a chain of segments (see `line`)."""
        self.paint(self.soft(self.line(points, radii), edge), tissue, opacity)

    def ellipse(self, x: float, y: float, a: float, b: float, degrees: float = 0) -> np.ndarray:
        """Return about the signed distance to an ellipse with half axes a and b."""
        c, s = np.float32([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
        dx, dy = self.x - np.float32(x), self.y - np.float32(y)
        return (np.hypot((c * dx + s * dy) / a, (c * dy - s * dx) / b) - 1) * np.float32(min(a, b))

    def line(self, points, radii) -> np.ndarray:
        """Return the signed distance to a chain of segments whose half-width goes along `radii`."""
        distances = []
        for start, end, r0, r1 in zip(np.float32(points), np.float32(points[1:]), radii, radii[1:]):
            dx, dy = self.x - start[0], self.y - start[1]
            ex, ey = end - start
            along = np.clip((dx * ex + dy * ey) / (ex * ex + ey * ey), 0, 1)
            away = np.hypot(dx - along * ex, dy - along * ey)
            distances.append(away - np.float32(r0) - along * np.float32(r1 - r0))
        return np.minimum.reduce(distances)

    def outline(self, centre: tuple[float, float], radii: tuple[float, ...]) -> np.ndarray:
        """Return how far each pixel lies outside a smooth closed curve, away from its centre."""
        dx, dy = self.x - np.float32(centre[0]), self.y - np.float32(centre[1])
        return np.hypot(dx, dy) - closed_curve(radii)(np.arctan2(dy, dx)).astype(np.float32)


@lru_cache(maxsize=16)
def closed_curve(radii: tuple[float, ...]) -> CubicSpline:
    """Return angle (radians) -> radius, through `radii` at even angles from 0 on."""
    angles = np.linspace(0, 2 * np.pi, len(radii) + 1)
    return CubicSpline(angles, (*radii, radii[0]), bc_type="periodic")
