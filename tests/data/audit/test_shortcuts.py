"""What simple classifiers get to see: of the head, its rim alone."""

import numpy as np
import pytest

from src.data.audit.shortcuts import RIM, SKULL, shortcut_features
from src.data.duplicates.thumbnails import SIDE, Thumbnails


def rim_of(skull: int, brain: int) -> np.ndarray:
    """Return the features of a round head with these gray tones and a black ventricle."""
    depth = SIDE / 2 - np.hypot(*np.indices((SIDE, SIDE)) - (SIDE - 1) / 2)
    tones = [depth <= 0, depth <= RIM + 2, depth <= SIDE / 2 - 4]
    head = np.select(tones, [0, skull, brain], 0).astype(np.uint8)[None]
    fields = {name: head for name in Thumbnails.__dataclass_fields__}
    return shortcut_features(Thumbnails(**fields))[SKULL][0]


def test_the_brightness_of_the_skull_is_that_of_the_rim_alone():
    assert rim_of(204, 100) == pytest.approx(np.full(9, 0.8), abs=0.01)
    assert (rim_of(204, 100) == rim_of(204, 150)).all()
    assert (rim_of(102, 100) < rim_of(204, 100)).all()


def test_an_image_without_a_head_has_features():
    assert (rim_of(0, 0) == 0).all()
