"""A saved model's validation images -> its calibration: temperature, thresholds, what it knows."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold

from src.common.errors import InputError
from src.common.files import file_sha256
from src.data.dataset import Dataset, open_dataset
from src.evaluation.calibration import choose_thresholds
from src.serving.backends import BATCH, OnnxBackend
from src.serving.calibration import ARRAYS, gray_levels, novelty
from src.training.checkpoint import read_model_card, write_card
from src.xception.weight_files import write_safetensors

# Share whose features are not refused, each group judged by other groups: a margin to the 2 % of
# head MRI that may be refused.
KNOWN = 0.99
COMPONENTS = 8  # principal directions of the features: twice the classes
MARGIN = 20.0  # gray levels by which corners and border may be brighter than any in validation
_FOLDS = 5


def calibrate(folder: Path, data_dir: Path | None = None) -> dict:
    """Learn a saved model's calibration from its validation images; write it into its card.

    Args:
        folder: of the model.
        data_dir: the images that it was trained on.
    Returns:
        what stands in the card.
    Raises:
        InputError: the model cannot be read, or the images are too few.
    """
    card, config = read_model_card(folder)
    dataset = open_dataset(config, data_dir)
    rows = dataset.parts["val"]
    labels, groups = dataset.catalog.labels[rows], dataset.groups[rows]
    if len(np.unique(groups)) < _FOLDS or len(rows) <= 2 * COMPONENTS:
        raise InputError(
            f"The model in {folder} has {len(rows)} validation images of {len(np.unique(groups))} "
            f"groups: too few to calibrate it. Expected more than {2 * COMPONENTS}, of {_FOLDS}."
        )
    probs, features = map(np.concatenate, zip(*_outputs(folder, dataset)))
    levels = np.array([gray_levels(dataset.test_pixels[row]) for row in rows])
    write_safetensors(folder / ARRAYS, _principal(features))
    about = choose_thresholds(labels, probs, config.classes) | {
        "novelty_limit": float(np.quantile(_held_out_novelty(features, groups), KNOWN)),
        "corner_limit": float(levels[:, 0].max() + MARGIN),
        "border_limit": float(levels[:, 1].max() + MARGIN),
        "contrast_limit": float(levels[:, 2].min() / 2),
        "sha256": file_sha256(folder / ARRAYS),
    }
    write_card(folder, card | {"calibration": about})
    return about


def _outputs(folder: Path, dataset: Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield probabilities and features of the validation images, batch by batch."""
    backend, rows = OnnxBackend(folder), dataset.parts["val"]
    for first in range(0, len(rows), BATCH):
        outputs = backend.run(dataset.test_pixels[rows[first : first + BATCH]], features=True)
        yield outputs.probabilities, outputs.features


def _principal(features: np.ndarray) -> dict[str, np.ndarray]:
    """Return the mean (2048,) and the principal components (M, 2048) of features, float32."""
    mean = features.mean(axis=0, dtype=np.float64)
    components = np.linalg.svd(features - mean, full_matrices=False)[2][:COMPONENTS]
    return {"mean": mean.astype(np.float32), "components": components.astype(np.float32)}


def _held_out_novelty(features: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return (N,) novelty of each image, by what the features of other groups teach."""
    found = np.zeros(len(features))
    for others, some in GroupKFold(_FOLDS).split(features, groups=groups):
        found[some] = novelty(features[some], **_principal(features[others]))
    return found
