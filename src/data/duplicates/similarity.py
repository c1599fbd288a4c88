"""How alike images are: normalised correlation, mirrored and turned copies included.

Two measures, both the largest over identity, left-right, up-down and 180 degrees:
whole: correlation of the 64x64 Lanczos thumbnails.
detail: correlation of the cropped heads after a high-pass, which ignores shading and outline.

Flips form a small group, so an image is the sum of four parts, each of which a flip leaves alone or
negates. Four products of 1,024 numbers, added with signs, then give all four flips for the price
of one product of 4,096.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from src.common.cache import cache_folder, progress
from src.common.files import atomic_write
from src.data.duplicates.thumbnails import Thumbnails, read_arrays

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
class Pairs:
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

    def __len__(self) -> int:
        return len(self.first)

    @property
    def same(self) -> np.ndarray:
        """(M,) bool: the same slice."""
        return (self.whole >= SAME_WHOLE) | (self.detail >= SAME_DETAIL)

    def where(self, mask: np.ndarray) -> "Pairs":
        """Return the pairs that a mask (M,) keeps."""
        return Pairs(*(getattr(self, name)[mask] for name in _COLUMNS))


_COLUMNS = ("first", "second", "whole", "detail", "flip")


def find_pairs(
    thumbnails: Thumbnails, whole: float = NEAR_WHOLE, detail: float = NEAR_DETAIL
) -> Pairs:
    """Return every pair of images that reaches one of two correlations.

    Time grows with the square of the number of images, memory with the number: blocks of 512 are
    compared with all that follow, in float32 matrix products. The answer is cached.
    """
    key = hashlib.sha256(f"{whole} {detail} {HIGH_PASS}".encode())
    key.update(thumbnails.whole.tobytes())
    key.update(thumbnails.head.tobytes())
    store = cache_folder("pairs") / f"{key.hexdigest()[:24]}.npz"
    stored = read_arrays(store)
    if stored.keys() == set(_COLUMNS):
        return Pairs(**stored)
    pairs = _search(thumbnails, whole, detail)
    with atomic_write(store) as temporary:
        np.savez(temporary, **{name: getattr(pairs, name) for name in _COLUMNS})
    return pairs


def _search(thumbnails: Thumbnails, whole: float, detail: float) -> Pairs:
    by_whole = flip_parts(standardise(thumbnails.whole))
    by_detail = flip_parts(high_pass(thumbnails.head))
    count = len(thumbnails)
    blocks: list[tuple] = []
    for rows in _blocks(count, "Comparing images"):
        later = slice(rows.start, count)
        one = _products([part[rows] for part in by_whole], by_whole, later)
        two = _products([part[rows] for part in by_detail], by_detail, later)
        first, second = np.nonzero((_largest(one) >= whole) | (_largest(two) >= detail))
        keep = second > first
        first, second = first[keep], second[keep]
        c_one, flip_one = _flip_at(one, first, second)
        c_two, flip_two = _flip_at(two, first, second)
        flip = np.where(c_one >= c_two, flip_one, flip_two)
        blocks.append((first + rows.start, second + rows.start, c_one, c_two, flip))
    first, second, c_one, c_two, flip = (np.concatenate(column) for column in zip(*blocks))
    order = np.lexsort((second, first))
    return Pairs(
        first[order].astype(np.int64),
        second[order].astype(np.int64),
        c_one[order].astype(np.float32),
        c_two[order].astype(np.float32),
        flip[order].astype(np.int8),
    )


def best_matches(
    images: np.ndarray, references: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, for each of `images` (N, 64, 64) uint8, the most alike of `references` (M, 64, 64).

    Returns:
        rows (N,) int64 of `references`; flips (N,) int8, entries of FLIPS; correlations (N,).
    """
    here, there = flip_parts(standardise(images)), flip_parts(standardise(references))
    rows, flips, values = [], [], []
    for block in _blocks(len(images), "Matching images"):
        products = _products([part[block] for part in here], there, slice(None))
        best = _largest(products).argmax(axis=1)
        value, flip = _flip_at(products, np.arange(len(best)), best)
        rows.append(best)
        flips.append(flip)
        values.append(value)
    return (
        np.concatenate(rows).astype(np.int64),
        np.concatenate(flips).astype(np.int8),
        np.concatenate(values),
    )


def standardise(images: np.ndarray) -> np.ndarray:
    """Return (N, S, S) float32 of mean 0 and norm 1; an image of one tone becomes 0."""
    values = images.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt(np.einsum("nij,nij->n", values, values))
    values /= np.where(norm > 1e-3, norm, np.inf)[:, None, None]
    return values


def high_pass(images: np.ndarray) -> np.ndarray:
    """Return (N, S, S) standardised, minus what a Gaussian of 2 px keeps."""
    out = np.empty(images.shape, np.float32)
    for start in range(0, len(images), BLOCK):
        values = images[start : start + BLOCK].astype(np.float32)
        out[start : start + BLOCK] = values - gaussian_filter(values, (0, HIGH_PASS, HIGH_PASS))
    return standardise(out)


def flip_parts(images: np.ndarray) -> list[np.ndarray]:
    """Return the four (N, S*S/4) parts of (N, S, S), S even, that flips leave alone or negate."""
    half = images.shape[1] // 2
    left, right = images[:, :, :half], images[:, :, : half - 1 : -1]
    parts = []
    for sideways in (left + right, left - right):
        top, bottom = sideways[:, :half], sideways[:, : half - 1 : -1]
        for part in (top + bottom, top - bottom):
            # A quarter stands for all four: halved, so that products are those of whole images.
            parts.append(np.multiply(part, 0.5).reshape(len(images), -1))
    return parts


def _products(images: list[np.ndarray], others: list[np.ndarray], which: slice) -> list[np.ndarray]:
    """Return the four (B, M) products of the parts."""
    return [one @ other[which].T for one, other in zip(images, others)]


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


def _blocks(count: int, what: str) -> Iterator[slice]:
    starts = range(0, count, BLOCK)
    for start in progress(starts, len(starts), what, "block"):
        yield slice(start, min(start + BLOCK, count))
