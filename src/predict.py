"""Files -> labels and probabilities, with a saved model of either framework."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.data.augment import scale
from src.data.catalog import SUFFIXES, inspect_image, why_unreadable
from src.data.pixels import Decode
from src.experiment import load_twin
from src.training.checkpoint import read_card

BATCH = 16  # images; no larger than what training needed


class ImageBatches:
    """Loose images in the shape of `src.data.batches.Batches`, for a twin's loader."""

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
        """Return images (B, S, S, 3) float32 in [-1, 1], and labels and weights of no meaning."""
        gray = scale(self.images[index * BATCH : (index + 1) * BATCH])
        empty = np.zeros(len(gray), np.int64)
        return np.repeat(gray[..., None], 3, axis=3), empty, empty.astype(np.float32)


def predict_files(
    paths: Iterable[Path], folder: Path, framework: str | None = None
) -> tuple[list[dict], list[tuple[str, str]]]:
    """Classify images and folders of images with the model saved in `folder`.

    Args:
        paths: images; folders are searched with all that is below them.
        folder: the run that saved the model.
        framework: "tf" or "pt"; by default the one that trained it.
    Returns:
        one {"path", "label", "probs": {class: probability}} an image, and (path, reason) of each
        file that could not be read.
    Raises:
        InputError: there is no model, a path does not exist, or no image could be read.
    """
    card, config = read_card(folder)
    files = _find(paths)
    twin = load_twin(framework or card["framework"])
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


def _find(paths: Iterable[Path]) -> list[Path]:
    found = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            below = [
                p for p in inside if not any(s.startswith(".") for s in p.relative_to(path).parts)
            ]
            if not below:
                raise InputError(f"No images below {path}. Read are: {', '.join(SUFFIXES)}.")
            found += sorted(below)
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"No such image or folder: {path}.")
    return found


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
