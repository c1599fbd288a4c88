"""Copies that were shifted, cropped, rescaled or mirrored are found, and nothing else."""

import numpy as np
import pytest
from PIL import Image

from src.config import preset
from src.data.dataset import open_dataset
from src.data.duplicates.shifted import SAME_SHIFTED, find_shifted

COUNT = 12  # different slices, of patients whose heads look alike


def rescaled(image, side):
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


FAULTS = {
    "shifted": lambda image: np.roll(image, (14, -9), axis=(0, 1)),
    "cropped": lambda image: image[20:170, 15:180],
    "half cut off": lambda image: image[:, : image.shape[1] * 6 // 10],
    "rescaled": lambda image: np.pad(rescaled(image, 128), 32),
    "mirrored and shifted": lambda image: np.roll(image[:, ::-1], 11, axis=1),
    "brightened and cropped": lambda image: np.clip(image[10:, 10:] * 1.4 + 10, 0, 255),
}


@pytest.fixture(scope="module")
def slices():
    """The first slice of each of some phantom patients, 192 px."""
    dataset = open_dataset(preset("smoke", image_size=192, split="official"))
    rows = np.unique(dataset.groups, return_index=True)[1][:COUNT]
    return [np.array(dataset.pixels[row]) for row in rows]


@pytest.mark.slow
def test_copies_are_found_and_nothing_else(slices):
    copies = [fault(slices[row]).astype(np.uint8) for row, fault in enumerate(FAULTS.values())]
    pairs = find_shifted(slices + copies)
    found = {
        (int(a), int(b))
        for a, b, score in zip(pairs.first, pairs.second, pairs.score)
        if score >= SAME_SHIFTED
    }
    assert found == {(row, len(slices) + row) for row in range(len(FAULTS))}
