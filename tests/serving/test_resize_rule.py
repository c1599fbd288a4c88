"""The rule that src/serving/README.md tells programs in other languages, step by step."""

import math

import numpy as np
import pytest
from PIL import Image

from src.data.pixels import gray_square

ONE = 1 << 22  # weights are whole multiples of 1 / ONE


def squeeze_rows(image: np.ndarray, side: int) -> np.ndarray:
    """(H, W) -> (H, S) uint8."""
    width = image.shape[1]
    ratio = width / side
    reach = max(ratio, 1)
    columns = []
    for column in range(side):
        centre = (column + 0.5) * ratio
        first = max(math.floor(centre - reach + 0.5), 0)
        last = min(math.floor(centre + reach + 0.5), width)
        weights = [max(0, 1 - abs(j + 0.5 - centre) / reach) for j in range(first, last)]
        whole = [math.floor(weight / sum(weights) * ONE + 0.5) for weight in weights]
        total = image[:, first:last].astype(np.int64) @ np.array(whole)
        columns.append(np.clip((total + ONE // 2) // ONE, 0, 255))
    return np.stack(columns, axis=1).astype(np.uint8)


def to_gray(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W) uint8."""
    return (image.astype(np.int64) @ np.array([19595, 38470, 7471]) + 32768 >> 16).astype(np.uint8)


@pytest.mark.parametrize("height, width", [(40, 60), (300, 225), (97, 700), (71, 71)])
@pytest.mark.parametrize("colour", [False, True])
def test_the_rule_gives_the_same_bytes(height, width, colour):
    rng = np.random.default_rng([height, width])
    image = rng.integers(0, 256, (height, width, 3) if colour else (height, width), np.uint8)
    gray = to_gray(image) if colour else image
    square = squeeze_rows(squeeze_rows(gray, 71).T, 71).T
    np.testing.assert_array_equal(square, gray_square(Image.fromarray(image), 71))
