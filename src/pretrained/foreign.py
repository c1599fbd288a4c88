"""Pictures that are no head MRI, drawn or from installed packages: are they refused?"""

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from sklearn.datasets import load_sample_images

from src.config import CLASS_NAMES
from src.data.phantom.anatomy import draw_slice
from src.data.phantom.patient import draw_patient
from src.data.phantom.write import DEPTHS

SIDE = 256
KINDS = {  # to be refused -> what they are
    "photograph": "photographs, from installed packages",
    "text": "text pages",
    "noise": "pictures of noise",
    "chest": "drawn chest X-rays",
    "ct": "drawn head CT",
}
PHANTOM = "phantom"  # like enough to a head MRI that it may pass


def foreign(kind: str, count: int = 40) -> Iterator[Image.Image]:
    """Yield `count` different pictures, gray or in colour, always the same ones.

    Args:
        kind: one of KINDS, or PHANTOM.
    """
    for number in range(count):
        yield _MAKERS[kind](np.random.default_rng([[*_MAKERS].index(kind), number]))


def _photograph(rng: np.random.Generator) -> Image.Image:
    """A piece of a photograph that scikit-learn or matplotlib ships."""
    files = Path(matplotlib.get_data_path(), "sample_data").glob("*.jp*g")
    photos = [*map(Image.fromarray, load_sample_images().images)]
    photos += [Image.open(file).convert("RGB") for file in sorted(files)]
    photo = photos[rng.integers(len(photos))]
    side = int(rng.integers(min(photo.size) // 3, min(photo.size)))
    x, y = rng.integers(photo.width - side + 1), rng.integers(photo.height - side + 1)
    piece = photo.crop((x, y, x + side, y + side)).resize((SIDE, SIDE))
    return piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else piece


def _text(rng: np.random.Generator) -> Image.Image:
    """A page: dark on light, or as a screen shows it, light on dark."""
    dark = rng.random() < 0.3
    page = Image.new("L", (SIDE, SIDE), 10 if dark else 250)
    draw, size = ImageDraw.Draw(page), int(rng.integers(9, 18))
    letters = list("abcdefghijklmnopqrstuvwxyz     ,.")
    for y in range(12, SIDE - 20, size + 4):
        line = "".join(rng.choice(letters, int(rng.integers(10, 60))))
        draw.text((14, y), line, fill=235 if dark else 20, font=ImageFont.load_default(size))
    return page


def _noise(rng: np.random.Generator) -> Image.Image:
    """White or blurred noise, of any contrast."""
    levels = rng.normal(rng.uniform(60, 180), rng.uniform(15, 70), (SIDE, SIDE))
    picture = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(int(rng.choice([0, 1, 4]))))


def _soft(draw_on, rng, blur: float) -> Image.Image:
    """Draw at twice the side, blur, add grain."""
    picture = Image.new("L", (2 * SIDE, 2 * SIDE), 0)
    draw_on(ImageDraw.Draw(picture), 2 * SIDE)
    small = picture.filter(ImageFilter.GaussianBlur(blur)).resize((SIDE, SIDE))
    grain = rng.normal(0, rng.uniform(1, 5), (SIDE, SIDE))
    return Image.fromarray(np.clip(np.asarray(small) + grain, 0, 255).astype(np.uint8))


def _ellipse(draw, side, x, y, a, b, level) -> None:
    """Draw one around (x, y) with the half axes `a` and `b`, all in shares of the side."""
    box = [(x - a) * side, (y - b) * side, (x + a) * side, (y + b) * side]
    draw.ellipse(box, fill=int(level))


def _chest(rng: np.random.Generator) -> Image.Image:
    """Like a chest X-ray: a bright trunk up to the edges, two dark lungs, ribs, a heart."""
    wide, shift, bright = rng.uniform(0.9, 1.1), rng.uniform(-0.03, 0.03), rng.uniform(120, 190)

    def draw_on(draw, side):
        draw.rectangle([0.06 * side, 0.12 * side, 0.94 * side, side], fill=int(bright))
        _ellipse(draw, side, 0.5, 0.05, 0.12, 0.2, bright)
        for x in (0.3 + shift, 0.7 + shift):
            _ellipse(draw, side, x, 0.5, 0.16 * wide, 0.3, 0.3 * bright)
            for rib in range(7):
                y = 0.25 + 0.08 * rib
                box = [(x - 0.2) * side, y * side, (x + 0.2) * side, (y + 0.12) * side]
                draw.arc(box, 190, 350, fill=int(0.55 * bright), width=side // 60)
        _ellipse(draw, side, 0.54 + shift, 0.62, 0.13 * wide, 0.17, bright * 1.1)
        draw.rectangle([0.47 * side, 0, 0.53 * side, side], fill=int(min(bright * 1.25, 255)))

    return _soft(draw_on, rng, 6)


def _ct(rng: np.random.Generator) -> Image.Image:
    """Like a head CT in a brain window: a white ring of bone around an even gray."""
    brain, thick = rng.uniform(80, 130), rng.uniform(0.025, 0.045)
    wide, tall = rng.uniform(0.3, 0.36), rng.uniform(0.38, 0.44)

    def draw_on(draw, side):
        _ellipse(draw, side, 0.5, 0.5, wide + 0.02, tall + 0.02, 45)
        _ellipse(draw, side, 0.5, 0.5, wide, tall, 255)
        _ellipse(draw, side, 0.5, 0.5, wide - thick, tall - thick, brain)
        for x in (0.45, 0.55):
            _ellipse(draw, side, x, 0.47, 0.03, rng.uniform(0.06, 0.12), 0.45 * brain)
        draw.line([side // 2, int(0.15 * side), side // 2, int(0.85 * side)], fill=int(1.2 * brain))

    return _soft(draw_on, rng, 3)


def _phantom(rng: np.random.Generator) -> Image.Image:
    """A slice of the built-in set's heads, of any class."""
    label, seed = int(rng.integers(len(CLASS_NAMES))), int(rng.integers(2**31))
    patient = draw_patient(CLASS_NAMES[label], seed, 1, label, 0)
    return Image.fromarray(draw_slice(patient, float(rng.choice(DEPTHS)), SIDE, seed)[0])


_MAKERS = dict(zip((*KINDS, PHANTOM), (_photograph, _text, _noise, _chest, _ct, _phantom)))
