"""Augmentation: a pure function of (seed, epoch, image, repeat), and geometrically right."""

import hashlib

import numpy as np
import pytest

from src.data import augment as module
from src.data.augment import augment, image_key, scale

KEY = image_key("Training/glioma/Tr-gl_0000.jpg")


@pytest.fixture
def image():
    """(48, 48) uint8: smooth, and like none of its own mirror images."""
    y, x = np.mgrid[:48, :48] / 48
    return (255 * np.clip(0.2 + 0.6 * x + 0.3 * y**2 - x * y, 0, 1)).astype(np.uint8)


@pytest.fixture
def still(monkeypatch):
    """Turn all augmentation off; a test turns on what it looks at."""
    for name in ("FLIP", "ROTATION", "SHIFT", "ZOOM", "BRIGHTNESS", "CONTRAST"):
        monkeypatch.setattr(module, name, 0.0)
    return monkeypatch


def test_the_same_question_has_the_same_answer(image):
    first = augment(image, 1, 2, KEY, 3)
    augment(image, 9, 9, 9)
    assert first.tobytes() == augment(image, 1, 2, KEY, 3).tobytes()
    assert first.shape == image.shape and first.dtype == np.float32
    assert first.min() >= -1 and first.max() <= 1


@pytest.mark.parametrize("words", [(2, 2, KEY, 3), (1, 3, KEY, 3), (1, 2, KEY + 1, 3), (1, 2, KEY)])
def test_each_word_matters(image, words):
    assert augment(image, *words).tobytes() != augment(image, 1, 2, KEY, 3).tobytes()


def test_the_high_half_of_a_key_matters(image):
    assert not np.array_equal(augment(image, 0, 0, KEY), augment(image, 0, 0, KEY ^ (1 << 63)))


def test_with_nothing_on_it_only_scales(image, still):
    assert np.abs(augment(image, 0, 0, KEY) - scale(image)).max() <= 1e-6


def test_scale_is_xception_s_preprocessing():
    levels = np.arange(256, dtype=np.uint8)
    expected = levels.astype(np.float32) / np.float32(127.5) - np.float32(1)
    assert scale(levels).dtype == np.float32
    np.testing.assert_allclose(scale(levels), expected, atol=1e-7)
    assert scale(levels)[0] == -1 and scale(levels)[255] == 1


def test_about_half_the_images_are_mirrored_exactly(image, still):
    still.setattr(module, "FLIP", 0.5)
    plain, mirrored = scale(image), scale(image[:, ::-1])
    seen = [augment(image, 0, epoch, KEY) for epoch in range(200)]
    flips = sum(np.allclose(one, mirrored, atol=1e-6) for one in seen)
    assert flips + sum(np.allclose(one, plain, atol=1e-6) for one in seen) == 200
    assert 70 <= flips <= 130


def _centre(image):
    weight = image.astype(np.float64) + 1
    y, x = np.mgrid[: len(image), : len(image)]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize(
    ("name", "amount", "typical"), [("SHIFT", 0.1, 0.05), ("ROTATION", 20, 10), ("ZOOM", 0.2, 0.1)]
)
def test_a_bright_spot_moves_as_far_as_allowed(still, name, amount, typical):
    still.setattr(module, name, amount)
    spot = np.zeros((101, 101), np.uint8)
    spot[49:52, 79:82] = 255  # 30 px right of the centre
    places = []
    for epoch in range(100):
        seen = augment(spot, 0, epoch, KEY) + 1
        assert seen.max() > 0.5
        y, x = np.unravel_index(seen.argmax(), seen.shape)
        places.append((x - 50, y - 50))
    x, y = np.array(places, float).T
    if name == "SHIFT":
        assert np.abs(x - 30).max() <= 11.5 and np.abs(y).max() <= 11.5
        assert x.std() > 4 and y.std() > 4
    elif name == "ROTATION":
        turned = np.degrees(np.arctan2(y, x))
        assert np.abs(turned).max() <= 22 and turned.std() > 7
        assert np.abs(np.hypot(x, y) - 30).max() <= 2
    else:
        assert 22 <= x.min() < 27 and 33 < x.max() <= 38
        assert np.abs(y).max() <= 1


