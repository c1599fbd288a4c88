"""How alike images are: normalised correlation, mirrored and turned copies included.

Two measures, both the largest over identity, left-right, up-down and 180 degrees:
whole: correlation of the 64x64 Lanczos thumbnails.
detail: correlation of the cropped heads after a high-pass, which ignores shading and outline.

Flips form a small group, so an image is the sum of four parts, each of which a flip leaves alone or
negates. Four products of 1,024 numbers, added with signs, then give all four flips for the price
of one product of 4,096.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from src.common.cache import progress
from src.data.duplicates.thumbnails import Columns, Thumbnails, cached_arrays

FLIPS = ("identity", "left-right", "up-down", "180 degrees")
# Judged by eye, whole .985 or detail .90 found 44 of 44 copies and none of 79 others. Detail .95
# finds the same 994 test images in the merge and fewer false copies among the phantom's neighbours.
SAME_WHOLE, SAME_DETAIL = 0.985, 0.95
# Usually the neighbouring slice of one patient: not a copy, but not independent either.
NEAR_WHOLE, NEAR_DETAIL = 0.92, 0.85
HIGH_PASS = 2.0  # px of 64: the Gaussian that is taken away
BLOCK = 512  # images compared with all others at a time; bounds the memory
# Signs of the four parts (even or odd left-right, then up-down) under each of FLIPS.
_SIGNS = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], np.float32)


@dataclass(frozen=True, eq=False)
class Pairs(Columns):
    """M pairs of images that are alike; `first` < `second`, sorted.

    Attributes:
        first, second: (M,) int64 rows.
        whole, detail: (M,) float32 correlations.
        flip: (M,) int8, the entry of FLIPS that makes `whole` (or, if higher, `detail`) largest.
    """

    first: np.ndarray
    second: np.ndarray
    whole: np.ndarray
    detail: np.ndarray
    flip: np.ndarray

    @property
    def same(self) -> np.ndarray:
        """(M,) bool: the same slice."""
        return (self.whole >= SAME_WHOLE) | (self.detail >= SAME_DETAIL)


def find_pairs(thumbnails: Thumbnails) -> Pairs:
    """Return every pair of images that reaches NEAR_WHOLE or NEAR_DETAIL.

    Time grows with the square of the number of images. The answer is cached.
    """
    key = f"{NEAR_WHOLE} {NEAR_DETAIL} {HIGH_PASS}".encode()
    key += thumbnails.whole.tobytes() + thumbnails.head.tobytes()
    return Pairs(*cached_arrays("pairs", key, lambda: _search(thumbnails)))


def _search(thumbnails: Thumbnails) -> list[np.ndarray]:
    by_whole = flip_parts(standardise(thumbnails.whole))
    by_detail = flip_parts(high_pass(thumbnails.head))
    blocks: list[tuple] = []
    starts = range(0, len(thumbnails), BLOCK)
    for start in progress(starts, len(starts), "Comparing images", "block"):
        whole = _products(by_whole, by_whole, start, start)
        detail = _products(by_detail, by_detail, start, start)
        alike = (_largest(whole) >= NEAR_WHOLE) | (_largest(detail) >= NEAR_DETAIL)
        first, second = np.nonzero(np.triu(alike, 1))
        whole, flip_of_whole = _flip_at(whole, first, second)
        detail, flip_of_detail = _flip_at(detail, first, second)
        flip = np.where(whole >= detail, flip_of_whole, flip_of_detail).astype(np.int8)
        blocks.append((first + start, second + start, whole, detail, flip))
    return [np.concatenate(column) for column in zip(*blocks)]


def best_matches(
    images: np.ndarray, references: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, for each of `images` (N, 64, 64) uint8, the most alike of `references` (M, 64, 64).

    Returns:
        rows (N,) int64 of `references`; flips (N,) int64, entries of FLIPS; correlations (N,).
    """
    parts, others = flip_parts(standardise(images)), flip_parts(standardise(references))
    blocks: list[tuple] = []
    starts = range(0, len(images), BLOCK)
    for start in progress(starts, len(starts), "Matching images", "block"):
        products = _products(parts, others, start)
        rows = _largest(products).argmax(axis=1)
        correlations, flips = _flip_at(products, np.arange(len(rows)), rows)
        blocks.append((rows, flips, correlations))
    return tuple(np.concatenate(column) for column in zip(*blocks))


def find_same(images: Thumbnails, references: Thumbnails) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of `images` and of `references`, (M,) int64, that show the same slice."""
    kinds = [
        (flip_parts(measure(getattr(images, name))), flip_parts(measure(getattr(references, name))))
        for name, measure in (("whole", standardise), ("head", high_pass))
    ]
    blocks = []
    for start in range(0, len(images), BLOCK):
        whole, detail = (_largest(_products(*parts, start)) for parts in kinds)
        rows, others = np.nonzero((whole >= SAME_WHOLE) | (detail >= SAME_DETAIL))
        blocks.append((rows + start, others))
    return tuple(np.concatenate(column) for column in zip(*blocks))


def standardise(images: np.ndarray) -> np.ndarray:
    """Return (N, S, S) float32 of mean 0 and norm 1; an image of one tone becomes 0."""
    values = images.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt(np.einsum("nij,nij->n", values, values))
    values /= np.where(norm > 1e-3, norm, np.inf)[:, None, None]
    return values


def high_pass(images: np.ndarray) -> np.ndarray:
    """Return (N, S, S) standardised, minus what a Gaussian of 2 px keeps."""
    values = images.astype(np.float32)
    return standardise(values - gaussian_filter(values, (0, HIGH_PASS, HIGH_PASS)))


def flip_parts(images: np.ndarray) -> list[np.ndarray]:
    """Return the four (N, S*S/4) parts of (N, S, S), S even, that flips leave alone or negate."""
    half = images.shape[1] // 2
    left, right = images[:, :, :half], images[:, :, : half - 1 : -1]
    parts = []
    for sideways in (left + right, left - right):
        top, bottom = sideways[:, :half], sideways[:, : half - 1 : -1]
        parts += [top + bottom, top - bottom]
    # A quarter stands for all four: halved, so that products are those of whole images.
    return [np.multiply(part, 0.5).reshape(len(images), -1) for part in parts]


def _products(
    parts: list[np.ndarray], others: list[np.ndarray], start: int, first_other: int = 0
) -> list[np.ndarray]:
    """Return the four (B, M) products of the parts of the block at `start`."""
    block = slice(start, start + BLOCK)
    return [one[block] @ other[first_other:].T for one, other in zip(parts, others)]


def _largest(products: list[np.ndarray]) -> np.ndarray:
    """Return (B, M): the largest correlation over flips."""
    a, b, c, d = products  # flips: a+b+c+d, a+b-c-d, a-b+c-d, a-b-c+d
    plain, turned = np.abs(c + d), np.abs(c - d)
    plain += a
    plain += b
    turned += a
    turned -= b
    return np.maximum(plain, turned, out=plain)


def _flip_at(
    products: list[np.ndarray], first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest correlation of the pairs (first, second) and the flip that gives it."""
    values = _SIGNS @ np.stack([product[first, second] for product in products])  # (4, pairs)
    return values.max(axis=0), values.argmax(axis=0)
