"""Does a heat map point at the tumour? Maps compared with boxes, and with chance."""

import numpy as np
from PIL import Image

GRID = 256  # px at which maps of any resolution are compared with boxes


def enlarge(maps: np.ndarray, side: int) -> np.ndarray:
    """Return (N, side, side) float32: maps (N, s, s) >= 0, interpolated to the image's size."""
    enlarged = [
        Image.fromarray(np.asarray(one, np.float32)).resize((side, side), Image.Resampling.BILINEAR)
        for one in maps
    ]
    return np.stack([np.asarray(one) for one in enlarged])


def pointing_hits(maps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return (N,) bool: the strongest pixel lies in the box.

    An empty map misses.

    Args:
        maps: (N, S, S), not negative.
        boxes: (N, 4) centre x, centre y, width, height, shares of the image.
    Source: the pointing game of Zhang et al. 2016, arXiv:1608.00507, without its tolerance.
    """
    inside = box_masks(boxes, maps.shape[1])
    flat = maps.reshape(len(maps), -1)
    strongest = flat.argmax(axis=1)
    return inside.reshape(flat.shape)[np.arange(len(flat)), strongest] & (flat.max(axis=1) > 0)


def energy_shares(maps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return (N,) share of each map's sum that lies in the box; 0 for an empty map.

    Args:
        maps, boxes: as in `pointing_hits`.
    Source: the energy-based pointing game of Wang et al. 2020, arXiv:1910.01279.
    """
    inside = (maps * box_masks(boxes, maps.shape[1])).sum(axis=(1, 2), dtype=np.float64)
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    return np.divide(inside, total, out=np.zeros(len(maps)), where=total > 0)


def localisation(maps: np.ndarray, boxes: np.ndarray) -> dict:
    """Return how well maps point at boxes, as plain JSON values.

    Args:
        maps: (N, s, s), not negative, at any resolution.
        boxes: (N, 4) centre x, centre y, width, height, shares of the image.
    Returns:
        count, hits (share of maps whose strongest pixel is in the box), energy (mean share of a
        map's sum in the box), box (mean share of the image in the box: the score of a random map
        in both), centre (share of boxes that hold the image's centre: the hits of a map that always
        points there), empty (share of maps without a positive value).
    Raises:
        ValueError: wrong shapes, no maps, or a value that is negative or not finite.
    """
    maps, boxes = np.asarray(maps), np.asarray(boxes, np.float64)
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2] or boxes.shape != (len(maps), 4):
        raise ValueError(
            f"Expected maps (N, s, s) and boxes (N, 4). Received: {maps.shape} and {boxes.shape}."
        )
    if not len(maps):
        raise ValueError("Expected at least one map. Received: none.")
    if not np.isfinite(maps).all() or maps.min() < 0:
        raise ValueError("Expected maps that are finite and not negative.")
    large = enlarge(maps, GRID)
    inside = box_masks(boxes, GRID)
    return {
        "count": len(maps),
        "hits": float(pointing_hits(large, boxes).mean()),
        "energy": float(energy_shares(large, boxes).mean()),
        "box": float(inside.mean()),
        "centre": float(inside[:, GRID // 2, GRID // 2].mean()),
        "empty": float((maps.max(axis=(1, 2)) == 0).mean()),
    }


def box_masks(boxes: np.ndarray, side: int) -> np.ndarray:
    """Return (N, side, side) bool: the pixels whose centre lies in the box."""
    x, y, width, height = np.asarray(boxes, np.float64).T[:, :, None]
    centres = (np.arange(side) + 0.5) / side
    columns = np.abs(centres - x) <= width / 2
    rows = np.abs(centres - y) <= height / 2
    return rows[:, :, None] & columns[:, None, :]
