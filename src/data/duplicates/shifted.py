"""Copies of a slice that were shifted, cropped, rescaled or mirrored: correlation misses them.

Two steps. All pairs are ranked by the cross-correlation of their high-passed heads, the largest
over all shifts, eleven scales and both mirrorings. The best of them are compared once more, at
finer scales, inside the head, over the overlap alone and by local contrast: the outline, the skull
and a bright tumour, which many heads have in common, then count for little.

On the 506 slices of the merge whose patient is unknown the second score separates by itself: 31
pairs, all of one slice by eye, have .76 or more; the next of those compared has .47.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.fft import irfft2, rfft2
from scipy.ndimage import binary_erosion, binary_fill_holes, gaussian_filter

from src.common.cache import progress
from src.data.duplicates.similarity import standardise
from src.data.duplicates.thumbnails import Columns, head_box

SAME_SHIFTED = 0.7
CANDIDATES = 40  # pairs per image that are compared again
_SCALES = np.geomspace(0.62, 1.6, 11)
_FINER = np.geomspace(1 / 1.06, 1.06, 5)
_COARSE, _FINE = 48, 112  # px of the longer side of a head
_OVERLAP = 0.4  # at least, as a share of the smaller head


@dataclass(frozen=True, eq=False)
class ShiftedPairs(Columns):
    """M pairs of images, the most alike first.

    Attributes:
        first, second: (M,) int64 rows; `first` < `second`.
        score: (M,) float32 correlation of local contrast over the overlap; `SAME_SHIFTED` or more
            means one slice.
    """

    first: np.ndarray
    second: np.ndarray
    score: np.ndarray


def find_shifted(images: Sequence[np.ndarray]) -> ShiftedPairs:
    """Compare all of `images`, (H, W) uint8 gray each, with one another.

    Time grows with the square of their number; 506 take many minutes.
    """
    heads = [_head(image) for image in images]
    small = [_resize(head, _COARSE / max(head.shape)) for head in heads]
    large = [_resize(head, _FINE / max(head.shape)) for head in heads]
    alike, scale = _rank(small)
    first, second = np.triu_indices(len(images), 1)
    best = np.argsort(-np.maximum(alike[first, second], alike[second, first]), kind="stable")
    first, second = first[best], second[best]
    few = slice(min(CANDIDATES * len(images), len(first)))
    pairs = list(zip(first[few], second[few]))
    scores = []
    for one, other in progress(pairs, len(pairs), "Comparing overlaps", "pair"):
        if alike[other, one] > alike[one, other]:
            one, other = other, one
        scores.append(_compare(large[one], large[other], _SCALES[scale[one, other]]))
    scores = np.array(scores, np.float32)
    order = np.argsort(-scores, kind="stable")
    return ShiftedPairs(first[few][order], second[few][order], scores[order])


def _rank(heads: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return for (fixed, moved) the largest correlation and the index of its scale, (N, N) each."""
    size = 2 * _COARSE
    fixed = np.stack([rfft2(_place(_detail(head), size)) for head in heads]).astype(np.complex64)
    largest = np.zeros((len(heads), len(heads)), np.float32)
    scales = np.zeros(largest.shape, np.int16)
    for column in progress(range(len(heads)), len(heads), "Shifting images"):
        for number, scale in enumerate(np.repeat(_SCALES, 2)):
            moved = _detail(_resize(heads[column], scale))
            moved = np.conj(rfft2(_place(moved[:, ::-1] if number % 2 else moved, size)))
            correlations = irfft2(fixed * moved.astype(np.complex64), s=(size, size)).max(
                axis=(1, 2)
            )
            better = correlations > largest[:, column]
            largest[better, column], scales[better, column] = correlations[better], number // 2
    return largest, scales


def _compare(fixed: np.ndarray, moved: np.ndarray, scale: float) -> float:
    """Return the largest correlation of local contrast over the overlap, near a scale."""
    one = _contrast(fixed)
    finer = [_contrast(_resize(moved, scale * factor)) for factor in _FINER]
    finer += [_contrast(_resize(moved[:, ::-1], scale * factor)) for factor in _FINER]
    return max(_overlap_correlation(one, other) for other in finer)


def _overlap_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest normalised correlation of two (2, S, S) over all shifts of the second.

    Each holds an image and its mask.
    Source: Padfield 2012, "Masked object registration in the Fourier domain".
    """
    (a, in_a), (b, in_b) = one, other
    a, a_squared, in_a = rfft2(np.stack([a, a * a, in_a]))
    b, b_squared, in_b = np.conj(rfft2(np.stack([b, b * b, in_b])))
    products = np.stack([a * b, a_squared * in_b, in_a * b_squared, in_a * in_b])
    both, energy_a, energy_b, overlap = irfft2(products, s=one.shape[1:])
    enough = overlap > _OVERLAP * min(one[1].sum(), other[1].sum())
    energy = np.sqrt(np.maximum(energy_a, 1e-3) * np.maximum(energy_b, 1e-3))
    return float(np.where(enough, both / energy, 0).max())


def _contrast(head: np.ndarray) -> np.ndarray:
    """Return (2, S, S): the local contrast inside the head, and the mask of the inside."""
    head_mask = binary_fill_holes(head > max(15, 0.35 * head.mean()))
    depth = max(2, round(0.07 * max(head.shape)))
    inside = binary_erosion(np.pad(head_mask, 1), iterations=depth)[1:-1, 1:-1]
    detail = head - gaussian_filter(head, 3.0)
    detail /= np.sqrt(gaussian_filter(detail * detail, 6.0)) + 4.0
    return np.stack([_place(detail * inside, 2 * _FINE + 32), _place(inside, 2 * _FINE + 32)])


def _detail(head: np.ndarray) -> np.ndarray:
    detail = head - gaussian_filter(head, 2.0 * max(head.shape) / 64)
    return standardise(detail[None])[0]


def _head(image: np.ndarray) -> np.ndarray:
    left, top, right, bottom = (int(edge) for edge in head_box(image))
    return image[top:bottom, left:right].astype(np.float32)


def _resize(image: np.ndarray, factor: float) -> np.ndarray:
    height, width = (max(8, round(side * factor)) for side in image.shape)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def _place(image: np.ndarray, size: int) -> np.ndarray:
    """Return (size, size) float32 with `image` in its corner, cut where it is larger."""
    placed = np.zeros((size, size), np.float32)
    part = image[:size, :size]
    placed[: part.shape[0], : part.shape[1]] = part
    return placed
