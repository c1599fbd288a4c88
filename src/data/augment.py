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


def augment(
    image: np.ndarray,
    seed: int,
    epoch: int,
    key: int,
    repeat: int = 0,
    *,
    strength: float = 1.0,
    gamma: float = 0.0,
    cutout: float = 0.0,
) -> np.ndarray:
    """Return `image` flipped, rotated, shifted, zoomed (one warp), with other gray levels.

    Args:
        image: (S, S) uint8.
        seed: of the experiment.
        epoch: from 0.
        key: from `image_key`.
        repeat: how often this image was drawn before in this epoch.
        strength: factor on every amount above except the flip's.
        gamma: the most that the logarithm of the exponent on gray levels is, either way.
        cutout: share of the image's area that a square of its mean level covers. The square's
            centre is anywhere in the image; what lies outside covers nothing.

    Returns:
        (S, S) float32 in [-1, 1].

    Source: DeVries & Taylor 2017, arXiv:1708.04552 (cutout).
    """
    random = generator(seed, epoch, key & 0xFFFFFFFF, key >> 32, repeat)
    flip = random.random() < FLIP
    # All are drawn, whatever is used: no amount changes what another one does.
    angle, right, down, zoom, brightness, contrast, power, *centre = random.uniform(-1.0, 1.0, 9)
    radians, shift = np.deg2rad(ROTATION * strength) * angle, SHIFT * strength
    zoom = 1.0 + ZOOM * strength * zoom
    warped = _warp(image, flip, radians, (shift * right, shift * down), zoom)
    mean = warped.mean(dtype=np.float64)
    if cutout:
        warped = _cut_out(warped, cutout, centre, mean)
    levels = (np.arange(256) - mean) * (1.0 + CONTRAST * strength * contrast) + mean
    levels = np.clip(levels + 255.0 * BRIGHTNESS * strength * brightness, 0.0, 255.0)
    if gamma:
        levels = 255.0 * (levels / 255.0) ** np.exp(gamma * power)
    return (levels / 127.5 - 1.0).astype(np.float32).take(warped)


def augmentation_name(
    seed: int, epoch: int, *, strength: float, gamma: float, cutout: float
) -> str:
    """Return a name for what `augment` does to every image: it changes whenever a result would."""
    return f"{_RECIPE}-{strength}-{gamma}-{cutout}-{seed}-{epoch}"


def generator(*seeds: int) -> "np.random.Generator":  # as text: its import takes time
    """Return the random generator that `seeds` name: a counter, so that nobody's order matters."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seeds)))


def scale(image: np.ndarray) -> np.ndarray:
    """Return (..., S, S) uint8 as float32 in [-1, 1], Xception's input range."""
    return _SCALE[image]


def to_rgb(gray: np.ndarray) -> np.ndarray:
    """Return (..., S, S) as (..., S, S, 3): the same values in each channel."""
    return np.repeat(gray[..., None], 3, axis=-1)


def as_input(gray: np.ndarray) -> np.ndarray:
    """Return (..., S, S) uint8 as the network takes it: (..., S, S, 3) float32 in [-1, 1]."""
    return to_rgb(scale(gray))


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


def _cut_out(image, share: float, centre: list[float], level: float) -> np.ndarray:
    """Return (S, S) uint8 with a square of `level` around `centre`, (x, y) in [-1, 1]."""
    size = round(share**0.5 * len(image))
    x, y = (round((1.0 + each) / 2.0 * len(image) - size / 2.0) for each in centre)
    cut = image.copy()
    cut[max(y, 0) : y + size, max(x, 0) : x + size] = round(level)
    return cut
