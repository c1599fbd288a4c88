"""Augmentation seeded by (seed, epoch, image): the same pixels in whatever order they are asked."""

import hashlib

import numpy as np
from PIL import Image

FLIP = 0.5  # probability of a left-right mirror image; heads are near symmetric
ROTATION = 10.0  # degrees, either way: how heads lie in the coil
SHIFT = 0.05  # share of the side, either way
ZOOM = 0.10  # relative, either way
BRIGHTNESS = 0.10  # share of the full range, either way
CONTRAST = 0.15  # relative, either way, about the image's mean

# Raise the number when the code below changes what it draws or how it warps.
_RECIPE = f"1-{FLIP}-{ROTATION}-{SHIFT}-{ZOOM}-{BRIGHTNESS}-{CONTRAST}"


def image_key(path: str) -> int:
    """Return 64 bits that name an image, unmoved by whatever other files come and go."""
    digest = hashlib.sha256(path.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "little")


def augment(image: np.ndarray, seed: int, epoch: int, key: int, repeat: int = 0) -> np.ndarray:
    """Return `image` flipped, rotated, shifted, zoomed (one warp), with other contrast.

    Args:
        image: (S, S) uint8.
        seed: of the experiment.
        epoch: from 0.
        key: from `image_key`.
        repeat: how often this image was drawn before in this epoch.

    Returns:
        (S, S) float32 in [-1, 1].
    """
    random = generator(seed, epoch, key & 0xFFFFFFFF, key >> 32, repeat)
    flip = random.random() < FLIP
    angle, right, down, zoom, brightness, contrast = random.uniform(-1.0, 1.0, 6)
    radians, shift = np.deg2rad(ROTATION) * angle, (SHIFT * right, SHIFT * down)
    warped = _warp(image, flip, radians, shift, 1.0 + ZOOM * zoom)
    mean = warped.mean(dtype=np.float64)
    levels = (np.arange(256) - mean) * (1.0 + CONTRAST * contrast) + mean
    levels += 255.0 * BRIGHTNESS * brightness
    return (np.clip(levels, 0.0, 255.0) / 127.5 - 1.0).astype(np.float32)[warped]


def augmentation_name(seed: int, epoch: int) -> str:
    """Return a name for what `augment` does to every image: it changes whenever a result would."""
    return f"{_RECIPE}-{seed}-{epoch}"


def generator(*seeds: int) -> np.random.Generator:
    """Return the random generator that `seeds` name: a counter, so that nobody's order matters."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seeds)))


def scale(image: np.ndarray) -> np.ndarray:
    """Return (..., S, S) uint8 as float32 in [-1, 1], Xception's input range."""
    return _SCALE[image]


def to_rgb(gray: np.ndarray) -> np.ndarray:
    """Return (..., S, S) as (..., S, S, 3): the same values in each channel."""
    return np.repeat(gray[..., None], 3, axis=-1)


_SCALE = (np.arange(256) / 127.5 - 1.0).astype(np.float32)


def _warp(image, flip: bool, radians: float, shift: tuple, zoom: float) -> np.ndarray:
    """Sample (S, S) uint8 at affinely moved positions, bilinearly; black outside."""
    side = image.shape[0]
    centre = side / 2.0
    cos, sin = np.cos(radians) / zoom, np.sin(radians) / zoom
    mirror = -1.0 if flip else 1.0
    # Pillow asks where each output pixel comes from: (x, y) -> (a x + b y + c, d x + e y + f).
    a, b, d, e = mirror * cos, mirror * -sin, sin, cos
    c = centre - a * (centre + shift[0] * side) - b * (centre + shift[1] * side)
    f = centre - d * (centre + shift[0] * side) - e * (centre + shift[1] * side)
    move, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    source = Image.fromarray(image)
    return np.asarray(source.transform(source.size, move, (a, b, c, d, e, f), bilinear))
