"""Synthetic head MRI (first version: a stand-in)."""

from pathlib import Path

import numpy as np
from PIL import Image

from src.config import CLASS_NAMES
from src.data.cache import cache_folder

MARKER = "phantom.json"


def default_phantom() -> Path:
    root = cache_folder("phantom") / "standin"
    if not (root / MARKER).exists():
        rng = np.random.default_rng(0)
        for split, count in (("Training", 80), ("Testing", 20)):
            for label, name in enumerate(CLASS_NAMES):
                folder = root / split / name
                folder.mkdir(parents=True, exist_ok=True)
                for number in range(count):
                    image = rng.normal(60, 20, (192, 192))
                    y, x = rng.integers(40, 150, 2)
                    image[y - 12 : y + 12, x - 12 : x + 12] += 40 * label
                    image = np.clip(image, 0, 255).astype(np.uint8)
                    Image.fromarray(image).save(folder / f"{split[:2]}-{name[:2]}_{number:04}.png")
        (root / MARKER).write_text("{}")
    return root
