"""The three lesions of the phantom, each where and how a radiologist would look for it."""

import numpy as np

from src.data.phantom.painting import Fields, Picture
from src.data.phantom.patient import Lesion

PUSH = 0.3  # share of the distance by which a lesion moves the anatomy at its centre
LOOKS = {  # tissue, roughness of outline and of brightness, oedema, how far it leaves the brain
    "glioma": ("ring", 0.20, 0.20, 0.75, -0.015),  # irregular, around a necrotic core
    "meningioma": ("meningioma", 0.10, 0.05, 0.40, 0.010),  # even, broad on the dura
    "pituitary": ("adenoma", 0.10, 0.07, 0.0, 1.0),  # even, out of the sella upwards
}


def push_aside(x: np.ndarray, y: np.ndarray, lesion: Lesion) -> tuple[np.ndarray, np.ndarray]:
    """Move the anatomy away from a lesion (mass effect): x, y as seen after the push."""
    dx, dy = x - np.float32(lesion.x), y - np.float32(lesion.y)
    pull = PUSH * np.exp(-(dx * dx + dy * dy) / np.float32((2.2 * lesion.radius) ** 2))
    return x - dx * pull, y - dy * pull


def paint_lesion(p: Picture, brain: np.ndarray, lesion: Lesion, fields: Fields) -> list[float]:
    """Paint a lesion; return its box in shares of the image: centre x, y, width, height.

    Args:
        p: the picture, the brain painted.
        brain: (S, S) signed distance to the brain's surface.
        lesion: with the radius that this slice shows.
        fields: for its irregularities.
    """
    tissue, roughness, mottling, oedema, leaves = LOOKS[lesion.kind]
    fine, coarse = fields.smooth(18), fields.smooth(9)
    dx, dy = p.x - np.float32(lesion.x), p.y - np.float32(lesion.y)
    angle, radius = np.arctan2(dy, dx), np.float32(lesion.radius)
    wave = sum(a * np.cos(k * angle + 70 * a) for k, a in enumerate(lesion.wobble, 2))
    # The push drew the coordinates in, so this radius shows as the lesion's.
    ball = np.hypot(dx, dy) - (1 - PUSH) * radius * (1 + roughness * (wave + 0.5 * fine))
    outside = np.maximum(ball, brain - leaves)
    spread = p.soft(ball - radius * (0.4 + 0.35 * coarse), 5) * p.soft(brain + 0.045, 6)
    p.paint(spread, "oedema", oedema * lesion.strength)  # it spares the cortex
    p.paint(p.soft(outside - 0.012, 1.5), "csf", 0.6)
    p.paint(p.soft(outside, 1.5), p.values[tissue] * (1 + mottling * fine), lesion.strength)
    if lesion.kind == "glioma":
        core = p.soft(outside + radius * (0.22 + 0.05 * coarse), 2.5)
        p.paint(core, p.values["necrosis"] * (1 + 0.25 * fine))
    rows, columns = np.nonzero(p.soft(outside) > 0.5)
    left, right = columns.min() / len(ball), (columns.max() + 1) / len(ball)
    top, bottom = rows.min() / len(ball), (rows.max() + 1) / len(ball)
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
