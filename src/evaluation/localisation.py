"""Does a heat map point at the tumour? Maps compared with boxes, and with chance."""

from collections.abc import Sequence
from types import ModuleType

import numpy as np

METHODS = ("grad-cam", "grad-cam++", "hirescam")  # by which the twins make maps
# What points best at the tumours of validation images: notebooks/results/pointing.json.
BEST_BLOCKS, BEST_METHOD = ("block2", "block4", "block12"), "hirescam"
SMOOTH = 5  # px, odd: of the maps in pictures
STRONGEST = 0.6  # opacity in pictures where a map is strongest; nothing where it is 0
SMALLEST = 1e-30  # keeps an empty map from being divided by 0


def check_method(method: str) -> None:
    """Raise ValueError unless maps are made by `method`."""
    if method not in METHODS:
        raise ValueError(f"Expected a method of {METHODS}. Received: {method!r}.")


def map_centres(image_size: int, side: int) -> np.ndarray:
    """Return where the points of a block's map lie in the image: (side,) pixels, along each axis.

    A centre is the middle of what the point can see. The first convolutions use no padding, and the
    pools pad an even side at its end alone, so a map is not spread evenly over its image: at 224 px
    the seven centres of block14 are 27, 59, ..., 219.

    Args:
        image_size: px, of the network's input.
        side: of the map of any block of that network.
    Raises:
        ValueError: no block of that network has a map of this side.
    Source: Araujo et al. 2019, doi:10.23915/distill.00021, on Xception's layers as Keras pads them.
    """
    size, step, first = (image_size - 3) // 2 - 1, 2, 3  # after block1's two convolutions
    while size > side:
        half = -(-size // 2)
        before = max(2 * half + 1 - size, 0) // 2
        size, step, first = half, 2 * step, first + step * (1 - before)
    if size != side:
        raise ValueError(f"No block has a map of side {side} at {image_size} px.")
    return first + step * np.arange(side)


def enlarge(maps: np.ndarray, side: int, image_size: int) -> np.ndarray:
    """Return (N, side, side) float32: maps (N, s, s) of images of `image_size` px, interpolated.

    Each point of a map goes where `map_centres` says; outside of these, the nearest one counts.
    """
    maps = np.asarray(maps, np.float32)
    weights = interpolation(side, image_size, maps.shape[1])
    return (weights @ maps @ weights.T).astype(np.float32)


def interpolation(side: int, image_size: int, map_side: int) -> np.ndarray:
    """Return (side, map_side): how much each point of a map counts, along one axis of `enlarge`."""
    pixels = (np.arange(side) + 0.5) * image_size / side - 0.5
    centres = map_centres(image_size, map_side)
    return np.array([np.interp(pixels, centres, one) for one in np.eye(map_side)]).T


def joint_maps(
    explain: ModuleType,
    model,
    images: np.ndarray,
    classes: np.ndarray,
    blocks: Sequence[str] = BEST_BLOCKS,
    method: str = BEST_METHOD,
) -> np.ndarray:
    """Return (N, S, S) float32: the product of several blocks' maps, enlarged to the image.

    The last block says which region spoke for the class, the earlier ones where in it. Each map is
    divided by its maximum before. Where the model averages an image and its mirror image, a block's
    map is the sum of both, the second mirrored back.

    Args:
        explain: the module of the model's twin.
        model: of that twin.
        images: (N, S, S, 3) float32 in [-1, 1].
        classes: (N,) integers.
        blocks, method: see `src.pt.explain.heat_maps`.
    Source: Guided Grad-CAM too multiplies a coarse map by a fine one; Selvaraju et al. 2017,
    arXiv:1610.02391, section 3.1.
    """
    side, product = images.shape[1], np.float32(1)
    for block in blocks:
        maps = enlarge(explain.heat_maps(model, images, classes, block, method), side, side)
        if model.config.flip_average:
            turned = np.ascontiguousarray(images[:, :, ::-1])
            back = explain.heat_maps(model, turned, classes, block, method)
            maps = maps + enlarge(back, side, side)[:, :, ::-1]
        product = product * (maps / maps.max(axis=(1, 2), keepdims=True).clip(min=SMALLEST))
    return product


def visible(maps: np.ndarray) -> np.ndarray:
    """Return maps of `joint_maps` as pictures show them, (..., S, S) with maximum 1, or all 0.

    The geometric mean of the blocks' maps instead of their product, so that what is weak can be
    seen; and smoothed by a mean over SMOOTH x SMOOTH px, since a fine map has gaps of a pixel.
    """
    pad = [(0, 0)] * (maps.ndim - 2) + [(SMOOTH // 2, SMOOTH // 2)] * 2
    padded = np.pad(maps ** np.float32(1 / len(BEST_BLOCKS)), pad, mode="edge")
    smooth = np.lib.stride_tricks.sliding_window_view(padded, (SMOOTH, SMOOTH), axis=(-2, -1))
    smooth = smooth.mean(axis=(-2, -1))
    return smooth / smooth.max(axis=(-2, -1), keepdims=True).clip(min=SMALLEST)


def hits_and_shares(maps: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each map's strongest pixel lies in its box, and the share of its sum there.

    An empty map misses, with a share of 0.

    Args:
        maps, inside: (N, S, S), not negative; and bool, see `box_masks`.
    Source: the pointing game of Zhang et al. 2016, arXiv:1608.00507, without its tolerance, and
    the energy-based one of Wang et al. 2020, arXiv:1910.01279.
    """
    flat, inside = maps.reshape(len(maps), -1), inside.reshape(len(maps), -1)
    hits = inside[np.arange(len(flat)), flat.argmax(axis=1)] & (flat.max(axis=1) > 0)
    total = flat.sum(axis=1, dtype=np.float64)
    shares = (flat * inside).sum(axis=1, dtype=np.float64) / np.where(total > 0, total, 1)
    return hits, shares


def localisation(maps: np.ndarray, boxes: np.ndarray) -> dict:
    """Return how well maps point at boxes, as plain JSON values.

    Args:
        maps: (N, S, S), as large as the images, not negative; see `enlarge` and `joint_maps`.
        boxes: (N, 4) centre x, centre y, width, height, shares of the image.
    Returns:
        count, hits and energy (means of `hits_and_shares`), box (mean share of the image in the
        box: what a random map scores in both), centre (share of boxes that hold the image's centre:
        the hits of a map that always points there), empty (share of maps without a positive value).
    Raises:
        ValueError: wrong shapes, no maps, or a value that is negative or not finite.
    """
    maps, boxes = np.asarray(maps), np.asarray(boxes, np.float64)
    square = maps.ndim == 3 and maps.shape[1] == maps.shape[2]
    if not square or not len(maps) or boxes.shape != (len(maps), 4):
        raise ValueError(
            f"Expected N maps (S, S) and boxes (N, 4). Received: {maps.shape} and {boxes.shape}."
        )
    if not np.isfinite(maps).all() or maps.min() < 0:
        raise ValueError("Expected maps that are finite and not negative.")
    side = maps.shape[1]
    inside = box_masks(boxes, side)
    hits, shares = hits_and_shares(maps, inside)
    return {
        "count": len(maps),
        "hits": float(hits.mean()),
        "energy": float(shares.mean()),
        "box": float(inside.mean()),
        "centre": float(inside[:, side // 2, side // 2].mean()),
        "empty": float((maps.max(axis=(1, 2)) == 0).mean()),
    }


def box_masks(boxes: np.ndarray, side: int) -> np.ndarray:
    """Return (N, side, side) bool: the pixels whose centre lies in the box."""
    x, y, width, height = np.asarray(boxes, np.float64).T[:, :, None]
    centres = (np.arange(side) + 0.5) / side
    columns = np.abs(centres - x) <= width / 2
    rows = np.abs(centres - y) <= height / 2
    return rows[:, :, None] & columns[:, None, :]
