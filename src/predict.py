"""Files -> labels and probabilities, with a saved model of either framework."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.data.augment import as_input
from src.data.catalog import SUFFIXES, inspect_image, why_unreadable
from src.experiment import load_twin
from src.training.checkpoint import read_model_card
from src.xception.weight_files import pretrained_folder

BATCH = 16  # images; no larger than what training needed
TRAIN_ONE = (
    "train one with `python -m src train --framework pt --out RUN` and give it with --model RUN"
)


class ImageBatches:
    """Images (N, S, S) uint8, gray, with the interface of `src.data.batches.Batches`."""

    def __init__(self, images: np.ndarray):
        self.images, self.class_count = images, 1  # there is nothing to label
        self.images_per_epoch = len(images)
        self.sizes = [len(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]

    def __len__(self) -> int:
        return len(self.sizes)

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return images (B, S, S, 3) float32 in [-1, 1], and meaningless labels and weights."""
        gray = self.images[index * BATCH : (index + 1) * BATCH]
        return as_input(gray), np.zeros(len(gray), np.int64), np.zeros(len(gray), np.float32)

    def mirrored(self) -> "ImageBatches":
        """Return these batches with every image flipped left to right."""
        return ImageBatches(self.images[..., ::-1])


def predict_files(
    paths: Iterable[Path], folder: Path | None = None, framework: str | None = None
) -> tuple[list[dict], list[tuple[str, str]]]:
    """Classify images and folders of images with a saved model.

    Args:
        paths: images; folders are searched with all that is below them.
        folder: the run that saved the model; by default the shipped classifier.
        framework: "tf" or "pt"; by default the one that trained it.
    Returns:
        {"path", "label", "probs": {class: probability}} per image, and (path, reason) of each file
        that could not be read.
    Raises:
        InputError: there is no model, a path does not exist, or no image could be read.
    """
    folder = folder or pretrained_folder(TRAIN_ONE)
    model_card, config = read_model_card(folder)
    files = _image_files(paths)  # a wrong path is named before a framework loads
    twin = load_twin(framework or model_card["framework"])
    decode, _ = twin.data.make_decoder(config)
    pixels, refused = {}, []
    for path in files:
        if not (reason := inspect_image(path)["bad"]):
            try:
                pixels[str(path)] = decode(path, config.eval_size)
            except Exception as error:  # Pillow's plugins raise almost anything on damaged data
                reason = why_unreadable(error)
        if reason:
            refused.append((str(path), reason))
    if not pixels:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in refused[:3])
        raise InputError(f"None of the {len(refused)} files is a usable image ({reasons}).")
    twin.runtime.configure(twin.runtime.inference_config(config))
    model, _ = twin.checkpoint.load_model(folder)
    batches = ImageBatches(np.stack(list(pixels.values())))
    rows = []
    probabilities = twin.predict.predict_proba(model, twin.data.make_loader(batches))
    for path, probs in zip(pixels, probabilities, strict=True):
        by_class = dict(zip(config.classes, probs.tolist()))
        rows.append({"path": path, "label": config.classes[probs.argmax()], "probs": by_class})
    return rows, refused


def _image_files(paths: Iterable[Path]) -> list[Path]:
    files = []
    for path in paths:
        if path.is_file():
            files.append(path)
            continue
        if not path.is_dir():
            raise InputError(f"No such image or folder: {path}.")
        images = [
            image
            for image in sorted(path.rglob("*"))
            if image.suffix.lower() in SUFFIXES
            and image.is_file()
            and not any(part.startswith(".") for part in image.relative_to(path).parts)
        ]
        if not images:
            raise InputError(f"No images in {path}. Expected files: {', '.join(SUFFIXES)}.")
        files += images
    return files
