"""Painting a phantom slice: smooth random fields, outlines, soft-edged shapes.

Lengths are in half image widths: x runs right and y down, each from -1 to 1 over the image.
Shapes are signed distances, negative inside, so that a slice can be drawn at any size. Arrays are
(S, S) float32, or a window of that.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np


def generator(*words: int) -> np.random.Generator:
    """Return the random generator that `words` name."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


class Fields:
    """Smooth random fields that drift from slice to slice of one patient."""

    def __init__(self, seed: int, drift: float, size: int):
        self._draw = generator(seed)
        self._mix = np.float32([np.cos(drift), np.sin(drift)])
        self._size = size

    def smooth(self, knots: int) -> np.ndarray:
        """Return the next field: about unit variance, bumps 1/`knots` of the image wide."""
        coarse = self._draw.standard_normal((2, knots + 3, knots + 3), np.float32)
        coarse = self._mix[0] * coarse[0] + self._mix[1] * coarse[1]
        rows = _spline(self._size, knots)
        return rows @ (coarse @ rows.T) * np.float32(2.1)


@lru_cache(maxsize=64)
def _spline(size: int, knots: int) -> np.ndarray:
    """Return (size, knots + 3): the cubic B-spline that turns coarse values into a smooth row."""
    place = (np.arange(size) + 0.5) / size * knots
    cell = np.minimum(place.astype(int), knots - 1)
    u = place - cell
    weights = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
    matrix = np.zeros((size, knots + 3), np.float32)
    for step, weight in enumerate(weights):
        matrix[np.arange(size), cell + step] = weight / 6
    return matrix


@dataclass(frozen=True)
class Picture:
    """An image being painted, or a window of one.

    Attributes:
        x, y: where each pixel lies in the upright head.
        image: what is painted so far, in place.
        clip: paint stays where this is 1.
        values: brightness by tissue.
        pixel: the width of what counts as one pixel at an edge.
        window: which rows and columns of the whole picture these are.
    """

    x: np.ndarray
    y: np.ndarray
    image: np.ndarray
    clip: np.ndarray
    values: dict[str, float]
    pixel: float
    window: tuple[slice, slice] = (slice(None), slice(None))

    def clipped(self, mask: np.ndarray) -> "Picture":
        """Return the same picture with paint held inside `mask`."""
        return replace(self, clip=mask)

    def near(self, points, reach: float) -> "Picture":
        """Return the window of the picture within about `reach` of `points`; paint shows in both.

        Most shapes are small, and this keeps the work on them so.
        """
        step = 8
        x, y = self.x[::step, ::step], self.y[::step, ::step]
        (left, top), (right, bottom) = np.min(points, 0) - reach, np.max(points, 0) + reach
        close = (x > left) & (x < right) & (y > top) & (y < bottom)
        rows, columns = (np.flatnonzero(close.any(axis)) for axis in (1, 0))
        if not len(rows):
            return self
        window = tuple(
            slice(max(0, (found[0] - 1) * step), (found[-1] + 2) * step)
            for found in (rows, columns)
        )
        parts = {name: getattr(self, name)[window] for name in ("x", "y", "image", "clip")}
        return replace(self, window=window, **parts)

    def cut(self, array: np.ndarray) -> np.ndarray:
        """Return this window of an array of the whole picture."""
        return array[self.window]

    def soft(self, distance: np.ndarray, edge: float = 1.0) -> np.ndarray:
        """Return the mask of a shape: 1 inside, 0 outside, an edge of `edge` pixels."""
        return np.clip(np.float32(0.5) - distance * np.float32(1 / (edge * self.pixel)), 0, 1)

    def paint(self, mask: np.ndarray, tissue: str | np.ndarray, opacity: float = 1.0) -> None:
        """Blend a tissue's brightness in where `mask` and the clip are 1."""
        value = np.float32(self.values[tissue]) if isinstance(tissue, str) else tissue
        image = self.image
        image += mask * self.clip * (value - image) * np.float32(opacity)

    def blob(self, tissue, x, y, a, b, degrees=0.0, edge=1.0, opacity=1.0, rough=None) -> None:
        """Paint an ellipse with half axes a, b; `rough`, (S, S), is added to its distance."""
        q = self.near([(x, y)], max(a, b) + 0.08)
        shape = q.ellipse(x, y, a, b, degrees)
        shape = shape if rough is None else shape + q.cut(rough)
        q.paint(q.soft(shape, edge), tissue, opacity)

    def stroke(self, tissue, points, radii, edge=1.0, opacity=1.0, grow=0.0) -> None:
        """Paint a chain of segments whose half-width goes along `radii`, `grow` wider."""
        q = self.near(points, max(radii) + grow + 0.08)
        q.paint(q.soft(q.line(points, radii) - np.float32(grow), edge), tissue, opacity)

    def ellipse(self, x, y, a, b, degrees=0.0) -> np.ndarray:
        """Return about the signed distance to an ellipse."""
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        dx, dy = self.x - np.float32(x), self.y - np.float32(y)
        u = np.float32(c / a) * dx + np.float32(s / a) * dy
        v = np.float32(c / b) * dy - np.float32(s / b) * dx
        return (np.sqrt(u * u + v * v) - 1) * np.float32(min(a, b))

    def line(self, points, radii) -> np.ndarray:
        """Return the signed distance to a chain of segments of changing half-width."""
        best = None
        for (x0, y0), (x1, y1), r0, r1 in zip(points, points[1:], radii, radii[1:]):
            dx, dy = self.x - np.float32(x0), self.y - np.float32(y0)
            ex, ey = np.float32(x1 - x0), np.float32(y1 - y0)
            along = np.clip((dx * ex + dy * ey) / (ex * ex + ey * ey), 0, 1)
            away = np.hypot(dx - along * ex, dy - along * ey)
            near = away - (np.float32(r0) + along * np.float32(r1 - r0))
            best = near if best is None else np.minimum(best, near)
        return best

    def outline(self, centre: tuple[float, float], radii: tuple[float, ...]) -> np.ndarray:
        """Return about the signed distance to the smooth closed curve of `smooth_outline`."""
        dx, dy = self.x - np.float32(centre[0]), self.y - np.float32(centre[1])
        radius, steepness = smooth_outline(radii)
        place = np.arctan2(dy, dx) * np.float32(len(radius) / (2 * np.pi))
        place = np.rint(place).astype(np.int32) % len(radius)
        return (np.hypot(dx, dy) - radius[place]) * steepness[place]


@lru_cache(maxsize=16)
def smooth_outline(radii: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the periodic smooth curve through evenly spaced `radii`, at 2,048 angles.

    Also how steep the distance is across it: the cosine between radius and normal.
    """
    count = 2048
    spectrum = np.fft.rfft(radii)
    spectrum[-1] /= 2
    radius = np.fft.irfft(spectrum, count) * (count / len(radii))
    turn = np.gradient(np.r_[radius[-1], radius, radius[0]])[1:-1] * (count / (2 * np.pi))
    steepness = 1 / np.hypot(1, turn / radius)
    return radius.astype(np.float32), steepness.astype(np.float32)


def join(one: np.ndarray, other: np.ndarray, width: float) -> np.ndarray:
    """Return the union of two shapes, its inner corners rounded over `width` (smooth minimum)."""
    share = np.clip(0.5 + (other - one) * np.float32(0.5 / width), 0, 1)
    return other + share * (one - other) - np.float32(width) * share * (1 - share)
