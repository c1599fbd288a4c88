"""The three lesions of the phantom, each where and how a radiologist would look for it."""

import numpy as np

from src.data.phantom.painting import Fields, Picture
from src.data.phantom.patient import Lesion

PUSH = 0.3  # share of the distance by which a lesion moves the anatomy at its centre


def push_aside(x: np.ndarray, y: np.ndarray, lesion: Lesion) -> tuple[np.ndarray, np.ndarray]:
    """Move the anatomy away from a lesion (mass effect): x, y as seen after the push."""
    dx, dy = x - np.float32(lesion.x), y - np.float32(lesion.y)
    pull = PUSH * np.exp(-(dx * dx + dy * dy) / np.float32((2.2 * lesion.radius) ** 2))
    return x - dx * pull, y - dy * pull


def draw_lesion(
    p: Picture, brain: np.ndarray, lesion: Lesion, fields: Fields
) -> tuple[float, float, float, float]:
    """Paint a lesion; return its box in shares of the image: centre x, y, width, height.

    Args:
        p: the picture, the brain painted.
        brain: (S, S) signed distance to the brain's surface.
        lesion: as this slice cuts it.
        fields: for its irregularities.
    """
    mask = _DRAW[lesion.kind](p, brain, lesion, fields.smooth(18), fields.smooth(9))
    rows, columns = np.nonzero(mask > mask.max() / 2)
    left, right = columns.min() / len(mask), (columns.max() + 1) / len(mask)
    top, bottom = rows.min() / len(mask), (rows.max() + 1) / len(mask)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _ball(p: Picture, lesion: Lesion, roughness: float, fine: np.ndarray) -> np.ndarray:
    """Return the signed distance to the lesion's outline: a circle with harmonics and bumps."""
    dx, dy = p.x - np.float32(lesion.x), p.y - np.float32(lesion.y)
    angle = np.arctan2(dy, dx)
    wave = sum(a * np.cos(k * angle + 70 * a) for k, a in enumerate(np.float32(lesion.wobble), 2))
    # The push drew the coordinates in, so this radius shows as the lesion's.
    radius = np.float32((1 - PUSH) * lesion.radius)
    return np.hypot(dx, dy) - radius * (1 + roughness * (wave + 0.5 * fine))


def _glioma(p: Picture, brain, lesion: Lesion, fine, coarse) -> np.ndarray:
    """Irregular and inside the brain: broken ring, necrotic core, oedema that spares the cortex."""
    radius = np.float32(lesion.radius)
    outside = _ball(p, lesion, 0.32, fine)
    inside = p.clipped(p.soft(brain + 0.015))
    oedema = p.soft(outside - radius * (0.5 + 0.35 * coarse), 5) * p.soft(brain + 0.045, 6)
    inside.paint(oedema, "oedema", 0.75 * lesion.strength)
    inside.paint(p.soft(outside, 2), "gray", 0.6)
    wall = radius * (0.20 + 0.08 * coarse)
    inside.paint(p.soft(outside + 0.7 * wall, 2.5), p.values["necrosis"] * (1 + 0.25 * fine))
    ring = p.soft(np.abs(outside + 0.5 * wall) - 0.5 * wall, 2.5)
    inside.paint(ring * np.clip(0.75 + 0.35 * fine, 0.15, 1), "ring", lesion.strength)
    return p.soft(outside) * inside.clip


def _meningioma(p: Picture, brain, lesion: Lesion, fine, coarse) -> np.ndarray:
    """Round, even, broad on the dura: the convexity's, or one side of the falx."""
    outside = _ball(p, lesion, 0.10, fine)
    base = brain - 0.010
    if lesion.on_falx:
        base = np.maximum(base, -np.float32(np.sign(lesion.x)) * p.x - 0.004)
    body = p.soft(np.maximum(outside, base), 1.5)
    inside = p.clipped(p.soft(brain))
    reach = np.float32(lesion.radius) * (0.2 + 0.3 * coarse)
    inside.paint(p.soft(outside - reach, 6), "oedema", 0.4 * lesion.strength)
    inside.paint(p.soft(outside - 0.014), "csf", 0.6)  # the cleft
    p.paint(body, p.values["meningioma"] * (1 + 0.05 * fine), lesion.strength)
    if not lesion.on_falx:
        tail = np.maximum(np.abs(brain) - 0.010, outside - np.float32(0.8 * lesion.radius))
        p.paint(p.soft(tail, 2), "meningioma", 0.8 * lesion.strength)
    return body


def _adenoma(p: Picture, brain, lesion: Lesion, fine, coarse) -> np.ndarray:
    """Round, on the midline, out of the sella upwards, with a waist."""
    r = lesion.radius
    above = p.ellipse(lesion.x, lesion.y - 0.75 * r, 0.5 * r, 0.5 * r)
    outside = np.minimum(_ball(p, lesion, 0.10, fine), above)
    body = p.soft(outside, 1.5)
    p.paint(p.soft(outside - 0.012, 1.5), "csf", 0.6)
    p.paint(body, p.values["adenoma"] * (1 + 0.07 * fine), lesion.strength)
    return body


_DRAW = {"glioma": _glioma, "meningioma": _meningioma, "pituitary": _adenoma}
