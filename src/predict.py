"""Files -> labels and probabilities, with a saved model of either framework."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.data.augment import scale, to_rgb
from src.data.catalog import SUFFIXES, inspect_image, why_unreadable
from src.data.pixels import Decode
from src.experiment import load_twin
from src.training.checkpoint import read_model_card

BATCH = 16  # images; no larger than what training needed


class ImageBatches:
    """Single images with the interface of `src.data.batches.Batches`, for a twin's loader."""

    def __init__(self, images: np.ndarray):
        """Take `images` (N, S, S) uint8, gray."""
        self.images = images
        self.images_per_epoch = len(images)

    def __len__(self) -> int:
        return -(-len(self.images) // BATCH)

    @property
    def sizes(self) -> list[int]:
        return [len(self.batch(0, index)[1]) for index in range(len(self))]

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return images (B, S, S, 3) float32 in [-1, 1], and meaningless labels and weights."""
        gray = scale(self.images[index * BATCH : (index + 1) * BATCH])
        empty = np.zeros(len(gray), np.int64)
        return to_rgb(gray), empty, empty.astype(np.float32)


def predict_files(
    paths: Iterable[Path], folder: Path, framework: str | None = None
) -> tuple[list[dict], list[tuple[str, str]]]:
    """Classify images and folders of images with the model saved in `folder`.

    Args:
        paths: images; folders are searched with all that is below them.
        folder: the run that saved the model.
        framework: "tf" or "pt"; by default the one that trained it.
    Returns:
        {"path", "label", "probs": {class: probability}} per image, and (path, reason) of each file
        that could not be read.
    Raises:
        InputError: there is no model, a path does not exist, or no image could be read.
    """
    model_card, config = read_model_card(folder)
    files = _image_files(paths)
    twin = load_twin(framework or model_card["framework"])
    decode, _ = twin.data.make_decoder(config)
    read, refused = _decode(files, config.image_size, decode)
    if not read:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in refused[:3])
        raise InputError(f"None of the {len(refused)} files is a usable image ({reasons}).")
    twin.runtime.configure(config)
    model, _ = twin.checkpoint.load_model(folder)
    batches = ImageBatches(np.stack(list(read.values())))
    probs = twin.predict.predict_proba(model, twin.data.make_loader(batches))
    rows = [
        {
            "path": path,
            "label": CLASS_NAMES[int(row.argmax())],
            "probs": {name: float(prob) for name, prob in zip(CLASS_NAMES, row, strict=True)},
        }
        for path, row in zip(read, probs, strict=True)
    ]
    return rows, refused


def _image_files(paths: Iterable[Path]) -> list[Path]:
    files = []
    for path in paths:
        if path.is_file():
            files.append(path)
        elif path.is_dir():
            files += _images_below(path)
        else:
            raise InputError(f"No such image or folder: {path}.")
    return files


def _images_below(folder: Path) -> list[Path]:
    images = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not images:
        raise InputError(f"No images in {folder}. Expected files: {', '.join(SUFFIXES)}.")
    return images


def _decode(
    paths: list[Path], image_size: int, decode: Decode
) -> tuple[dict, list[tuple[str, str]]]:
    read, refused = {}, []
    for path in paths:
        reason = inspect_image(path)["bad"]
        if not reason:
            try:
                read[str(path)] = decode(path, image_size)
            except Exception as error:  # Pillow's plugins raise almost anything on damaged data
                reason = why_unreadable(error)
        if reason:
            refused.append((str(path), reason))
    return read, refused
