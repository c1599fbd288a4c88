"""What the validation images taught about a model's answers: how sure it is, and what it knows.

It lies in the model's card, `model.json`, and in a file of arrays beside it; made by
`src.pretrained.calibrate`. NumPy alone, so that an answer needs nothing heavy.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from src.common.errors import InputError, reason_of
from src.common.files import file_sha256
from src.evaluation.temperature import tempered
from src.xception.weight_files import load_arrays

ARRAYS = "calibration.safetensors"


@dataclass(frozen=True, eq=False)
class Calibration:
    """Learned from validation images alone.

    Attributes:
        temperature: by which logits are divided.
        sure_from: the highest probability from which on an answer is not "unsure".
        novelty_limit: from which `novelty` on an image is unlike those of training.
        corner_limit, border_limit: the brightest that corners and border may be, gray level.
        contrast_limit: the least standard deviation, gray levels.
        operating_points: "0.95" -> the threshold on the probability of any tumour that finds 95 %
            of the tumours among the validation images, with its sensitivity and specificity.
        mean: (2048,) float32, of the pooled features.
        components: (M, 2048) float32, their principal directions, orthonormal.
    """

    temperature: float
    sure_from: float
    novelty_limit: float
    corner_limit: float
    border_limit: float
    contrast_limit: float
    operating_points: dict
    mean: np.ndarray
    components: np.ndarray

    def limits(self) -> dict:
        """Return what is no array, as the card has it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: each for name, each in values.items() if not isinstance(each, np.ndarray)}

    def tempered(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities (N, K)."""
        return tempered(probabilities, self.temperature)

    def why_foreign(self, image: np.ndarray, novelty: float) -> str:
        """Return one sentence that says why this is no head MRI as in training; "" if it may be.

        Args:
            image: (S, S) uint8.
            novelty: of its features.
        """
        corner, border, contrast = gray_levels(image)
        if contrast < self.contrast_limit:
            return "no head MRI: the picture is almost even"
        if corner > self.corner_limit or border > self.border_limit:
            return "no head MRI: the background is not dark"
        if novelty > self.novelty_limit:
            return "unlike the head MRI slices that the model was trained on"
        return ""

    def novelty(self, features: np.ndarray) -> np.ndarray:
        """Return (N,) float64: see `novelty`."""
        return novelty(features, self.mean, self.components)


def novelty(features: np.ndarray, mean: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Return the share of each feature vector that lies outside the directions that are known.

    A network that has learned its classes gives their images features in a few directions. What
    these leave over grows with images of another kind.

    Args:
        features: (N, 2048), pooled after block14.
        mean, components: (2048,) and (M, 2048), orthonormal.
    Returns:
        (N,) float64, 0 or more: squared length of the remainder divided by that of the features.
    Source: Guan et al. 2023, ICCV, "Revisit PCA-based technique for out-of-distribution detection".
    """
    features = features.astype(np.float64)
    centred = features - mean
    left = (centred**2).sum(axis=1) - ((centred @ components.T.astype(np.float64)) ** 2).sum(axis=1)
    return np.maximum(left, 0) / np.maximum((features**2).sum(axis=1), 1e-30)


def gray_levels(image: np.ndarray) -> tuple[float, float, float]:
    """Return the median of the four corners and of the border, and the standard deviation.

    Args:
        image: (S, S) uint8. A corner has S/8 px a side, the border is S/24 px wide.
    """
    corner, rim = (max(image.shape[0] // part, 1) for part in (8, 24))
    ends = (slice(None, corner), slice(-corner, None))
    corners = np.concatenate([image[y, x].ravel() for y in ends for x in ends])
    inside = np.zeros(image.shape, bool)
    inside[rim:-rim, rim:-rim] = True
    return float(np.median(corners)), float(np.median(image[~inside])), float(image.std())


def read_calibration(folder: Path, card: dict) -> Calibration | None:
    """Return a saved model's calibration; None where it has none.

    Raises:
        InputError: its file is missing, was changed, or does not fit the card.
    """
    if not (about := card.get("calibration")):
        return None
    path = folder / ARRAYS
    try:
        if file_sha256(path) != about["sha256"]:
            raise ValueError("it was changed")
        scalars = {name: value for name, value in about.items() if name != "sha256"}
        return Calibration(**scalars, **load_arrays(path))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not what the model's card says ({reason_of(error)}). Copy the model's "
            "folder again."
        ) from error
