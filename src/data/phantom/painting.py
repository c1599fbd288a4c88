"""Painting a phantom slice: smooth random fields and soft-edged shapes.

Lengths are in half image widths: x runs right and y down, each from -1 to 1 over the image.
Shapes are signed distances, negative inside, so that a slice can be drawn at any size. Arrays are
(S, S) float32.
"""

import numpy as np
from PIL import Image

from src.data.augment import generator
from src.data.phantom.patient import CENTRES, Patient, closed_curve

SHARP = 224  # px: a larger slice shows the same head, no sharper edges
# How far anatomy and size move with depth, so that neighbouring slices are as alike as real ones:
# 64x64 thumbnails of figshare's neighbours correlate by .90 in the median, and none above .985.
DRIFT, TAPER = 0.9, 0.025


class Picture:
    """A slice being painted; its random fields drift from slice to slice of one patient.

    Attributes:
        patient: whose head.
        values: brightness by tissue.
        x, y: where each pixel lies in the upright head: shifted, turned, scaled, gently bent.
        image: what is painted so far, changed in place.
    """

    def __init__(self, patient: Patient, depth: float, size: int, values: dict[str, float]):
        self.patient, self.values, self._size = patient, values, size
        self._pixel = 2.0 / min(size, SHARP)  # the width of what counts as one pixel at an edge
        self._random = generator(patient.noise)
        self._mix = np.float32([np.cos(DRIFT * depth), np.sin(DRIFT * depth)])
        traits = patient.traits
        line = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(2.0 / size) - 1
        x, y = np.meshgrid(line - np.float32(traits["right"]), line - np.float32(traits["down"]))
        c, s = np.float32([np.cos(traits["tilt"]), np.sin(traits["tilt"])])
        width, height = np.float32([traits["width"], traits["height"]]) * (1 - TAPER * depth)
        bends = [0.026 * self.smooth(5) + 0.006 * self.smooth(13) for _ in range(2)]
        self.x, self.y = (c * x + s * y) / width + bends[0], (c * y - s * x) / height + bends[1]
        self.image = np.zeros_like(self.x)

    def smooth(self, knots: int) -> np.ndarray:
        """Return the next random field: about unit variance, bumps 1/`knots` of the image wide."""
        noise = self._random.standard_normal((2, knots, knots), np.float32)
        coarse = Image.fromarray(self._mix[0] * noise[0] + self._mix[1] * noise[1])
        return np.float32(1.2) * coarse.resize((self._size,) * 2, Image.Resampling.BICUBIC)

    def soft(self, distance: np.ndarray, edge: float = 1.0) -> np.ndarray:
        """Return the mask of a shape: 1 inside, 0 outside, an edge of `edge` pixels."""
        return np.clip(0.5 - distance * np.float32(1 / (edge * self._pixel)), 0, 1)

    def paint(self, mask: np.ndarray, tissue: str | np.ndarray, opacity: float = 1.0) -> None:
        """Blend the brightness of a tissue in where `mask` is 1."""
        value = self.values[tissue] if isinstance(tissue, str) else tissue
        self.image += mask * (value - self.image) * np.float32(opacity)

    def paint_shapes(self, shapes: tuple, clip: np.ndarray, rough: np.ndarray | float = 0) -> None:
        """Paint ellipses inside `clip`, their outlines shifted by `rough`.

        Each is a tissue, an ellipse as in `ellipse`, the pixels of its edge, and its opacity.
        """
        for tissue, x, y, a, b, degrees, edge, opacity in shapes:
            if tissue in ("ventricle", "fissure"):
                b *= self.patient.traits[tissue]
            if tissue == "fissure":  # gray matter lines it
                lining = self.ellipse(x, y, a + 0.02, b + 0.026, degrees)
                self.paint(self.soft(lining, 2) * clip, "gray")
            outside = self.ellipse(x, y, a, b, degrees) + rough
            self.paint(self.soft(outside, edge) * clip, tissue, opacity)

    def ellipse(self, x: float, y: float, a: float, b: float, degrees: float) -> np.ndarray:
        """Return about the signed distance to an ellipse with half axes a and b."""
        c, s = np.float32([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
        # Seen from the front or above, a shape on the right shows on the left too.
        across = self.x if self.patient.view == "sagittal" else np.abs(self.x)
        dx, dy = across - np.float32(x), self.y - y
        return (np.hypot((c * dx + s * dy) / a, (c * dy - s * dx) / b) - 1) * np.float32(min(a, b))

    def outline(self, radii: dict[str, tuple[float, ...]]) -> np.ndarray:
        """Return how far each pixel lies outside a closed curve, given by view, from its centre."""
        x, y = CENTRES[self.patient.view]
        dx, dy = self.x - np.float32(x), self.y - np.float32(y)
        curve = closed_curve(radii[self.patient.view])
        return np.hypot(dx, dy) - curve(np.arctan2(dy, dx)).astype(np.float32)
