"""The three lesions of the phantom, each where and how a radiologist would look for it."""

from dataclasses import dataclass, replace

import numpy as np

from src.data.phantom.painting import Fields, Picture


@dataclass(frozen=True)
class Lesion:
    """One lesion of one patient.

    Attributes:
        kind: its class.
        x, y: its centre, in half image widths of the upright head.
        radius: at its widest slice.
        strength: 0 to 1, how much it stands out.
        wobble: how far its outline leaves a circle, by harmonic.
        on_falx: a meningioma of the midline, on the side of `x`.
    """

    kind: str
    x: float
    y: float
    radius: float
    strength: float
    wobble: tuple[float, ...]
    on_falx: bool = False

    def cut_at(self, depth: float) -> "Lesion":
        """Return the lesion as a slice at `depth` cuts it: half as wide at -1 and 1, never gone."""
        return replace(self, radius=self.radius * float(np.sqrt(max(0.06, 1 - 0.75 * depth**2))))


def push_aside(x: np.ndarray, y: np.ndarray, lesion: Lesion) -> tuple[np.ndarray, np.ndarray]:
    """Move the anatomy away from a lesion (mass effect): x, y as seen after the push."""
    dx, dy = x - np.float32(lesion.x), y - np.float32(lesion.y)
    square = (dx * dx + dy * dy) * np.float32((2.2 * lesion.radius) ** -2)
    pull = np.float32(0.3) * np.exp(-square)
    return x - dx * pull, y - dy * pull


def draw_lesion(
    p: Picture, brain: np.ndarray, lesion: Lesion, fields: Fields
) -> tuple[float, float, float, float]:
    """Paint a lesion; return its box in shares of the image: centre x, y, width, height.

    Args:
        p: the whole picture, the brain painted.
        brain: (S, S) signed distance to the brain's surface.
        lesion: as this slice cuts it.
        fields: for its irregularities.
    """
    fine, coarse = fields.smooth(22), fields.smooth(11)
    q = p.near([(lesion.x, lesion.y)], 2.8 * lesion.radius)
    mask = _DRAW[lesion.kind](q, q.cut(brain), lesion, q.cut(fine), q.cut(coarse))
    size = p.x.shape[0]
    sides = []
    for axis, window in ((0, q.window[1]), (1, q.window[0])):
        found = np.flatnonzero((mask > 0.5).any(axis)) + (window.start or 0)
        low, high = (found[0], found[-1] + 1) if len(found) else (0, 0)
        sides.append(((low + high) / 2 / size, (high - low) / size))
    (x, width), (y, height) = sides
    return x, y, width, height


def _ball(q: Picture, lesion: Lesion, roughness: float, fine: np.ndarray) -> np.ndarray:
    """Return the signed distance to the lesion's outline: a circle with harmonics and bumps."""
    dx, dy = q.x - np.float32(lesion.x), q.y - np.float32(lesion.y)
    phi = np.arctan2(dy, dx)
    wave = sum(
        np.float32(a) * np.cos(k * phi + np.float32(70 * a))
        for k, a in enumerate(lesion.wobble, start=2)
    )
    # The push drew the coordinates in by 0.7, so this radius shows as the lesion's own.
    return np.hypot(dx, dy) - np.float32(0.7 * lesion.radius) * (
        1 + roughness * (wave + 0.5 * fine)
    )


def _glioma(q: Picture, brain, lesion: Lesion, fine, coarse) -> np.ndarray:
    """Irregular and inside the brain: broken ring, necrotic core, edema that spares the cortex."""
    r = lesion.radius
    out = _ball(q, lesion, 0.32, fine)
    inside = q.clipped(q.soft(brain + 0.015))
    spread = q.soft(out - np.float32(r) * (0.5 + 0.35 * coarse), 5)
    inside.paint(spread * q.soft(brain + 0.045, 6), "edema", 0.75 * lesion.strength)
    inside.paint(q.soft(out, 2), "gray", 0.6)
    wall = np.float32(r) * (0.20 + 0.08 * coarse)
    core = np.float32(q.values["necrosis"]) * (1 + 0.25 * fine)
    inside.paint(q.soft(out + 0.7 * wall, 2.5), core)
    ring = q.soft(np.abs(out + 0.5 * wall) - 0.5 * wall, 2.5)
    inside.paint(ring * np.clip(0.75 + 0.35 * fine, 0.15, 1), "ring", lesion.strength)
    return q.soft(out) * inside.clip


def _meningioma(q: Picture, brain, lesion: Lesion, fine, coarse) -> np.ndarray:
    """Round, even, broad on the dura: the convexity's, or one side of the falx."""
    out = _ball(q, lesion, 0.10, fine)
    base = brain - 0.010
    if lesion.on_falx:
        base = np.maximum(base, -np.float32(np.sign(lesion.x)) * q.x - 0.004)
    body = q.soft(np.maximum(out, base), 1.5)
    inside = q.clipped(q.soft(brain))
    reach = np.float32(lesion.radius) * (0.2 + 0.3 * coarse)
    inside.paint(q.soft(out - reach, 6), "edema", 0.4 * lesion.strength)
    inside.paint(q.soft(out - 0.014), "csf", 0.6)  # the cleft
    q.paint(body, np.float32(q.values["meningioma"]) * (1 + 0.05 * fine), lesion.strength)
    if not lesion.on_falx:
        tail = np.maximum(np.abs(brain) - 0.010, out - np.float32(0.8 * lesion.radius))
        q.paint(q.soft(tail, 2), "meningioma", 0.8 * lesion.strength)
    return body


def _adenoma(q: Picture, brain, lesion: Lesion, fine, coarse) -> np.ndarray:
    """Round, on the midline, out of the sella upwards, with a waist."""
    r = lesion.radius
    above = q.ellipse(lesion.x, lesion.y - 0.75 * r, 0.5 * r, 0.5 * r)
    out = np.minimum(_ball(q, lesion, 0.10, fine), above)
    body = q.soft(out, 1.5)
    q.paint(q.soft(out - 0.012, 1.5), "csf", 0.6)
    even = np.float32(q.values["adenoma"]) * (1 + 0.07 * fine)
    q.paint(body, even, lesion.strength)
    return body


_DRAW = {"glioma": _glioma, "meningioma": _meningioma, "pituitary": _adenoma}
