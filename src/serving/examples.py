"""The page's examples: the user's own images where there are some, else drawn ones."""

import shutil
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from src.config import CLASS_NAMES
from src.data.folders import SPLITS, find_own_images, find_root, list_images


def make_examples(folder: Path, data_dir: Path | None = None) -> list[tuple[str, str]]:
    """Write the examples; return the path and caption of each, the last to be refused.

    Args:
        folder: where to; created when missing.
        data_dir: a folder of images by class; by default the user's, else synthetic slices.
    Raises:
        InputError: there are no classes in `data_dir`.
    """
    folder.mkdir(exist_ok=True)
    own = find_own_images(data_dir)
    examples = _copy_own(folder, own) if own else _draw(folder)
    text = Image.new("L", (192, 192), 245)
    font = ImageFont.load_default(20)
    ImageDraw.Draw(text).text((20, 60), "This page\nis no head MRI.", fill=20, font=font)
    text.save(folder / "text.png")
    return [*examples, (str(folder / "text.png"), "no MRI")]


def _copy_own(folder: Path, data_dir: Path) -> list[tuple[str, str]]:
    """Copy the first image of each class, of the test part where there is one."""
    root = find_root(data_dir)
    classes, images, _ = list_images(root)
    images.sort(key=lambda row: row[2] != SPLITS[1])
    first = {label: path for path, label, _ in reversed(images)}
    examples = []
    for label, path in sorted(first.items()):
        copy = folder / f"{classes[label]}-{Path(path).name}"
        shutil.copyfile(root / path, copy)
        examples.append((str(copy), classes[label]))
    return examples


def _draw(folder: Path) -> list[tuple[str, str]]:
    """Draw a synthetic slice of each class."""
    from src.data.phantom.anatomy import draw_slice
    from src.data.phantom.patient import draw_patient

    examples = []
    for label, name in enumerate(CLASS_NAMES):
        pixels, _ = draw_slice(draw_patient(name, 0, 1, label, 0), 0.0, 192, 1)
        path = folder / f"drawn-{name}.png"
        Image.fromarray(pixels).save(path)
        examples.append((str(path), f"{name} (drawn)"))
    return examples