def test_outside_is_black(still):
    still.setattr(module, "SHIFT", 0.2)
    white = np.full((50, 50), 255, np.uint8)
    edges = [augment(white, 0, epoch, KEY) for epoch in range(20)]
    assert all(one[25, 25] == 1 and one.min() == -1 for one in edges)


@pytest.mark.parametrize(("name", "limit"), [("BRIGHTNESS", 0.1), ("CONTRAST", 0.2)])
def test_light_changes_within_its_limit(image, still, name, limit):
    still.setattr(module, name, limit)
    plain = scale(image // 2 + 64)  # mid levels, so that nothing clips
    means, spreads = [], []
    for epoch in range(100):
        seen = augment(image // 2 + 64, 0, epoch, KEY)
        means.append((seen.mean() - plain.mean()) / 2)
        spreads.append(seen.std() / plain.std() - 1)
    moving, fixed = (means, spreads) if name == "BRIGHTNESS" else (spreads, means)
    assert limit / 2 < np.abs(moving).max() <= limit + 1e-6
    assert np.abs(fixed).max() < 1e-5


def test_the_input_is_left_alone(image):
    before = image.copy()
    image.flags.writeable = False
    augment(image, 0, 0, KEY)
    assert np.array_equal(image, before)


AMOUNTS = ("ROTATION", "SHIFT", "ZOOM", "BRIGHTNESS", "CONTRAST")


def test_the_defaults_are_what_published_runs_trained_on(image):
    content = b"".join(augment(image, 0, epoch, KEY).tobytes() for epoch in range(20))
    # Of the commit that made them, d1c2330.
    assert hashlib.sha256(content).hexdigest().startswith("8f9e313bdb6061054c98e4a6062a5e4f")


@pytest.mark.parametrize("strength", [0.0, 0.5, 3.0])
def test_strength_is_a_factor_on_every_amount_but_the_flip_s(image, strength, monkeypatch):
    seen = [augment(image, 0, epoch, KEY, strength=strength) for epoch in range(20)]
    for name in AMOUNTS:
        monkeypatch.setattr(module, name, strength * getattr(module, name))
    for epoch, one in enumerate(seen):
        assert np.array_equal(one, augment(image, 0, epoch, KEY))
    assert len({one.tobytes() for one in seen}) == (20 if strength else 2)


def test_gamma_changes_the_exponent_within_its_limit(still):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    exponents = []
    for epoch in range(100):
        seen = (augment(levels, 0, epoch, KEY, gamma=0.5).astype(np.float64) + 1) / 2
        assert seen[0, 0] == 0 and seen[-1, -1] == 1
        exponent = np.log(seen[8:]) / np.log(levels[8:] / 255.0 - 1e-12)
        assert np.ptp(exponent[:-1]) < 1e-3  # float32
        exponents.append(np.log(exponent[0, 0]))
    assert -0.5 <= min(exponents) < -0.4 and 0.4 < max(exponents) <= 0.5


def test_cutout_covers_a_square_anywhere_with_the_mean(image, still):
    covered = np.zeros(image.shape)
    areas = []
    for epoch in range(200):
        seen = augment(image, 0, epoch, KEY, cutout=0.25)
        changed = seen != scale(image)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        square = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert np.ptp(square) == 0 and abs(square[0, 0] - scale(image).mean()) <= 1 / 127.5
        assert max(square.shape) <= 24  # half of the side
        areas.append(square.size / image.size)
        covered += changed
    assert max(areas) == 0.25 and min(areas) < 0.1  # cut by a corner
    # Pixels of the mean level seem uncovered. (1/2 - 1/16)^2 of an image is, on average.
    assert (covered > 0).mean() > 0.98 and covered.mean() == pytest.approx(200 * 0.191, rel=0.1)


@pytest.mark.parametrize("amount", [{"gamma": 0.3}, {"cutout": 0.1}])
def test_an_amount_changes_nothing_that_another_one_does(image, amount):
    for epoch in range(20):
        plain, more = augment(image, 0, epoch, KEY), augment(image, 0, epoch, KEY, **amount)
        untouched = more == plain
        if "cutout" in amount:
            assert 0.85 < untouched.mean() < 1
        else:  # the order of the levels stays
            order = np.argsort(plain, axis=None)
            assert (np.diff(more.ravel()[order]) >= 0).all() and untouched.mean() < 0.9
